package checkpoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

var _ backfill.Tasks = (*Run)(nil)

// Begin records a task: see [backfill.Tasks].
func (r *Run) Begin(t backfill.Task) pgsql.Statement {
	return pgsql.Statement{Name: "task", SQL: beginTask, Args: append(r.task(t), pgsql.Text(t.Relation), pgsql.Int(int64(t.Found)), pgsql.Text(r.store.process))}
}

// Done says that a task is done: see [backfill.Tasks].
func (r *Run) Done(t backfill.Task) pgsql.Statement {
	return pgsql.Statement{Name: "task done", SQL: taskDone, Args: r.task(t)}
}

// Recorded asks for what is recorded of a task: see [backfill.Tasks].
func (r *Run) Recorded(t backfill.Task) pgsql.Statement {
	return pgsql.Statement{Name: "task recorded", SQL: readTask, Args: r.task(t)}
}

func (r *Run) task(t backfill.Task) [][]byte {
	return [][]byte{pgsql.Int(r.id), pgsql.Text(string(t.Part)), pgsql.Int(t.No)}
}

// Planned records how the run walks, and its segments, when what comes before its first chunk is done. It returns false
// where another process has done so: the plan then walks as the run does. It is an error where what is planned is not
// what that process planned, or the run is over.
func (r *Run) Planned(ctx context.Context, plan *backfill.Plan) (bool, error) {
	update, err := r.planned(plan)
	if err != nil {
		return false, err
	}
	detail, err := jsonParam(map[string]any{"segments": len(plan.Segments), "process": r.store.process})
	if err != nil {
		return false, err
	}
	first := false
	err = r.store.transact(ctx, settings, func(t *tx) error {
		first = false
		row, err := r.lock(t)
		switch {
		case err != nil:
			return err
		case row.state.Over():
			return r.over(row)
		case !row.walk.Pending:
			return nil
		}
		first = true
		steps := []step{{Statement: update}}
		for _, segment := range plan.Segments {
			steps = append(steps, step{Statement: r.newSegment(segment, backfill.PassWalk)})
		}
		return t.end(append(steps, step{Statement: r.event("planned", detail)})...)
	})
	if err != nil {
		return false, r.failed("recording the plan", err)
	}
	if first {
		return true, nil
	}
	info, err := r.store.Newest(ctx, r.job)
	if err != nil {
		return false, err
	}
	if info.ID != r.id {
		return false, r.over(runRow{state: backfill.StateCancelled, reason: fmt.Sprintf("replaced by run %d", info.ID)})
	}
	if err := Changed(info, Compare(info, plan, r.store.version)); err != nil {
		return false, err
	}
	info.Resume(plan)
	return false, nil
}

func (r *Run) planned(plan *backfill.Plan) (pgsql.Statement, error) {
	table, err := tableOf(plan)
	return pgsql.Statement{Name: "planned", SQL: updatePlanned, Args: append([][]byte{pgsql.Int(r.id)}, table...)}, err
}

// tableOf are the parameters that say what a plan walks and how: OID, name, walk, fingerprint, rows.
func tableOf(plan *backfill.Plan) ([][]byte, error) {
	walk, err := jsonParam(walkOf(plan))
	if err != nil {
		return nil, err
	}
	lines := plan.Fingerprint
	if lines == nil || plan.Pending { // it is taken when the plan is made again
		lines = map[string]string{}
	}
	fingerprint, err := jsonParam(lines)
	if err != nil {
		return nil, err
	}
	name := backfill.TableName{Schema: plan.Table.Schema, Name: plan.Table.Name}
	switch {
	case name.Name == "" && plan.Job.WalkHelper != "":
		name.Name = "helper " + plan.Job.WalkHelper
	case name.Name == "":
		name = plan.Job.Table
	}
	return [][]byte{pgsql.Int(int64(plan.Table.OID)), pgsql.Text(tableText(name)), walk, fingerprint, pgsql.Int(plan.EstimatedRows)}, nil
}

// Complete proves what [Run.Finish] proves, and changes nothing. It returns false where the run is in another pass.
func (r *Run) Complete(ctx context.Context, pass backfill.Pass) (bool, error) {
	covered := false
	err := r.store.transact(ctx, durableSettings, func(t *tx) error {
		covered = false
		proof := r.proof()
		row, err := r.lockAnd(t, proof.steps()...)
		if err != nil {
			return err
		}
		if row.state.Over() || row.pass != pass {
			covered = row.state == backfill.StateFinished
			return nil
		}
		covered = true
		return proof.covers(row.walk)
	})
	if err != nil {
		return false, r.failed("proving that every chunk is committed", err)
	}
	return covered, nil
}

// DropOlderHelpers drops the helpers of earlier runs of the job: nothing speaks of them any more, since verification and
// undo are about the newest run. What cannot be dropped now, because somebody reads it, is dropped by the next
// run or with the schema; the error says what that is.
func (r *Run) DropOlderHelpers(ctx context.Context) error {
	type helper struct {
		run   backfill.RunID
		no    int
		table string
	}
	var list []helper
	err := r.store.once(ctx, settings, step{
		Statement: pgsql.Statement{Name: "older helpers", SQL: olderHelpers, Args: [][]byte{pgsql.Int(r.id), pgsql.Text(r.job)}},
		read: func(rows pgx.Rows) error {
			var h helper
			err := rows.Scan(&h.run, &h.no, &h.table)
			list = append(list, h)
			return err
		},
	})
	if err != nil {
		return r.failed("looking for helpers of earlier runs", err)
	}
	var failed error
	for _, h := range list {
		err := r.store.link.transact(ctx, 0, hastySettings, func(t *tx) error {
			return t.end(
				step{Statement: pgsql.Statement{Name: "drop helper", SQL: "DROP TABLE IF EXISTS " + pgsql.Ident("pgbackfill", h.table)}},
				step{Statement: pgsql.Statement{Name: "helper dropped", SQL: helperDropped, Args: [][]byte{pgsql.Int(h.run), pgsql.Int(h.no)}}})
		})
		if err != nil {
			failed = errors.Join(failed, r.failed("dropping pgbackfill."+h.table, err))
		}
	}
	return failed
}
