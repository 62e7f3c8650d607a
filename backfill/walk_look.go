package backfill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

const (
	// heapRounds is how many sweeps a process plans for a heap walk that do not leave half as many rows as the one before. Rows that move while
	// they are swept need another one.
	heapRounds = 5
	// mostOwed is how many rows are kept in memory that the walk must answer for.
	mostOwed = 200_000
	// lookRows is how many rows one statement looks at that only reads, before it is known to take too long.
	lookRows = 1_000_000
	// lookPatience is how long it is waited for the throttle with a snapshot in hand.
	lookPatience = 5 * time.Second
	// keepEvery is how often the connection that keeps a snapshot says that it is there, well within the time after
	// which the server ends a transaction whose client is silent.
	keepEvery = time.Second
)

// afterHeap plans what follows a pass of a heap walk. Rows that others write move, behind the walk too, into old pages
// as well as new, and an UPDATE that had to wait for their writer passes by what has moved out of its range. So when
// the transactions that wrote to the table are gone, one snapshot of all of it says whether a row was missed; where one
// was, everything is swept, and looked at again.
//
// The walk answers for what was there when it was done: the rows that the first look finds. What does not hold its new values later and is
// none of these was written later, and dual writes should have filled it: it is counted. Rows are known again by a unique key; on a
// table without one, the walk answers for every row that a look finds.
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
	behind := found.behind.Load()
	if behind == 0 {
		e.writtenSince.Store(found.since.Load())
		return pass, nil, e.changedBack(found.seen.Load())
	}
	if e.owed == nil {
		e.owed = found.owed()
	}
	next := max(pass+1, PassSweep)
	if e.owed == nil || 2*behind > e.behind {
		e.rounds++
	}
	if e.behind = behind; e.rounds > heapRounds {
		return pass, nil, e.sweptInVain(behind, int(next-PassSweep))
	}
	list, err := e.segments.List(ctx, 0)
	if err != nil {
		return pass, nil, err
	}
	number := 0
	for _, s := range list {
		number = max(number, s.No)
	}
	parts := max(2*e.pace().Workers, int(float64(found.blocks)*e.plan.Heap.RowsPerBlock/sweepRows))
	return next, e.plan.Heap.segments(next, found.blocks, parts, number+1), nil
}

// sweptInVain is the error of a run that finds rows to sweep again and again.
func (e *engine) sweptInVain(behind int64, sweeps int) error {
	found := fmt.Sprintf("after %d sweeps rows still do not hold their new values (%s in the part of the table that was looked at)", sweeps, human.Count(behind))
	if len(e.plan.Heap.Identity) == 0 {
		found += "; without a unique key, those that came after the walk cannot be told from those that it has missed"
	}
	why := "an application goes on writing rows without the new values (have it write both), or changes rows faster than they are swept (run the job again when it has less to do)"
	if len(e.plan.Overriding) > 0 {
		why = some(e.plan.Overriding) + " may keep them from being changed; or " + why
	}
	return &Error{
		Place: e.place(), Found: found, Expected: "that sweeps come to an end",
		Remedy: why + "; pgbackfill verify shows which rows they are. Then run the job again", Kind: ErrIncomplete,
	}
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
		if err := e.mayBegin(ctx); err != nil {
			return err
		}
		err := w.outwait(ctx)
		if err == nil {
			found, err = w.look(ctx, rows)
		}
		if pgerr.Class(err) == pgerr.Shrink {
			rows = max(1, min(rows, e.plan.Heap.rows())/4) // a quarter of what was looked at, which may have been all of it
		}
		return err
	})
	return found, err
}

// looked is what one snapshot of the table says: how many pages it has, and how many rows that do not hold their new values: those
// that a sweep is to change, those that were written since the walk was done, and those that are as the run has left them.
// Where another sweep is needed they may not be counted to the end.
type looked struct {
	blocks              int64
	behind, since, seen atomic.Int64
	// now is where transactions were.
	now string

	mu sync.Mutex
	// keys are those of the rows that a sweep is to change, nil where nobody asked or there are too many.
	keys map[string]bool
}

// owed is what a walk must answer for.
type owed struct {
	// since is where transactions were when it was found out, and keys are those of the rows.
	since string
	keys  map[string]bool
}

// owed is what the look has found; nil where it cannot say which rows those are.
func (l *looked) owed() *owed {
	if l.keys == nil {
		return nil
	}
	return &owed{since: l.now, keys: l.keys}
}

// repays reports whether the sweeps of a run say which rows they have changed: those need not be answered for any more, whatever
// is written into them later.
func (p *Plan) repays() bool {
	return p.Heap != nil && len(p.Heap.Identity) > 0 && !p.LockFirst && p.Job.UpdateStep() != nil && len(p.Table.Rules) == 0
}

// repay takes rows off what the walk must answer for.
func (e *engine) repay(keys []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.owed != nil {
		for _, key := range keys {
			delete(e.owed.keys, key)
		}
	}
}

// add notes the key of a row that a sweep is to change.
func (l *looked) add(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil {
		return
	}
	if l.keys[key] = true; len(l.keys) > mostOwed {
		l.keys = nil
	}
}

// look counts the rows that do not hold their new values: in all of the table in one snapshot, which no row can dodge by
// moving, read by all workers at once, so many rows a statement.
func (w *worker) look(ctx context.Context, rows int) (*looked, error) {
	defer w.observe(Waiting{})
	w.observe(Waiting{Reason: "looking whether a row was missed that moved while it was walked"})
	lookers, err := w.lookers(ctx)
	defer func() {
		for _, l := range lookers {
			l.leave(context.WithoutCancel(ctx))
		}
	}()
	if err != nil {
		return nil, err
	}
	// The table's lock comes before the snapshot: to one that is older than a rewrite by ALTER TABLE the table is empty.
	answers, err := exchange(ctx, w.conn.PgConn(), pgsql.Begin, w.sql.readSettings(Segment{Pass: PassSweep}, w.pace()), w.sql.walk.Keep(),
		pgsql.ExportSnapshot, w.pages(), w.sql.walk.Walkers(int64(w.run), pgsql.Range{}), pgsql.Now)
	if err != nil {
		return nil, err
	}
	defer rollback(context.WithoutCancel(ctx), w.conn.PgConn())
	found := &looked{now: answers[6].rows[0][0]}
	found.blocks, _ = w.pagesIn(answers[4])
	part := pgsql.Part{Reading: true, All: len(w.plan.Overriding) > 0, Apart: w.plan.apart(w.run)}
	switch {
	case w.owed != nil:
		part.Since = w.owed.since
	case len(w.plan.Heap.Identity) > 0:
		found.keys = map[string]bool{}
	}
	w.written(&part, answers[5], answers[4])
	patience, yielded := w.lookYields(ctx, lookers)
	g, looking := errgroup.WithContext(ctx)
	ranges := make(chan KeyRange)
	g.Go(func() error {
		defer close(ranges)
		step := min(w.plan.Heap.blocksFor(rows), ceilDiv(found.blocks, int64(len(lookers)))) // some for each of them
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
	for _, l := range lookers {
		g.Go(func() error { return l.lookAt(looking, patience, snapshot, part, ranges, found) })
	}
	all := make(chan error, 1)
	go func() { all <- g.Wait() }()
	if err := yielded(w.keep(ctx, all)); err != nil && !errors.Is(err, errMissed) {
		return nil, err
	}
	return found, ctx.Err()
}

// lookYields makes the look known to those who may have to end it: whoever waits for the table's lock, which the look keeps to its end, has
// all others wait behind. Patience ends then, and what it returns makes of the look's error what it was.
func (w *worker) lookYields(ctx context.Context, lookers []*worker) (patience context.Context, yielded func(error) error) {
	patience, giveUp := context.WithCancel(ctx)
	leave := w.yield.enter(applicationName(w.sql.job, 0), func() {
		giveUp()
		asking, cancel := context.WithTimeout(context.Background(), cancelPatience)
		defer cancel()
		for _, l := range lookers {
			_ = l.conn.PgConn().CancelRequest(asking) // where it fails, who waits is told of again
		}
	})
	return patience, func(err error) error {
		giveUp()
		if to := leave(); to != "" && err != nil && !errors.Is(err, errMissed) {
			w.yields.Add(1)
			w.diary.happened(&w.diary.yields, "gave way", to, time.Now())
			return fmt.Errorf("%w: it gave way to %s", errLookAgain, to)
		}
		return err
	}
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

// planLook adds the statements of [worker.look].
func (s statements) planLook(open, closed pgsql.Range, p *Plan, add func(string, ...pgsql.Statement)) error {
	add("when the walk is done and after each sweep: one snapshot for all workers", s.readSettings(Segment{No: 1, Pass: PassSweep}, p.Pace), s.walk.Keep(), pgsql.ExportSnapshot, pgsql.Now, pgsql.StillKept, pgsql.BeginSnapshot, pgsql.SetSnapshot("…"))
	for _, r := range []pgsql.Range{open, closed} {
		for _, step := range s.steps {
			for _, since := range []string{"", "1"}[:1+min(len(p.Heap.Identity), 1)] {
				for _, sweep := range []int64{1, 0} {
					part := pgsql.Part{Range: r, Sweep: sweep, Reading: true, Since: since, All: len(p.Overriding) > 0, Apart: p.apart(s.run)}
					missed, err := step.(pgsql.Checkable).Missed(part)
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
					if len(p.Heap.Identity) == 0 {
						continue
					}
					keys, err := step.(pgsql.Checkable).MissedKeys(part, p.Heap.Identity)
					if err != nil {
						return err
					}
					add(when+", and some were: which", keys)
				}
			}
		}
	}
	return nil
}
