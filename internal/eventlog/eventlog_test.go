package eventlog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/eventlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// records runs events through a JSON log of a level and returns what was written.
func records(t *testing.T, level string, events ...backfill.Event) []map[string]any {
	t.Helper()
	var out bytes.Buffer
	logger, err := eventlog.New(&out, "json", level)
	if err != nil {
		t.Fatal(err)
	}
	observe := eventlog.Observer(logger)
	for _, e := range events {
		observe(e)
	}
	var list []map[string]any
	for line := range strings.Lines(out.String()) {
		record := map[string]any{}
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if record["time"] == nil {
			t.Errorf("no time in %s", line)
		}
		delete(record, "time")
		list = append(list, record)
	}
	return list
}

var (
	began = backfill.RunStarted{Run: 12, Job: "users", Process: "host:1", EstimatedRows: 1000, Resumed: true}
	done  = backfill.Chunk{
		Segment: 4, Seq: 37, Range: backfill.KeyRange{After: backfill.Key{"5", "b"}, Through: backfill.Key{"9", "c"}},
		RowsSeen: 100, RowsChanged: []int64{60, 3}, Duration: 98*time.Millisecond + 440*time.Microsecond, Attempt: 2, Unmatched: 7,
	}
	errLockTimeout = fmt.Errorf("changing: %w", &pgconn.PgError{Severity: "ERROR", Code: "55P03", Message: "canceling statement due to lock timeout"})
)

// That the process waits for what it does once is said by its beginning, and a wait for something else meanwhile is said. Made to fail: with
// waits told whatever they are for.
func TestATaskIsNoWait(t *testing.T) {
	t.Parallel()
	var said []string
	for _, record := range records(t, "info", backfill.TaskStarted{Name: "prepare"}, backfill.Waiting{Reason: "prepare"}, backfill.Waiting{Reason: "no connection"},
		backfill.Waiting{}, backfill.TaskStarted{Name: "prepare"}, backfill.Waiting{Reason: "prepare"}, backfill.TaskDone{Name: "prepare"}, backfill.Waiting{}) {
		said = append(said, fmt.Sprint(record["message"], " ", record["reason"]))
	}
	if diff := cmp.Diff([]string{"task started <nil>", "waiting no connection", "goes on <nil>", "task started <nil>", "task done <nil>"}, said); diff != "" {
		t.Error(diff)
	}
}

// What preflight finds when the tasks are done nobody was shown before: the log has it, what was accepted apart. Made to fail: with the count
// alone.
func TestFindingsOfAPlanThatIsMadeAgain(t *testing.T) {
	t.Parallel()
	finding := backfill.Finding{ID: "trigger-fires", Severity: backfill.SeverityWarning, Title: "triggers fire", Evidence: "touch on public.w", Remedy: "look at them"}
	accepted := finding
	accepted.Accepted = "ann"
	got := records(t, "info", began, backfill.Replanned{Segments: 4, EstimatedRows: 100, Findings: []backfill.Finding{finding, accepted}})[1:]
	want := []map[string]any{
		{"level": "info", "message": "planned again", "run": 12.0, "job": "users", "segments": 4.0, "estimated_rows": 100.0, "findings": 2.0},
		{"level": "warn", "message": "triggers fire", "run": 12.0, "job": "users", "finding": "trigger-fires", "severity": "warning", "evidence": "touch on public.w", "reason": "look at them"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestChunkRecordHasTheLedgersWords(t *testing.T) {
	t.Parallel()
	got := records(t, "debug", began, backfill.ChunkCommitted{Worker: 3, Chunk: done, Pass: backfill.PassTail, NextRows: 9800})[1]
	want := map[string]any{
		"level": "debug", "message": "chunk committed", "run": 12.0, "job": "users", "worker": 3.0, "segment": 4.0, "seq": 37.0,
		"after": "(5, b)", "through": "(9, c)", "rows": 100.0, "changed": 63.0, "ms": 98.4, "attempt": 2.0, "unmatched": 7.0,
		"pass": "tail", "next_rows": 9800.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFailureRecordHasSQLSTATEAndReason(t *testing.T) {
	t.Parallel()
	for retry, level := range map[bool]string{true: "warn", false: "error"} {
		got := records(t, "info", began, backfill.ChunkFailed{Worker: 1, Chunk: done, Err: errLockTimeout, Retry: retry, Backoff: 1500 * time.Millisecond})[1]
		if got["level"] != level || got["sqlstate"] != "55P03" || got["attempt"] != 2.0 || got["segment"] != 4.0 ||
			!strings.Contains(fmt.Sprint(got["reason"]), "canceling statement due to lock timeout") {
			t.Errorf("retry %v: %v", retry, got)
		}
		if _, there := got["backoff_ms"]; there != retry {
			t.Errorf("retry %v: %v", retry, got)
		}
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	events := []backfill.Event{
		began,
		backfill.TaskStarted{Name: "prepare"},
		backfill.TaskDone{Name: "prepare"},
		backfill.Replanned{Segments: 16},
		backfill.PassStarted{Pass: backfill.PassWalk, Segments: 16},
		backfill.Synced{},
		backfill.SegmentStarted{},
		backfill.ChunkChanged{Chunk: done},
		backfill.ChunkCommitted{Chunk: done},
		backfill.SegmentSplit{},
		backfill.SegmentEnded{},
		backfill.PartitionGone{},
		backfill.RoomChanged{},
		backfill.Waiting{Worker: 1, Reason: "retry in 1s"},
		backfill.Waiting{Reason: "lag"},
		backfill.Waiting{},
		backfill.ChunkFailed{Retry: true, Err: errLockTimeout},
		backfill.ChunkFailed{Err: errLockTimeout},
		backfill.Reconnected{Worker: 1},
		backfill.StateChanged{To: backfill.StatePaused, Reason: "by ann"},
		backfill.LimitsChanged{},
		backfill.RunEnded{},
	}
	want := map[string]string{
		"RunStarted": "info", "TaskStarted": "info", "TaskDone": "info", "Replanned": "info", "PassStarted": "info", "Synced": "debug", "SegmentStarted": "debug", "ChunkChanged": "trace",
		"ChunkCommitted": "debug", "SegmentSplit": "debug", "SegmentEnded": "debug", "PartitionGone": "warn", "RoomChanged": "info", "Reconnected": "warn", "StateChanged": "info",
		"LimitsChanged": "info", "RunEnded": "info",
	}
	for _, e := range events {
		name := reflect.TypeOf(e).Name()
		got := records(t, "trace", e)
		switch e := e.(type) {
		case backfill.Waiting:
			if e.Reason == "" { // an end without a beginning is not said
				if len(got) != 0 {
					t.Errorf("%v", got)
				}
				continue
			}
			want[name] = map[bool]string{true: "info", false: "debug"}[e.Worker == 0]
		case backfill.ChunkFailed:
			want[name] = map[bool]string{true: "warn", false: "error"}[e.Retry]
		}
		if len(got) != 1 || got[0]["level"] != want[name] {
			t.Errorf("%s: %v, expected one record at %s", name, got, want[name])
		}
	}
	if got := records(t, "info", events...); len(got) != 15 {
		t.Errorf("%d records at info: %v", len(got), got)
	}
}

func TestRepeatedWaitIsOneRecord(t *testing.T) {
	t.Parallel()
	lag := backfill.Waiting{Reason: "replica_lag 12s > 10s"}
	got := records(t, "info", lag, lag, lag, backfill.Waiting{}, backfill.Waiting{}, lag)
	if len(got) != 3 || got[0]["reason"] != lag.Reason || got[1]["message"] != "goes on" || got[2]["reason"] != lag.Reason {
		t.Errorf("got %v", got)
	}
}

func TestRunEndedSaysHowItWent(t *testing.T) {
	t.Parallel()
	summary := backfill.Summary{State: backfill.StateRunning, Chunks: 5, RowsSeen: 50, RowsChanged: 40, Retries: 2}
	for _, c := range []struct {
		err   error
		level string
	}{
		{nil, "info"},
		{&backfill.Error{Found: "stopped", Kind: backfill.ErrInterrupted}, "warn"},
		{errLockTimeout, "error"},
	} {
		got := records(t, "info", backfill.RunEnded{Summary: summary, Err: c.err})[0]
		if got["level"] != c.level || got["rows"] != 50.0 || got["changed"] != 40.0 || got["retries"] != 2.0 || (c.err == nil) != (got["reason"] == nil) {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

func TestNewRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{{"xml", "info"}, {"", "info"}, {"json", "loud"}, {"json", ""}} {
		if _, err := eventlog.New(&bytes.Buffer{}, c[0], c[1]); !errors.Is(err, backfill.ErrInput) {
			t.Errorf("%q: %v", c, err)
		}
	}
}

func TestConsoleIsPlainTextWhereItIsNoTerminal(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"console", "auto"} {
		var out bytes.Buffer
		logger, err := eventlog.New(&out, format, "info")
		if err != nil {
			t.Fatal(err)
		}
		eventlog.Observer(logger)(began)
		if text := out.String(); strings.Contains(text, "\x1b") || !strings.Contains(text, "INF run resumed") || !strings.Contains(text, "job=users") {
			t.Errorf("%q", text)
		}
	}
}

// many lets goroutines write at the same time; the race detector and the parser look at it.
func TestRecordsOfManyGoroutinesStayWhole(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger, err := eventlog.New(&out, "json", "debug")
	if err != nil {
		t.Fatal(err)
	}
	observe := eventlog.Observer(logger)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for range 100 {
				observe(backfill.ChunkCommitted{Worker: w, Chunk: done})
				observe(backfill.Waiting{Worker: w, Reason: fmt.Sprint(time.Now().UnixNano())})
			}
		})
	}
	wg.Wait()
	n := 0
	for line := range strings.Lines(out.String()) {
		if n++; !json.Valid([]byte(line)) {
			t.Fatalf("%q", line)
		}
	}
	if n < 800 {
		t.Errorf("%d lines", n)
	}
}

func snapshot() backfill.ProgressSnapshot {
	return backfill.ProgressSnapshot{
		Job: "users-display-name", State: backfill.StateRunning, Pass: backfill.PassWalk, Fraction: 0.421,
		RowsSeen: 4_210_000, EstimatedRows: 10_000_000, RowsPerSecond: 31_200, ETA: 185 * time.Second, Busy: 4, ChunkRows: 9800,
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*backfill.ProgressSnapshot){
		"users-display-name  42.1%  4 210 000 of ~10 000 000 rows  31 200 rows/s  ETA 3m05s  4 workers  chunk 9 800 rows": func(*backfill.ProgressSnapshot) {},
		"users-display-name  paused  42.1%  4 210 000 of ~10 000 000 rows  4 workers  chunk 9 800 rows  paused by ann: replica rebuild": func(s *backfill.ProgressSnapshot) {
			s.State, s.Reason = backfill.StatePaused, "paused by ann: replica rebuild"
		},
		"users-display-name  42.1%  4 210 000 of ~10 000 000 rows  31 200 rows/s  ETA 3m05s  4 workers  chunk 9 800 rows  waiting: replica_lag 12.4s > 10s": func(s *backfill.ProgressSnapshot) {
			s.Waiting = "replica_lag 12.4s > 10s"
		},
		"users-display-name  0.0%  1 row  1 worker": func(s *backfill.ProgressSnapshot) {
			s.Fraction, s.RowsSeen, s.EstimatedRows, s.RowsPerSecond, s.ETA, s.Busy, s.ChunkRows = 0, 1, 0, 0, -1, 1, 0
		},
		"users-display-name  finishing  closing sweep  42.1%  4 210 000 of ~10 000 000 rows  31 200 rows/s  ETA 3m05s  4 workers  chunk 9 800 rows": func(s *backfill.ProgressSnapshot) {
			s.State, s.Pass = backfill.StateFinishing, backfill.PassSweep
		},
		"users-display-name  preparing  0.0%  0 rows  0 workers  doing: helper dupes, for 1m12s": func(s *backfill.ProgressSnapshot) {
			*s = backfill.ProgressSnapshot{Job: s.Job, State: backfill.StatePreparing, ETA: -1, Waiting: "helper dupes", Task: "helper dupes", TaskFor: 72900 * time.Millisecond}
		},
		"users-display-name  preparing  0.0%  0 rows  0 workers  waiting: no connection": func(s *backfill.ProgressSnapshot) {
			*s = backfill.ProgressSnapshot{Job: s.Job, State: backfill.StatePreparing, ETA: -1, Waiting: "no connection", Task: "helper dupes"}
		},
	} {
		s := snapshot()
		change(&s)
		if got := eventlog.Line(s); got != want {
			t.Errorf("\ngot  %s\nwant %s", got, want)
		}
	}
}

func TestLinesEveryFewSecondsAndAtEachChangeOfState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r := eventlog.Lines(&out, 5*time.Second)
		defer r.Close()
		lines := func() int { synctest.Wait(); return strings.Count(out.String(), "\n") }
		time.Sleep(11 * time.Second)
		if n := lines(); n != 0 {
			t.Errorf("%d lines before the run has begun", n)
		}
		r.Observe(began)
		time.Sleep(10 * time.Second)
		if n := lines(); n != 2 {
			t.Errorf("%d lines in 10 s", n)
		}
		r.Observe(backfill.StateChanged{From: backfill.StateRunning, To: backfill.StatePaused, Reason: "paused by ann"})
		if n := lines(); n != 3 || !strings.HasSuffix(out.String(), "paused by ann\n") {
			t.Errorf("%d lines, the last of\n%s", n, out.String())
		}
		r.Observe(backfill.RunEnded{})
		time.Sleep(time.Minute)
		if n := lines(); n != 3 {
			t.Errorf("%d lines after the end", n)
		}
		r.Close()
	})
}

func TestRecordsOfProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r := eventlog.Records(zerolog.New(&out), 5*time.Second)
		r.Observe(began)
		r.Observe(backfill.SegmentStarted{Worker: 1, Segment: backfill.Segment{No: 4}})
		time.Sleep(3 * time.Second)
		r.Observe(backfill.ChunkCommitted{Worker: 1, Chunk: done, Pass: backfill.PassWalk, NextRows: 200})
		time.Sleep(3 * time.Second)
		r.Close()
		var got map[string]any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", out.String(), err)
		}
		want := map[string]any{
			"level": "info", "message": "progress", "run": 12.0, "job": "users", "state": "running", "pass": "walk",
			"percent": 10.0, "rows": 100.0, "estimated_rows": 1000.0, "changed": 63.0, "rows_per_second": 20.0, "eta_s": 45.0,
			"workers": 1.0, "chunk_rows": 200.0, "retries": 0.0, "quarantined": 0.0,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}
