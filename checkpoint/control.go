package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// beatPatience bounds how long a heartbeat is tried: it is repeated anyway, and whoever calls
// wants to be able to say that the database does not answer.
const beatPatience = 2 * time.Second

// Beat records that this process is alive and returns what it should do, in one round trip.
// A lost connection is made again; after two seconds without success that is an error.
func (r *Run) Beat(ctx context.Context, b backfill.Beat) (backfill.Orders, error) {
	var orders backfill.Orders
	var overrides []byte
	found := false
	s := r.store
	err := s.link.once(ctx, min(s.patience, beatPatience), beatSettings, step{
		Statement: pgsql.Statement{Name: "beat", SQL: beat, Args: [][]byte{
			pgsql.Int(r.id), pgsql.Text(s.process), pgsql.Text(s.host), pgsql.Int(s.pid), pgsql.Text(s.version),
			intsParam(b.Segments), pgsql.Int(b.Workers), pgsql.Int(b.ChunkRows), floatParam(b.RowsPerSecond), pgsql.Text(b.Waiting),
			timeParam(r.created),
		}},
		read: func(rows pgx.Rows) error {
			found = true
			return rows.Scan(&orders.State, &orders.Desired, &orders.Reason, &orders.Pass, &overrides)
		},
	})
	if err != nil {
		return backfill.Orders{}, r.failed("asking for orders", err)
	}
	if !found {
		return backfill.Orders{}, gone(r.id)
	}
	if err := json.Unmarshal(overrides, &orders.Overrides); err != nil {
		return backfill.Orders{}, unreadable(r.id, "overrides", err)
	}
	return orders, nil
}

// SetState moves the run to a state. It is an error where the run is over. Several processes may
// call it at once, each with what it saw a moment ago, so what is out of date is dropped without
// an error: "running" and "finishing" where people want the run paused or cancelled, "preparing" and "running" where
// another process has got further, and "pausing" or "paused" where they want it running
// and another process is at work.
// A run is finished by [Run.Finish] and cancelled by [Run.Cancel] only: those two prove something.
func (r *Run) SetState(ctx context.Context, to backfill.State, reason string) error {
	if to == backfill.StateFinished || to == backfill.StateCancelled {
		return fmt.Errorf("%s: SetState cannot make it %s: Finish and Cancel do", r.place(), to)
	}
	err := r.store.transact(ctx, settings, func(t *tx) error {
		row, err := r.lock(t)
		if err != nil {
			return err
		}
		if row.state == to && row.reason == reason {
			return nil
		}
		if row.state.Over() {
			return r.over(row)
		}
		late, err := r.late(t, row, to)
		if err != nil || late {
			return err
		}
		return r.writeState(t, row.state, to, reason)
	})
	if err != nil {
		return r.failed(fmt.Sprintf("setting the state %s", to), err)
	}
	return nil
}

// late reports whether a state is what a process thought before somebody else thought better.
func (r *Run) late(t *tx, row runRow, to backfill.State) (bool, error) {
	switch to {
	case backfill.StatePreparing, backfill.StateRunning, backfill.StateFinishing:
		further := row.state == backfill.StateFinishing || row.state == backfill.StateRunning && to == backfill.StatePreparing
		return row.desired != backfill.DesiredRunning || further && to != backfill.StateFinishing, nil
	case backfill.StatePausing, backfill.StatePaused:
		if row.desired != backfill.DesiredRunning {
			return false, nil
		}
		var others int
		err := t.send(step{
			Statement: pgsql.Statement{Name: "others", SQL: otherLive, Args: [][]byte{pgsql.Int(r.id), pgsql.Text(r.store.process)}},
			read:      one(&others),
		})
		return others > 0, err
	}
	return false, nil
}

func (r *Run) writeState(t *tx, from, to backfill.State, reason string) error {
	detail, err := jsonParam(map[string]any{"from": from, "to": to, "reason": reason, "process": r.store.process})
	if err != nil {
		return err
	}
	return t.end(
		step{Statement: pgsql.Statement{Name: "state", SQL: updateState, Args: [][]byte{pgsql.Int(r.id), pgsql.Text(string(to)), pgsql.Text(reason)}}},
		step{Statement: r.event(string(to), detail)})
}

// Pause asks every process of the run to pause, in the engine's own name: what
// [Store.SetDesired] is for people. A run that is to be cancelled is left to that.
func (r *Run) Pause(ctx context.Context, reason string) error {
	detail, err := jsonParam(map[string]any{"why": reason, "process": r.store.process})
	if err != nil {
		return err
	}
	err = r.store.transact(ctx, settings, func(t *tx) error {
		row, err := r.lock(t)
		switch {
		case err != nil:
			return err
		case row.state.Over():
			return r.over(row)
		case row.desired == backfill.DesiredCancelled:
			return nil
		}
		return t.end(step{Statement: r.desire(backfill.DesiredPaused, reason)}, step{Statement: r.event("paused by itself", detail)})
	})
	if err != nil {
		return r.failed("asking for a pause", err)
	}
	return nil
}

func (r *Run) desire(desired backfill.Desired, reason string) pgsql.Statement {
	return pgsql.Statement{
		Name: "desired", SQL: updateDesired,
		Args: [][]byte{pgsql.Int(r.id), pgsql.Text(string(desired)), pgsql.Text(reason)},
	}
}

// Leave records that this process is gone. A process that could not say so shows by its silence.
func (r *Run) Leave(ctx context.Context) error {
	err := r.store.once(ctx, settings, step{
		Statement: pgsql.Statement{Name: "leave", SQL: leave, Args: [][]byte{pgsql.Int(r.id), pgsql.Text(r.store.process), pgsql.Text(r.store.who)}},
	})
	if err != nil {
		return r.failed("leaving", err)
	}
	return nil
}
