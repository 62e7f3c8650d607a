package backfill

import (
	"context"
	"fmt"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

func (u *undoer) rows() int {
	if u.narrow > 0 {
		return u.narrow
	}
	return u.heldTo(u.sizer().next())
}

// growths is how often a part is made larger that a foreign key does not let go back, and growing how far at least, in numbers.
const (
	growths = 3
	growing = 20_000
)

// chunk takes the next part back and commits it with its record. done is set where nothing is left to be tried.
func (u *undoer) chunk(attempt int) (done bool, err error) {
	ctx, cancel := u.grace()
	defer cancel()
	conn, size, started := u.conn.PgConn(), u.rows(), time.Now()
	leave := u.yielded(applicationName(u.Job+" undo", 1))
	defer func() {
		rollback(ctx, conn)
		err = leave(err)
	}()
	if u.again {
		return u.retryLeft(ctx, size, attempt)
	}
	answers, err := exchange(ctx, conn, pgsql.Begin, undoSettings(u.Job, u.pace()), pgsql.Kept(u.Tables, u.mark.Low, size))
	if err != nil {
		return false, err
	}
	found := answers[2].rows[0]
	if found[0] == "" {
		u.again, u.above, u.gained = true, 0, false
		return u.mark.Missed == 0, nil
	}
	p := undoPart{low: number(found[0]), below: number(found[2]) + 1, rows: number(found[1])}
	c := UndoChunk{Seq: u.mark.Seq + 1, Below: u.mark.Low, Low: p.low}
	if err := u.restoreWhole(ctx, &c, &p, size); err != nil {
		return false, err
	}
	if err := u.commit(ctx, c, attempt, started); err == nil {
		u.sizer().took(size, p.rows, p.rows, time.Since(started))
	} else {
		return false, err
	}
	return false, nil
}

// commit records what was put back and commits it.
func (u *undoer) commit(ctx context.Context, c UndoChunk, attempt int, started time.Time) error {
	mark := UndoMark{Seq: c.Seq, Low: c.Low, Kept: u.mark.Kept, Restored: u.mark.Restored + c.Restored, Missed: u.mark.Missed + c.Missed}
	told := Chunk{
		Segment: 1, Seq: c.Seq, RowsSeen: mark.Passed() - u.mark.Passed(), RowsChanged: []int64{c.Restored},
		Started: started, Duration: time.Since(started), Attempt: attempt, Worker: u.name(),
	}
	u.observe(ChunkChanged{Worker: u.id, Chunk: told})
	committing := time.Now()
	answers, err := exchange(ctx, u.conn.PgConn(), u.Ledger.AppendUndo(c), pgsql.Commit)
	if err != nil {
		if len(answers) == 0 && u.Ledger.UndoRefused(err) {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		return err
	}
	if answers[1].tag.String() != "COMMIT" {
		return errNotCommitted
	}
	u.wrote(told, number(answers[0].rows[0][0]), time.Since(committing))
	u.mark = mark
	u.chunks.Add(1)
	u.observe(ChunkCommitted{Worker: u.id, Chunk: told, Pass: PassWalk, NextRows: u.sizer().next()})
	return nil
}

// retryLeft tries rows again that a constraint did not let go back: what they need may be back by now. It goes over them until a whole
// pass puts nothing more back, and commits only what has changed, so that it ends, whoever else is at it.
func (u *undoer) retryLeft(ctx context.Context, size, attempt int) (done bool, err error) {
	run, started := u.Tables[0].Run, time.Now()
	if u.narrow == 0 { // of rows that refer to each other in a circle none goes back alone
		size = max(size, growing)
	}
	answers, err := exchange(ctx, u.conn.PgConn(), pgsql.Begin, undoSettings(u.Job, u.pace()), pgsql.LeftAgain(run, u.above, size))
	if err != nil {
		return false, err
	}
	var ids []int64
	for _, row := range answers[2].rows {
		ids = append(ids, number(row[0]))
	}
	if len(ids) == 0 {
		done, u.above, u.gained = !u.gained, 0, false
		return done, nil
	}
	low, below := ids[0], ids[len(ids)-1]+1
	if answers, err = exchange(ctx, u.conn.PgConn(), pgsql.Unlist(run, ids)); err != nil {
		return false, err
	}
	c := UndoChunk{Seq: u.mark.Seq + 1, Below: u.mark.Low, Low: u.mark.Low, Missed: -answers[0].tag.RowsAffected()}
	tried := -c.Missed
	if err := u.restore(ctx, &c, low, below, ids); err != nil {
		return false, err
	}
	if answers, err = exchange(ctx, u.conn.PgConn(), pgsql.Listed(run, ids)); err != nil {
		return false, err
	}
	if still := number(answers[0].rows[0][0]); still < tried {
		if err := u.commit(ctx, c, attempt, started); err != nil {
			return false, err
		}
		u.gained = true
	}
	u.above = below - 1
	return false, nil
}

// undoSettings are those of each transaction that takes a part of a run back.
func undoSettings(job string, p Pace) pgsql.Statement {
	limits := pgsql.Limits{Lock: p.LockTimeout, Statement: p.StatementTimeout, Idle: p.IdleTimeout, SynchronousCommit: p.SynchronousCommit}
	return pgsql.SetLocal(append(append(pgsql.UndoPins(job), limits.Settings()...),
		pgsql.Setting{Name: "application_name", Value: applicationName(job+" undo", 1)})...)
}

// A part that a constraint does not allow is tried again in halves.
var (
	undoSavepoint = pgsql.Statement{Name: "undo: savepoint", SQL: "SAVEPOINT pgbackfill_undo"}
	undoHalved    = pgsql.Statement{Name: "undo: rollback", SQL: "ROLLBACK TO SAVEPOINT pgbackfill_undo"}
)

// PlannedUndo lists every statement that [TakeBack] sends about the tables whose rows a run kept, as it is sent. Those
// on the engine's own tables are the ledger's.
func PlannedUndo(job string, tables []pgsql.Capture, pace Pace) []PlannedStatement {
	p := &Plan{}
	add := p.adder()
	add("where the run has not done so: its triggers go", pgsql.Uninstall(tables)...)
	add("with each new connection", pgsql.Statement{Name: "primary", SQL: "SELECT pg_catalog.pg_is_in_recovery()"})
	add("at the start of every transaction", pgsql.Begin)
	add("in each chunk's transaction", undoSettings(job, pace.Over(DefaultPace).Settled()))
	add("in each chunk: which of the row versions that were kept it takes back, the last ones first", pgsql.Kept(tables, UndoAll, 1))
	add("in each chunk", undoSavepoint)
	add("in each chunk: puts back what still holds what the run wrote, and writes down the rest", pgsql.Restore(tables, 1, UndoAll, nil))
	add("in each chunk: constraints that wait for the commit speak", pgsql.CheckNow)
	add("where a constraint does not let a part go back", undoHalved)
	add("where a foreign key does not: it is tried with all that the same transaction did, else in halves", pgsql.Whole(tables, 1, UndoAll, growing))
	for _, t := range tables {
		add("for the one row that it does not let go back", t.Leave(1, ""))
	}
	add("when all was come to: what a constraint did not let go back is tried again, until nothing more goes",
		pgsql.LeftAgain(1, 0, 1), pgsql.Unlist(1, []int64{}), pgsql.Restore(tables, 1, UndoAll, []int64{}), pgsql.Listed(1, []int64{}))
	add("at the end of every transaction", pgsql.Commit, pgsql.Rollback)
	return p.Statements
}

// undoPart is what one transaction takes back.
type undoPart struct{ low, below, rows int64 }

// restoreWhole puts a part back. Where a foreign key does not let it, the part may have begun in the middle of what one statement did,
// such as a deletion whose cascade was kept after it: then it is made larger, down to where its transactions began, and so is each part after
// it. What that does not help is tried in halves.
func (u *undoer) restoreWhole(ctx context.Context, c *UndoChunk, p *undoPart, size int) error {
	if u.whole && u.narrow == 0 {
		if _, err := u.grow(ctx, c, p, size); err != nil {
			return err
		}
	}
	for range growths {
		err := u.attempt(ctx, c, p.low, p.below, nil)
		if err == nil || u.narrow > 0 || pgerr.Code(err) != pgerr.CodeForeignKeyViolation || u.conn.IsClosed() {
			return u.halves(ctx, c, p.low, p.below, nil, err)
		}
		if _, err := exchange(ctx, u.conn.PgConn(), undoHalved); err != nil {
			return err
		}
		larger, err := u.grow(ctx, c, p, size)
		if err != nil {
			return err
		}
		if !larger {
			break
		}
		u.whole = true
	}
	return u.restore(ctx, c, p.low, p.below, nil)
}

// grow makes a part larger, and reports whether it is.
func (u *undoer) grow(ctx context.Context, c *UndoChunk, p *undoPart, size int) (bool, error) {
	answers, err := exchange(ctx, u.conn.PgConn(), pgsql.Whole(u.Tables, p.low, p.below, max(growing, 20*int64(size))))
	if err != nil {
		return false, err
	}
	low := number(answers[0].rows[0][0])
	if low >= p.low {
		return false, nil
	}
	p.low, p.rows = low, number(answers[0].rows[0][1])
	c.Low = low
	return true, nil
}

// attempt puts back what was kept under numbers from low on and below another, of picked ones where these are not nil, after a savepoint.
func (u *undoer) attempt(ctx context.Context, c *UndoChunk, low, below int64, picked []int64) error {
	answers, err := exchange(ctx, u.conn.PgConn(), undoSavepoint, pgsql.Restore(u.Tables, low, below, picked), pgsql.CheckNow)
	if err == nil {
		c.Restored += number(answers[1].rows[0][0])
		c.Missed += number(answers[1].rows[0][1])
	}
	return err
}

// restore puts back what [undoer.attempt] does. What a constraint does not allow all at once is tried by halves, the later one first, down to the
// row that does not go: rows depend on each other in the order in which they were written.
func (u *undoer) restore(ctx context.Context, c *UndoChunk, low, below int64, picked []int64) error {
	return u.halves(ctx, c, low, below, picked, u.attempt(ctx, c, low, below, picked))
}

// halves goes on after an attempt that came to err.
func (u *undoer) halves(ctx context.Context, c *UndoChunk, low, below int64, picked []int64, err error) error {
	if err == nil || pgerr.Class(err) != pgerr.Data || u.conn.IsClosed() {
		return err
	}
	if _, err := exchange(ctx, u.conn.PgConn(), undoHalved); err != nil {
		return err
	}
	if below-low <= 1 {
		return u.leave(ctx, c, low, err)
	}
	middle := low + (below-low)/2
	if n := len(picked); n > 0 { // numbers between them are not meant
		if n == 1 {
			return u.leave(ctx, c, picked[0], err)
		}
		middle = picked[n/2]
		if err := u.restore(ctx, c, middle, below, picked[n/2:]); err != nil {
			return err
		}
		return u.restore(ctx, c, low, middle, picked[:n/2])
	}
	if err := u.restore(ctx, c, middle, below, nil); err != nil {
		return err
	}
	return u.restore(ctx, c, low, middle, nil)
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
	if n == want || w.ledger == nil { // a dry run has no run whose triggers there could be
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
