package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/ledger"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// lockNotAvailable is the SQLSTATE of a lock that was not had in time.
const lockNotAvailable = "55P03"

// Cancel closes every open segment with a fence and ends the run as cancelled, in one
// transaction: it is all done or nothing is. Workers may go on meanwhile: a chunk commits
// before the fence or never, also that of a worker who was asleep. Where a worker holds a ledger
// row in a transaction that it does not end, Cancel tries again for [Options].CancelPatience and
// then returns an error that says who. Cancelling a cancelled run is no error.
func (r *Run) Cancel(ctx context.Context) error {
	return r.closeAll(ctx, fenceCancelled, "cancelled by "+r.store.who)
}

// Supersede does what [Run.Cancel] does, for a run that a new one of the same job replaces.
func (r *Run) Supersede(ctx context.Context) error {
	return r.closeAll(ctx, fenceSuperseded, "replaced by a new run, by "+r.store.who)
}

// errHeld is a ledger row that somebody keeps in an open transaction.
var errHeld = errors.New("a ledger row is held")

func (r *Run) closeAll(ctx context.Context, fence, reason string) error {
	return r.closing(ctx, func(t *tx) error { return r.fenceAll(t, fence, reason) })
}

// closing runs work, which closes segments, and again while a worker holds a ledger row.
func (r *Run) closing(ctx context.Context, work func(*tx) error) error {
	doing := "closing its segments"
	deadline := time.Now().Add(r.store.cancelPatience)
	for {
		err := r.store.transact(ctx, settings, work)
		if err == nil {
			return nil
		}
		if !errors.Is(err, errHeld) {
			return r.failed(doing, err)
		}
		if ctx.Err() == nil && time.Now().Before(deadline) {
			continue // the lock timeout was the pause
		}
		if err := ctx.Err(); err != nil {
			return r.failed(doing, err)
		}
		return r.held(ctx)
	}
}

func (r *Run) fenceAll(t *tx, fence, reason string) error {
	row, err := r.lock(t)
	if err != nil {
		return held(err)
	}
	if row.state == backfill.StateCancelled {
		return nil
	}
	if row.state.Over() {
		return r.over(row)
	}
	if fence == fenceCancelled && row.desired == backfill.DesiredCancelled && row.desiredReason != "" {
		reason = row.desiredReason // who wanted it has also said why
	}
	if err := r.fenceEverySegment(t, fence); err != nil {
		return err
	}
	detail, err := jsonParam(map[string]any{"from": row.state, "fence": fence, "reason": reason})
	if err != nil {
		return err
	}
	return t.send(
		step{Statement: pgsql.Statement{Name: "cancelled", SQL: updateCancelled, Args: [][]byte{pgsql.Int(r.id), pgsql.Text(reason)}}},
		step{Statement: r.event(fence, detail)})
}

// fenceEverySegment closes all segments of the run: see [ledger.CloseAll].
func (r *Run) fenceEverySegment(t *tx, fence string) error {
	fences := pgsql.Statement{Name: "fences", SQL: fenceOpen, Args: [][]byte{pgsql.Int(r.id), pgsql.Text(fence), pgsql.Text(r.store.process)}}
	return ledger.CloseAll(
		func() error { return held(t.send(step{Statement: fences})) },
		func() (int, error) {
			open, err := r.openSegments(t, nil)
			return len(open), err
		})
}

// held tells a lock that was not had in time from other errors.
func held(err error) error {
	if pgerr.Code(err) == lockNotAvailable {
		return errHeld
	}
	return err
}

// held is the error that says who keeps the run from being closed.
func (r *Run) held(ctx context.Context) error {
	e := &backfill.Error{
		Place:    r.place(),
		Found:    fmt.Sprintf("a transaction that recorded a chunk has not ended for %s", r.store.cancelPatience),
		Expected: "every worker to commit or roll back within its time limits",
		Remedy:   "end that backend with SELECT pg_terminate_backend(PID), then cancel again",
	}
	var who []string
	err := r.store.once(ctx, settings, step{
		Statement: pgsql.Statement{Name: "holders", SQL: holders},
		read: func(rows pgx.Rows) error {
			var pid int
			var name, client, state, age string
			if err := rows.Scan(&pid, &name, &client, &state, &age); err != nil {
				return err
			}
			who = append(who, fmt.Sprintf("pid %d (%s, from %s, %s for %s)", pid, name, client, state, age))
			return nil
		},
	})
	if err != nil {
		return r.failed("finding out who holds it up", errors.Join(e, err))
	}
	if len(who) > 0 {
		e.Found += ": " + strings.Join(who, ", ")
	}
	return e
}
