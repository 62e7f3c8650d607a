package backfill

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// writersPoll is how often it is looked whether the transactions that may hide a row are gone.
const writersPoll = 250 * time.Millisecond

// recoveredName is how the virtual transaction begins of one that was prepared before the server
// started: it has no backend.
const recoveredName = "-1/"

// sweepRows is how many rows one statement of the closing sweep looks at. It reads a range in
// one go, by bitmap or, on a table that is not much larger, in physical order: row by row along
// an index that points at old and new versions alike, the sweep would cost a quarter of the walk.
const sweepRows = 1_000_000

// following plans the pass after one that is done; where it returns that same pass the walk
// is at its end.
//
// After the walk comes the tail: the rows above the greatest key at planning, up to the
// greatest key now, so that an application that inserts all day cannot keep a run alive. An
// idempotent update ends with a sweep over everything, for the rows that were committed
// behind the walk by transactions that were open when it passed. The others have none: a
// second visit would be wrong.
func (e *engine) following(ctx context.Context, pass Pass) (Pass, []Segment, error) {
	switch {
	case e.plan.Finishing:
	case e.plan.Heap != nil:
		if pass == PassWalk && e.plan.Table.Partitioned {
			if segments, err := e.leafTail(ctx); err != nil || len(segments) > 0 {
				return PassTail, segments, err
			}
		}
		return e.afterHeap(ctx, pass)
	case pass == PassWalk:
		segments, err := e.tail(ctx)
		return PassTail, segments, err
	case pass == PassTail && e.plan.sweeps():
		segments, err := e.sweep(ctx)
		return PassSweep, segments, err
	}
	return pass, nil, nil
}

// tail is the segment of the rows above the greatest key at planning; none where there are none.
func (e *engine) tail(ctx context.Context) ([]Segment, error) {
	var upper Key
	if planned := roots(e.queue.states()); len(planned) > 0 { // these never change
		upper = planned[len(planned)-1].Range.Through
	}
	last, err := e.greatest(ctx, upper)
	if err != nil || last == nil {
		return nil, err
	}
	return []Segment{{Pass: PassTail, Range: KeyRange{After: upper, Through: last}}}, nil
}

// greatest is the greatest key above after, or nil where there is none.
func (e *engine) greatest(ctx context.Context, after Key) (Key, error) {
	var last Key
	err := e.ask(ctx, func(w *worker) error {
		answers, err := exchange(ctx, w.conn.PgConn(), pgsql.Begin, w.sql.keySettings(Segment{}, w.pace()),
			w.sql.walk.Last(pgsql.Range{After: after}), pgsql.Commit)
		if err == nil && len(answers[2].rows) > 0 {
			last = answers[2].rows[0]
		}
		return err
	})
	return last, err
}

// roots are the segments of a list as they were planned: those with a range, in its order,
// without what was split off.
func roots(list []SegmentState) []Segment {
	var planned []Segment
	for _, s := range list {
		if s.Parent == 0 && !s.Nulls {
			planned = append(planned, s.Segment)
		}
	}
	slices.SortFunc(planned, func(a, b Segment) int { return a.No - b.No })
	return planned
}

// sweep waits until the transactions are gone that wrote to the table and were open when the
// walk ended, and plans one more going-over of all that was walked.
func (e *engine) sweep(ctx context.Context) ([]Segment, error) {
	if err := e.mayWork(ctx, 0); err != nil {
		return nil, err
	}
	e.closing.Store(true)
	if err := e.setState(ctx, StateFinishing, ""); err != nil {
		return nil, err
	}
	if err := e.ask(ctx, func(w *worker) error { return w.outwait(ctx) }); err != nil {
		return nil, err
	}
	list, err := e.segments.List(ctx, 0) // those of the walk and of the tail
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(s SegmentState) bool { return s.Pass.Sweeps() }) // another process was first
	number := 0
	for _, s := range list {
		number = max(number, s.No)
	}
	cuts, err := e.segments.Cuts(ctx, 0, sweepRows)
	if err != nil {
		return nil, err
	}
	swept := sweepSegments(list, cuts, e.pace().Workers)
	// Rows that have come above the tail since are looked at too: all that was committed before
	// the sweep began.
	var upper Key
	for _, s := range swept {
		number = max(number, s.No)
		if !s.Nulls {
			upper = s.Range.Through
		}
	}
	last, err := e.greatest(ctx, upper)
	if err != nil || last == nil {
		return swept, err
	}
	return append(swept, Segment{No: number + 1, Pass: PassSweep, Range: KeyRange{After: upper, Through: last}}), nil
}

// sweepSegments cuts everything that was walked into segments of about sweepRows rows, or of fewer
// where there would not be two for each worker, at keys where chunks ended. Such a segment is one
// chunk: nothing needs to be counted, since next to nothing is changed.
func sweepSegments(list []SegmentState, cuts map[int][]Cut, workers int) []Segment {
	var walked int64
	for _, of := range cuts {
		for _, cut := range of {
			walked += cut.Rows
		}
	}
	part := sweepRows
	if workers > 1 {
		part = int(min(sweepRows, walked/int64(2*workers)+1))
	}
	children := map[int][]SegmentState{}
	number := 0
	var swept []Segment
	for _, s := range list {
		number = max(number, s.No)
		if s.Nulls {
			swept = append(swept, Segment{Pass: PassSweep, Nulls: true})
			continue
		}
		children[s.Parent] = append(children[s.Parent], s)
	}
	// A segment's chunks come before those of the two it was split into, and those in their order.
	next := Segment{Pass: PassSweep}
	var follow func(s SegmentState)
	follow = func(s SegmentState) {
		for _, cut := range cuts[s.No] {
			next.Range.Through = cut.Through
			if next.EstimatedRows += cut.Rows; next.EstimatedRows >= int64(part) {
				swept = append(swept, next)
				next = Segment{Pass: PassSweep, Range: KeyRange{After: cut.Through}}
			}
		}
		for _, child := range children[s.No] {
			follow(child)
		}
	}
	for _, root := range children[0] {
		follow(root)
	}
	if next.Range.Through != nil {
		swept = append(swept, next)
	}
	for i := range swept {
		swept[i].No = number + 1 + i
	}
	return swept
}

// outwait waits for every other transaction that has written to the table until now, as
// CREATE INDEX CONCURRENTLY does: a writer holds its lock on the table to its end, so that
// the locks name all of them, whatever they have written, prepared transactions included.
func (w *worker) outwait(ctx context.Context) error {
	var first []string
	defer w.observe(Waiting{})
	for {
		if err := w.mayWork(ctx, 0); err != nil {
			return err
		}
		answers, err := exchange(ctx, w.conn.PgConn(), pgsql.Begin, w.sql.keySettings(Segment{}, w.pace()),
			pgsql.Writers(w.plan.Table.OID), pgsql.Commit)
		if err != nil {
			return err
		}
		writers := map[string]bool{}
		for _, row := range answers[2].rows { // transaction, description
			writers[row[0]] = true
		}
		// A transaction keeps its name when it is prepared and gets another when the server restarts:
		// where one is gone, a prepared one that is new may be it.
		gone := slices.ContainsFunc(first, func(name string) bool { return !writers[name] })
		var open []string
		reason := ""
		for _, row := range answers[2].rows {
			if first == nil || slices.Contains(first, row[0]) || gone && strings.HasPrefix(row[0], recoveredName) {
				open = append(open, row[0])
				reason = row[1]
			}
		}
		if len(open) == 0 {
			return nil
		}
		first = open
		w.observe(Waiting{Reason: fmt.Sprintf("the closing sweep waits for %d open transactions that have written to the table, among them %s", len(open), reason)})
		timer := time.NewTimer(writersPoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// ask runs one question of the engine's over a connection of its own, again where the
// connection fails.
func (e *engine) ask(ctx context.Context, question func(*worker) error) error {
	w := &worker{engine: e, conn: e.spareConn()}
	defer w.leave(ctx)
	try := newAttempts(Segment{})
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if w.conn == nil || w.conn.IsClosed() {
			if err := w.reconnect(ctx); err != nil {
				return err
			}
		}
		err := question(w)
		if err == nil {
			return nil
		}
		rollback(context.WithoutCancel(ctx), w.conn.PgConn())
		if err = w.passing(ctx, try, err); err != nil {
			return err
		}
	}
}

// finishJob does the job's finish, when it is proven that every chunk before it is committed. It returns false where
// the run is not in its last pass any more.
func (e *engine) finishJob(ctx context.Context, pass Pass) (bool, error) {
	if e.plan.Job.Finish == nil {
		return true, nil
	}
	e.closing.Store(true)
	if err := e.setState(ctx, StateFinishing, ""); err != nil {
		return false, err
	}
	if covered, err := e.tasks.Complete(ctx, pass); err != nil || !covered {
		return false, err
	}
	if err := e.mayFinish(ctx); err != nil {
		return false, err
	}
	return true, e.doTasks(ctx, PartFinish)
}

// finish ends the run, once the ledger alone says that everything is covered. It returns false
// where the run is not in its last pass any more.
func (e *engine) finish(ctx context.Context, pass Pass) (bool, error) {
	if done, err := e.finishJob(ctx, pass); err != nil || !done {
		return false, err
	}
	from := e.ordersNow().State
	sum, err := e.totals(ctx)
	if err != nil {
		return false, err
	}
	if finished, err := e.control.Finish(ctx, pass, sum); err != nil || !finished {
		return false, err
	}
	e.finished = &sum
	e.mu.Lock()
	e.orders.State = StateFinished
	e.mu.Unlock()
	e.observe(StateChanged{From: from, To: StateFinished})
	return true, nil
}
