package progressui_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/eventlog"
	"github.com/pgbackfill/pgbackfill/internal/progressui"
)

// No goroutine of a display outlives the tests; TestNothingOutlivesClose looks at one.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start begins a display with two workers at work, in plain characters.
func start(term *terminal) *progressui.Display {
	d := progressui.Start(term, progressui.WithSize(term.size), progressui.WithColor(false), progressui.WithUnicode(false))
	d.Observe(backfill.RunStarted{Run: 12, Job: "users-display-name", EstimatedRows: 1_000_000})
	d.Observe(backfill.PassStarted{Pass: backfill.PassWalk, Segments: 16})
	for id := 1; id <= 2; id++ {
		d.Observe(backfill.SegmentStarted{Worker: id, Segment: backfill.Segment{No: 10 + id}})
	}
	return d
}

func commit(d *progressui.Display, worker, seq int) {
	d.Observe(backfill.ChunkCommitted{Worker: worker, Pass: backfill.PassWalk, NextRows: 9800, Chunk: backfill.Chunk{
		Segment: 10 + worker, Seq: seq, RowsSeen: 9800, Duration: 98 * time.Millisecond, Attempt: 1,
	}})
}

// drawn waits until the display has been drawn anew.
func drawn() { time.Sleep(time.Second); synctest.Wait() }

// clean checks that only these lines are left.
func clean(t *testing.T, term *terminal, want string) {
	t.Helper()
	if got := term.text(); got != want {
		t.Errorf("left on the terminal:\n%s\nexpected:\n%s", got, want)
	}
	if m := term.misunderstood(); m != "" {
		t.Errorf("the terminal was told: %s", m)
	}
}

func TestDisplayShowsTheRunAndLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, size := range []progressui.Size{{Width: 120, Height: 30}, {Width: 80, Height: 24}, {Width: 40, Height: 12}} {
		synctest.Test(t, func(t *testing.T) {
			term := newTerminal(size.Width, size.Height)
			_, _ = io.WriteString(term, "$ pgbackfill run users.yaml\n")
			d := start(term)
			for seq := 1; seq <= 10; seq++ {
				commit(d, 1, seq)
				commit(d, 2, seq)
				drawn()
			}
			text := term.text()
			for _, part := range []string{"users-display-name", "running", " 19.6%", "196 000 of ~1 000 000 rows", "rows/s", "ETA ", "#10", "98ms", "$ pgbackfill run"} {
				if part == "#10" && size.Width >= 60 {
					part = "chunk 10"
				}
				if strings.Count(text, part) < 1 {
					t.Errorf("%v: %q is not shown in\n%s", size, part, text)
				}
			}
			if n := strings.Count(text, "users-display-name"); n != 1 {
				t.Errorf("%v: drawn %d times\n%s", size, n, text)
			}
			d.Close()
			clean(t, term, "$ pgbackfill run users.yaml\n")
		})
	}
}

func TestLogLinesStandAboveTheDisplay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		term := newTerminal(60, 20)
		d := start(term)
		log, err := eventlog.New(d.Writer(), "console", "info")
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		for i := range 5 {
			drawn()
			line := fmt.Sprintf("line %d %s", i, strings.Repeat("long ", 3+i*5)) // up to two rows
			fmt.Fprintln(d.Writer(), line)
			want += strings.TrimRight(line, " ") + "\n"
		}
		drawn()
		text := term.text()
		if !strings.HasPrefix(text, want) || strings.Count(text, "users-display-name") != 1 {
			t.Errorf("got\n%s", text)
		}
		_, _ = io.WriteString(d.Writer(), "half a line")
		drawn()
		if strings.Contains(term.text(), "half") {
			t.Error("a line is shown before it is complete")
		}
		d.Close()
		fmt.Fprintln(d.Writer(), "after the end")
		clean(t, term, want+"half a line\nafter the end\n")
		log.Info().Msg("logged after the end")
		if !strings.Contains(term.text(), "INF logged after the end") {
			t.Error("a log line got lost")
		}
	})
}

func TestDisplaySurvivesBeingResized(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		term := newTerminal(120, 30)
		d := start(term)
		fmt.Fprintln(d.Writer(), "a line of the log")
		seq := 0
		for _, width := range []int{120, 50, 200, 30, 31, 90, 20, 120} {
			term.resize(width, 30)
			seq++
			commit(d, 1, seq)
			drawn()
			if text := term.text(); strings.Count(text, "users-display-name") != 1 || strings.Count(text, "rows/s") > 1 {
				t.Fatalf("resized to %d:\n%s", width, text)
			}
		}
		term.resize(25, 30)
		d.Close()
		clean(t, term, "a line of the log\n")
	})
}

func TestEchoOfControlCIsDrawnOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		term := newTerminal(80, 24)
		d := start(term)
		drawn()
		_, _ = io.WriteString(term, "^C")
		fmt.Fprintln(d.Writer(), "stopping after the chunks that have begun")
		drawn()
		_, _ = io.WriteString(term, "^C")
		d.Close()
		clean(t, term, "stopping after the chunks that have begun\n")
	})
}

func TestManyWorkersOnASmallTerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		term := newTerminal(80, 10)
		_, _ = io.WriteString(term, "$\n")
		d := start(term)
		for id := 3; id <= 40; id++ {
			d.Observe(backfill.SegmentStarted{Worker: id, Segment: backfill.Segment{No: id}})
		}
		for range 5 {
			drawn()
		}
		if text := term.text(); !strings.Contains(text, "and 35 more") || strings.Count(text, "users-display-name") != 1 {
			t.Errorf("got\n%s", text)
		}
		d.Close()
		clean(t, term, "$\n")
	})
}

func TestNothingOutlivesClose(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	d := start(newTerminal(80, 24))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for seq := range 200 {
				commit(d, w+1, seq)
				fmt.Fprintln(d.Writer(), "line")
			}
		})
	}
	wg.Wait()
	d.Close()
	d.Close()
	goleak.VerifyNone(t, ignore)
}

// broken is a terminal that is gone.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("input/output error") }

func TestTerminalThatIsGoneStopsNothing(t *testing.T) {
	t.Parallel()
	d := progressui.Start(broken{})
	d.Observe(backfill.RunStarted{Run: 1, Job: "x"})
	deadline := time.Now().Add(10 * time.Second)
	for { // the display notices when it is drawn; then log lines are refused and not waited for
		if _, err := fmt.Fprintln(d.Writer(), "line"); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the display does not notice")
		}
		time.Sleep(10 * time.Millisecond)
	}
	d.Close()
}

func TestPipeIsNotUsable(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if progressui.Usable(w) {
		t.Error("a pipe is said to be a terminal")
	}
}
