package backfill

import (
	"context"
	"errors"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// setsAside reports whether rows that cannot be changed can be known again, so that they can be set aside: by the key that is walked, or
// in physical order, where a place is no name for a row, by a unique key that stays.
func (p *Plan) setsAside() bool { return p.Heap == nil || len(p.Heap.Identity) > 0 }

// apart are the rows that a look leaves out, for they were set aside.
func (p *Plan) apart(run RunID) *pgsql.Apart {
	if !p.setsAside() {
		return nil
	}
	return &pgsql.Apart{Run: int64(run), Columns: p.Heap.Identity}
}

// identity is the key by which a row of a walk in physical order is known again.
func (p *Plan) identity() ([]pgsql.KeyColumn, error) {
	key, err := p.Table.ResolveKey(p.Heap.Identity)
	return keyColumnsOf(key), err
}

// byIdentity is the plan for single rows of a walk in physical order, by the key by which they were set aside.
func (p *Plan) byIdentity() (*Plan, error) {
	of := *p
	if p.Heap == nil || len(p.Heap.Identity) == 0 {
		return &of, nil
	}
	key, err := p.identity()
	of.Heap, of.Walk, of.Unique, of.Key = nil, string(WalkKey), true, key
	return &of, err
}

// oneByOne changes the rows of a page one by one, in a transaction that it leaves open, and finds those that cannot be changed. A row that comes into the page
// or leaves it meanwhile was written by somebody else, and is looked at in the end.
func (w *worker) oneByOne(ctx context.Context, seg Segment, chunk *Chunk) error {
	chunk.Quarantined = []QuarantinedRow{}
	key, err := w.plan.identity()
	if err != nil {
		return err
	}
	sql := w.sql
	if seg.Leaf != 0 {
		if sql = w.leaf.sql; w.leaf.name == "" {
			return errLeafMoved
		}
	}
	part := w.plan.Heap.pages(chunk.Range)
	list, err := sql.scope.Keys(part, key)
	if err != nil {
		return err
	}
	answers, err := exchange(ctx, w.conn.PgConn(), pgsql.Begin, sql.jobSettings(seg, w.pace()), list, w.walkers(part.Range), w.pages())
	if err != nil {
		return err
	}
	if seg.Pass.Sweeps() {
		w.written(&part, answers[3], answers[4])
	}
	chunk.RowsSeen, chunk.RowsChanged = w.plan.Heap.of(seg).rowsIn(chunk.Range), make([]int64, max(len(sql.steps), 1))
	for _, row := range answers[2].rows {
		part.Row = &pgsql.Row{Key: key, Values: row}
		if err := w.alterOne(ctx, seg, chunk, part); err != nil {
			return err
		}
		if w.yield.asked(applicationName(w.sql.job, seg.No)) { // what was cancelled for that looks like a row that takes too long, where nothing bounds it
			return errGiveWay
		}
	}
	return nil
}

// alterOne changes one row, or takes down why it cannot be changed.
func (w *worker) alterOne(ctx context.Context, seg Segment, chunk *Chunk, part pgsql.Part) error {
	work, of, err := w.changes(seg, part)
	if err != nil {
		return err
	}
	one := Chunk{Segment: chunk.Segment, Seq: chunk.Seq, Started: time.Now()}
	answers, err := exchange(ctx, w.conn.PgConn(), append(append([]pgsql.Statement{pgsql.SaveRow}, work...), pgsql.CheckNow, pgsql.DoneRow)...)
	if err == nil {
		err = w.tally(&one, answers[1:1+len(work)], of)
	}
	if err == nil {
		for i, n := range one.RowsChanged {
			chunk.RowsChanged[i] += n
		}
		chunk.Unmatched += one.Unmatched
		chunk.Multiple += one.Multiple
		return nil
	}
	err = w.plan.hide(err)
	action := pgerr.Class(err)
	fails := action == pgerr.Data || action == pgerr.Shrink && w.timedOut(one, err)
	if !fails || w.conn.IsClosed() || errors.Is(err, errLeafMoved) {
		return err
	}
	if _, undone := exchange(ctx, w.conn.PgConn(), pgsql.UndoRow); undone != nil {
		return errors.Join(err, undone)
	}
	q := w.quarantinedRow(*chunk, seg, err)
	q.Key, q.Rows = part.Row.Values, 1
	chunk.Quarantined = append(chunk.Quarantined, q)
	return nil
}

// planOneByOne adds the statements of [worker.oneByOne].
func (s statements) planOneByOne(p *Plan, ranges []pgsql.Range, add func(string, ...pgsql.Statement)) error {
	if !p.setsAside() {
		return nil
	}
	key, err := p.identity()
	if err != nil {
		return err
	}
	const when = "where a row of a page cannot be changed: "
	row := &pgsql.Row{Key: key, Values: make([]string, len(key))}
	stripes := []*pgsql.Stripe{nil}
	if p.Heap.Stripes != nil {
		stripes = append(stripes, &pgsql.Stripe{Stripes: p.Heap.Stripes.Stripes})
	}
	for _, r := range ranges {
		for _, stripe := range stripes {
			list, err := s.scope.Keys(pgsql.Part{Range: r, Stripe: stripe}, key)
			if err != nil {
				return err
			}
			add(when+"which rows there are", list)
			if err := s.planChunk(pgsql.Part{Range: r, Stripe: stripe, Row: row}, when+"each of them", add); err != nil {
				return err
			}
		}
		if err := s.planChunk(pgsql.Part{Range: r, Sweep: 1, Row: row}, when+"each of them, in a sweep", add); err != nil {
			return err
		}
	}
	add(when+"which of them were written since the run began", s.walk.Walkers(1, pgsql.Range{}), pagesOf(p))
	add(when+"around each of them", pgsql.SaveRow, pgsql.CheckNow, pgsql.DoneRow, pgsql.UndoRow)
	of, err := p.byIdentity()
	if err != nil {
		return err
	}
	single, err := statementsOf(of)
	if err != nil {
		return err
	}
	at := pgsql.Range{At: row.Values}
	add("retry-quarantined, in the transaction of a key", single.walk.Count(at))
	return single.of(of, s.run).planChunk(pgsql.Part{Range: at}, "retry-quarantined, in the transaction of a key", add)
}
