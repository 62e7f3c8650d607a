package backfill

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// errSurplus tells a worker that there are enough without it, errEnough that the process has
// done as many chunks as it was asked for.
var (
	errSurplus = errors.New("more workers than wanted")
	errEnough  = errors.New("as many chunks as asked")
)

// errPausedItself tells a process that nobody watches that the run has paused itself.
var errPausedItself = fmt.Errorf("the run has paused itself: %w", ErrIncomplete)

// pausedItself is what the reason of a pause begins with that the run has asked for, and no person.
const pausedItself = "paused by pgbackfill: "

// beat tells the others that this process is alive, and hears what to do.
func (e *engine) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatMost)
	defer cancel()
	p := e.pace()
	held := e.held()
	at := e.progress.Snapshot()
	orders, err := e.control.Beat(ctx, Beat{
		Segments: held, Workers: p.Workers, ChunkRows: e.sizer().next(),
		RowsPerSecond: at.RowsPerSecond, Waiting: at.Why(),
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	same := reflect.DeepEqual(orders, e.orders)
	e.orders = orders
	if !same {
		close(e.changed)
		e.changed = make(chan struct{})
	}
	e.mu.Unlock()
	if !same {
		e.setPace(orders.Overrides.Over(e.plan.Pace), orders.Overrides.Workers > 0)
	}
	return nil
}

func (e *engine) ordersNow() Orders {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.orders
}

// setPace takes a pace, within what the operator allows, at once. pinned is set where somebody said live how many workers
// there should be.
func (e *engine) setPace(p Pace, pinned bool) {
	p = e.clamp(p.Over(DefaultPace)).Settled()
	p.Workers = max(p.Workers, 1)
	old := e.paceNow.Swap(&p)
	if s := e.sizerNow.Load(); s != nil {
		s.set(p)
	}
	e.throttled(p, pinned)
	if old != nil && !reflect.DeepEqual(*old, p) {
		e.observe(LimitsChanged{Pace: p})
	}
}

// obey moves the run to the state that the orders and the workers add up to.
func (e *engine) obey(ctx context.Context) error {
	e.mu.Lock()
	orders, parked := e.orders, e.parked >= e.active
	e.mu.Unlock()
	want, reason := e.working(orders), "" // why it was paused is no reason to work
	if orders.Desired == DesiredPaused {
		reason = orders.Reason
		if want = StatePausing; parked {
			want = StatePaused
		}
	}
	if orders.Desired == DesiredCancelled || orders.State.Over() || orders.State == want {
		return nil
	}
	return e.setState(ctx, want, reason)
}

// working is the state of a run that is worked on.
func (e *engine) working(orders Orders) State {
	switch {
	case e.undoing:
		return StateUndoing
	case e.plan.Finishing || orders.Pass.Sweeps() || orders.State == StateFinishing || e.closing.Load():
		return StateFinishing
	case e.preparing.Load() && orders.State != StateRunning: // else another process has got further
		return StatePreparing
	}
	return StateRunning
}

func (e *engine) setState(ctx context.Context, to State, reason string) error {
	from := e.ordersNow().State
	if from == to {
		return nil
	}
	if err := e.control.SetState(ctx, to, reason); err != nil {
		return err
	}
	e.mu.Lock()
	e.orders.State = to
	e.mu.Unlock()
	e.observe(StateChanged{From: from, To: to, Reason: reason})
	return nil
}

// mayWork returns when the worker may begin a chunk, after a pause where there is one, or
// with the reason why it should not begin any more.
//
// Nobody may call it with a transaction or a snapshot in hand: a pause may last for days, and the database could not be cleaned meanwhile.
func (e *engine) mayWork(ctx context.Context, id int) error {
	_, err := e.mayWorkAfter(ctx, id)
	return err
}

// mayWorkAfter is [engine.mayWork] that says whether there was a pause.
func (e *engine) mayWorkAfter(ctx context.Context, id int) (paused bool, err error) {
	for parked := false; ; {
		was := parked
		if err := ctx.Err(); err != nil {
			e.unpark(parked)
			return paused, err
		}
		var reason string
		var changed <-chan struct{}
		if parked, reason, changed, err = e.decide(id, was); !parked {
			if was {
				e.observe(Waiting{Worker: id})
			}
			return paused, err
		}
		if !was {
			e.observe(Waiting{Worker: id, Reason: reason})
		}
		paused = true
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// decide says whether a worker is to wait now, why, and for what; else it may work, or err says why not. was is whether it has been
// waiting. It is counted among those who wait in the same moment: a run is not paused while somebody who has just been told
// to work is about to begin a chunk.
func (e *engine) decide(id int, was bool) (wait bool, reason string, changed <-chan struct{}, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.orders.Desired == DesiredCancelled || e.orders.State == StateCancelled:
		err = fmt.Errorf("%s: %w: %s", e.place(), ErrCancelled, e.orders.Reason)
	case id > e.workers():
		err = errSurplus
	case e.maxChunks > 0 && e.chunks.Load() >= e.maxChunks:
		err = errEnough
	}
	wait = err == nil && e.orders.Desired != DesiredRunning
	switch {
	case wait && !was:
		e.parked++
	case was && !wait:
		e.parked--
	}
	return wait, e.orders.Reason, e.changed, err
}

// unpark takes a worker who leaves from the count of those who wait, if it is one.
func (e *engine) unpark(parked bool) {
	if parked {
		e.count(&e.parked, -1)
	}
}

// ration waits until the rate lets so many more rows pass. It returns false where the orders
// changed before that: they come first, and nothing was taken.
func (e *engine) ration(ctx context.Context, rows int) (bool, error) {
	e.mu.Lock()
	desired, changed := e.orders.Desired, e.changed
	e.mu.Unlock()
	if desired != DesiredRunning {
		return false, nil
	}
	waiting, stop := context.WithCancel(ctx)
	var listener sync.WaitGroup
	listener.Go(func() {
		select {
		case <-changed:
			stop()
		case <-waiting.Done():
		}
	})
	err := e.throttle.Wait(waiting, rows)
	changing := waiting.Err() != nil && ctx.Err() == nil
	stop()
	listener.Wait()
	switch {
	case err == nil:
		return true, nil
	case changing:
		return false, nil
	case ctx.Err() != nil:
		return false, err
	}
	return false, &throttleEndedError{err}
}

func (e *engine) count(what *int, by int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	*what += by
}

// outcome remembers how a chunk ended.
func (e *engine) outcome(ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.outcomes = append(e.outcomes, ok); len(e.outcomes) > failuresLooked {
		e.outcomes = e.outcomes[1:]
	}
}

// failing notes a failure and reports whether more than half of the last chunks failed.
func (e *engine) failing() bool {
	e.outcome(false)
	e.mu.Lock()
	defer e.mu.Unlock()
	failures := 0
	for _, ok := range e.outcomes {
		if !ok {
			failures++
		}
	}
	if len(e.outcomes) < failuresLooked || failures*2 <= failuresLooked {
		return false
	}
	e.outcomes = e.outcomes[:0]
	return true
}

// pauseItself pauses the run for somebody to look at it, who reads the reason.
func (e *engine) pauseItself(ctx context.Context, reason string) error {
	return e.patiently(ctx, func(ctx context.Context) error {
		if err := e.control.Pause(ctx, pausedItself+reason); err != nil {
			return err
		}
		return e.beat(ctx)
	})
}

// PausedItself reports whether a pause with this reason is one that the run has asked for, and no person.
func PausedItself(reason string) bool { return strings.HasPrefix(reason, pausedItself) }

// unseen is an error where the run has paused itself and nobody is there to go on with it: the next command is theirs who read it.
func (e *engine) unseen() error {
	orders := e.ordersNow()
	if !e.unattended || orders.Desired != DesiredPaused || orders.State != StatePaused || !PausedItself(orders.Reason) {
		return nil
	}
	return &Error{
		Place: e.place(), Found: orders.Reason, Kind: errPausedItself,
		Remedy: "then: pgbackfill resume " + e.plan.Job.Name + ", and run it again: it goes on where it stopped",
	}
}
