package progressui

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

// Summary writes what a run came to: how it ended, what was done, what was not and why, and
// the next command to type ("" is none). err is what ended this process's part; nil is success.
// It is plain text, the same on a terminal and in a log.
func Summary(w io.Writer, s backfill.Summary, err error, next string) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s (run %d)\n", s.Job, ending(s, err), s.Run)
	section(&b, "done", done(s))
	section(&b, "waited", waited(s))
	section(&b, "not done", notDone(s, err))
	section(&b, "why", why(s, err))
	if next != "" {
		section(&b, "next", []string{next})
	}
	_, _ = io.WriteString(w, b.String()) // there is nobody to tell that standard output is gone
}

// ending is how the run ended, in a few words.
func ending(s backfill.Summary, err error) string {
	took := human.Duration(s.Elapsed)
	if err == nil && s.State == backfill.StateFinished && s.Quarantined > 0 {
		return "finished, incomplete: " + human.Plural(s.Quarantined, "row") + " quarantined"
	}
	switch {
	case err == nil && s.State == backfill.StateFinished && s.Resumed:
		return "finished" // the time is this process's, and stands with what it did
	case err == nil && s.State == backfill.StateFinished:
		return "finished in " + took
	case errors.Is(err, backfill.ErrCancelled) || s.State == backfill.StateCancelled:
		return "cancelled after " + took
	case errors.Is(err, backfill.ErrInterrupted):
		return "interrupted after " + took + ", it can be resumed"
	case err != nil:
		return "stopped by an error after " + took + ", it can be resumed"
	}
	return fmt.Sprintf("%s after %s", s.State, took)
}

func done(s backfill.Summary) []string {
	lines := []string{fmt.Sprintf("%s walked, %s changed, in %s",
		human.Plural(s.RowsSeen, "row"), human.Count(s.RowsChanged), human.Plural(s.Chunks, "chunk"))}
	if s.Resumed {
		lines[0] = "the run as a whole: " + lines[0]
		lines = append(lines, fmt.Sprintf("this process: %s in %s", human.Plural(s.OwnChunks, "chunk"), human.Duration(s.Elapsed)))
	}
	if s.SweepChanged > 0 {
		lines = append(lines, human.Plural(s.SweepChanged, "row")+" of these by the closing sweep: they were committed behind the walk")
	}
	if s.Retries > 0 {
		lines = append(lines, retried(s))
	}
	if s.Yields > 0 {
		lines = append(lines, "chunks gave way to others that waited for them "+human.Plural(s.Yields, "time"))
	}
	return lines
}

// waitedLeast is how short a wait is no news.
const waitedLeast = time.Second

// waited says for how long nothing could be written and why, and what else was noticed.
func waited(s backfill.Summary) []string {
	var lines []string
	if s.ShutFor >= waitedLeast {
		var why []string
		for _, w := range s.Waited {
			why = append(why, fmt.Sprintf("%s %s (%s)", w.Signal, human.Duration(w.For), human.Plural(w.Times, "time")))
		}
		lines = append(lines, human.Duration(s.ShutFor)+" for "+strings.Join(why, ", "))
	}
	return append(lines, s.Notices...)
}

// retried says that chunks were tried again. Of a process that applied none nothing else can be said.
func retried(s backfill.Summary) string {
	times := "once more"
	if s.Retries > 1 {
		times = human.Count(s.Retries) + " times"
	}
	if s.Chunks == 0 {
		return "chunks were tried again " + times + ", and none applied"
	}
	return "chunks were tried again " + times + ", and each applied once"
}

func notDone(s backfill.Summary, err error) []string {
	var lines []string
	switch {
	case errors.Is(err, backfill.ErrCancelled) || s.State == backfill.StateCancelled:
		lines = append(lines, rest(s)+": what was committed stays, the run takes no more")
	case errors.Is(err, backfill.ErrInterrupted): // why and next say the rest
		lines = append(lines, rest(s))
	case err != nil || !s.State.Over():
		lines = append(lines, rest(s)+": what was committed stays, and the next run goes on from there")
	}
	if s.Quarantined > 0 {
		lines = append(lines, human.Plural(s.Quarantined, "row")+" quarantined: they could not be changed, and are as they were")
	}
	if s.WrittenSince > 0 {
		lines = append(lines, human.Plural(s.WrittenSince, "row")+" written after the walk was done, without the new values: dual writes must fill these, verify shows which")
	}
	if s.Unmatched > 0 {
		lines = append(lines, human.Plural(s.Unmatched, "row")+" in scope matched by nothing in `from`: unchanged")
	}
	if s.Multiple > 0 {
		lines = append(lines, human.Plural(s.Multiple, "row")+" in scope matched more than once in `from`: which match won is not defined")
	}
	return lines
}

// rest is what of the run is not done.
func rest(s backfill.Summary) string {
	if s.Walked {
		return "what follows the walk: rows that came meanwhile"
	}
	return "the rest of the table"
}

// why is the error, or else the reason that the run is in its state.
func why(s backfill.Summary, err error) []string {
	text := s.Reason
	if err != nil {
		text = err.Error()
	}
	var stop *backfill.Error
	if errors.Is(err, backfill.ErrInterrupted) && errors.As(err, &stop) && stop.Found != "" {
		text = stop.Found // which run it is, and how to go on, stand above and below
	}
	if strings.TrimSpace(text) == "" {
		return nil
	}
	return strings.Split(strings.TrimSpace(text), "\n")
}

// section writes lines behind a word that stands only before the first.
func section(b *strings.Builder, word string, lines []string) {
	for _, line := range lines {
		fmt.Fprintf(b, "  %-9s %s\n", word, oneLine(line))
		word = ""
	}
}
