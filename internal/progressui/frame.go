package progressui

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

// Size is a terminal's, in cells.
type Size struct{ Width, Height int }

// style is how a terminal is written on.
type style struct {
	color, unicode bool
}

// Widths at which the frame has another layout.
const (
	wide   = 90
	narrow = 60
	// least is the narrowest that is drawn for; on less the lines are cut.
	least = 20
)

// frame draws a snapshot: a line on what runs, one or two with the overall progress, a line a
// worker, and a line on what is waited for. No line is wider than the terminal and there are
// fewer lines than it has, for a frame that scrolls cannot be drawn over.
func frame(s backfill.ProgressSnapshot, size Size, st style, now time.Time) []string {
	width := max(size.Width, least)
	lines := []string{st.title(s, width)}
	lines = append(lines, st.overall(s, width)...)
	tail := st.waiting(s, width)
	room := size.Height - 1 - len(lines) - len(tail)
	lines = append(lines, st.workers(s, width, room, now)...)
	lines = append(lines, tail...)
	if most := max(size.Height-1, 1); len(lines) > most {
		lines = lines[:most]
	}
	for i, line := range lines {
		if cells(line) > size.Width {
			lines[i] = cut(plain(line), size.Width)
		}
	}
	return lines
}

func (st style) title(s backfill.ProgressSnapshot, width int) string {
	left := st.paint(bold, oneLine(s.Job))
	if width >= narrow {
		left += fmt.Sprintf("  run %d", s.Run)
	}
	left += "  " + st.state(s.State)
	if s.Pass.Sweeps() {
		left += "  closing sweep"
	}
	right := []string{human.Plural(int64(s.Busy), "worker")}
	if s.ChunkRows > 0 {
		right = append([]string{"chunk " + human.Plural(int64(s.ChunkRows), "row")}, right...)
	}
	if s.Retries > 0 {
		right = append(right, human.Count(s.Retries)+" tried again")
	}
	if s.Quarantined > 0 {
		right = append(right, human.Count(s.Quarantined)+" quarantined")
	}
	return spread(left, right, width)
}

func (st style) state(s backfill.State) string {
	switch s {
	case backfill.StateRunning, backfill.StateFinishing, backfill.StateFinished, backfill.StateUndoing, backfill.StateUndone:
		return st.paint(green, string(s))
	case backfill.StateFailed, backfill.StateCancelled:
		return st.paint(red, string(s))
	}
	return st.paint(yellow, string(s))
}

// overall is the bar with its numbers: on one line where there is room, else on two or three.
func (st style) overall(s backfill.ProgressSnapshot, width int) []string {
	percent := fmt.Sprintf("%6s", human.Percent(s.Fraction))
	done := human.Count(s.RowsSeen) + " of ~" + human.Count(s.EstimatedRows) + " rows"
	if s.EstimatedRows <= 0 {
		done = human.Plural(s.RowsSeen, "row")
	}
	pace, eta := "", ""
	moving := !s.Stopped()
	if moving && s.RowsPerSecond > 0 {
		pace = human.PerSecond(s.RowsPerSecond)
	}
	if moving && s.ETA >= 0 {
		eta = "ETA " + human.Remaining(s.ETA)
	}
	if width >= wide {
		numbers := percent + "  " + join("   ", done, pace, eta)
		if room := width - runewidth.StringWidth(numbers) - 1; room >= 20 {
			return []string{st.bar(s.Fraction, room) + " " + numbers}
		}
	}
	lines := []string{st.bar(s.Fraction, width-len(percent)-1) + " " + percent}
	if numbers := join("   ", done, pace, eta); runewidth.StringWidth(numbers) <= width {
		return append(lines, numbers)
	}
	return append(lines, cut(done, width), cut(join("   ", pace, eta), width))
}

// bar is a bar of so many cells, in eighths of one where the terminal can show them.
func (st style) bar(fraction float64, cells int) string {
	cells = max(cells, 1)
	if !st.unicode {
		full := int(fraction * float64(cells))
		return st.paint(green, strings.Repeat("#", full)) + strings.Repeat("-", cells-full)
	}
	eighths := int(math.Floor(fraction * float64(cells) * 8))
	full, part := eighths/8, eighths%8
	text := strings.Repeat("█", full)
	if part > 0 {
		text += string([]rune(" ▏▎▍▌▋▊▉")[part])
		full++
	}
	return st.paint(green, text) + st.paint(dim, strings.Repeat("░", cells-full))
}

// workers is a line for each worker, as far as there is room.
func (st style) workers(s backfill.ProgressSnapshot, width, room int, now time.Time) []string {
	list := s.Workers
	more := 0
	if len(list) > room {
		more = len(list) - max(room-1, 0)
		list = list[:len(list)-more]
	}
	var lines []string
	for _, w := range list {
		lines = append(lines, st.worker(w, width, now))
	}
	if more > 0 && room > 0 {
		lines = append(lines, st.paint(dim, cut(fmt.Sprintf("    and %d more", more), width)))
	}
	return lines
}

func (st style) worker(w backfill.WorkerProgress, width int, now time.Time) string {
	number := fmt.Sprintf("%3d ", w.Worker)
	where := fmt.Sprintf("segment %-4d chunk %-5d", w.Segment, w.Seq)
	if width < narrow {
		where = fmt.Sprintf("s%-3d #%-4d", w.Segment, w.Seq)
	}
	room := width - len(number)
	switch {
	case w.Waiting != "":
		if w.Segment == 0 {
			where = ""
		}
		why := join("  ", where, st.waits(w, now, w.Segment != 0 && width < narrow))
		return number + st.paint(yellow, cut(why, room))
	case w.Segment == 0:
		return number + st.paint(dim, "idle")
	case w.Trouble != "":
		return number + st.paint(yellow, cut(where+"  "+w.Trouble, room))
	case w.Rows == 0 && w.Took == 0:
		return number + cut(where+"  starting", room)
	}
	if width < narrow {
		return number + cut(fmt.Sprintf("%s %9s %s", where, human.Count(w.Rows), human.Duration(w.Took)), room)
	}
	return number + cut(fmt.Sprintf("%s %9s rows %7s", where, human.Count(w.Rows), human.Duration(w.Took)), room)
}

// waits is how long a worker has waited, and for what.
func (st style) waits(w backfill.WorkerProgress, now time.Time, short bool) string {
	since := human.Duration(max(now.Sub(w.Since), 0).Truncate(100 * time.Millisecond))
	if short {
		return since + ": " + w.Waiting
	}
	return "waits " + since + ": " + w.Waiting
}

// waiting is why nothing is written, on as many as two lines, for that is what people look for; or what is done once meanwhile.
func (st style) waiting(s backfill.ProgressSnapshot, width int) []string {
	if doing := s.Doing(); doing != "" {
		return wrap("doing: "+oneLine(doing), width, 2)
	}
	why := s.Waiting
	if why == "" && s.State != backfill.StateRunning && s.State != backfill.StateFinishing {
		why = s.Reason
	}
	if why == "" {
		return nil
	}
	var lines []string
	for _, line := range wrap("waiting: "+oneLine(why), width, 2) {
		lines = append(lines, st.paint(yellow, line))
	}
	return lines
}
