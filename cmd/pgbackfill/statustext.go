package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

// writeRuns prints a table that fits 80 columns, and under it what each run waits for.
func writeRuns(w io.Writer, all []runStatus) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no runs yet\n  → start one: pgbackfill run FILE")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RUN\tJOB\tSTATE\tDONE\tROWS\tCHANGED\tROWS/S\tETA")
	for _, s := range all {
		rate := ""
		if s.RowsPerSecond > 0 {
			rate = human.Short(int64(s.RowsPerSecond))
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, shortened(s.Job, 24), stateText(s), human.Percent(s.Progress),
			human.Short(s.Totals.RowsSeen), human.Short(s.Totals.RowsChanged), rate, etaText(s))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		if s.Waiting != "" {
			fmt.Fprintf(w, "run %d: %s\n", s.ID, firstLine(s.Waiting))
		}
		if n := s.Totals.Quarantined; n > 0 {
			fmt.Fprintf(w, "run %d: incomplete: %s quarantined; see: pgbackfill status %s\n", s.ID, human.Plural(n, "row"), s.Job)
		}
	}
	return nil
}

// writeRun prints all there is to say of one run.
func writeRun(w io.Writer, s runStatus, events []checkpoint.EventRow) error {
	fmt.Fprintf(w, "%s, run %d on %s: %s\n", s.Job, s.ID, s.Table, stateText(s))
	if s.Waiting != "" {
		fmt.Fprintf(w, "  waits     %s\n", strings.ReplaceAll(s.Waiting, "\n", "\n            "))
	}
	if s.State.Over() && s.Reason != "" {
		fmt.Fprintf(w, "  reason    %s\n", s.Reason)
	}
	writeUndo(w, s)
	if !s.Undoing() {
		fmt.Fprintf(w, "  progress  %s of the %s: segments %d of %d, %s\n", human.Percent(s.Progress), s.Pass,
			s.Totals.SegmentsDone, s.Totals.Segments, human.Plural(s.Totals.Chunks, "chunk"))
	}
	fmt.Fprintf(w, "  rows      %s walked, %s changed\n", human.Count(s.Totals.RowsSeen), human.Count(s.Totals.RowsChanged))
	if s.Totals.SweepChanged > 0 {
		fmt.Fprintf(w, "            %s of them by the closing sweep\n", human.Count(s.Totals.SweepChanged))
	}
	if s.Totals.Unmatched+s.Totals.Multiple > 0 {
		fmt.Fprintf(w, "            the join met %s not at all, %s more than once\n", human.Count(s.Totals.Unmatched), human.Count(s.Totals.Multiple))
	}
	writeQuarantined(w, s)
	if s.RowsPerSecond > 0 {
		fmt.Fprintf(w, "  rate      %s", human.PerSecond(s.RowsPerSecond))
		if eta := etaText(s); eta != "" {
			fmt.Fprintf(w, ", ETA %s", eta)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "  created   %s by %s, pgbackfill %s\n", s.CreatedAt.Local().Format(time.DateTime), s.CreatedBy, s.ToolVersion)
	for _, p := range s.Processes {
		if p.Live {
			fmt.Fprintf(w, "  process   %s: %s, chunks of %s\n", p.Process, human.Plural(int64(p.Workers), "worker"), human.Plural(int64(p.ChunkRows), "row"))
		}
	}
	return writeEvents(w, events)
}

// writeUndo says how far a run is taken back.
func writeUndo(w io.Writer, s runStatus) {
	u := s.Undo
	if u == nil {
		return
	}
	fmt.Fprintf(w, "  undo      begun %s by %s\n", u.BeganAt.Local().Format(time.DateTime), u.BeganBy)
	if u.How == "set" {
		return
	}
	if s.Undoing() {
		fmt.Fprintf(w, "  progress  %s of what it kept, %s\n", human.Percent(s.Progress), human.Plural(int64(u.Seq), "chunk"))
	}
	fmt.Fprintf(w, "            %s put back, %s left as they are\n", human.Plural(u.Restored, "row"), human.Count(u.Missed))
}

// writeEvents prints the last things that happened to a run.
func writeEvents(w io.Writer, events []checkpoint.EventRow) error {
	const shown = 12
	if len(events) > shown {
		fmt.Fprintf(w, "  events    the last %d of %d\n", shown, len(events))
		events = events[len(events)-shown:]
	} else {
		fmt.Fprintln(w, "  events")
	}
	for _, e := range events {
		_, err := fmt.Fprintf(w, "    %s  %s: %s\n", e.At.Local().Format(time.DateTime), e.Who, eventText(e))
		if err != nil {
			return err
		}
	}
	return nil
}

// eventText is what happened, with what of its details people ask about: which process it was
// and the state before are in the table.
func eventText(e checkpoint.EventRow) string {
	var detail map[string]any
	if err := json.Unmarshal(e.Detail, &detail); err != nil {
		return e.What
	}
	for _, name := range []string{"reason", "why"} {
		if text, ok := detail[name].(string); ok && text != "" {
			return e.What + ": " + firstLine(text)
		}
	}
	if e.What == "limits changed" {
		var p backfill.Pace
		if err := json.Unmarshal(e.Detail, &p); err == nil {
			return e.What + ": " + paceText(p)
		}
	}
	return e.What
}

// paceText is what a pace says, as `set` takes it.
func paceText(p backfill.Pace) string {
	var said []string
	add := func(name string, value any, there bool) {
		if there {
			said = append(said, fmt.Sprintf("%s=%v", name, value))
		}
	}
	add("workers", p.Workers, p.Workers != 0)
	add("rate", strconv.FormatFloat(max(p.Rate, 0), 'f', -1, 64), p.Rate != 0)
	add("chunk.rows", max(p.ChunkRows, 0), p.ChunkRows != 0)
	add("chunk.target", p.ChunkTarget, p.ChunkTarget != 0)
	add("chunk.max_rows", p.ChunkMaxRows, p.ChunkMaxRows != 0)
	add("timeouts.lock", p.LockTimeout, p.LockTimeout != 0)
	add("timeouts.statement", p.StatementTimeout, p.StatementTimeout != 0)
	add("timeouts.idle", p.IdleTimeout, p.IdleTimeout != 0)
	add("timeouts.transform", p.TransformTimeout, p.TransformTimeout != 0)
	add("timeouts.connect", p.ConnectTimeout, p.ConnectTimeout != 0)
	add("synchronous_commit", p.SynchronousCommit, p.SynchronousCommit != "")
	add("max_quarantined", max(p.MaxQuarantined, 0), p.MaxQuarantined != 0)
	for _, name := range slices.Sorted(maps.Keys(p.Limits)) {
		add(name, p.Limits[name], true)
	}
	return strings.Join(said, " ")
}

// stillHeld says which limits that were set while a run went on stand against what this invocation
// would work at; "" is none. They stay with the run, and go before flags and the job file.
func stillHeld(info checkpoint.RunInfo, asked backfill.Pace) string {
	held := info.Overrides
	if reflect.DeepEqual(held, backfill.Pace{}) || reflect.DeepEqual(held.Over(asked).Settled(), asked.Settled()) {
		return ""
	}
	text := "limits set while the run went on still hold, also against flags: " + paceText(held)
	if wanted := paceText(like(held, asked)); wanted != "" {
		text += fmt.Sprintf("; to change them: pgbackfill set %s %s", info.Job, wanted)
	}
	return text
}

// like is what asked says of the limits that held holds, as `set` would have to say it.
func like(held, asked backfill.Pace) backfill.Pace {
	none := func(heldIt bool, value int) int {
		switch {
		case !heldIt:
			return 0
		case value == 0:
			return backfill.Off
		}
		return value
	}
	p := backfill.Pace{ChunkRows: none(held.ChunkRows != 0, asked.ChunkRows)}
	if held.Rate != 0 {
		p.Rate = asked.Rate
		if p.Rate == 0 {
			p.Rate = backfill.Off
		}
	}
	if held.Workers != 0 {
		p.Workers = asked.Workers
	}
	if held.ChunkTarget != 0 {
		p.ChunkTarget = asked.ChunkTarget
	}
	if held.ChunkMaxRows != 0 {
		p.ChunkMaxRows = asked.ChunkMaxRows
	}
	if held.LockTimeout != 0 {
		p.LockTimeout = asked.LockTimeout
	}
	if held.StatementTimeout != 0 {
		p.StatementTimeout = asked.StatementTimeout
	}
	if held.IdleTimeout != 0 {
		p.IdleTimeout = asked.IdleTimeout
	}
	if held.TransformTimeout != 0 {
		p.TransformTimeout = asked.TransformTimeout
	}
	if held.SynchronousCommit != "" {
		p.SynchronousCommit = asked.SynchronousCommit
	}
	if held.MaxQuarantined != 0 {
		p.MaxQuarantined = asked.MaxQuarantined
	}
	for name := range held.Limits {
		if asked.Limits[name] != "" {
			p.Limits = p.Limits.Over(backfill.Limits{name: asked.Limits[name]})
		}
	}
	return p
}

// stateInterrupted is how a run is called that nobody is at work on, and should be.
const stateInterrupted = "interrupted"

// stateText is the state of a run; one that nobody is at work on, and should be, is interrupted.
func stateText(s runStatus) string {
	if s.Undoing() {
		switch {
		case s.Undo.How == "capture" && s.Desired == backfill.DesiredPaused:
			return "undo paused"
		case s.Undo.How == "capture" && s.Live == 0:
			return "undo interrupted"
		}
		return string(backfill.StateUndoing)
	}
	switch s.State {
	case backfill.StatePlanned, backfill.StatePreparing, backfill.StateRunning, backfill.StatePausing, backfill.StateFinishing:
		if s.Live == 0 {
			return stateInterrupted
		}
	}
	return string(s.State)
}

func etaText(s runStatus) string {
	if s.ETASeconds == 0 {
		return ""
	}
	return human.Remaining(time.Duration(s.ETASeconds * float64(time.Second)))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// shortened is s in at most so many characters.
func shortened(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
