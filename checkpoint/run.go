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

// Run is this process's part in a run. It satisfies [backfill.Ledger], [backfill.Segments],
// [backfill.Control], [backfill.Quarantine] and [backfill.Retryable], and may be used by many goroutines at once.
type Run struct {
	store *Store
	id    backfill.RunID
	job   string
	// created is when the run was made, by which it is told from another of the same number: a failover to a standby that was
	// behind takes runs back, and their numbers are given again.
	created time.Time
}

var (
	_ backfill.Ledger     = (*Run)(nil)
	_ backfill.Segments   = (*Run)(nil)
	_ backfill.Control    = (*Run)(nil)
	_ backfill.Quarantine = (*Run)(nil)
	_ backfill.Retryable  = (*Run)(nil)
)

// ID is the run's number.
func (r *Run) ID() backfill.RunID { return r.id }

// Job is the name of the run's job.
func (r *Run) Job() string { return r.job }

// Process is the name under which this process is known to the others.
func (r *Run) Process() string { return r.store.process }

// Part is what this process needs to take part in the run, as far as it is here: the rest is for the caller to set,
// Throttle in any case. What the job keeps for its undo is set up after its prepare, where it has one.
func (r *Run) Part(plan *backfill.Plan, resumed bool) backfill.Options {
	return backfill.Options{
		Run: r.id, Plan: plan, Process: r.Process(), Resumed: resumed, Connect: r.store.link.connect,
		Ledger: r, Segments: r, Control: r, Tasks: r, Quarantine: r,
		Prepared: func(ctx context.Context, plan *backfill.Plan) error {
			return r.Capture(ctx, plan.CapturesOf(r.id))
		},
	}
}

func (r *Run) place() string { return fmt.Sprintf("run %d of %s", r.id, r.job) }

// failed says what was being done when err came.
func (r *Run) failed(doing string, err error) error {
	return fmt.Errorf("%s: %s: %w", r.place(), doing, translate(err))
}

// runRow is a run's row as far as a change of it depends on it.
type runRow struct {
	state   backfill.State
	reason  string
	desired backfill.Desired
	// desiredReason is who asked for what is desired, and why.
	desiredReason string
	pass          backfill.Pass
	walk          Walk
	// undoing is how the run is being taken back, "set" or "capture"; "" where it is not.
	undoing string
}

// lock reads the run's row and keeps others from changing it until the transaction ends.
func (r *Run) lock(t *tx) (runRow, error) { return r.lockAnd(t) }

// lockAnd is lock with what is read in the same round trip, once the lock is had.
func (r *Run) lockAnd(t *tx, steps ...step) (runRow, error) {
	var row runRow
	var plan []byte
	found := false
	err := t.send(append([]step{{
		Statement: pgsql.Statement{Name: "lock run", SQL: lockRun, Args: [][]byte{pgsql.Int(r.id), timeParam(r.created)}},
		read: func(rows pgx.Rows) error {
			found = true
			return rows.Scan(&row.state, &row.reason, &row.desired, &row.desiredReason, &row.pass, &plan, &row.undoing)
		},
	}}, steps...)...)
	if err != nil {
		return row, err
	}
	if !found {
		return row, gone(r.id)
	}
	if err := json.Unmarshal(plan, &row.walk); err != nil {
		return row, unreadable(r.id, "plan", err)
	}
	return row, nil
}

func gone(id backfill.RunID) error {
	return &backfill.Error{
		Place: fmt.Sprintf("run %d", id), Found: "it is not in the database any more",
		Remedy: "see what is there with: pgbackfill status; a failover to a standby that was behind can have taken it: then run the job again", Kind: backfill.ErrNotFound,
	}
}

// identity reads whether the run is the one that this process takes part in, and its table the one that it was planned for; whose
// error says what is not so is wrong.
func (r *Run) identity(wrong *error) step {
	*wrong = gone(r.id)
	return step{
		Statement: pgsql.Statement{Name: "identity", SQL: readIdentity, Args: [][]byte{pgsql.Int(r.id), timeParam(r.created)}},
		read: func(rows pgx.Rows) error {
			var run, table bool
			var name string
			var oid uint32
			if err := rows.Scan(&run, &table, &name, &oid); err != nil || !run {
				return err
			}
			*wrong = nil
			if !table {
				*wrong = &backfill.Error{
					Place: r.place(), Found: fmt.Sprintf("its table %s (OID %d) is gone, or has another name now", name, oid),
					Expected: "no other in its place: what the ledger says is of that table",
					Remedy:   "put it back and run the job again, or start over with: pgbackfill run --again", Kind: backfill.ErrChanged,
				}
			}
			return nil
		},
	}
}

func unreadable(id backfill.RunID, column string, err error) error {
	return &backfill.Error{
		Place: fmt.Sprintf("run %d", id), Found: fmt.Sprintf("pgbackfill.runs.%s cannot be read", column), Err: err,
		Remedy: "restore the schema pgbackfill from a backup, or start over with --again", Kind: backfill.ErrUnreadable,
	}
}

// over is the error of what cannot be done to a run that has ended.
func (r *Run) over(row runRow) error {
	e := &backfill.Error{Place: r.place(), Found: "it is " + string(row.state), Remedy: "start a new run with: pgbackfill run --again"}
	if row.reason != "" {
		e.Found += " (" + row.reason + ")"
	}
	if row.state != backfill.StateFinished {
		e.Kind = backfill.ErrCancelled
	}
	return e
}

func (r *Run) event(what string, detail []byte) pgsql.Statement {
	return event(r.id, r.store.who, what, detail)
}

func event(id backfill.RunID, who, what string, detail []byte) pgsql.Statement {
	return pgsql.Statement{Name: "event", SQL: insertEvent, Args: [][]byte{pgsql.Int(id), pgsql.Text(who), pgsql.Text(what), detail}}
}

// Record adds an event to the run's record, for people: what happened, and why. It is tried again where that is met with
// trouble that passes, and may then be there twice.
func (r *Run) Record(ctx context.Context, what, reason string) error {
	detail, err := jsonParam(map[string]any{"reason": reason, "process": r.store.process})
	if err != nil {
		return err
	}
	if err := r.store.once(ctx, settings, step{Statement: r.event(what, detail)}); err != nil {
		return r.failed("writing down what happened", err)
	}
	return nil
}
