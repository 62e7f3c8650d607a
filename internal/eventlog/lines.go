package eventlog

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

// Reporter tells the progress of a run every few seconds and at each change of its state.
// Its Observe is a [backfill.Observer]; Close ends it.
type Reporter struct {
	progress *backfill.Progress
	tell     func(backfill.ProgressSnapshot)
	stop     chan struct{}
	done     chan struct{}
	closing  sync.Once

	// mu keeps lines whole and in order.
	mu sync.Mutex
}

// Lines writes a line for people to w (see [Line]) at every interval.
func Lines(w io.Writer, interval time.Duration) *Reporter {
	return newReporter(interval, func(s backfill.ProgressSnapshot) {
		_, _ = fmt.Fprintln(w, Line(s)) // a closed pipe is no reason to stop a run
	})
}

// Records writes the progress as a log record, "progress", at every interval.
func Records(logger zerolog.Logger, interval time.Duration) *Reporter {
	return newReporter(interval, func(s backfill.ProgressSnapshot) {
		if s.Stopped() {
			s.RowsPerSecond, s.ETA = 0, -1
		}
		z := logger.Info().Int64("run", int64(s.Run)).Str("job", s.Job).Str("state", string(s.State)).Stringer("pass", s.Pass).
			Float64("percent", float64(int64(s.Fraction*1000))/10).Int64("rows", s.RowsSeen).Int64("estimated_rows", s.EstimatedRows).
			Int64("changed", s.RowsChanged).Float64("rows_per_second", float64(int64(s.RowsPerSecond*10))/10).
			Int("workers", s.Busy).Int("chunk_rows", s.ChunkRows).Int64("retries", s.Retries).Int64("quarantined", s.Quarantined)
		if s.ETA >= 0 {
			z.Float64("eta_s", s.ETA.Round(time.Second).Seconds())
		}
		if s.Task != "" {
			z.Str("task", s.Task).Float64("task_s", s.TaskFor.Round(time.Second).Seconds())
		}
		withReason(z, s.Why()).Msg("progress")
	})
}

func newReporter(interval time.Duration, tell func(backfill.ProgressSnapshot)) *Reporter {
	r := &Reporter{progress: backfill.NewProgress(nil), tell: tell, stop: make(chan struct{}), done: make(chan struct{})}
	go r.run(interval)
	return r
}

func (r *Reporter) run(interval time.Duration) {
	defer close(r.done)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-ticker.C:
			r.report()
		}
	}
}

// Observe takes an event in.
func (r *Reporter) Observe(e backfill.Event) {
	r.progress.Observe(e)
	if _, changed := e.(backfill.StateChanged); changed {
		r.report()
	}
}

func (r *Reporter) report() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.progress.Snapshot(); s.Job != "" && !s.Ended {
		r.tell(s)
	}
}

// Close ends the reports; none is on its way when it returns.
func (r *Reporter) Close() {
	r.closing.Do(func() { close(r.stop) })
	<-r.done
}

// Line is the progress of a run in one line:
//
//	users-display-name  42.1%  4 210 000 of ~10 000 000 rows  31 200 rows/s  ETA 3m05s  4 workers  chunk 9 800 rows
func Line(s backfill.ProgressSnapshot) string {
	parts := []string{s.Job}
	if s.State != backfill.StateRunning && s.State != "" {
		parts = append(parts, string(s.State))
	}
	if s.Pass.Sweeps() {
		parts = append(parts, "closing sweep")
	}
	parts = append(parts, human.Percent(s.Fraction), rowsOf(s))
	if !s.Stopped() && s.RowsPerSecond > 0 {
		parts = append(parts, human.PerSecond(s.RowsPerSecond))
	}
	if !s.Stopped() && s.ETA >= 0 {
		parts = append(parts, "ETA "+human.Remaining(s.ETA))
	}
	parts = append(parts, human.Plural(int64(s.Busy), "worker"))
	if s.ChunkRows > 0 {
		parts = append(parts, "chunk "+human.Plural(int64(s.ChunkRows), "row"))
	}
	if s.Quarantined > 0 {
		parts = append(parts, human.Count(s.Quarantined)+" quarantined")
	}
	switch why := s.Why(); {
	case s.Doing() != "":
		parts = append(parts, "doing: "+s.Doing())
	case why != "":
		parts = append(parts, "waiting: "+why)
	case s.Reason != "":
		parts = append(parts, s.Reason)
	}
	return strings.Join(parts, "  ")
}

func rowsOf(s backfill.ProgressSnapshot) string {
	if s.EstimatedRows <= 0 {
		return human.Plural(s.RowsSeen, "row")
	}
	return human.Count(s.RowsSeen) + " of ~" + human.Plural(s.EstimatedRows, "row")
}

// isStop reports whether an error is somebody's wish and not a failure.
func isStop(err error) bool {
	return errors.Is(err, backfill.ErrInterrupted) || errors.Is(err, backfill.ErrCancelled)
}
