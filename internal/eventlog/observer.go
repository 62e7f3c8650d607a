package eventlog

import (
	"sync"

	"github.com/rs/zerolog"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
)

// Observer writes each event as one record. Every record names the run and the job; the other
// fields are named as the ledger names them: segment, seq, after, through, rows, changed, ms,
// attempt, worker; sqlstate and reason where something failed or waits.
//
// What a run comes to is at info: its beginning and end, passes, states, limits, the waits of
// the whole process. Chunks and segments are at debug, chunks before their commit at trace,
// what is tried again and rows that are quarantined at warn, and what stops the work at error.
func Observer(logger zerolog.Logger) backfill.Observer {
	r := &recorder{logger: logger, waits: map[int]string{}}
	return r.observe
}

type recorder struct {
	mu     sync.Mutex
	logger zerolog.Logger
	// waits is the last reason of each worker, 0 being the process: one that is repeated is one wait.
	waits map[int]string
	// task is the last one that was begun: that the process waits for it is no news.
	task string
}

func (r *recorder) observe(e backfill.Event) {
	switch e := e.(type) {
	case backfill.RunStarted:
		r.runStarted(e)
	case backfill.TaskStarted:
		r.mu.Lock()
		r.task = e.Name
		r.mu.Unlock()
		r.at(zerolog.InfoLevel).Str("task", e.Name).Str("part", string(e.Task.Part)).Msg("task started")
	case backfill.TaskDone:
		r.at(zerolog.InfoLevel).Str("task", e.Name).Str("part", string(e.Task.Part)).Float64("ms", milliseconds(e.Took)).Msg("task done")
	case backfill.Replanned:
		r.replanned(e)
	case backfill.PassStarted:
		r.at(zerolog.InfoLevel).Stringer("pass", e.Pass).Int("segments", e.Segments).Msg("pass started")
	case backfill.Synced:
		r.at(zerolog.DebugLevel).Stringer("pass", e.Pass).Int64("rows", e.RowsSeen).Int64("changed", e.RowsChanged).Msg("ledger read")
	case backfill.SegmentStarted:
		r.segment(e.Worker, e.Segment, e.Mark).Msg("segment started")
	case backfill.SegmentEnded:
		r.segment(e.Worker, e.Segment, e.Mark).Msg("segment ended")
	case backfill.SegmentSplit:
		r.at(zerolog.DebugLevel).Int("segment", e.Segment.No).Stringer("at", e.At).Msg("segment split")
	case backfill.PartitionGone:
		r.at(zerolog.WarnLevel).Int("worker", e.Worker).Int("segment", e.Segment.No).Str("partition", e.Table).
			Msg("a partition belongs to the table no more, its rows are left alone")
	case backfill.RoomChanged:
		if e.Enough {
			r.at(zerolog.InfoLevel).Int("worker", e.Worker).Msg("rows find room on their own pages again: they are changed in stripes")
		} else {
			r.at(zerolog.InfoLevel).Int("worker", e.Worker).Str("reason", e.Why).Msg("rows find no room on their own pages: whole pages are changed")
		}
	case backfill.ChunkChanged:
		chunk(r.at(zerolog.TraceLevel), e.Worker, e.Chunk).Msg("chunk changed")
	case backfill.ChunkCommitted:
		chunk(r.at(zerolog.DebugLevel), e.Worker, e.Chunk).Stringer("pass", e.Pass).Int("next_rows", e.NextRows).Msg("chunk committed")
	case backfill.Quarantined:
		r.quarantined(e)
	case backfill.RowsGone:
		r.at(zerolog.WarnLevel).Int("worker", e.Worker).Str("key", e.Row.Name()).Int64("rows", e.Rows).Msg("quarantined rows are gone, nobody has changed them")
	case backfill.ChunkFailed:
		r.chunkFailed(e)
	case backfill.ProgramSaid:
		r.at(zerolog.InfoLevel).Int("worker", e.Worker).Str("line", e.Line).Msg("the transform's program says")
	case backfill.Waiting:
		r.waiting(e)
	case backfill.Reconnected:
		r.at(zerolog.WarnLevel).Int("worker", e.Worker).Float64("ms", milliseconds(e.After)).Msg("connected again")
	case backfill.StateChanged:
		withReason(r.at(zerolog.InfoLevel), e.Reason).Str("from", string(e.From)).Str("state", string(e.To)).Msg("state changed")
	case backfill.Yielded:
		r.yielded(e)
	case backfill.Scaled:
		withReason(r.at(zerolog.InfoLevel), e.Why).Int("workers", e.Workers).Msg("number of workers changed")
	case backfill.LimitsChanged:
		pace(r.at(zerolog.InfoLevel), e.Pace).Msg("limits changed")
	case backfill.RunEnded:
		r.runEnded(e)
	}
}

// at begins a record.
func (r *recorder) at(level zerolog.Level) *zerolog.Event {
	r.mu.Lock()
	logger := r.logger
	r.mu.Unlock()
	return logger.WithLevel(level)
}

func (r *recorder) runStarted(e backfill.RunStarted) {
	r.mu.Lock()
	r.logger = r.logger.With().Int64("run", int64(e.Run)).Str("job", e.Job).Logger()
	r.mu.Unlock()
	what := "run"
	if e.Undo {
		what = "undo"
	}
	switch {
	case e.Joined:
		what += " joined"
	case e.Resumed:
		what += " resumed"
	default:
		what += " started"
	}
	r.at(zerolog.InfoLevel).Str("process", e.Process).Int64("estimated_rows", e.EstimatedRows).Msg(what)
}

// replanned tells of what preflight notices only when the tasks before the first chunk are done: nobody was shown it before.
func (r *recorder) replanned(e backfill.Replanned) {
	r.at(zerolog.InfoLevel).Int("segments", e.Segments).Int64("estimated_rows", e.EstimatedRows).Int("findings", len(e.Findings)).Msg("planned again")
	for _, f := range e.Findings {
		level := zerolog.WarnLevel
		if f.Severity == backfill.SeverityNote || f.Accepted != "" {
			level = zerolog.DebugLevel
		}
		withReason(r.at(level).Str("finding", f.ID).Str("severity", string(f.Severity)).Str("evidence", f.Evidence), f.Remedy).Msg(f.Title)
	}
}

func (r *recorder) segment(worker int, s backfill.Segment, m backfill.Mark) *zerolog.Event {
	z := r.at(zerolog.DebugLevel).Int("worker", worker).Int("segment", s.No).Stringer("pass", s.Pass).Int("seq", m.Seq).Bool("done", m.Done)
	keyRange(z, s.Range)
	if m.Watermark != nil {
		z.Stringer("watermark", m.Watermark)
	}
	if m.Fence != "" {
		z.Str("fence", m.Fence)
	}
	return z
}

// keyRange adds the ends of a range that are not open.
func keyRange(z *zerolog.Event, r backfill.KeyRange) {
	if r.After != nil {
		z.Stringer("after", r.After)
	}
	if r.Through != nil {
		z.Stringer("through", r.Through)
	}
}

func chunk(z *zerolog.Event, worker int, c backfill.Chunk) *zerolog.Event {
	z.Int("worker", worker).Int("segment", c.Segment).Int("seq", c.Seq).
		Int64("rows", c.RowsSeen).Int64("changed", sum(c.RowsChanged)).
		Float64("ms", milliseconds(c.Duration)).Int("attempt", c.Attempt)
	keyRange(z, c.Range)
	if c.Unmatched > 0 {
		z.Int64("unmatched", c.Unmatched)
	}
	if c.Multiple > 0 {
		z.Int64("multiple", c.Multiple)
	}
	return z
}

func (r *recorder) quarantined(e backfill.Quarantined) {
	q := e.Row
	withReason(r.at(zerolog.WarnLevel).Int("worker", e.Worker).Int("segment", q.Segment).Int("seq", q.Seq).Str("key", q.Name()).
		Int64("rows", q.Rows).Str("step", q.Step).Str("sqlstate", q.SQLState).Int64("quarantined", e.Aside), q.Message).Msg("row quarantined")
}

func (r *recorder) chunkFailed(e backfill.ChunkFailed) {
	level, what := zerolog.ErrorLevel, "chunk failed"
	if e.Retry {
		level, what = zerolog.WarnLevel, "chunk failed, it will be tried again"
	}
	z := r.at(level).Int("worker", e.Worker).Int("segment", e.Chunk.Segment).Int("seq", e.Chunk.Seq).Int("attempt", e.Chunk.Attempt)
	keyRange(z, e.Chunk.Range)
	if code := pgerr.Code(e.Err); code != "" {
		z.Str("sqlstate", code)
	}
	if e.Retry {
		z.Float64("backoff_ms", milliseconds(e.Backoff))
	}
	withReason(z, pgerr.Describe(e.Err)).Msg(what)
}

func (r *recorder) yielded(e backfill.Yielded) {
	z := r.at(zerolog.WarnLevel).Int("worker", e.Worker).Int("segment", e.Chunk.Segment).Int("seq", e.Chunk.Seq).Str("to", e.To)
	keyRange(z, e.Chunk.Range)
	z.Float64("backoff_ms", milliseconds(e.Backoff)).Msg("chunk gave way, it will be tried again smaller")
}

func (r *recorder) waiting(e backfill.Waiting) {
	r.mu.Lock()
	if e.Worker == 0 && e.Reason == r.task { // its beginning was said, and it is no wait for something else
		e.Reason = ""
	}
	same := r.waits[e.Worker] == e.Reason
	r.waits[e.Worker] = e.Reason
	r.mu.Unlock()
	if same || e.Still {
		return
	}
	level := zerolog.DebugLevel
	if e.Worker == 0 {
		level = zerolog.InfoLevel
	}
	z := r.at(level)
	if e.Worker != 0 {
		z.Int("worker", e.Worker)
	}
	if e.Reason == "" {
		z.Msg("goes on")
		return
	}
	withReason(z, e.Reason).Msg("waiting")
}

func pace(z *zerolog.Event, p backfill.Pace) *zerolog.Event {
	z.Int("workers", p.Workers).Float64("rate", p.Rate).Float64("chunk_target_ms", milliseconds(p.ChunkTarget)).Int("chunk_max_rows", p.ChunkMaxRows)
	if p.ChunkRows > 0 {
		z.Int("chunk_rows", p.ChunkRows)
	}
	return z
}

func (r *recorder) runEnded(e backfill.RunEnded) {
	level, s := zerolog.InfoLevel, e.Summary
	if e.Err != nil {
		level = zerolog.ErrorLevel
		if isStop(e.Err) {
			level = zerolog.WarnLevel
		}
	}
	z := r.at(level).Str("state", string(s.State)).Int64("chunks", s.Chunks).Int64("rows", s.RowsSeen).Int64("changed", s.RowsChanged).
		Int64("sweep_changed", s.SweepChanged).Int64("unmatched", s.Unmatched).Int64("multiple", s.Multiple).
		Int64("written_since", s.WrittenSince).Int64("retries", s.Retries).Int64("quarantined", s.Quarantined).Float64("ms", milliseconds(s.Elapsed))
	if s.Yields > 0 {
		z.Int64("yields", s.Yields)
	}
	if s.ShutFor > 0 {
		waits := zerolog.Dict()
		for _, w := range s.Waited {
			waits.Float64(w.Signal, milliseconds(w.For))
		}
		z.Float64("shut_ms", milliseconds(s.ShutFor)).Dict("waited_ms", waits)
	}
	reason := s.Reason
	if e.Err != nil {
		reason = pgerr.Describe(e.Err)
		if code := pgerr.Code(e.Err); code != "" {
			z.Str("sqlstate", code)
		}
	}
	withReason(z, reason).Msg("run ended")
}

func withReason(z *zerolog.Event, reason string) *zerolog.Event {
	if reason != "" {
		z.Str("reason", reason)
	}
	return z
}
