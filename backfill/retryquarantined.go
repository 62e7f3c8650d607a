package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// retriedAtOnce is how many quarantined rows are read at a time.
const retriedAtOnce = 1000

var (
	// errDoneElsewhere says that quarantined rows are done: by another process, or by a commit whose answer was lost.
	errDoneElsewhere = errors.New("they are done already")
	// errTakesNoMore says that the run was cancelled or undone.
	errTakesNoMore = errors.New("it was cancelled or is being taken back: it takes no more")
)

// Retryable is the quarantine of a run as [RetryQuarantined] works it off.
type Retryable interface {
	Quarantine
	// Waiting lists the entries that are not done, after one with an ID, up to so many, in the order of their IDs.
	Waiting(ctx context.Context, after int64, most int) ([]QuarantinedRow, error)
	// Open is a statement that answers with a row where the run may still be added to, which it keeps so to the end of
	// the transaction.
	Open() pgsql.Statement
	// Resolve is the statement that marks the rows of q as done, but for so many of them that are gone, in the transaction
	// that does them. It touches no row where they are done already.
	Resolve(q QuarantinedRow, gone int64) pgsql.Statement
	// FailedAgain is the statement that writes down that they failed again, with q's error.
	FailedAgain(q QuarantinedRow) pgsql.Statement
	// Retried writes down what it came to, and returns when that and all before it is on disk.
	Retried(ctx context.Context, what Retried) error
}

// Retried is what trying quarantined rows again came to.
type Retried struct {
	Run RunID `json:"run"`
	// Done counts the rows that this process has done, Failed those that failed again, and Left those that are
	// quarantined now, over all processes.
	Done   int64 `json:"done"`
	Failed int64 `json:"failed"`
	// Gone counts those that this process has not found again: they were deleted, or have another key now. They are
	// quarantined no more, and nobody has changed them.
	Gone int64 `json:"gone"`
	Left int64 `json:"left"`
}

// RetryQuarantined does the quarantined rows of a run, each key in a transaction of its own that marks it as done. Any
// number of processes may do so at once, be killed at any instant, and start again: each row is done once. What fails
// again stays, with its new error. Of the options Run, Plan, Process, Connect, Tasks, Throttle, Programs, Transforms,
// Observer, Clamp and Abort are used. The error is [ErrInterrupted] where ctx was cancelled.
func RetryQuarantined(ctx context.Context, o Options, rows Retryable) (Retried, error) {
	plan, err := o.Plan.byIdentity()
	if err != nil {
		return Retried{}, err
	}
	o.Plan = plan
	e, err := newEngine(o)
	if err != nil {
		return Retried{}, err
	}
	e.orders = Orders{State: StateRunning, Desired: DesiredRunning}
	defer e.heeding(ctx, o.Blocked, o.Notices)()
	w := &worker{engine: e, id: 1, running: ctx}
	defer w.close(ctx)
	defer w.endProgram()
	r := retrier{worker: w, rows: rows, result: Retried{Run: o.Run}}
	err = r.all(ctx)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceMost)
	defer cancel()
	left, countErr := rows.Aside(last)
	r.result.Left = left
	if err = errors.Join(err, countErr); err == nil || r.result.Done+r.result.Gone > 0 {
		err = errors.Join(err, rows.Retried(last, r.result))
	}
	if ctx.Err() != nil {
		err = &Error{Place: e.place(), Found: "stopped between two rows; what is done stays", Remedy: "run it again to go on", Kind: ErrInterrupted}
	}
	return r.result, err
}

// retrier tries the quarantined rows of a run again.
type retrier struct {
	*worker
	rows   Retryable
	result Retried
}

func (r *retrier) all(ctx context.Context) error {
	for after := int64(0); ; {
		list, err := r.rows.Waiting(ctx, after, retriedAtOnce)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, row := range list {
			after = row.ID
			if err := r.throttle.Wait(ctx, 1); err != nil {
				return err
			}
			if err := r.row(ctx, row); err != nil {
				return err
			}
		}
	}
}

// row does the rows of one key, and tries again what passes.
func (r *retrier) row(ctx context.Context, row QuarantinedRow) error {
	seg := Segment{No: row.Segment, Pass: PassWalk, Nulls: row.Key == nil}
	try := newAttempts(seg)
	unknown, gone := false, int64(0) // whether a commit of ours may have been carried out, and what it said was gone
	for number := 1; ; number++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.conn == nil || r.conn.IsClosed() {
			if err := r.reconnect(ctx); err != nil {
				return err
			}
		}
		chunk := Chunk{Segment: row.Segment, Seq: row.Seq, Range: KeyRange{Through: row.Key}, Started: time.Now(), Attempt: number, Worker: r.name(), size: 1, last: true, alone: true}
		lacking, sent, err := r.once(seg, &chunk, row)
		if sent {
			unknown, gone = true, lacking
		}
		switch {
		case err == nil, errors.Is(err, errDoneElsewhere) && unknown:
			r.done(chunk, seg, row, gone)
			return nil
		case errors.Is(err, errDoneElsewhere):
			return nil
		}
		if yielded := (*yieldedError)(nil); errors.As(err, &yielded) && !r.aborted() {
			if err := r.givesWay(ctx, chunk, try, yielded.to); err != nil {
				return err
			}
			continue
		}
		if err := r.after(ctx, seg, chunk, row, err); err != nil {
			switch {
			case errors.Is(err, errFailedAgain):
				r.result.Failed += row.Rows
				return nil
			case errors.Is(err, errDoneElsewhere):
				return nil
			}
			return err
		}
	}
}

// errFailedAgain says that it is written down that the rows failed again.
var errFailedAgain = errors.New("failed again")

// done takes note of an entry that is settled, so many of whose rows were gone.
func (r *retrier) done(chunk Chunk, seg Segment, row QuarantinedRow, gone int64) {
	r.result.Done += row.Rows - gone
	r.result.Gone += gone
	r.observe(ChunkCommitted{Worker: r.id, Chunk: chunk, Pass: seg.Pass})
	if gone > 0 {
		r.observe(RowsGone{Worker: r.id, Row: row, Rows: gone})
	}
}

// once does the rows of one key and marks them as done, in one transaction. It reports how many of them there are no more, and
// whether the commit was sent.
func (r *retrier) once(seg Segment, chunk *Chunk, row QuarantinedRow) (gone int64, sent bool, err error) {
	ctx, cancel := r.grace()
	defer cancel()
	leave := r.yielded(applicationName(r.sql.job, seg.No))
	defer func() {
		if err != nil {
			rollback(ctx, r.conn.PgConn())
		}
		err = leave(err)
	}()
	if err := r.change(ctx, seg, chunk); err != nil {
		return 0, false, err
	}
	if gone, err = r.gone(ctx, seg, chunk, row); err != nil {
		return 0, false, err
	}
	answers, err := exchange(ctx, r.conn.PgConn(), r.rows.Open(), r.rows.Resolve(row, gone))
	if err != nil {
		return 0, false, err
	}
	switch {
	case len(answers[0].rows) == 0:
		return 0, false, errTakesNoMore
	case answers[1].tag.RowsAffected() == 0:
		return 0, false, errDoneElsewhere
	}
	chunk.Duration = time.Since(chunk.Started)
	r.observe(ChunkChanged{Worker: r.id, Chunk: *chunk})
	if answers, err = exchange(ctx, r.conn.PgConn(), pgsql.Commit); err != nil {
		return gone, true, err
	}
	if tag := answers[0].tag.String(); tag != "COMMIT" {
		return 0, false, fmt.Errorf("%w (it said %q)", errNotCommitted, tag)
	}
	return gone, true, nil
}

// gone counts the rows of an entry that there are no more, in the transaction that has done the others. They were counted before these were
// changed, and somebody may have been deleting some meanwhile, whose end the change has waited for: so they are counted again, and
// with them those that the job itself deletes. Where its own SQL may do that, only where nothing was changed is it known.
func (r *retrier) gone(ctx context.Context, seg Segment, chunk *Chunk, row QuarantinedRow) (int64, error) {
	found, changed, deleted, unknown := chunk.RowsSeen, int64(0), int64(0), false
	for i, n := range chunk.RowsChanged {
		changed += n
		if i >= len(r.plan.Job.Steps) {
			continue
		}
		switch step := r.plan.Job.Steps[i]; {
		case step.Delete:
			deleted += n
		case step.SQL != nil && step.SQL.Kind != "insert" && step.SQL.Kind != "update":
			unknown = true
		}
	}
	certain := changed > 0 && (row.Rows == 1 || unknown)
	if found > 0 && !certain {
		answers, err := exchange(ctx, r.conn.PgConn(), r.sql.walk.Count(chunk.keys(seg)))
		if err != nil {
			return 0, err
		}
		found = number(answers[0].rows[0][0]) + deleted
	}
	return max(row.Rows-found, 0), nil
}

// after decides what follows an error: nil is another try, errFailedAgain the next row.
func (r *retrier) after(ctx context.Context, seg Segment, chunk Chunk, row QuarantinedRow, err error) error {
	if errors.Is(err, errTakesNoMore) {
		return &Error{Place: r.place(), Found: err.Error(), Remedy: "what is done stays; start anew, from the beginning: pgbackfill run --again", Kind: ErrCancelled}
	}
	if r.aborted() {
		return fmt.Errorf("%w: the transaction was cancelled and rolled back", ErrInterrupted)
	}
	err = r.plan.hide(err)
	action := pgerr.Class(err)
	r.leaveStandby(ctx, err)
	lost := r.conn == nil || r.conn.IsClosed()
	switch {
	case errors.Is(err, errNotCommitted), errors.Is(err, errEntered), lost && action != pgerr.Fatal:
		action = pgerr.Retry
	case action == pgerr.Shrink && r.timedOut(chunk, err):
		action = pgerr.Data
	case errors.As(err, new(*rowFailedError)), errors.Is(err, ErrProgramEnded), errors.Is(err, ErrProgramSilent):
		action, err = pgerr.Data, &statementError{name: "transform", err: err}
	case errors.As(err, new(*outsideError)):
		action = pgerr.Retry
	}
	backoff := r.backoff(chunk.Attempt, action)
	if lost && r.lost.IsZero() {
		r.lost = time.Now()
	}
	r.observe(ChunkFailed{Worker: r.id, Chunk: chunk, Err: err, Retry: action != pgerr.Data && action != pgerr.Fatal, Backoff: backoff})
	switch action {
	case pgerr.Data:
		return r.failedAgain(ctx, seg, chunk, row, err)
	case pgerr.Fatal:
		return &Error{
			Place: r.place() + ", " + row.Name(), Found: "the statement cannot succeed", Err: describedError{err},
			Remedy: "mend the job or the schema, then try again: what is done stays",
		}
	}
	return r.wait(ctx, backoff, pgerr.Describe(err))
}

// failedAgain writes down the new error. Where that fails the row is tried again, and its error met again.
func (r *retrier) failedAgain(ctx context.Context, seg Segment, chunk Chunk, row QuarantinedRow, err error) error {
	bounded, cancel := r.grace()
	defer cancel()
	again := r.quarantinedRow(chunk, seg, err)
	again.Key = row.Key
	answers, err := exchange(bounded, r.conn.PgConn(), pgsql.Begin, r.sql.keySettings(seg, r.pace()), r.rows.FailedAgain(again), pgsql.Commit)
	if err != nil {
		rollback(bounded, r.conn.PgConn())
		if pgerr.Class(err) == pgerr.Fatal {
			return err
		}
		return r.wait(ctx, r.backoff(chunk.Attempt, pgerr.Retry), pgerr.Describe(err))
	}
	if answers[2].tag.RowsAffected() == 0 { // somebody has done them
		return errDoneElsewhere
	}
	return errFailedAgain
}
