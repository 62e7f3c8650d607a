package backfill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
)

const (
	// backoffFirst is the wait before the second try; each later one is twice as long, up to
	// backoffMost, and half of every wait is chance, so that workers do not come back in step.
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 5 * time.Second
	// failuresLooked is how many of the last chunks are looked at; where more than half of them
	// failed the run pauses.
	failuresLooked = 50
)

var (
	// errContested says that another process works on the segment too.
	errContested = errors.New("another process works on this segment")
	// errRefused is the ledger's refusal of a chunk. Only the ledger's own statement is refused: what
	// another one raises is the job's, whatever its constraints are called.
	errRefused = errors.New("the ledger refused the chunk")
	// errEntered says that rows came into a chunk, or left it, between one statement about it and another.
	errEntered = errors.New("rows entered the chunk while it was being changed")
	// errStandstill is a key that is written one way and read another: the walk would not end.
	errStandstill = errors.New("the next chunk would end at the key where it begins")
)

// timeoutsBorne is how often in a row reading what is so may run into the statement timeout.
const timeoutsBorne = 20

// attempts is what is remembered between the tries at one place of a segment.
type attempts struct {
	segment Segment
	// number is 1 for the first try.
	number int
	// narrowed are the chunks that failed and are not behind us yet, each a part of the one before it.
	narrowed []narrowing
	// failedAt is the end of the undividable chunk that had a data error; nil where none had.
	failedAt *Key
	// aside is the chunk that is to be committed next with its rows quarantined; nil is none. It has given way so often.
	aside       *Chunk
	asideYields int
	// timeouts counts the statement timeouts since the last chunk that succeeded.
	timeouts int
	// yields counts how often chunks gave way since the last one that succeeded.
	yields int
	// outside counts the failures of a transform's program, or function, since the last chunk that succeeded.
	outside int
}

// narrowing is a chunk that failed: it is gone over in chunks of at most rows, and ahead of us are so many of its rows.
type narrowing struct{ rows, ahead int }

func newAttempts(seg Segment) *attempts { return &attempts{segment: seg, number: 1} }

// succeeded forgets the failures, and of the narrowing what is behind: then chunks grow again, step by step, so that one
// bad row of many costs tries of its own neighbourhood and not of all the chunk it was in.
func (a *attempts) succeeded(c Chunk) {
	a.number, a.failedAt, a.aside, a.asideYields, a.timeouts, a.outside, a.yields = 1, nil, nil, 0, 0, 0, 0
	for i := range a.narrowed {
		a.narrowed[i].ahead -= int(c.RowsSeen)
	}
	for n := len(a.narrowed); n > 0 && (c.last || a.narrowed[n-1].ahead <= 0); n-- {
		a.narrowed = a.narrowed[:n-1]
	}
}

// stuck is the error of a ledger that refuses what follows its last row.
func (w *worker) stuck(seg Segment, mark Mark) error {
	return &Error{
		Place:    fmt.Sprintf("run %d, segment %d", w.run, seg.No),
		Found:    fmt.Sprintf("the ledger refuses chunk %d, after %s", mark.Seq+1, mark.Watermark),
		Expected: "the segment " + seg.Range.String() + " as it was planned",
		Remedy:   "look at the segment's rows in pgbackfill.segments and pgbackfill.chunks; where they were changed by hand, start over with --again",
		Kind:     ErrUnreadable,
	}
}

// narrower makes the next tries at this place a tenth as long, down to one row.
func (a *attempts) narrower(failed Chunk) {
	a.narrowed = append(a.narrowed, narrowing{rows: max(failed.size/10, 1), ahead: failed.size})
}

// smaller makes all tries up to the end of this place a tenth as long: what takes too long in one part of it does so in others.
func (a *attempts) smaller(failed Chunk) {
	ahead := failed.size
	for _, n := range a.narrowed {
		ahead = max(ahead, n.ahead)
	}
	a.narrowed = append(a.narrowed[:0], narrowing{rows: max(failed.size/10, 1), ahead: ahead})
}

// most bounds the next chunk's rows; 0 is no bound.
func (a *attempts) most() int {
	if len(a.narrowed) == 0 {
		return 0
	}
	return a.narrowed[len(a.narrowed)-1].rows
}

// failedTwice notes a data error of a chunk that cannot be divided, and reports whether it is not the first one there.
func (a *attempts) failedTwice(c Chunk) bool {
	if a.failedAt != nil && slices.Equal(*a.failedAt, c.Range.Through) {
		return true
	}
	a.failedAt = &c.Range.Through
	return false
}

// takeAside is the chunk that is to be committed with its rows quarantined, if it is the one after the mark; it is only
// taken once: where that fails, its rows are tried again first.
func (a *attempts) takeAside(mark Mark) *Chunk {
	aside := a.aside
	a.aside = nil
	if aside == nil || aside.Seq != mark.Seq+1 || mark.Seq > 0 && !slices.Equal(aside.Range.After, mark.Watermark) {
		return nil
	}
	return aside
}

// asideBorne is how often in a row rows may be set aside anew that had to give way, before they are tried again: whoever they gave way to
// may have mended them.
const asideBorne = 3

// asideAgain keeps a chunk whose rows were being set aside when somebody waited for them: what is wrong with them is known already.
func (a *attempts) asideAgain(aside *Chunk) {
	if a.asideYields++; a.asideYields%(asideBorne+1) != 0 {
		a.aside = aside
	}
}

// failed decides what follows an error: nil is another try, after a wait. It is the
// failure table of the design.
func (w *worker) failed(ctx context.Context, chunk Chunk, try *attempts, err error) error {
	err = w.plan.hide(err)
	if w.aborted() {
		return fmt.Errorf("%w: a begun chunk was cancelled and rolled back", ErrInterrupted)
	}
	var full *fullError
	if errors.As(err, &full) {
		return w.full(ctx, chunk, try, full)
	}
	action := pgerr.Class(err)
	w.leaveStandby(ctx, err)
	lost := w.conn == nil || w.conn.IsClosed()
	switch {
	case errors.Is(err, errNotCommitted), errors.Is(err, errEntered):
		action = pgerr.Retry
	case lost && action != pgerr.Fatal:
		action = pgerr.Retry
	}
	if lost && w.lost.IsZero() {
		w.lost = time.Now()
	}
	action, stop := w.follows(chunk, try, action, err)
	backoff := time.Duration(0)
	if stop == nil {
		backoff = w.backoff(try.number, action)
	}
	chunk.Attempt = try.number
	w.observe(ChunkFailed{Worker: w.id, Chunk: chunk, Err: err, Retry: stop == nil, Backoff: backoff})
	if stop != nil {
		return stop
	}
	w.retries.Add(1)
	// A row that cannot be changed is tried again and again until it stands alone; there are bounds to that of its own.
	if !lost && action != pgerr.Data && w.failing() {
		return w.pauseItself(ctx, fmt.Sprintf("more than half of the last %d chunks failed, the last one with %s", failuresLooked, pgerr.Describe(err)))
	}
	try.number++
	return w.wait(ctx, backoff, pgerr.Describe(err))
}

// follows decides about an error that would have this action: it returns what it is after all, and nil for another try.
func (w *worker) follows(chunk Chunk, try *attempts, action pgerr.Action, err error) (pgerr.Action, error) {
	if ours, stop := w.transformFailed(chunk, try, err); ours {
		if errors.As(err, new(*rowFailedError)) {
			return pgerr.Data, stop
		}
		return pgerr.Stop, stop
	}
	switch action {
	case pgerr.Retry, pgerr.Resource, pgerr.Stop:
		return action, nil
	case pgerr.Shrink:
		return action, w.tooSlow(chunk, try, err)
	case pgerr.Data:
		return action, w.dataError(chunk, try, err)
	}
	return action, w.broken(chunk, try, err, "the chunk's statement cannot succeed",
		"mend the job or the schema, then run it again: what is committed stays")
}

// tooSlow makes the chunk smaller that ran into the statement timeout; one row that does cannot be changed.
func (w *worker) tooSlow(chunk Chunk, try *attempts, err error) error {
	if try.segment.Nulls {
		return w.broken(chunk, try, err, "they took longer than the statement timeout, and are one chunk: without a key they cannot be divided",
			"raise timeouts.statement until they fit, or walk by a key without NULLs")
	}
	w.sizer().shrink(chunk.size)
	switch {
	case chunk.size > 1:
		try.smaller(chunk)
		return nil
	case !w.timedOut(chunk, err): // somebody cancelled it
		return nil
	case chunk.Range.Through == nil: // it is the search for the chunk's end that takes so long
		return w.broken(chunk, try, err, "finding the next row took longer than the statement timeout",
			"raise timeouts.statement, or find out what makes it slow: pgbackfill plan shows the statement")
	}
	return w.dataError(chunk, try, err)
}

// passing decides about an error in reading what is so: it waits where the error is of the
// passing kind, and returns it where it is not. What ran into a timeout, or was cancelled, passes a
// number of times: a busy server answers later, and what always takes too long does not.
func (w *worker) passing(ctx context.Context, try *attempts, err error) error {
	err = w.plan.hide(err)
	w.leaveStandby(ctx, err)
	lost := w.conn != nil && w.conn.IsClosed()
	switch action := pgerr.Class(err); {
	case action == pgerr.Retry, action == pgerr.Resource, lost && action != pgerr.Fatal, errors.Is(err, errLookAgain):
	case action == pgerr.Shrink && try.timeouts < timeoutsBorne:
		try.timeouts++
	default:
		return err
	}
	if lost && w.lost.IsZero() {
		w.lost = time.Now()
	}
	try.number++
	return w.wait(ctx, w.backoff(try.number, pgerr.Retry), pgerr.Describe(err))
}

// broken is the error that stops the run at a chunk.
func (w *worker) broken(chunk Chunk, try *attempts, err error, found, remedy string) error {
	place := fmt.Sprintf("job %s, table %s, segment %d, rows %s", w.plan.Job.Name, w.table(try.segment), try.segment.No, chunk.Range)
	if try.segment.Nulls {
		place = fmt.Sprintf("job %s, table %s, the rows with a NULL in the key", w.plan.Job.Name, w.sql.walk.Table)
	}
	return &Error{Place: place, Found: found, Remedy: remedy, Err: describedError{err}}
}

// describedError prints a server's error with its SQLSTATE, detail and hint.
type describedError struct{ err error }

func (e describedError) Error() string { return pgerr.Describe(e.err) }
func (e describedError) Unwrap() error { return e.err }

// backoff is how long to wait before the next try. A place that is being closed in on is
// tried again at once.
func (w *worker) backoff(number int, action pgerr.Action) time.Duration {
	if action == pgerr.Data || action == pgerr.Shrink {
		return 0
	}
	d := min(backoffFirst<<min(number-1, 10), backoffMost)
	return d/2 + rand.N(d/2)
}

// wait waits, and says why where it is long enough to be seen.
func (w *worker) wait(ctx context.Context, d time.Duration, reason string) error {
	if d == 0 {
		return ctx.Err()
	}
	if d >= 200*time.Millisecond {
		w.observe(Waiting{Worker: w.id, Reason: reason})
		defer w.observe(Waiting{Worker: w.id})
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
