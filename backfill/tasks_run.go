package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// elsewherePoll is how often it is looked whether another process has done a task.
const elsewherePoll = 250 * time.Millisecond

// errElsewhere says that another process is at the task.
var errElsewhere = errors.New("another process is at it")

// prepareRun does what comes before the first chunk, in this process or another one, and makes the plan again from
// what is there then.
func (e *engine) prepareRun(ctx context.Context, o Options) error {
	if !e.plan.Pending {
		return nil
	}
	var plan *Plan
	err := e.steadily(ctx, func(ctx context.Context) error {
		for _, part := range []TaskPart{PartPrepare, PartHelper} {
			if err := e.doTasks(ctx, part); err != nil {
				return err
			}
		}
		var err error
		plan, err = e.planAgain(ctx)
		return err
	})
	if err != nil {
		return err
	}
	sql, err := statementsOf(plan)
	if err != nil {
		return err
	}
	if o.Prepared != nil {
		err := e.steadily(ctx, func(ctx context.Context) error { return o.Prepared(ctx, plan) })
		if err != nil {
			return err
		}
	}
	e.plan, e.sql = plan, sql.of(plan, e.run) // nobody else is at work in this process
	o.Plan = plan
	if e.transforms, err = newTransforming(o); err != nil {
		return err
	}
	e.observe(Replanned{Segments: len(plan.Segments), EstimatedRows: plan.EstimatedRows, Findings: plan.Findings})
	e.preparing.Store(false)
	return e.steadily(ctx, func(ctx context.Context) error { return e.setState(ctx, e.working(e.ordersNow()), "") })
}

// planAgain plans when everything is there that the job speaks of, and records it for all processes.
func (e *engine) planAgain(ctx context.Context) (*Plan, error) {
	var plan *Plan
	err := e.ask(ctx, func(w *worker) (err error) {
		planner := Planner{Constants: e.plan.Constants, Run: e.run, Prepared: true}
		plan, err = planner.Plan(ctx, w.conn, e.plan.Job, e.plan.Pace)
		return err
	})
	if err != nil {
		return nil, err
	}
	plan.Accept(e.plan.accepted, e.plan.acceptedBy)
	if blocking := plan.Blocking(); len(blocking) > 0 {
		f := blocking[0]
		return nil, &Error{
			Place: e.place(), Found: fmt.Sprintf("planned again after prepare, it is not run: [%s] %s: %s", f.ID, f.Title, f.Evidence),
			Remedy: f.Remedy + "; then run it again", Kind: ErrInput,
		}
	}
	_, err = e.tasks.Planned(ctx, plan)
	return plan, err
}

// doTasks does what is not done yet of a part.
func (e *engine) doTasks(ctx context.Context, part TaskPart) error {
	list, err := e.sql.tasks(e.plan, part)
	if err != nil || len(list) == 0 {
		return err
	}
	if list[0].alone {
		return e.once(ctx, list[0], func(doing context.Context, w *worker) error { return w.script(ctx, doing, list) })
	}
	for _, t := range list {
		if err := e.once(ctx, t, func(doing context.Context, w *worker) error { return w.transaction(doing, t) }); err != nil {
			return err
		}
	}
	return nil
}

// once does a task over a connection of its own, again where trouble passes, and after another process that is at it.
// What has begun is finished when the run is asked to stop, however long it takes; a cancelled run, or a second
// signal, cancels it.
func (e *engine) once(ctx context.Context, t task, do func(context.Context, *worker) error) error {
	for {
		if err := e.mayBegin(ctx); err != nil {
			return err
		}
		err := e.ask(ctx, func(w *worker) error {
			doing, done := e.untilCancelled()
			defer done()
			err := do(doing, w)
			if err == nil || doing.Err() == nil && (w.conn.IsClosed() || pgerr.Class(err) == pgerr.Retry) {
				return err
			}
			return settled{err}
		})
		e.waits("task", "")
		e.closeSpare(ctx) // the job's SQL may have changed its session
		var s settled
		if errors.As(err, &s) {
			err = s.err
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errElsewhere):
			e.waits("task", t.name+": another process is at it")
			if err := sleep(ctx, elsewherePoll); err != nil {
				return err
			}
			continue
		case e.aborted():
			return fmt.Errorf("%w: %s was cancelled", ErrInterrupted, t.name)
		}
		if over := e.mayWork(ctx, 0); errors.Is(over, ErrCancelled) {
			return over
		}
		return e.taskFailed(t, err)
	}
}

// mayBegin returns when what is done once may begin: not in a pause, and not while the throttle is shut. It is one statement, or
// a few in one transaction, that nothing slows once it has begun.
func (e *engine) mayBegin(ctx context.Context) error {
	for {
		if err := e.mayWork(ctx, 0); err != nil {
			return err
		}
		if let, err := e.ration(ctx, 1); let || err != nil {
			return err
		}
	}
}

// settled is an error that trying again does not make better, whatever it is: what somebody cancelled, or what filled
// the disk, would do so again.
type settled struct{ err error }

func (s settled) Error() string { return s.err.Error() }

// taskFailed is the error of a task that cannot succeed.
func (e *engine) taskFailed(t task, err error) error {
	var ours *Error
	if errors.As(err, &ours) || pgerr.Class(err) == pgerr.Stop {
		return err
	}
	remedy := "it was rolled back as a whole: mend what it says and run the job again; with --again where the job file itself had to be changed"
	if t.alone {
		remedy = "what came before it stays done: mend what it says and run the job again"
	}
	return &Error{Place: e.plan.Job.at(t.line), Found: t.name + " failed", Err: describedError{e.plan.hide(err)}, Remedy: remedy}
}

// untilCancelled is a context that outlives a request to stop, but not the run's cancellation.
func (e *engine) untilCancelled() (context.Context, func()) {
	ctx, cancel := context.WithCancel(e.abort)
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			e.mu.Lock()
			orders, changed := e.orders, e.changed
			e.mu.Unlock()
			if orders.Desired == DesiredCancelled || orders.State == StateCancelled {
				cancel()
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	})
	return ctx, func() {
		cancel()
		watch.Wait()
	}
}

// transaction does a task and records it, in one transaction.
func (w *worker) transaction(ctx context.Context, t task) error {
	conn := w.conn.PgConn()
	answers, err := exchange(ctx, conn, pgsql.Begin, pgsql.SetLocal(w.sql.taskSettings(w.pace())...), w.tasks.Begin(t.Task))
	if len(answers) == 2 && pgerr.Code(err) == codeLockNotAvailable {
		return errElsewhere
	}
	if err != nil {
		return err
	}
	if len(answers[2].rows) == 0 {
		return nil // whoever asks rolls back
	}
	started := w.begun(t)
	if _, err := exchange(ctx, conn, t.statements...); err != nil {
		return err
	}
	if conn.TxStatus() != 'T' {
		return &Error{Place: w.plan.Job.at(t.line), Found: t.name + " ended its transaction", Remedy: "leave out COMMIT and its like: the record that it was done is part of the transaction"}
	}
	if answers, err = exchange(ctx, conn, w.tasks.Done(t.Task)); err != nil {
		return err
	}
	if len(answers[0].rows) == 0 {
		return w.runIsOver()
	}
	if answers, err = exchange(ctx, conn, pgsql.Commit); err != nil {
		return err
	}
	if answers[0].tag.String() != "COMMIT" {
		return errNotCommitted
	}
	w.observe(TaskDone{Task: t.Task, Name: t.name, Took: time.Since(started)})
	return nil
}

// codeLockNotAvailable is the SQLSTATE of a lock that was not had in time.
const codeLockNotAvailable = "55P03"

func (w *worker) begun(t task) time.Time {
	w.observe(TaskStarted{Task: t.Task, Name: t.name})
	w.waits("task", t.name)
	return time.Now()
}

func (w *worker) runIsOver() error {
	return &Error{Place: w.place(), Found: "it was ended meanwhile", Remedy: "see: pgbackfill status " + w.plan.Job.Name, Kind: ErrCancelled}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// script sends the statements of a script alone, each of them recorded before and after. The lock that one
// process holds meanwhile spares the others the work; what keeps the result right when it is lost is that a
// statement that was begun is looked at before it is sent again.
//
// Between two statements it stops where the run is asked to, or paused, and has no lock in hand then: a pause may last for days.
func (w *worker) script(ctx, doing context.Context, list []task) error {
	holder := &worker{engine: w.engine}
	if err := holder.reconnect(ctx); err != nil {
		return err
	}
	defer holder.close(ctx)
	for _, t := range list {
		if err := w.mayBegin(ctx); err != nil {
			return err
		}
		if err := holder.aloneAt(doing, t.Part); err != nil {
			return err
		}
		if err := w.statement(doing, t); err != nil {
			return err
		}
		rollback(doing, holder.conn.PgConn())
	}
	return nil
}

// aloneAt takes the lock of a script, which is held to the end of a transaction.
func (w *worker) aloneAt(ctx context.Context, part TaskPart) error {
	answers, err := exchange(ctx, w.conn.PgConn(), pgsql.Begin, pgsql.SetLocal(w.sql.holderSettings(w.pace())...), pgsql.TryAlone(int64(w.run), string(part)), pgsql.LetGo)
	if err == nil && answers[2].rows[0][0] != "t" {
		err = errElsewhere
	}
	return err
}

// statement sends one statement alone, unless it is recorded as done.
func (w *worker) statement(ctx context.Context, t task) error {
	if _, err := exchange(ctx, w.conn.PgConn(), w.sql.aloneSettings(t, w.pace())); err != nil {
		return err
	}
	rows, err := w.record(ctx, w.tasks.Recorded(t.Task))
	if err != nil {
		return err
	}
	begun := len(rows) > 0
	if begun && rows[0][1] == "t" {
		return nil
	}
	oid, err := w.ownIndex(ctx, t)
	if err != nil {
		return err
	}
	if begun {
		t.Found = uint32(number(rows[0][0]))
	} else {
		t.Found = oid
		if _, err := w.record(ctx, w.tasks.Begin(t.Task)); err != nil {
			return err
		}
	}
	started := w.begun(t)
	// An index that was not there when the statement was first sent is what it built.
	if !begun || oid == 0 || oid == t.Found {
		if _, err := exchange(ctx, w.conn.PgConn(), t.statements[0]); err != nil {
			return w.taskFailedUnlessPassing(t, err)
		}
		if err := w.built(ctx, t); err != nil {
			return err
		}
	}
	if rows, err = w.record(ctx, w.tasks.Done(t.Task)); err != nil {
		return err
	}
	if len(rows) == 0 {
		return w.runIsOver()
	}
	w.observe(TaskDone{Task: t.Task, Name: t.name, Took: time.Since(started)})
	return nil
}

// taskFailedUnlessPassing names the statement that failed, where it is not sent again.
func (w *worker) taskFailedUnlessPassing(t task, err error) error {
	if action := pgerr.Class(err); w.conn.IsClosed() || slices.Contains([]pgerr.Action{pgerr.Retry, pgerr.Resource, pgerr.Stop}, action) {
		return err
	}
	return w.taskFailed(t, err)
}

// record sends a statement about a task in a transaction of its own.
func (w *worker) record(ctx context.Context, st pgsql.Statement) ([][]string, error) {
	answers, err := exchange(ctx, w.conn.PgConn(), pgsql.Begin, pgsql.SetLocal(w.sql.taskSettings(w.pace())...), st, pgsql.Commit)
	if err != nil {
		rollback(ctx, w.conn.PgConn())
		return nil, err
	}
	return answers[2].rows, nil
}

// ownIndex is the index that a statement builds, where there is a valid one. An invalid one is what an interrupted
// build left, and is dropped: IF NOT EXISTS would be content with it. Where the interrupted build goes on in the
// server, dropping waits for it in vain, and the next look finds a valid one.
func (w *worker) ownIndex(ctx context.Context, t task) (uint32, error) {
	if t.index == nil {
		return 0, nil
	}
	rows, err := w.record(ctx, t.index.Look())
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	if rows[0][1] == "t" {
		return uint32(number(rows[0][0])), nil
	}
	w.waits("task", "dropping the invalid index "+rows[0][2])
	lock := pgsql.Setting{Name: "lock_timeout", Value: fmt.Sprintf("%dms", max(w.pace().LockTimeout.Milliseconds(), 1))}
	if _, err := exchange(ctx, w.conn.PgConn(), pgsql.Set(lock)); err != nil {
		return 0, err
	}
	if _, err := exchange(ctx, w.conn.PgConn(), pgsql.DropIndex(rows[0][2])); err != nil {
		return 0, err
	}
	_, err = exchange(ctx, w.conn.PgConn(), w.sql.aloneSettings(t, w.pace()))
	return 0, err
}

// built is an error where a statement that was sent has not left a valid index.
func (w *worker) built(ctx context.Context, t task) error {
	if t.index == nil {
		return nil
	}
	rows, err := w.record(ctx, t.index.Look())
	if err != nil || len(rows) > 0 && rows[0][1] == "t" {
		return err
	}
	return &Error{Place: w.plan.Job.at(t.line), Found: t.name + " left no valid index " + t.index.Index, Remedy: "run the job again: it is built again"}
}
