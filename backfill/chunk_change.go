package backfill

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// change runs the chunk's statements in a transaction that it leaves open.
func (w *worker) change(ctx context.Context, seg Segment, chunk *Chunk) error {
	if w.transforms != nil {
		return w.transform(seg, chunk)
	}
	rng := chunk.keys(seg)
	part := pgsql.Part{Range: rng}
	if h := w.plan.Heap; h != nil && !seg.Nulls {
		part = h.pages(chunk.Range)
		rng = part.Range
	}
	statements := []pgsql.Statement{pgsql.Begin, w.sql.jobSettings(seg, w.pace())}
	// A full chunk of a unique key holds as many rows as were asked for; others are counted.
	counted := (chunk.last || !w.plan.Unique) && !seg.Pass.Sweeps() && w.plan.Heap == nil
	if counted {
		statements = append(statements, w.sql.walk.Count(rng))
	}
	if seg.Leaf != 0 && w.leaf.name == "" {
		return w.leaveOut(ctx, seg, chunk, statements)
	}
	if seg.Pass.Sweeps() {
		answers, err := exchange(ctx, w.conn.PgConn(), append(statements, w.walkers(rng), w.pages())...)
		if err != nil {
			return err
		}
		w.written(&part, answers[2], answers[3])
		if chunk.repays = w.plan.repays() && w.owed != nil; chunk.repays {
			part.Returning = w.plan.Heap.Identity
		}
		statements = nil
	}
	if part.Stripe != nil {
		chunk.stripe = part.Stripe.No + 1
		statements = append(statements, w.updates(seg))
	}
	var taken []answer
	if w.sql.fixed {
		var err error
		if part.Members, taken, err = w.settle(ctx, part, statements); err != nil {
			return err
		}
		statements = nil
	}
	work, of, err := w.changes(seg, part)
	if err != nil {
		return err
	}
	answers, err := exchange(ctx, w.conn.PgConn(), append(statements, work...)...)
	if err != nil {
		return err
	}
	chunk.RowsSeen = int64(chunk.size)
	if seg.Pass.Sweeps() && chunk.last {
		chunk.RowsSeen = seg.EstimatedRows
	}
	if h := w.plan.Heap; h != nil {
		chunk.RowsSeen = h.of(seg).rowsIn(chunk.Range)
	}
	if part.Stripe != nil {
		before, after := answers[len(statements)-1].rows[0], answers[len(answers)-1].rows[0]
		chunk.updated, chunk.hot, chunk.now = number(after[0])-number(before[0]), number(after[1])-number(before[1]), before[2]
	}
	if counted {
		chunk.RowsSeen = number(append(taken, answers...)[2].rows[0][0])
	}
	return w.tally(chunk, answers[len(statements):], of)
}

// changes are the statements of a part's steps, where its rows lie, with what is asked there behind them.
func (w *worker) changes(seg Segment, part pgsql.Part) (list []pgsql.Statement, of []int, err error) {
	sql := w.sql
	if seg.Leaf != 0 {
		sql = w.leaf.sql
	}
	if list, of, err = sql.changes(part); err != nil {
		return nil, nil, err
	}
	if seg.Leaf != 0 {
		list, of = append(list, pgsql.Leaf(w.plan.Table.OID, seg.Leaf)), append(of, checksLeaf)
	}
	if part.Stripe != nil && part.Row == nil {
		list, of = append(list, w.updates(seg)), append(of, checksRoom)
	}
	return list, of, nil
}

// updates counts what is written where a segment's rows lie.
func (w *worker) updates(seg Segment) pgsql.Statement {
	if seg.Leaf != 0 {
		return pgsql.Updates(seg.Leaf)
	}
	return pgsql.Updates(w.plan.Table.OID)
}

// written limits a part to the rows that somebody else has written since the run began: the walk has seen the others.
// Where a table that is walked in physical order was rewritten, by VACUUM FULL for one, rows have moved that nobody
// wrote, and all of them are looked at.
func (w *worker) written(part *pgsql.Part, walkers, pages answer) {
	if _, rewritten := w.pagesIn(pages); rewritten {
		return
	}
	part.Sweep, part.Walked = int64(w.run), []byte(walkers.rows[0][0])
	if w.plan.Stirring { // a chunk's transaction has written more than its chunk
		part.Walked = []byte("{}")
	}
}

// walkers asks which transactions walked a range: what they wrote lies there still, but after a walk in physical order.
func (w *worker) walkers(rng pgsql.Range) pgsql.Statement {
	if w.plan.Heap != nil {
		rng = pgsql.Range{}
	}
	return w.sql.walk.Walkers(int64(w.run), rng)
}

// settle finds out which rows the chunk's steps are about, and locks them. It returns the answers to what
// stood before it in the transaction.
func (w *worker) settle(ctx context.Context, part pgsql.Part, before []pgsql.Statement) (*pgsql.Members, []answer, error) {
	take, err := w.sql.scope.Take(part, w.sql.named())
	if err != nil {
		return nil, nil, err
	}
	answers, err := exchange(ctx, w.conn.PgConn(), append(before, take)...)
	if err != nil {
		return nil, nil, err
	}
	last := answers[len(answers)-1]
	m := w.sql.named()
	m.Columns = make([][]string, last.columns)
	for _, row := range last.rows {
		for i, value := range row {
			m.Columns[i] = append(m.Columns[i], value)
		}
	}
	return &m, answers[:len(answers)-1], nil
}

// tally counts what each step did. of says which step each answer belongs to; -1 is one that locks.
func (w *worker) tally(chunk *Chunk, answers []answer, of []int) error {
	chunk.RowsChanged = make([]int64, max(len(w.sql.steps), 1))
	for i, step := range of {
		switch {
		case step == checksKeeping:
			if err := w.kept(chunk.Segment, number(answers[i].rows[0][0])); err != nil {
				return err
			}
		case step == checksLeaf:
			if leafName(answers[i]) != w.leaf.name {
				return errLeafMoved
			}
		case step < 0:
		case chunk.repays: // the keys of what was changed
			chunk.RowsChanged[step] = answers[i].tag.RowsAffected()
			for _, row := range answers[i].rows {
				chunk.repaid = append(chunk.repaid, strings.Join(row, "\x00"))
			}
		case len(answers[i].rows) == 0: // the server's own count
			chunk.RowsChanged[step] = answers[i].tag.RowsAffected()
		default: // in scope, met by the join, met more than once, changed
			row := answers[i].rows[0]
			// A row that came into scope after the lock, and that somebody was changing, is counted and not
			// changed. The closing sweep would find it; without one the chunk is done again.
			if locked := answers[i-1].rows[0][0]; row[0] != locked && !w.plan.sweeps() {
				return fmt.Errorf("%w: %s were locked, %s are in scope now", errEntered, locked, row[0])
			}
			chunk.RowsChanged[step] = number(row[3])
			if u := w.plan.Job.Steps[step].Update; u != nil && u.From != nil {
				chunk.Unmatched += number(row[0]) - number(row[1])
				chunk.Multiple += number(row[2])
			}
		}
	}
	return nil
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64) // a count(*) as the server prints it
	return n
}
