package backfill_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// started is the progress of a run of so many estimated rows with one worker at work.
func started(estimated int64) *backfill.Progress {
	p := backfill.NewProgress(nil)
	p.Observe(backfill.RunStarted{Run: 7, Job: "users-display-name", EstimatedRows: estimated})
	p.Observe(backfill.PassStarted{Pass: backfill.PassWalk, Segments: 8})
	p.Observe(backfill.SegmentStarted{Worker: 1, Segment: backfill.Segment{No: 3}})
	return p
}

func chunk(seq int, rows int64) backfill.ChunkCommitted {
	return backfill.ChunkCommitted{Worker: 1, Pass: backfill.PassWalk, NextRows: 9800, Chunk: backfill.Chunk{
		Segment: 3, Seq: seq, RowsSeen: rows, RowsChanged: []int64{rows / 2}, Duration: 98 * time.Millisecond, Attempt: 1,
	}}
}

// work commits a chunk of so many rows each second.
func work(p *backfill.Progress, seconds int, rows int64) {
	for seq := range seconds {
		time.Sleep(time.Second)
		p.Observe(chunk(seq+1, rows))
	}
}

func near(got, want time.Duration) bool { return (got - want).Abs() <= want/20 }

func TestProgressRateAndETA(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := started(100_000)
		if s := p.Snapshot(); s.RowsPerSecond != 0 || s.ETA >= 0 || s.Fraction != 0 {
			t.Errorf("before the first chunk: %v rows/s, ETA %v, %v done", s.RowsPerSecond, s.ETA, s.Fraction)
		}
		work(p, 25, 1000)
		s := p.Snapshot()
		if s.RowsSeen != 25_000 || s.RowsChanged != 12_500 || s.Fraction != 0.25 || s.ChunkRows != 9800 || s.Chunks != 25 {
			t.Errorf("got %+v", s)
		}
		if s.RowsPerSecond < 950 || s.RowsPerSecond > 1100 || !near(s.ETA, 75*time.Second) {
			t.Errorf("%v rows/s, ETA %v; expected 1000 and 75s", s.RowsPerSecond, s.ETA)
		}
		work(p, 15, 3000)
		if s = p.Snapshot(); s.RowsPerSecond < 2850 || s.RowsPerSecond > 3300 {
			t.Errorf("%v rows/s after it became 3000", s.RowsPerSecond)
		}
	})
}

func TestProgressLeavesPausesOut(t *testing.T) {
	t.Parallel()
	for name, pause := range map[string][2]backfill.Event{
		"paused by somebody": {
			backfill.StateChanged{From: backfill.StateRunning, To: backfill.StatePaused, Reason: "paused by ann"},
			backfill.StateChanged{From: backfill.StatePaused, To: backfill.StateRunning},
		},
		"the process waits":  {backfill.Waiting{Reason: "replica_lag 12s > 10s"}, backfill.Waiting{}},
		"every worker waits": {backfill.Waiting{Worker: 1, Reason: "no connection"}, backfill.Waiting{Worker: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := started(100_000)
				work(p, 20, 1000)
				before := p.Snapshot()
				p.Observe(pause[0])
				time.Sleep(time.Hour)
				during := p.Snapshot()
				p.Observe(pause[1])
				work(p, 5, 1000)
				after := p.Snapshot()
				if during.ETA != before.ETA || during.RowsPerSecond != before.RowsPerSecond {
					t.Errorf("in the pause: ETA %v, %v rows/s; before it %v, %v", during.ETA, during.RowsPerSecond, before.ETA, before.RowsPerSecond)
				}
				if !near(after.ETA, 75*time.Second) || after.Active != 25*time.Second || after.Elapsed != time.Hour+25*time.Second {
					t.Errorf("after it: ETA %v, active %v of %v", after.ETA, after.Active, after.Elapsed)
				}
			})
		})
	}
}

func TestProgressOneWorkersWaitIsNoPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := started(100_000)
		p.Observe(backfill.SegmentStarted{Worker: 2, Segment: backfill.Segment{No: 4}})
		p.Observe(backfill.Waiting{Worker: 2, Reason: "retry in 1s: deadlock"})
		work(p, 10, 1000)
		s := p.Snapshot()
		if s.Active != 10*time.Second || s.Why() != "" {
			t.Errorf("active %v, why %q", s.Active, s.Why())
		}
		if s.Workers[1].Waiting != "retry in 1s: deadlock" || s.Busy != 2 {
			t.Errorf("workers %+v", s.Workers)
		}
	})
}

func TestProgressNeverAboveHundredPercent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := started(rapid.Int64Range(0, 1000).Draw(t, "estimate"))
		rows := rapid.SliceOfN(rapid.Int64Range(0, 500), 0, 20).Draw(t, "chunks")
		for i, n := range rows {
			p.Observe(chunk(i+1, n))
			if i%7 == 6 {
				p.Observe(backfill.PassStarted{Pass: min(backfill.PassSweep, backfill.Pass(i/7+2))})
			}
			if f := p.Snapshot().Fraction; f < 0 || f >= 1 {
				t.Fatalf("fraction %v before the end", f)
			}
		}
		p.Observe(backfill.RunEnded{Summary: backfill.Summary{State: backfill.StateFinished}})
		if f := p.Snapshot().Fraction; f != 1 {
			t.Fatalf("fraction %v at the end", f)
		}
	})
}

func TestProgressCountsWhatOthersDid(t *testing.T) {
	t.Parallel()
	p := started(1000)
	p.Observe(chunk(1, 100))
	p.Observe(backfill.Synced{Pass: backfill.PassWalk, RowsSeen: 600})
	p.Observe(chunk(2, 100))
	if s := p.Snapshot(); s.RowsSeen != 700 || s.Fraction != 0.7 {
		t.Errorf("%d rows, %v", s.RowsSeen, s.Fraction)
	}
}

func TestProgressOfTheSweepIsItsOwn(t *testing.T) {
	t.Parallel()
	p := started(900)
	p.Observe(chunk(1, 1000))
	p.Observe(backfill.PassStarted{Pass: backfill.PassSweep, Segments: 1})
	swept := chunk(1, 250)
	swept.Pass = backfill.PassSweep
	p.Observe(swept)
	if s := p.Snapshot(); s.Pass != backfill.PassSweep || s.RowsSeen != 250 || s.EstimatedRows != 1000 || s.Fraction != 0.25 {
		t.Errorf("got %+v", s)
	}
}

func TestProgressShowsWorkersAsTheyComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := started(1000)
		p.Observe(chunk(4, 100))
		if w := p.Snapshot().Workers[0]; w.Segment != 3 || w.Seq != 4 || w.Rows != 100 || w.Took != 98*time.Millisecond {
			t.Errorf("worker %+v", w)
		}
		p.Observe(backfill.ChunkFailed{Worker: 1, Retry: true, Err: errors.New("deadlock\ndetail"), Chunk: backfill.Chunk{Attempt: 1}})
		p.Observe(backfill.Waiting{Worker: 1, Reason: "retry in 1s"})
		if s := p.Snapshot(); s.Workers[0].Trouble != "attempt 1: deadlock" || s.Retries != 1 || s.Why() != "retry in 1s" {
			t.Errorf("after a failure: %+v", s)
		}
		p.Observe(backfill.Waiting{Worker: 1})
		p.Observe(chunk(5, 100))
		if w := p.Snapshot().Workers[0]; w.Trouble != "" || w.Waiting != "" {
			t.Errorf("after the retry: %+v", w)
		}
		for id := 2; id <= 4; id++ {
			p.Observe(backfill.SegmentStarted{Worker: id, Segment: backfill.Segment{No: id}})
		}
		p.Observe(backfill.LimitsChanged{Pace: backfill.Pace{Workers: 2}})
		p.Observe(backfill.SegmentEnded{Worker: 4})
		if s := p.Snapshot(); len(s.Workers) != 3 || s.Busy != 3 {
			t.Errorf("worker 3 still works and 4 is gone: %+v", s.Workers)
		}
	})
}

// What is done once is told with its time, until it is done or the work is over; the rows to expect are those of the plan that is run.
//
// Made to fail: with the estimate of the first plan kept, the run has none; with a task that nothing ends, it is told for ever.
func TestProgressOfTasks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := backfill.NewProgress(nil)
		p.Observe(backfill.RunStarted{Run: 7, Job: "users-display-name"})
		told := func(want string) {
			t.Helper()
			if got := p.Snapshot().Doing(); got != want {
				t.Errorf("it does %q, expected %q", got, want)
			}
		}
		told("")
		p.Observe(backfill.TaskStarted{Name: "prepare"})
		p.Observe(backfill.Waiting{Reason: "prepare"})
		time.Sleep(90 * time.Second)
		told("prepare, for 1m30s")
		p.Observe(backfill.Waiting{Reason: "no connection"})
		told("")
		p.Observe(backfill.Waiting{Reason: ""})
		p.Observe(backfill.TaskDone{Name: "prepare"})
		told("")
		p.Observe(backfill.TaskStarted{Name: "helper dupes"})
		p.Observe(backfill.Replanned{EstimatedRows: 1000})
		p.Observe(backfill.PassStarted{Pass: backfill.PassWalk})
		told("")
		if s := p.Snapshot(); s.EstimatedRows != 1000 {
			t.Errorf("%d rows are expected", s.EstimatedRows)
		}
		p.Observe(backfill.TaskStarted{Name: "finish"})
		p.Observe(backfill.RunEnded{Err: errors.New("it failed")})
		told("")
	})
}
