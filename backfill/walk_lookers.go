package backfill

import (
	"bytes"
	"context"
	"fmt"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// lookers are those who look, each with a connection. It is made before there is a snapshot, since it may have to be waited for, in a pause too:
// then for the first one. The others look where a connection can be had at once.
func (e *engine) lookers(ctx context.Context) ([]*worker, error) {
	var list []*worker
	for len(list) < e.workers() {
		l := &worker{engine: e, conn: e.spareConn()}
		if l.conn == nil || l.conn.IsClosed() {
			connecting := l.reconnect
			if len(list) > 0 {
				connecting = l.connectOnce
			}
			err := connecting(ctx)
			if err != nil && len(list) > 0 && ctx.Err() == nil {
				break
			}
			if err != nil {
				return list, err
			}
		}
		list = append(list, l)
	}
	return list, nil
}

// lookAt looks at ranges of pages as they were in a snapshot, and adds up what it finds, until patience ends.
func (w *worker) lookAt(ctx, patience context.Context, snapshot string, part pgsql.Part, ranges <-chan KeyRange, found *looked) error {
	defer rollback(context.WithoutCancel(ctx), w.conn.PgConn())
	answers, err := exchange(ctx, w.conn.PgConn(), pgsql.BeginSnapshot, pgsql.SetSnapshot(snapshot), w.sql.readSettings(Segment{Pass: PassSweep}, w.pace()))
	if err != nil {
		if code := pgerr.Code(err); len(answers) == 1 && (code == "22023" || code == "42704" || code == "55000") { // who kept it is gone, or on another server
			return fmt.Errorf("%w: %s", errLookAgain, pgerr.Describe(err))
		}
		return err
	}
	for r := range ranges {
		if err := w.mayLookOn(ctx, patience); err != nil {
			return err
		}
		part.Range = pgsql.Range{After: r.After, Through: r.Through}
		for _, step := range w.sql.steps {
			if err := w.tell(ctx, step.(pgsql.Checkable), part, found); err != nil {
				return err
			}
		}
	}
	return nil
}

// mayLookOn waits until the throttle lets the next part be looked at, which makes the server write too where rows were changed lately. But
// whoever waits with a snapshot keeps the whole database from being cleaned: it is not waited for long, nor for a run that is stopped, nor where somebody waits for the look itself.
func (e *engine) mayLookOn(ctx, patience context.Context) error {
	longest := lookPatience
	if idle := e.pace().IdleTimeout; idle > 0 { // after which the server ends the transaction
		longest = min(longest, idle/2)
	}
	waiting, stop := context.WithTimeout(patience, longest)
	defer stop()
	for {
		let, err := e.ration(waiting, 1)
		switch {
		case patience.Err() != nil && ctx.Err() == nil:
			return fmt.Errorf("%w: somebody waits for it", errLookAgain)
		case let:
			return nil
		case e.ordersNow().Desired != DesiredRunning:
			return fmt.Errorf("%w: the run was stopped", errLookAgain)
		case waiting.Err() != nil && ctx.Err() == nil:
			return fmt.Errorf("%w: nothing may be done now", errLookAgain)
		case err != nil:
			return err
		}
	}
}

// tell counts what one step would still have to change in a part. The error is errMissed where nothing else need be known.
func (w *worker) tell(ctx context.Context, step pgsql.Checkable, part pgsql.Part, found *looked) error {
	missed, err := step.Missed(part)
	if err != nil {
		return err
	}
	answers, err := exchange(ctx, w.conn.PgConn(), missed)
	if pgerr.Class(err) == pgerr.Data { // of a row that somebody wrote since: which one it is, a sweep finds out, and sets it aside
		found.forget()
		found.behind.Add(1)
		return errMissed
	}
	if err != nil {
		return err
	}
	counts := answers[0].rows[0]
	behind, since := number(counts[0]), number(counts[1])
	found.seen.Add(number(counts[2]))
	first := w.owed == nil && found.wantsKeys()
	if first && behind > 0 || since > 0 {
		keys, err := step.MissedKeys(part, w.plan.Heap.Identity)
		if err != nil {
			return err
		}
		_, err = exchangeRows(ctx, w.conn.PgConn(), 0, func(values [][]byte) {
			key := string(bytes.Join(values, []byte{0}))
			if first {
				found.add(key)
			} else if w.owed.keys[key] { // it was there, and has moved out of the way of a sweep
				behind, since = behind+1, since-1
			}
		}, keys)
		if err != nil {
			return err
		}
	}
	found.since.Add(since)
	if found.behind.Add(behind) > 0 && w.owed == nil && !found.wantsKeys() {
		return errMissed
	}
	return nil
}

// forget gives up the keys: they will not be all.
func (l *looked) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys = nil
}

// wantsKeys reports whether the keys of all rows are still looked for.
func (l *looked) wantsKeys() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keys != nil
}
