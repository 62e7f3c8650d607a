package backfill

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

// Recording writes down what happens to a run, for people. A [Control], or an [UndoControl], may do so.
type Recording interface {
	// Record adds an event to the run's record: what happened, and why or to whom.
	Record(ctx context.Context, what, reason string) error
}

// Waited is for how long nothing could be written for the sake of one signal, and how often that began. Several signals may
// have kept the gate shut at the same time.
type Waited struct {
	Signal string        `json:"signal"`
	Times  int64         `json:"times"`
	For    time.Duration `json:"for"`
}

const (
	// diaryFirst is for how long after an entry what happens again is only counted; each entry that counts doubles it, up
	// to diaryMost: a gate that shuts every second for a night leaves a few dozen entries.
	diaryFirst = time.Minute
	diaryMost  = time.Hour
	// diaryLeast is for how long the gate must be shut to be worth an entry of its own; what is shorter is counted.
	diaryLeast = time.Second
	// diaryNotices is how many notices of an hour are written down at once.
	diaryNotices = 10
	// diaryKept is how many entries wait where the database cannot be written to.
	diaryKept = 32
	// diaryPatience bounds the writing of an entry.
	diaryPatience = 5 * time.Second
)

// throttledOften is what is written down of closings that were only counted: it has no beginning and no end, as one that is told has.
const throttledOften = "throttled often"

// entry is one line of a run's record.
type entry struct{ what, reason string }

// diary keeps the record of when and why nothing could be written, and of what else the throttle tells: it says what is to be
// written down, and adds up.
type diary struct {
	mu sync.Mutex // guards what is below
	// reasons keep the gate shut since; none is open. up is up to when waited counts.
	reasons []Reason
	since   time.Time
	up      time.Time
	waited  map[string]Waited
	shutFor time.Duration
	// closings, yields and notices are told of without repeating themselves.
	closings, yields, notices repeated
	told                      bool // of the closing at hand
	// free counts the notices of late that were written down at once, the latest of them at noticedAt.
	free      int
	noticedAt time.Time
	heard     []string
	entries   []entry
}

// repeated is what may happen again and again: after an entry it is counted for a while.
type repeated struct {
	quiet  time.Time // until when it is only counted
	window time.Duration
	times  int
	took   time.Duration
	last   string
}

// shut takes the reasons that keep the gate shut now; none is that it has opened. It reports whether the same signals kept
// it shut before.
func (d *diary) shut(reasons []Reason, now time.Time) (same bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count(now)
	before := signalsOf(d.reasons)
	after := signalsOf(reasons)
	for _, name := range after {
		if !slices.Contains(before, name) {
			w := d.waited[name]
			w.Signal, w.Times = name, w.Times+1
			d.waited[name] = w
		}
	}
	defer func() { d.reasons = reasons }()
	switch {
	case len(before) == 0 && len(after) > 0:
		d.since, d.told = now, false
	case len(before) > 0 && len(after) == 0:
		took := now.Sub(d.since)
		if d.told {
			d.entries = append(d.entries, entry{"goes on", "after " + human.Duration(took) + " of " + strings.Join(before, ", ")})
			d.closings.quiet = now.Add(d.closings.window)
		} else {
			d.closings.times, d.closings.took, d.closings.last = d.closings.times+1, d.closings.took+took, joinReasons(d.reasons)
		}
	}
	return len(after) > 0 && slices.Equal(before, after)
}

// count adds what has passed. The caller holds mu.
func (d *diary) count(now time.Time) {
	if d.waited == nil {
		d.waited = map[string]Waited{}
	}
	if len(d.reasons) > 0 {
		d.shutFor += now.Sub(d.up)
	}
	for _, name := range signalsOf(d.reasons) {
		w := d.waited[name]
		w.For += now.Sub(d.up)
		d.waited[name] = w
	}
	d.up = now
}

// signalsOf are the signals of reasons, each once.
func signalsOf(reasons []Reason) []string {
	var names []string
	for _, r := range reasons {
		names = append(names, r.Signal)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// turn writes down what is due: a closing that lasts and has not been told, and what was only counted. The caller holds mu.
func (d *diary) turn(now time.Time) {
	if !now.Before(d.closings.quiet) {
		if text := d.closings.due(now); text != "" {
			d.entries = append(d.entries, entry{throttledOften, text})
		}
		if len(d.reasons) > 0 && !d.told && now.Sub(d.since) >= diaryLeast {
			d.told = true
			d.entries = append(d.entries, entry{"throttled", joinReasons(d.reasons)})
		}
	}
	for _, r := range []struct {
		what string
		*repeated
	}{{"gave way", &d.yields}, {"standby", &d.notices}} {
		if text := r.due(now); text != "" {
			d.entries = append(d.entries, entry{r.what, text})
		}
	}
	if over := len(d.entries) - diaryKept; over > 0 {
		d.entries = d.entries[over:]
	}
}

// due is what is to be said of what was counted, once it has been quiet for long enough; "" is nothing.
func (r *repeated) due(now time.Time) string {
	switch {
	case now.Before(r.quiet):
		return ""
	case r.times == 0:
		r.window = diaryFirst
		return ""
	}
	return r.counted(now)
}

// counted is what is to be said of what was counted. What follows is counted for twice as long.
func (r *repeated) counted(now time.Time) string {
	text := fmt.Sprintf("%s, the last time: %s", human.Plural(int64(r.times), "time"), r.last)
	if r.took > 0 {
		text = fmt.Sprintf("%s, %s in all, the last time: %s", human.Plural(int64(r.times), "time"), human.Duration(r.took), r.last)
	}
	r.window = min(max(2*r.window, diaryFirst), diaryMost)
	r.times, r.took, r.quiet = 0, 0, now.Add(r.window)
	return text
}

// happened takes what happens at once.
func (d *diary) happened(r *repeated, what, text string, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn(now)
	if now.Before(r.quiet) {
		r.times, r.last = r.times+1, text
		return
	}
	d.entries = append(d.entries, entry{what, text})
	r.quiet = now.Add(max(r.window, diaryFirst))
}

// noticed takes what a throttle tells of its signals, as that a standby is forgotten.
func (d *diary) noticed(text string, now time.Time) {
	if !d.oneMore(text, now) {
		d.happened(&d.notices, "standby", text, now)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.heard = append(d.heard, text); len(d.heard) > diaryKept {
		d.heard = d.heard[1:]
	}
}

// oneMore writes a notice down at once, unless there were many of late: a standby that comes and goes.
func (d *diary) oneMore(text string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.noticedAt) > diaryMost {
		d.free = 0
	}
	if d.free == diaryNotices {
		return false
	}
	d.free, d.noticedAt = d.free+1, now
	d.entries = append(d.entries, entry{"standby", text})
	return true
}

// take is what is to be written down now; what could not be is given back.
func (d *diary) take(now time.Time, last bool) []entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn(now)
	if last {
		for _, r := range []struct {
			what string
			*repeated
		}{{throttledOften, &d.closings}, {"gave way", &d.yields}, {"standby", &d.notices}} {
			if r.times > 0 {
				d.entries = append(d.entries, entry{r.what, r.counted(now)})
			}
		}
	}
	list := d.entries
	d.entries = nil
	return list
}

func (d *diary) giveBack(list []entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(list, d.entries...)
}

// sum adds to a summary for how long nothing could be written, and why.
func (d *diary) sum(s *Summary, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count(now)
	s.ShutFor, s.Notices = d.shutFor, slices.Clone(d.heard)
	s.Waited = slices.SortedFunc(maps.Values(d.waited), func(a, b Waited) int {
		if a.For != b.For {
			return int(min(max(b.For-a.For, -1), 1))
		}
		return strings.Compare(a.Signal, b.Signal)
	})
}

// writeDown writes down what is due; where that fails it is tried again with what comes next.
func (e *engine) writeDown(ctx context.Context, last bool) {
	recording, ok := e.control.(Recording)
	if !ok {
		return
	}
	list := e.diary.take(time.Now(), last)
	for i, line := range list {
		bounded, cancel := context.WithTimeout(ctx, diaryPatience)
		err := recording.Record(bounded, line.what, line.reason)
		cancel()
		if err != nil {
			e.diary.giveBack(list[i:])
			return
		}
	}
}

// joinReasons says all of them, and once what several signals say alike: that the server does not answer.
func joinReasons(reasons []Reason) string {
	var texts []string
	names := map[string][]string{}
	for _, r := range reasons {
		said, named := strings.CutPrefix(r.Text, r.Signal)
		if len(names[said]) == 0 {
			texts = append(texts, said)
		}
		if named {
			names[said] = append(names[said], r.Signal)
		}
	}
	for i, said := range texts {
		texts[i] = strings.Join(names[said], ", ") + said
	}
	return strings.Join(texts, "; ")
}
