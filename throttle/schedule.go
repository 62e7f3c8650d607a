package throttle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // where the machine has no time zones of its own
)

// Schedule is a list of windows, of which one must be open. [ParseSchedule] makes one.
type Schedule struct{ windows []window }

// window is a span of the day on some days of the week. What counts is what a clock on the wall shows: an hour that a change
// of the clocks skips never comes, and one that it repeats comes twice.
type window struct {
	text     string
	days     [7]bool // on which it opens
	from, to int     // minutes of the day; to <= from is past midnight, 1440 is the day's end
	zone     *time.Location
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseSchedule reads windows such as "Mon-Fri 22:00-06:00 Europe/Berlin", "Sat,Sun 00:00-24:00 UTC" or, for every day,
// "01:00-05:00 America/New_York". A span that ends at or before its beginning ends on the day after; its days are those
// on which it opens. The time zone has to be said.
func ParseSchedule(list []string) (Schedule, error) {
	var s Schedule
	var errs []error
	for _, text := range list {
		w, err := parseWindow(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%q: %w; expected something like \"Mon-Fri 22:00-06:00 Europe/Berlin\"", text, err))
		}
		s.windows = append(s.windows, w)
	}
	return s, errors.Join(errs...)
}

func parseWindow(text string) (window, error) {
	w := window{text: text}
	parts := strings.Fields(text)
	switch len(parts) {
	case 2:
		parts = append([]string{"Sun-Sat"}, parts...)
	case 3:
	default:
		return w, fmt.Errorf("found %d words", len(parts))
	}
	for item := range strings.SplitSeq(parts[0], ",") {
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		from, to := slices.Index(weekdays, strings.ToLower(first)), slices.Index(weekdays, strings.ToLower(last))
		if from < 0 || to < 0 {
			return w, fmt.Errorf("found the days %q", item)
		}
		for d := from; ; d = (d + 1) % 7 {
			w.days[d] = true
			if d == to {
				break
			}
		}
	}
	from, to, _ := strings.Cut(parts[1], "-")
	var err1, err2 error
	w.from, err1 = minutes(from)
	w.to, err2 = minutes(to)
	if err := errors.Join(err1, err2); err != nil {
		return w, err
	}
	if w.from == 1440 || w.from == w.to {
		return w, fmt.Errorf("found the span %q; a whole day is 00:00-24:00", parts[1])
	}
	var err error
	if parts[2] == "Local" {
		return w, errors.New("found the time zone Local, which differs from machine to machine")
	}
	if w.zone, err = time.LoadLocation(parts[2]); err != nil {
		return w, fmt.Errorf("found the time zone %q", parts[2])
	}
	return w, nil
}

// minutes reads 22:00 as minutes of the day.
func minutes(text string) (int, error) {
	var h, m int
	if n, err := fmt.Sscanf(text, "%2d:%2d", &h, &m); n != 2 || err != nil || len(text) < 4 || len(text) > 5 || h < 0 || m < 0 || m > 59 || h*60+m > 1440 {
		return 0, fmt.Errorf("found the time %q", text)
	}
	return h*60 + m, nil
}

// Open reports whether one of the windows is open at t. An empty schedule is always open.
func (s Schedule) Open(t time.Time) bool {
	return len(s.windows) == 0 || slices.ContainsFunc(s.windows, func(w window) bool { return w.open(t) })
}

func (w window) open(t time.Time) bool {
	t = t.In(w.zone)
	now, today := t.Hour()*60+t.Minute(), int(t.Weekday())
	if w.from < w.to {
		return w.days[today] && w.from <= now && now < w.to
	}
	return w.days[today] && now >= w.from || w.days[(today+6)%7] && now < w.to
}

// farthest is how far ahead an opening is looked for: a span that falls into the hour that the clocks skip can miss a week.
const farthest = 15 * 24 * time.Hour

// Next is when the schedule opens or closes next; false where that is not within two weeks.
func (s Schedule) Next(t time.Time) (time.Time, bool) {
	now := s.Open(t)
	for at := t.Truncate(time.Minute).Add(time.Minute); at.Sub(t) < farthest; at = at.Add(time.Minute) {
		if s.Open(at) != now {
			return at, true
		}
	}
	return time.Time{}, false
}

// String is the windows as they were written.
func (s Schedule) String() string {
	texts := make([]string, len(s.windows))
	for i, w := range s.windows {
		texts[i] = w.text
	}
	return strings.Join(texts, ", ")
}

// windowSignal is open while one window of each list is.
type windowSignal struct {
	limits func() Limits

	been bool // within a window
	// lists are what was parsed last, schedules what that is.
	lists     [][]string
	schedules []Schedule
	// detail says which schedule is closed and when it opens; it holds until then.
	detail string
	until  time.Time
}

func (*windowSignal) Name() string { return "window" }
func (*windowSignal) Class() Class { return Gating }

func (s *windowSignal) Read(context.Context) (Reading, error) {
	l, now := s.limits(), time.Now()
	if len(l.Windows) == 0 {
		return Reading{Off: true, Note: "any time"}, nil
	}
	if !slices.EqualFunc(s.lists, l.Windows, slices.Equal) {
		if err := s.parse(l.Windows); err != nil {
			return Reading{}, err
		}
	}
	for _, schedule := range s.schedules {
		if !schedule.Open(now) {
			if !now.Before(s.until) {
				s.look(schedule, now)
			}
			// Who starts before the window waits for it; who was in one may have been told to leave at its end.
			return Reading{Says: "closed", Shut: true, Detail: s.detail, Ends: s.been && l.WindowEnd == Exit}, nil
		}
	}
	s.been, s.until = true, time.Time{}
	return Reading{Says: "open"}, nil
}

func (s *windowSignal) parse(lists [][]string) error {
	s.lists, s.schedules, s.until = nil, nil, time.Time{}
	for _, list := range lists {
		schedule, err := ParseSchedule(list)
		if err != nil {
			return err
		}
		s.schedules = append(s.schedules, schedule)
	}
	s.lists = lists
	return nil
}

// look finds out when a closed schedule opens.
func (s *windowSignal) look(closed Schedule, now time.Time) {
	s.detail, s.until = closed.String(), now.Add(time.Hour)
	if next, ok := closed.Next(now); ok {
		s.detail += "; opens " + next.In(closed.windows[0].zone).Format("Mon 2006-01-02 15:04 MST")
		s.until = next
	}
}
