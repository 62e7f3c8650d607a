package backfill

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// UndoAll is above the number of everything that was kept: where taking back begins.
const UndoAll = math.MaxInt64

// UndoMark is how far a run is taken back.
type UndoMark struct {
	// Seq is the last chunk's number, 0 where there is none, and Low what was kept under the least number that is
	// taken back; all above it are as well.
	Seq int
	Low int64
	// Restored and Missed count the rows that were put back and those that were left as they are.
	Restored, Missed int64
}

// UndoChunk is the part of what was kept that one transaction takes back: numbers from Low on and below Below.
type UndoChunk struct {
	Seq              int
	Below, Low       int64
	Restored, Missed int64
}

// UndoLedger is the record of what was taken back. Its rows commit with the data, and of two processes
// that did the same chunk one is refused, as in [Ledger].
type UndoLedger interface {
	// UndoMark reads how far the run is taken back.
	UndoMark(ctx context.Context) (UndoMark, error)
	// AppendUndo is the statement that records c, the last of the chunk's own transaction.
	AppendUndo(c UndoChunk) pgsql.Statement
	// UndoRefused reports whether err is the refusal of AppendUndo.
	UndoRefused(err error) bool
}

// UndoOptions are what taking back is made of. All are required but where it says otherwise.
type UndoOptions struct {
	Run RunID
	Job string
	// Tables are what the run kept. All segments of the run must be closed, so that nothing is added.
	Tables   []pgsql.Capture
	Pace     Pace
	Connect  Connect
	Ledger   UndoLedger
	Throttle Throttle
	// Progress is told of every chunk that is committed, and Waiting why nothing is done; nil is nobody.
	Progress func(UndoMark)
	Waiting  func(reason string)
	// Abort, when done, cancels the chunk that has begun; nil is never.
	Abort context.Context
	// MaxChunks ends the work after so many chunks; 0 is no limit.
	MaxChunks int
}

// undoer takes a run back, from the last row that was kept to the first.
type undoer struct {
	UndoOptions
	*worker
	sizer *sizer
	mark  UndoMark
	// narrow bounds the next chunk after one that was too much; 0 is no bound.
	narrow int
}

// TakeBack takes back what a run has done, from what it kept (undo: capture): in the order from last to first, chunk by
// chunk, each with its record in one transaction. A row is put back where it still holds what the run wrote; one
// that somebody has changed since is left and written down. It returns how far it is, and nil when all is taken
// back. When ctx is cancelled the begun chunk finishes, and the error is [ErrInterrupted]; it goes on
// where it was left when it is called again, by any number of processes.
func TakeBack(ctx context.Context, o UndoOptions) (UndoMark, error) {
	if o.Progress == nil {
		o.Progress = func(UndoMark) {}
	}
	if o.Waiting == nil {
		o.Waiting = func(string) {}
	}
	if o.Abort == nil {
		o.Abort = context.WithoutCancel(ctx)
	}
	e := &engine{
		plan: &Plan{Job: Job{Name: o.Job}}, run: o.Run, connect: o.Connect, abort: o.Abort, process: "undo", changed: make(chan struct{}),
		observe: func(e Event) {
			if w, ok := e.(Waiting); ok {
				o.Waiting(w.Reason)
			}
		},
	}
	o.Pace = o.Pace.Over(DefaultPace).Settled()
	e.orders = Orders{State: StateRunning, Desired: DesiredRunning}
	e.paceNow.Store(&o.Pace)
	u := &undoer{UndoOptions: o, worker: &worker{engine: e, id: 1}, sizer: newSizer(o.Pace, false)}
	defer u.worker.close(ctx)
	err := u.all(ctx)
	if err != nil && (ctx.Err() != nil || errors.Is(err, errEnough)) && !errors.Is(err, ErrInterrupted) {
		err = e.interrupted("stopped between two chunks; what is taken back stays so")
	}
	return u.mark, err
}

// all takes chunk after chunk back.
func (u *undoer) all(ctx context.Context) error {
	known, try, chunks := false, newAttempts(Segment{}), 0
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if u.MaxChunks > 0 && chunks >= u.MaxChunks {
			return errEnough
		}
		var done bool
		err := u.ready(ctx, &known)
		if err == nil {
			if err = u.Throttle.Wait(ctx, u.rows()); err != nil {
				return err
			}
			done, err = u.chunk()
		}
		switch {
		case done:
			return nil
		case err == nil:
			chunks++
			try.number, try.timeouts, u.narrow = 1, 0, 0
			u.Progress(u.mark)
			continue
		case errors.Is(err, errRefused), errors.Is(err, errNotCommitted):
			known = false
			continue
		case u.aborted():
			return fmt.Errorf("%w: a begun chunk was cancelled and rolled back", ErrInterrupted)
		}
		known = false // the answer to a commit may have been lost
		if pgerr.Class(err) == pgerr.Shrink && u.rows() > 1 {
			u.narrow = max(u.rows()/10, 1)
			continue
		}
		if err = u.passing(ctx, try, err); err != nil {
			return &Error{
				Place: u.place(), Found: "it cannot be taken back any further", Err: describedError{err},
				Remedy: "mend what stands in the way, then undo again: it goes on here",
			}
		}
	}
}

// ready makes sure that there is a connection and that the mark is what the ledger says.
func (u *undoer) ready(ctx context.Context, known *bool) error {
	if u.conn == nil || u.conn.IsClosed() {
		*known = false
		if err := u.reconnect(ctx); err != nil {
			return err
		}
	}
	if *known {
		return nil
	}
	mark, err := u.Ledger.UndoMark(ctx)
	if err == nil {
		u.mark, *known = mark, true
	}
	return err
}

func (u *undoer) rows() int {
	if u.narrow > 0 {
		return u.narrow
	}
	return u.sizer.next()
}

// chunk takes the next part back and commits it with its record. done is set where nothing is left.
func (u *undoer) chunk() (done bool, err error) {
	ctx, cancel := u.grace()
	defer cancel()
	conn, size, started := u.conn.PgConn(), u.rows(), time.Now()
	defer rollback(ctx, conn)
	answers, err := exchange(ctx, conn, pgsql.Begin, u.settings(), pgsql.Kept(u.Tables, u.mark.Low, size))
	if err != nil {
		return false, err
	}
	found := answers[2].rows[0]
	if found[0] == "" {
		return true, nil
	}
	c := UndoChunk{Seq: u.mark.Seq + 1, Below: u.mark.Low, Low: number(found[0])}
	if err := u.restore(ctx, &c, c.Low, number(found[2])+1); err != nil {
		return false, err
	}
	if answers, err = exchange(ctx, conn, u.Ledger.AppendUndo(c), pgsql.Commit); err != nil {
		if len(answers) == 0 && u.Ledger.UndoRefused(err) {
			return false, fmt.Errorf("%w: %w", errRefused, err)
		}
		return false, err
	}
	if answers[1].tag.String() != "COMMIT" {
		return false, errNotCommitted
	}
	u.sizer.took(size, number(found[1]), number(found[1]), time.Since(started))
	u.mark = UndoMark{Seq: c.Seq, Low: c.Low, Restored: u.mark.Restored + c.Restored, Missed: u.mark.Missed + c.Missed}
	return false, nil
}

func (u *undoer) settings() pgsql.Statement {
	p := u.Pace
	limits := pgsql.Limits{Lock: p.LockTimeout, Statement: p.StatementTimeout, Idle: p.IdleTimeout, SynchronousCommit: p.SynchronousCommit}
	return pgsql.SetLocal(append(append(pgsql.UndoPins(), limits.Settings()...),
		pgsql.Setting{Name: "application_name", Value: applicationName(u.Job+" undo", 1)})...)
}

// restore puts back what was kept under numbers from low on and below another. What a constraint does not allow all
// at once is tried by halves, the later one first, down to the row that does not go: rows depend on each other
// in the order in which they were written.
func (u *undoer) restore(ctx context.Context, c *UndoChunk, low, below int64) error {
	statements := []pgsql.Statement{{Name: "savepoint", SQL: "SAVEPOINT pgbackfill_undo"}}
	for i := len(u.Tables) - 1; i >= 0; i-- {
		statements = append(statements, u.Tables[i].Restore(low, below)...)
	}
	conn := u.conn.PgConn()
	answers, err := exchange(ctx, conn, append(statements, pgsql.CheckNow)...)
	if err == nil {
		for _, a := range answers[1 : len(answers)-1] {
			c.Restored += number(a.rows[0][0])
			c.Missed += number(a.rows[0][1])
		}
		return nil
	}
	if pgerr.Class(err) != pgerr.Data || conn.IsClosed() {
		return err
	}
	if _, err := exchange(ctx, conn, pgsql.Statement{Name: "rollback", SQL: "ROLLBACK TO SAVEPOINT pgbackfill_undo"}); err != nil {
		return err
	}
	if below-low <= 1 {
		return u.leave(ctx, c, low, err)
	}
	middle := low + (below-low)/2
	if err := u.restore(ctx, c, middle, below); err != nil {
		return err
	}
	return u.restore(ctx, c, low, middle)
}

// leave writes down the one row that cannot be put back, and why.
func (u *undoer) leave(ctx context.Context, c *UndoChunk, id int64, why error) error {
	statements := make([]pgsql.Statement, len(u.Tables))
	for i, t := range u.Tables {
		statements[i] = t.Leave(id, pgerr.Describe(why))
	}
	answers, err := exchange(ctx, u.conn.PgConn(), statements...)
	for _, a := range answers {
		c.Missed += a.tag.RowsAffected()
	}
	return err
}

// kept makes sure that the chunk's changes were kept for undo: n of the run's triggers are there and enabled. They go
// when the run is over; a worker that has not heard of that yet finds its segment closed.
func (w *worker) kept(segment int, n int64) error {
	_, want := pgsql.Keeping(w.sql.captures)
	if n == want {
		return nil
	}
	ctx, cancel := w.grace()
	defer cancel()
	if mark, err := w.ledger.Mark(ctx, w.conn, segment); err != nil {
		return err
	} else if mark.Closed() {
		return errRefused
	}
	return &Error{
		Place: w.place(), Found: fmt.Sprintf("%d of the triggers that keep rows for undo are there and enabled", n), Expected: fmt.Sprint(want),
		Remedy: "ALTER TABLE … ENABLE ALWAYS TRIGGER those that somebody disabled, and run it again; where they were dropped, start over with --again",
		Kind:   ErrChanged,
	}
}
