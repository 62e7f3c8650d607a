package backfill

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// optimisticRounds is how often rows are read and computed without a lock. What is not as it was read then, is read and
// computed once more while the chunk's rows are locked.
const optimisticRounds = 3

// transform reads the rows of a chunk, computes what is to be written, and writes it in a transaction that it leaves
// open. While it computes nothing is locked, and no transaction is open: rows that somebody has changed meanwhile are
// read again, and never overwritten with what was computed of an older version.
//
// The rows of the next chunk are read while this one's are computed, and computed while this one's are written: see [ahead].
func (w *worker) transform(seg Segment, chunk *Chunk) error {
	running := w.running
	if running == nil {
		running = w.abort
	}
	part := pgsql.Part{Range: chunk.keys(seg)}
	b, err := w.computed(running, seg, chunk, part)
	for round := 1; err == nil; round++ {
		last := round >= optimisticRounds
		put := w.writeBack
		if last || !w.sql.writes() {
			put = w.settleBack
		}
		done, err := put(seg, chunk, part, b, last)
		if err == nil && done {
			w.transforms.took(chunk.size, b.bytes, w.computes().budget())
		}
		if err != nil || done {
			return err
		}
		w.awaitAhead() // before rows are locked
		if b, err = w.again(running, seg, chunk, part, b); err != nil {
			return err
		}
	}
	return err
}

// again reads a chunk's rows once more, and computes those that are not as they were.
func (w *worker) again(running context.Context, seg Segment, chunk *Chunk, part pgsql.Part, earlier *batch) (*batch, error) {
	b, _, err := w.readRows(seg, part, chunk.divisible(seg), nil)
	if err != nil {
		return nil, err
	}
	b.takeOver(earlier)
	return b, w.computes().compute(running, b, b.missing(), chunk.divisible(seg))
}

// divisible reports whether a chunk can be made shorter.
func (c *Chunk) divisible(seg Segment) bool { return c.size > 1 && !seg.Nulls }

// readRows reads the rows of a chunk in a transaction that only reads. In the same round trip seek, where there is one, finds where
// the next chunk ends; found is its answer, nil where it failed.
func (w *worker) readRows(seg Segment, part pgsql.Part, divisible bool, seek []pgsql.Statement) (b *batch, found *answer, err error) {
	ctx, cancel := w.grace()
	defer cancel()
	read, err := w.sql.transform.Select(part)
	if err != nil {
		return nil, nil, err
	}
	statements := append([]pgsql.Statement{pgsql.BeginReading, w.sql.readSettings(seg, w.pace()), read, pgsql.Commit}, seek...)
	reading := 4 // what is behind them is of the next chunk
	b, answers, err := w.computes().read(ctx, w.conn.PgConn(), w.sql.transform, divisible, 2, statements...)
	switch {
	case len(answers) == len(statements) && len(seek) > 0 && err == nil:
		found = &answers[len(answers)-2]
	case len(answers) >= reading && b != nil && b.err == nil && !w.conn.IsClosed():
		rollback(ctx, w.conn.PgConn())
		err = nil
	}
	return b, found, err
}

// read takes the rows that the statement at a place among others answers. Where they are more than a chunk may
// hold, the server is told to stop, and the error says how many there is room for.
func (c *computer) read(ctx context.Context, conn *pgconn.PgConn, sql *pgsql.Transform, divisible bool, at int, statements ...pgsql.Statement) (*batch, []answer, error) {
	b := c.batch(sql)
	budget, large := c.budget(), false
	answers, err := exchangeRows(ctx, conn, at, func(values [][]byte) {
		if large {
			return
		}
		b.add(values)
		if large = b.bytes > budget && divisible; large {
			_ = conn.CancelRequest(ctx) // else the rest comes in for nothing
		}
	}, statements...)
	if large {
		rollback(ctx, conn)
		fit := max(1, b.rows()*3/4)
		c.most.Store(int64(fit))
		return nil, nil, &tooLargeError{fit: fit}
	}
	if err == nil {
		err = b.err
	}
	return b, answers, err
}

// before are the statements that begin the transaction of a chunk, and where among them its rows are counted; -1 is
// nowhere.
func (w *worker) before(seg Segment, chunk *Chunk, part pgsql.Part, pace Pace) ([]pgsql.Statement, int) {
	list := []pgsql.Statement{pgsql.Begin, w.sql.jobSettings(seg, pace)}
	if chunk.last || !w.plan.Unique { // a full chunk of a unique key holds as many rows as were asked for
		return append(list, w.sql.walk.Count(part.Range)), 2
	}
	return list, -1
}

func (c *Chunk) saw(answers []answer, counted int) {
	if c.RowsSeen = int64(c.size); counted >= 0 {
		c.RowsSeen = number(answers[counted].rows[0][0])
	}
}

// writeBack writes what came back where rows are as they were read. It is false, and nothing is left of it, where some
// are not.
func (w *worker) writeBack(seg Segment, chunk *Chunk, part pgsql.Part, b *batch, _ bool) (bool, error) {
	ctx, cancel := w.grace()
	defer cancel()
	rows, out := columns(b.all(), len(b.versions), len(b.plan.Returns))
	write, err := w.sql.transform.Update(part, rows, pgsql.Out{Values: out})
	if err != nil {
		return false, err
	}
	look, err := w.sql.transform.Unwritten(part)
	if w.leaves { // there will be some
		look, err = w.sql.transform.Stale(part, rows)
	}
	if err != nil {
		return false, err
	}
	statements, counted := w.before(seg, chunk, part, w.pace())
	answers, err := exchange(ctx, w.conn.PgConn(), append(statements, write, look)...)
	if err != nil {
		return false, err
	}
	changed := answers[len(statements)].tag.RowsAffected()
	stale := number(answers[len(statements)+1].rows[0][0])
	if stale > 0 && !w.leaves {
		if stale, err = w.stale(ctx, part, rows); err != nil {
			return false, err
		}
	}
	w.leaves = changed < int64(b.rows())
	if stale > 0 {
		rollback(ctx, w.conn.PgConn())
		return false, nil
	}
	chunk.saw(answers, counted)
	chunk.RowsChanged = []int64{changed}
	return true, nil
}

// stale counts the rows that are neither as they were read nor written by the transaction at hand.
func (w *worker) stale(ctx context.Context, part pgsql.Part, rows pgsql.Rows) (int64, error) {
	statement, err := w.sql.transform.Stale(part, rows)
	if err != nil {
		return 0, err
	}
	answers, err := exchange(ctx, w.conn.PgConn(), statement)
	if err != nil {
		return 0, err
	}
	return number(answers[0].rows[0][0]), nil
}

// settleBack locks the chunk's rows first, and then does with what came back what the job says. It is false, and nothing
// is left of it, where some rows are not as they were read; in the last round those are computed while they are locked.
func (w *worker) settleBack(seg Segment, chunk *Chunk, part pgsql.Part, b *batch, last bool) (bool, error) {
	ctx, cancel := w.grace()
	defer cancel()
	pace := w.pace()
	if last {
		pace.IdleTimeout = idleWhileComputing(pace)
	}
	lock, err := w.sql.transform.Lock(part)
	if err != nil {
		return false, err
	}
	statements, counted := w.before(seg, chunk, part, pace)
	locked := newLocked(w.sql.transform)
	answers, err := exchangeRows(ctx, w.conn.PgConn(), len(statements), locked.add, append(statements, lock)...)
	if err != nil {
		return false, err
	}
	chunk.saw(answers, counted)
	rows, stale := locked.meet(b)
	if len(stale) > 0 && !last {
		rollback(ctx, w.conn.PgConn())
		return false, nil
	}
	if len(stale) > 0 {
		late, err := w.computeLocked(ctx, part, locked.members(stale))
		if err != nil {
			return false, err
		}
		rows = append(rows, late.all()...)
	}
	return true, w.carryOut(ctx, chunk, part, locked, rows)
}

// computeLocked reads and computes rows that are locked.
func (w *worker) computeLocked(ctx context.Context, part pgsql.Part, members *pgsql.Members) (*batch, error) {
	part.Members = members
	reread, err := w.sql.transform.Select(part)
	if err != nil {
		return nil, err
	}
	late, _, err := w.computes().read(ctx, w.conn.PgConn(), w.sql.transform, false, 0, reread)
	if err != nil {
		return nil, err
	}
	computing, cancel := w.computes().underLock(ctx)
	defer cancel()
	computing, done := w.mayGiveWay(computing)
	defer done()
	err = w.computes().compute(computing, late, late.missing(), false)
	return late, err
}

// carryOut does what the job says with what came back for rows that are locked.
func (w *worker) carryOut(ctx context.Context, chunk *Chunk, part pgsql.Part, locked *lockedRows, rows []located) error {
	versions, out := columns(rows, w.sql.transform.Named(), len(w.transforms.plan.Returns))
	if w.sql.writes() {
		write, err := w.sql.transform.Update(part, versions, pgsql.Out{Values: out})
		if err != nil {
			return err
		}
		answers, err := exchange(ctx, w.conn.PgConn(), append([]pgsql.Statement{write}, w.sql.keeping()...)...)
		if err != nil {
			return err
		}
		chunk.RowsChanged = []int64{answers[0].tag.RowsAffected()}
		if len(answers) > 1 {
			return w.kept(chunk.Segment, number(answers[1].rows[0][0]))
		}
		return nil
	}
	part.Members = locked.members(nil)
	part.Out = &pgsql.Out{Names: w.sql.out.Names, Types: w.sql.out.Types, Made: w.sql.out.Made, Values: append(keyValues(rows, len(w.transforms.plan.Key)), out...)}
	work, of, err := w.sql.changes(part)
	if err != nil {
		return err
	}
	answers, err := exchange(ctx, w.conn.PgConn(), work...)
	if err != nil {
		return err
	}
	return w.tally(chunk, answers, of)
}

// lockedRows are the rows of a chunk as they were locked.
type lockedRows struct {
	sql *pgsql.Transform
	// versions are what names them, a row each.
	versions [][]*string
}

func newLocked(sql *pgsql.Transform) *lockedRows { return &lockedRows{sql: sql} }

func (l *lockedRows) add(values [][]byte) {
	version := make([]*string, len(values))
	for i, v := range values {
		form := pgsql.AsText
		if i > 0 && !l.sql.ByRow {
			form = l.sql.KeyForms[i-1]
		}
		version[i] = readable(form, v)
	}
	l.versions = append(l.versions, version)
}

// meet finds the rows in what was computed; stale are the places of those that are not there as they are now.
func (l *lockedRows) meet(b *batch) (rows []located, stale []int) {
	at := b.byName()
	for n, version := range l.versions {
		if i, ok := at[versionName(version)]; ok {
			rows = append(rows, located{b, i})
		} else {
			stale = append(stale, n)
		}
	}
	return rows, stale
}

// members are rows by name, for a statement; nil is all of them.
func (l *lockedRows) members(places []int) *pgsql.Members {
	m := &pgsql.Members{ByRow: l.sql.ByRow, Columns: make([][]string, len(l.sql.Key))}
	if l.sql.ByRow {
		if m.Columns = make([][]string, 1); l.sql.Partitioned {
			m.Columns = make([][]string, 2)
		}
	}
	take := func(version []*string) {
		for i := range m.Columns {
			m.Columns[i] = append(m.Columns[i], *version[1+i]) // a key that names a row has no NULL
		}
	}
	if places == nil {
		for _, v := range l.versions {
			take(v)
		}
		return m
	}
	for _, n := range places {
		take(l.versions[n])
	}
	return m
}

// keyValues are the keys of rows, of so many parts, column by column.
func keyValues(rows []located, parts int) [][]*string {
	values := make([][]*string, parts)
	for k := range values {
		values[k] = make([]*string, len(rows))
		for n, at := range rows {
			values[k][n] = at.keyText(k)
		}
	}
	return values
}

// keyText is a part of a row's key as PostgreSQL reads it.
func (at located) keyText(k int) *string {
	if !at.sql.ByRow {
		return at.versions[1+k][at.i]
	}
	text, err := at.plan.Key[k].kind.Text(at.key(at.i)[k])
	if err != nil { // it was written by us
		panic(fmt.Sprintf("backfill: the key of row %s: %v", at.place(at.i), err))
	}
	return text
}
