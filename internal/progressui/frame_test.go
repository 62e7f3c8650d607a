package progressui

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mattn/go-runewidth"
	"pgregory.net/rapid"

	"github.com/pgbackfill/pgbackfill/backfill"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func sample() backfill.ProgressSnapshot {
	return backfill.ProgressSnapshot{
		Run: 12, Job: "users-display-name", State: backfill.StateRunning, Pass: backfill.PassWalk,
		Fraction: 0.421, RowsSeen: 4_210_000, EstimatedRows: 10_000_000, RowsPerSecond: 31_234, ETA: 185 * time.Second,
		Busy: 3, ChunkRows: 9800, Retries: 2, Waiting: "replica_lag 12.4s > 10s (standby eu-2)",
		Workers: []backfill.WorkerProgress{
			{Worker: 1, Segment: 14, Seq: 37, Rows: 9800, Took: 98 * time.Millisecond},
			{Worker: 2, Segment: 15, Seq: 112, Waiting: "lock timeout, attempt 2", Since: noon.Add(-1200 * time.Millisecond)},
			{Worker: 3, Segment: 16, Seq: 0},
			{Worker: 4},
		},
	}
}

func TestFrameAtSomeWidths(t *testing.T) {
	t.Parallel()
	for width, want := range map[int]string{
		100: `
users-display-name  run 12  running                       chunk 9 800 rows  3 workers  2 tried again
██████████████▎░░░░░░░░░░░░░░░░░░░  42.1%  4 210 000 of ~10 000 000 rows   31 200 rows/s   ETA 3m05s
  1 segment 14   chunk 37        9 800 rows    98ms
  2 segment 15   chunk 112    waits 1.2s: lock timeout, attempt 2
  3 segment 16   chunk 0      starting
  4 idle
waiting: replica_lag 12.4s > 10s (standby eu-2)`,
		80: `
users-display-name  run 12  running   chunk 9 800 rows  3 workers  2 tried again
██████████████████████████████▋░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  42.1%
4 210 000 of ~10 000 000 rows   31 200 rows/s   ETA 3m05s
  1 segment 14   chunk 37        9 800 rows    98ms
  2 segment 15   chunk 112    waits 1.2s: lock timeout, attempt 2
  3 segment 16   chunk 0      starting
  4 idle
waiting: replica_lag 12.4s > 10s (standby eu-2)`,
		40: `
users-display-name  running
█████████████▉░░░░░░░░░░░░░░░░░░░  42.1%
4 210 000 of ~10 000 000 rows
31 200 rows/s   ETA 3m05s
  1 s14  #37       9 800 98ms
  2 s15  #112   1.2s: lock timeout, att…
  3 s16  #0     starting
  4 idle
waiting: replica_lag 12.4s > 10s
(standby eu-2)`,
	} {
		got := "\n" + strings.Join(frame(sample(), Size{width, 24}, style{unicode: true}, noon), "\n")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d columns:\n%s", width, diff)
		}
	}
}

func TestFrameSaysWhyItIsPaused(t *testing.T) {
	t.Parallel()
	s := sample()
	s.Waiting, s.State, s.Reason = "", backfill.StatePaused, "paused by ann:\nreplica rebuild"
	text := strings.Join(frame(s, Size{100, 24}, style{}, noon), "\n")
	for _, part := range []string{"  paused  ", "waiting: paused by ann: replica rebuild"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
	if strings.Contains(text, "rows/s") || strings.Contains(text, "ETA") {
		t.Errorf("a paused run has a pace:\n%s", text)
	}
}

// What was printed for wider terminals is broken between words, each line indented as its text.
// What is done once is no wait. Made to fail: without the task, nothing is said, or it is called a wait.
func TestFrameSaysWhatIsDoneOnce(t *testing.T) {
	t.Parallel()
	s := backfill.ProgressSnapshot{Run: 12, Job: "users", State: backfill.StatePreparing, ETA: -1, Waiting: "prepare", Task: "prepare", TaskFor: 3 * time.Second}
	for want, waiting := range map[string]string{"doing: prepare, for 3s": "prepare", "waiting: no connection": "no connection"} {
		s.Waiting = waiting
		lines := frame(s, Size{80, 24}, style{}, noon)
		if last := lines[len(lines)-1]; last != want {
			t.Errorf("the last line is %q, expected %q", last, want)
		}
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	got := Wrap(`note [replicas] 2 standbys replay what is written here
    → look at them while the run goes on, please
  done      300 rows walked, 300 changed, in 3 chunks
  not done  a_word_that_is_wider_than_the_terminal and more
  next      pgbackfill run a-job-file-with-a-long-name.yaml
short
`, 32)
	want := `note [replicas] 2 standbys
    replay what is written here
    → look at them while the run
      goes on, please
  done      300 rows walked, 300
            changed, in 3 chunks
  not done  a_word_that_is_wider_than_the_terminal
            and more
  next      pgbackfill run a-job-file-with-a-long-name.yaml
short
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFrameFitsEveryTerminal(t *testing.T) {
	t.Parallel()
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab \n\t\x1b\x00…日本ё")), 0, 80, -1)
	rapid.Check(t, func(t *rapid.T) {
		s := sample()
		s.Job, s.Waiting = text.Draw(t, "job"), text.Draw(t, "waiting")
		s.Fraction = rapid.Float64Range(0, 1).Draw(t, "fraction")
		s.RowsSeen, s.EstimatedRows = rapid.Int64Range(0, 1e15).Draw(t, "seen"), rapid.Int64Range(0, 1e15).Draw(t, "estimated")
		s.RowsPerSecond = rapid.Float64Range(0, 1e9).Draw(t, "pace")
		for range rapid.IntRange(0, 60).Draw(t, "workers") {
			s.Workers = append(s.Workers, backfill.WorkerProgress{Worker: 1000, Segment: 12345, Seq: 1234567, Rows: 1e9, Took: time.Hour, Trouble: text.Draw(t, "trouble")})
		}
		size := Size{rapid.IntRange(1, 200).Draw(t, "width"), rapid.IntRange(1, 60).Draw(t, "height")}
		for _, st := range []style{{}, {color: true, unicode: true}} {
			lines := frame(s, size, st, noon)
			if len(lines) > max(size.Height-1, 1) {
				t.Fatalf("%d lines on a terminal with %d", len(lines), size.Height)
			}
			for _, line := range lines {
				if w := runewidth.StringWidth(plain(line)); w > size.Width {
					t.Fatalf("%d cells on a terminal with %d: %q", w, size.Width, line)
				}
				if bare := plain(line); strings.ContainsAny(bare, "\n\r\t\x1b\x00") {
					t.Fatalf("the line moves the cursor: %q", line)
				}
			}
		}
	})
}

func TestColoursOnlyWhereTheyAreWanted(t *testing.T) {
	t.Parallel()
	colored := strings.Join(frame(sample(), Size{100, 24}, style{color: true, unicode: true}, noon), "\n")
	bare := strings.Join(frame(sample(), Size{100, 24}, style{unicode: true}, noon), "\n")
	if strings.Contains(bare, "\x1b") || !strings.Contains(colored, "\x1b[32m") || plain(colored) != bare {
		t.Errorf("colours change more than colours:\n%q\n%q", colored, bare)
	}
	for _, c := range []struct {
		environment map[string]string
		want        style
	}{
		{map[string]string{"LANG": "en_US.UTF-8", "TERM": "xterm"}, style{color: true, unicode: true}},
		{map[string]string{"LANG": "C.utf8", "NO_COLOR": "1"}, style{unicode: true}},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "C"}, style{color: true}},
		{map[string]string{"LC_CTYPE": "UTF-8", "TERM": "dumb"}, style{unicode: true}},
		{map[string]string{}, style{color: true}},
	} {
		if got := styleOf(func(name string) string { return c.environment[name] }); got != c.want {
			t.Errorf("%v: %+v", c.environment, got)
		}
	}
}
