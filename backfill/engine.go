package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

const (
	// beatEvery is how often a process says that it is alive and asks what to do: the time a
	// pause takes to be heard.
	beatEvery = time.Second
	// beatMost bounds one heartbeat: over a network that swallows everything it is given up, with
	// its connection.
	beatMost = 10 * time.Second
	// graceMost bounds how long a begun chunk may take to finish, over and above its own
	// statement timeouts: no network keeps a worker for ever.
	graceMost = 30 * time.Second
	// cancelSettles is how long it is waited for a run to become cancelled that somebody is cancelling.
	cancelSettles = 5 * time.Second
)

// engine is one process's part in a run.
type engine struct {
	plan     *Plan
	run      RunID
	process  string
	connect  Connect
	ledger   Ledger
	segments Segments
	control  Control
	tasks    Tasks
	throttle Throttle
	// quarantine is nil where no row may be set aside.
	quarantine Quarantine
	observe    Observer
	clamp      func(Pace) Pace
	abort      context.Context
	// transforms computes what the job's transform does; nil where it has none.
	transforms *transforming

	// sql makes the statements about the table.
	sql statements

	progress *Progress

	retries, yields atomic.Int64
	// diary keeps the record of when and why nothing could be written.
	diary diary
	// yield are the chunks that may have to give way, and waiting why the whole process writes nothing.
	yield   yielding
	waiting waiting
	// wanted is how many workers there should be, as far as it was told.
	wanted     atomic.Int64
	unattended bool
	// chunks counts those that are committed or at work, so that no more are begun than asked for.
	chunks    atomic.Int64
	maxChunks int64
	// closing is set from the time on when the closing sweep is waited for.
	closing atomic.Bool
	// rounds counts the sweeps of a heap walk that this process has found necessary, and that left much; behind is how many rows were left
	// by the last one. owed are the rows that its walk must answer for, and
	// writtenSince how many others do not hold their new values.
	rounds       int
	behind       int64
	owed         *owed
	writtenSince atomic.Int64
	// room is whether the stripes of a walk in physical order are worth their while.
	room room
	// finished is what the run came to where this process has finished it.
	finished *Summary
	// undoing is set where it is not a run that is worked on but its undo.
	undoing bool
	// preparing is set until the plan is one that can be run.
	preparing atomic.Bool
	paceNow   atomic.Pointer[Pace]
	sizerNow  atomic.Pointer[sizer]

	mu sync.Mutex
	// position is the latest one of the server in its write-ahead log that a chunk was told; 0 is none.
	position int64
	// orders are the last ones heard; changed is closed, and made anew, when they change.
	orders  Orders
	changed chan struct{}
	// active counts the workers, parked those that wait for the run to go on.
	active, parked int
	outcomes       []bool
	// spare are connections without a worker, between two passes.
	spare []*pgx.Conn
	queue *queue
}

// Work takes part in a run until it is over, and returns what the run came to. When ctx is
// cancelled the begun chunks finish, and the error is [ErrInterrupted]. Any number of
// processes may work on a run at the same time.
func Work(ctx context.Context, o Options) (Summary, error) {
	e, err := newEngine(o)
	if err != nil {
		return Summary{}, err
	}
	defer e.closeSpare(ctx)
	started := time.Now()
	defer e.heeding(ctx, o.Blocked, o.Notices)()
	err = e.begin(ctx, o)
	if err == nil {
		err = e.prepareRun(ctx, o)
	}
	if err == nil {
		err = e.passes(ctx)
	}
	// What follows must be said even where the work was asked to stop.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceMost)
	defer cancel()
	e.writeDown(last, true)
	err = e.end(last, ctx, err)
	summary := e.summary(last, err)
	summary.Elapsed, summary.Resumed = time.Since(started), o.Resumed || o.Joined
	summary.OwnChunks = e.progress.Snapshot().Chunks
	e.observe(RunEnded{Summary: summary, Err: err})
	return summary, err
}

func newEngine(o Options) (*engine, error) {
	plan := *o.Plan
	if plan.run == 0 {
		plan.run = o.Run
	}
	statements := statementsOf
	if plan.Pending { // a column that prepare makes is not there yet
		statements = (*Plan).firstStatements
	}
	sql, err := statements(&plan)
	if err != nil {
		return nil, err
	}
	if o.Tasks == nil && (o.Plan.Job.tasks() || o.Plan.Job.Finish != nil) {
		return nil, fmt.Errorf("job %s has prepare, helpers or finish, and Options.Tasks is not set", o.Plan.Job.Name)
	}
	e := &engine{
		plan: &plan, run: o.Run, process: o.Process,
		connect: o.Connect, ledger: o.Ledger, segments: o.Segments, control: o.Control, tasks: o.Tasks, throttle: o.Throttle,
		quarantine: o.Quarantine, clamp: o.Clamp, abort: o.Abort, maxChunks: o.MaxChunks, unattended: o.Unattended,
		sql: sql.of(&plan, o.Run), changed: make(chan struct{}), queue: newQueue(0, nil),
	}
	e.preparing.Store(o.Plan.Pending)
	e.progress = NewProgress(nil)
	e.observe = Tee(e.progress.Observe, o.Observer)
	if e.clamp == nil {
		e.clamp = func(p Pace) Pace { return p }
	}
	if e.abort == nil {
		e.abort = context.Background()
	}
	e.setPace(o.Plan.Pace, false)
	e.wanted.Store(int64(e.workers()))
	if e.transforms, err = newTransforming(o); err != nil {
		return nil, err
	}
	e.sizerNow.Store(e.newSizer(false))
	return e, nil
}

// begin says that this process is here and hears what to do.
func (e *engine) begin(ctx context.Context, o Options) error {
	if err := e.beat(ctx); err != nil {
		return err
	}
	var aside int64
	if o.Resumed || o.Joined { // else nobody has set a row aside
		var err error
		if aside, err = e.aside(ctx); err != nil {
			return err
		}
	}
	e.observe(RunStarted{
		Run: e.run, Job: e.plan.Job.Name, Process: e.process, Resumed: o.Resumed, Joined: o.Joined,
		EstimatedRows: e.plan.EstimatedRows, Quarantined: aside,
	})
	if orders := e.ordersNow(); orders.Desired == DesiredRunning && !orders.State.Over() && orders.State != StateFinishing {
		return e.steadily(ctx, func(ctx context.Context) error { return e.setState(ctx, e.working(orders), "") })
	}
	return nil
}

// passes goes through the run's passes to its end. Which pass the run is in is the ledger's to say,
// and it may be an earlier one than before.
func (e *engine) passes(ctx context.Context) error {
	empty := false
	for pass := e.ordersNow().Pass; ; {
		if !e.plan.Finishing { // else all of them are done
			if err := e.goOver(ctx, pass, empty); err != nil {
				return err
			}
		}
		over := false
		err := e.steadily(ctx, func(ctx context.Context) (err error) {
			over, empty, err = e.goOn(ctx, pass)
			return err
		})
		if over {
			return err
		}
		if err == nil {
			pass = e.ordersNow().Pass
			continue
		}
		open := e.reopened(ctx, pass)
		if open == 0 {
			return err
		}
		pass, empty = open, false
	}
}

// goOn moves the run, whose pass is done, to the next one, and says whether that has no segment; where there is none it ends the run.
func (e *engine) goOn(ctx context.Context, pass Pass) (over, empty bool, err error) {
	next, segments, err := e.following(ctx, pass)
	if err != nil {
		return false, false, err
	}
	if next == pass {
		over, err = e.finish(ctx, pass)
		if over || err != nil {
			return over, false, err
		}
		return false, false, e.beat(ctx) // it says which pass the run is in now
	}
	// Where another process was first, its segments are the ones that count.
	first, err := e.segments.Advance(ctx, pass, next, segments)
	if err != nil || !first {
		if err == nil {
			err = e.beat(ctx)
		}
		return false, false, err
	}
	e.mu.Lock()
	e.orders.Pass = next
	e.mu.Unlock()
	return false, len(segments) == 0, nil
}

// reopened is the first pass up to one that was done of which segments are open again: a crash
// can take back commits that were acknowledged. It is 0 where there is none.
func (e *engine) reopened(ctx context.Context, done Pass) Pass {
	for pass := PassWalk; pass <= done; pass++ {
		list, err := e.segments.List(ctx, pass) // where this fails, what came before is what there is to say
		if err == nil && slices.ContainsFunc(list, func(s SegmentState) bool { return !s.Closed() }) {
			return pass
		}
	}
	return 0
}

// steadily does what is between the chunks as [engine.attended] does, and again while it meets with
// what passes: a server that restarts or fails over is waited for, for as long as it takes. So work
// must come to the same where it was done before and only the answer was lost.
func (e *engine) steadily(ctx context.Context, work func(context.Context) error) error {
	return e.attended(ctx, func(ctx context.Context) error { return e.patiently(ctx, work) })
}

// patiently is [engine.steadily] for who has a heartbeat already.
func (e *engine) patiently(ctx context.Context, work func(context.Context) error) error {
	w, try := &worker{engine: e}, newAttempts(Segment{})
	for {
		err := work(ctx)
		if err == nil {
			return nil
		}
		if err = w.passing(ctx, try, err); err != nil {
			return err
		}
		if err := e.mayWork(ctx, 0); err != nil {
			return err
		}
	}
}

// attended does what is not the workers' to do, with the heartbeat kept and orders heard meanwhile.
func (e *engine) attended(ctx context.Context, work func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	done := make(chan struct{})
	g.Go(func() error {
		defer close(done)
		return work(ctx)
	})
	g.Go(func() error { return e.mind(ctx, done, func() {}) })
	return g.Wait()
}

// end says how this process left the run, and moves the run to the state that follows.
func (e *engine) end(last, ctx context.Context, err error) error {
	var ended *throttleEndedError
	switch {
	case err == nil:
	case errors.As(err, &ended):
		err = e.interrupted(ended.Error() + "; what is committed stays")
	case errors.Is(err, errEnough):
		err = e.interrupted("stopped after " + human.Plural(e.chunks.Load(), "chunk") + ", as asked")
	case errors.Is(err, ErrCancelled):
		err = e.cancelled(last, err)
	case errors.Is(err, errPausedItself):
	case e.aborted():
		err = e.interrupted("stopped at once: chunks that had begun were cancelled and rolled back; what is committed stays")
	case ctx.Err() != nil || errors.Is(err, ErrInterrupted):
		err = e.interrupted("stopped between two chunks; what is committed stays")
	case e.finishedByOthers(last):
		err = nil
	default:
		if stateErr := e.setState(last, StateFailed, err.Error()); stateErr != nil {
			err = errors.Join(err, stateErr)
		}
	}
	if leaveErr := e.control.Leave(last); leaveErr != nil && err == nil {
		err = fmt.Errorf("leaving the run: %w", leaveErr)
	}
	return err
}

func (e *engine) place() string { return fmt.Sprintf("run %d of %s", e.run, e.plan.Job.Name) }

func (e *engine) interrupted(found string) error {
	return &Error{Place: e.place(), Found: found, Remedy: "run it again to go on", Kind: ErrInterrupted}
}

// cancelled says who ended the run. A worker, the ledger and the heartbeat each notice it in
// words of their own, and whoever was first has told.
func (e *engine) cancelled(ctx context.Context, noticed error) error {
	if err := e.beat(ctx); err != nil {
		return noticed
	}
	// Who cancels says so first and closes the segments then: the run is cancelled a moment later.
	for until := time.Now().Add(cancelSettles); !e.ordersNow().State.Over() && time.Now().Before(until); {
		if (&worker{engine: e}).wait(ctx, cancelSettles/100, "") != nil || e.beat(ctx) != nil {
			break
		}
	}
	reason := e.ordersNow().Reason
	if reason == "" {
		return noticed
	}
	return &Error{
		Place: e.place(), Found: "it was ended: " + reason,
		Remedy: "what is committed stays; start anew, from the beginning: pgbackfill run --again", Kind: ErrCancelled,
	}
}

// finishedByOthers reports whether the run has been finished by another process: then all of it
// is done, whatever this one stumbled over last.
func (e *engine) finishedByOthers(ctx context.Context) bool {
	return e.beat(ctx) == nil && e.ordersNow().State == StateFinished
}

// grace is the context of a begun chunk: it outlives a request to stop, but not an abort, and
// not for ever where statements are bounded.
func (e *engine) grace() (context.Context, context.CancelFunc) {
	bound := e.pace().StatementTimeout
	if bound <= 0 {
		return context.WithCancel(e.abort)
	}
	return context.WithTimeout(e.abort, 3*bound+graceMost)
}

func (e *engine) aborted() bool { return e.abort.Err() != nil }

func (e *engine) pace() Pace { return *e.paceNow.Load() }

func (e *engine) sizer() *sizer { return e.sizerNow.Load() }

// took tells the servo how long a chunk took.
func (e *engine) took(c Chunk) {
	var changed int64
	for _, n := range c.RowsChanged {
		changed += n
	}
	e.sizer().took(c.size, c.RowsSeen, changed, c.Duration)
}

// committed tells of a chunk that is known to be committed.
func (e *engine) committed(worker int, c Chunk, seg Segment, mark Mark) {
	e.outcome(true)
	e.progressed(seg.No, mark)
	e.observe(ChunkCommitted{Worker: worker, Chunk: c, Pass: seg.Pass, NextRows: e.sizer().next()})
	for _, row := range c.Quarantined {
		e.observe(Quarantined{Worker: worker, Row: row, Aside: c.aside})
	}
}
