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

// chunk takes the next part back and commits it with its record. done is set where nothing is left.
func (u *undoer) chunk(attempt int) (done bool, err error) {
	ctx, cancel := u.grace()
	defer cancel()
	conn, size, started := u.conn.PgConn(), u.rows(), time.Now()
	leave := u.yielded(applicationName(u.Job+" undo", 1))
	defer func() {
		rollback(ctx, conn)
		err = leave(err)
	}()
	answers, err := exchange(ctx, conn, pgsql.Begin, undoSettings(u.Job, u.pace()), pgsql.Kept(u.Tables, u.mark.Low, size))
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
	mark := UndoMark{Seq: c.Seq, Low: c.Low, Kept: u.mark.Kept, Restored: u.mark.Restored + c.Restored, Missed: u.mark.Missed + c.Missed}
	told := Chunk{
		Segment: 1, Seq: c.Seq, RowsSeen: mark.Passed() - u.mark.Passed(), RowsChanged: []int64{c.Restored},
		Started: started, Duration: time.Since(started), Attempt: attempt, Worker: u.name(),
	}
	u.observe(ChunkChanged{Worker: u.id, Chunk: told})
	committing := time.Now()
	if answers, err = exchange(ctx, conn, u.Ledger.AppendUndo(c), pgsql.Commit); err != nil {
		if len(answers) == 0 && u.Ledger.UndoRefused(err) {
			return false, fmt.Errorf("%w: %w", errRefused, err)
		}
		return false, err
	}
	if answers[1].tag.String() != "COMMIT" {
		return false, errNotCommitted
	}
	u.wrote(told, number(answers[0].rows[0][0]), time.Since(committing))
	u.sizer().took(size, number(found[1]), number(found[1]), told.Duration)
	u.mark = mark
	u.chunks.Add(1)
	u.observe(ChunkCommitted{Worker: u.id, Chunk: told, Pass: PassWalk, NextRows: u.sizer().next()})
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
	for i := len(tables) - 1; i >= 0; i-- {
		add("in each chunk: puts back what still holds what the run wrote, and writes down the rest", tables[i].Restore(1, UndoAll)...)
	}
	add("in each chunk: constraints that wait for the commit speak", pgsql.CheckNow)
	add("where a constraint does not let a part go back, which is then tried in halves", undoHalved)
	for _, t := range tables {
		add("for the one row that it does not let go back", t.Leave(1, ""))
	}
	add("at the end of every transaction", pgsql.Commit, pgsql.Rollback)
	return p.Statements
}

// restore puts back what was kept under numbers from low on and below another. What a constraint does not allow all
// at once is tried by halves, the later one first, down to the row that does not go: rows depend on each other
// in the order in which they were written.
func (u *undoer) restore(ctx context.Context, c *UndoChunk, low, below int64) error {
	statements := []pgsql.Statement{undoSavepoint}
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
	if _, err := exchange(ctx, conn, undoHalved); err != nil {
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
