package backfill

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

const (
	// heapRounds is how many sweeps a process plans for rows that the walk must answer for. Rows that move while they are swept
	// need another one.
	heapRounds = 5
	// sinceRounds is how many it plans where all that is left was written since the walk was done. An application that goes on inserting
	// would need them for ever. The second one is for a row that was there before, and that the application moved out of the way of the
	// first: it would have to move again at the right moment, and is counted then.
	sinceRounds = 2
	// lookRows is how many rows one statement looks at that only reads, before it is known to take too long.
	lookRows = 1_000_000
	// keepEvery is how often the connection that keeps a snapshot says that it is there, well within the time after
	// which the server ends a transaction whose client is silent.
	keepEvery = time.Second
)

// afterHeap plans what follows a pass of a heap walk. Rows that others write move, behind the walk too, into old pages
// as well as new, and an UPDATE that had to wait for their writer passes by what has moved out of its range. So when
// the transactions that wrote to the table are gone, one snapshot of all of it says whether a row was missed; where one
// was, everything is swept, and looked at again.
//
// The walk answers for what was there when it was first looked. What was written later and does not hold its new values, dual
// writes should have filled: it is counted.
func (e *engine) afterHeap(ctx context.Context, pass Pass) (Pass, []Segment, error) {
	if err := e.mayWork(ctx, 0); err != nil {
		return pass, nil, err
	}
	e.closing.Store(true)
	if err := e.setState(ctx, StateFinishing, ""); err != nil {
		return pass, nil, err
	}
	found, err := e.patientLook(ctx)
	if err != nil {
		return pass, nil, err
	}
	behind, since := found.behind.Load(), found.since.Load()
	if !e.sweepAgain(behind, since) {
		e.writtenSince.Store(since)
		return pass, nil, e.changedBack(found.seen.Load())
	}
	next := max(pass+1, PassSweep)
	if e.rounds++; e.rounds > heapRounds {
		return pass, nil, &Error{
			Place: e.place(), Found: fmt.Sprintf("after %d sweeps rows that were there when the walk was done still do not hold their new values (%s in the pages that were looked at)", heapRounds, human.Count(behind)),
			Expected: "that a sweep changes them", Remedy: "look what keeps them from being changed: pgbackfill verify shows which they are; then run the job again", Kind: ErrIncomplete,
		}
	}
	number := 0
	for p := PassWalk; p <= pass; p++ {
		list, err := e.segments.List(ctx, p)
		if err != nil {
			return pass, nil, err
		}
		for _, s := range list {
			number = max(number, s.No)
		}
	}
	parts := max(2*e.pace().Workers, int(float64(found.blocks)*e.plan.Heap.RowsPerBlock/sweepRows))
	return next, e.plan.Heap.segments(next, found.blocks, parts, number+1), nil
}

// sweepAgain reports whether rows were found that another sweep is for.
func (e *engine) sweepAgain(behind, since int64) bool {
	return behind > 0 || since > 0 && e.rounds < sinceRounds
}

// changedBack is the error of a run of which so many rows are not as it has written or left them, though nobody has written them since.
func (e *engine) changedBack(rows int64) error {
	if rows == 0 {
		return nil
	}
	return &Error{
		Place: e.place(), Found: human.Plural(rows, "row") + " that the run has changed, or seen, do not hold their new values, and nobody has written them since",
		Expected: "that what is written stays as it was written",
		Remedy:   "look at what changes it on its way, or keeps it back: " + some(e.plan.Overriding) + "; pgbackfill verify shows the rows. Then start anew: --again",
		Kind:     ErrIncomplete,
	}
}

// patientLook looks when the transactions that wrote to the table are gone, and again where it could not be looked to the
// end: in smaller parts where they took too long.
func (e *engine) patientLook(ctx context.Context) (found *looked, err error) {
	rows := lookRows
	err = e.ask(ctx, func(w *worker) error {
		if err := e.mayWork(ctx, 0); err != nil {
			return err
		}
		err := w.outwait(ctx)
		if err == nil {
			found, err = w.look(ctx, rows)
		}
		if pgerr.Class(err) == pgerr.Shrink {
			rows = max(1, rows/4)
		}
		return err
	})
	return found, err
}

// looked is what one snapshot of the table says: how many pages it has, and how many rows that do not hold their new values: those
// that a sweep is to change, those that were written since the walk was done, and those that are as the run has left them.
// Where another sweep is needed they are not counted to the end.
type looked struct {
	blocks              int64
	behind, since, seen atomic.Int64
}

// look counts the rows that do not hold their new values: in all of the table in one snapshot, which no row can dodge by
// moving, read by all workers at once, so many rows a statement.
func (w *worker) look(ctx context.Context, rows int) (*looked, error) {
	defer w.observe(Waiting{})
	w.observe(Waiting{Reason: "looking whether a row was missed that moved while it was walked"})
	// The table's lock comes before the snapshot: to one that is older than a rewrite by ALTER TABLE the table is empty.
	answers, err := exchange(ctx, w.conn.PgConn(), pgsql.Begin, w.sql.jobSettings(Segment{Pass: PassSweep}, w.pace()), w.sql.walk.Keep(),
		pgsql.ExportSnapshot, w.pages(), w.sql.walk.Walkers(int64(w.run), pgsql.Range{}), pgsql.Now)
	if err != nil {
		return nil, err
	}
	defer rollback(context.WithoutCancel(ctx), w.conn.PgConn())
	found := &looked{}
	found.blocks, _ = w.pagesIn(answers[4])
	part := pgsql.Part{Reading: true, Since: w.walkDone, All: len(w.plan.Overriding) > 0}
	if w.walkDone == "" { // nothing that this snapshot sees was written after it
		w.walkDone = answers[6].rows[0][0]
	}
	w.written(&part, answers[5], answers[4])
	g, looking := errgroup.WithContext(ctx)
	ranges := make(chan KeyRange)
	g.Go(func() error {
		defer close(ranges)
		step := w.plan.Heap.blocksFor(rows)
		for at := int64(0); at < found.blocks; at += step {
			r := KeyRange{Through: blockKey(min(at+step, found.blocks))}
			if at > 0 {
				r.After = blockKey(at)
			}
			select {
			case ranges <- r:
			case <-looking.Done():
				return nil
			}
		}
		return nil
	})
	snapshot := answers[3].rows[0][0]
	for range w.pace().Workers {
		g.Go(func() error { return w.lookAt(looking, snapshot, part, ranges, found) })
	}
	all := make(chan error, 1)
	go func() { all <- g.Wait() }()
	if err := w.keep(ctx, all); err != nil && !errors.Is(err, errMissed) {
		return nil, err
	}
	return found, ctx.Err()
}

// keep keeps the snapshot and the table's lock until those are done who look, and returns their error. Where it cannot, what
// they saw need not be the whole table.
func (w *worker) keep(ctx context.Context, looking <-chan error) error {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	var lost error
	for {
		select {
		case err := <-looking:
			if err == nil && lost == nil {
				_, lost = exchange(ctx, w.conn.PgConn(), pgsql.StillKept)
			}
			if err == nil {
				err = lost
			}
			return err
		case <-ticker.C:
			if lost == nil {
				_, lost = exchange(ctx, w.conn.PgConn(), pgsql.StillKept)
			}
		}
	}
}

var (
	// errMissed says that another sweep is needed, and that nobody need look further.
	errMissed = errors.New("a row was missed")
	// errLookAgain says that it could not be looked to the end, for a reason that passes.
	errLookAgain = errors.New("the look at the table must begin again")
)

// lookAt looks at ranges of pages as they were in a snapshot, over a connection of its own, and adds up what it finds.
func (e *engine) lookAt(ctx context.Context, snapshot string, part pgsql.Part, ranges <-chan KeyRange, found *looked) error {
	w := &worker{engine: e, conn: e.spareConn()}
	defer w.leave(context.WithoutCancel(ctx))
	if w.conn == nil || w.conn.IsClosed() {
		if err := w.reconnect(ctx); err != nil {
			return err
		}
	}
	defer rollback(context.WithoutCancel(ctx), w.conn.PgConn())
	answers, err := exchange(ctx, w.conn.PgConn(), pgsql.BeginSnapshot, pgsql.SetSnapshot(snapshot), w.sql.jobSettings(Segment{Pass: PassSweep}, w.pace()))
	if err != nil {
		if code := pgerr.Code(err); len(answers) == 1 && (code == "22023" || code == "55000") { // who kept it is gone, or on another server
			return fmt.Errorf("%w: %s", errLookAgain, pgerr.Describe(err))
		}
		return err
	}
	for r := range ranges {
		if e.ordersNow().Desired != DesiredRunning { // whoever waits with a snapshot keeps the whole database from being cleaned
			return fmt.Errorf("%w: the run was stopped", errLookAgain)
		}
		part.Range = pgsql.Range{After: r.After, Through: r.Through}
		for _, step := range w.sql.steps {
			missed, err := step.(pgsql.Checkable).Missed(part)
			if err != nil {
				return err
			}
			answers, err := exchange(ctx, w.conn.PgConn(), missed)
			if err != nil {
				return err
			}
			counts := answers[0].rows[0]
			found.seen.Add(number(counts[2]))
			if e.sweepAgain(found.behind.Add(number(counts[0])), found.since.Add(number(counts[1]))) {
				return errMissed
			}
		}
	}
	return nil
}

// planLook adds the statements of [worker.look].
func (s statements) planLook(open, closed pgsql.Range, p *Plan, add func(string, ...pgsql.Statement)) error {
	add("when the walk is done and after each sweep: one snapshot for all workers", s.walk.Keep(), pgsql.ExportSnapshot, pgsql.Now, pgsql.StillKept, pgsql.BeginSnapshot, pgsql.SetSnapshot("…"))
	for _, r := range []pgsql.Range{open, closed} {
		for _, step := range s.steps {
			for _, since := range []string{"", "1"} {
				for _, sweep := range []int64{1, 0} {
					missed, err := step.(pgsql.Checkable).Missed(pgsql.Part{Range: r, Sweep: sweep, Reading: true, Since: since, All: len(p.Overriding) > 0})
					if err != nil {
						return err
					}
					when := "looks whether a row was missed"
					if since != "" {
						when += ", after a sweep"
					}
					if sweep == 0 {
						when += ", where the table was rewritten meanwhile"
					}
					add(when, missed)
				}
			}
		}
	}
	return nil
}
