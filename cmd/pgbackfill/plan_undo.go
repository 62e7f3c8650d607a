package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// showUndo prints what undo would do to the newest run of a job, or to one that is still to be made, without a write.
func (a *app) showUndo(ctx context.Context, connect backfill.Connect, job backfill.Job) error {
	if err := mayUndo(job); err != nil {
		return err
	}
	earlier, err := a.earlier(ctx, connect, job)
	if err != nil {
		return err
	}
	if earlier == nil {
		return a.showUndoAfter(ctx, connect, job)
	}
	if err := undoable(*earlier, job); err != nil {
		return err
	}
	store, err := a.open(ctx, connect)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close(context.WithoutCancel(ctx)) }() // nothing was written
	run := store.Attach(*earlier)
	if !job.Undo.Capture {
		if err := a.agreedTo(ctx, store, *earlier, job); err != nil {
			return err
		}
		plan, err := a.planUndo(ctx, connect, run, *earlier, job)
		if err != nil {
			return err
		}
		return a.writeUndoPlan(plan)
	}
	tables, err := run.Captures(ctx)
	if err != nil {
		return err
	}
	return a.writeCaptured(job, *earlier, tables)
}

// showUndoAfter prints what undo would do after a run of the whole table. Its number stands in place of 0.
func (a *app) showUndoAfter(ctx context.Context, connect backfill.Connect, job backfill.Job) error {
	pace, _ := a.cfg.Resolve(job)
	plan, err := a.plan(ctx, connect, backfill.Planner{}, job, pace)
	if err != nil {
		return err
	}
	if job.Undo.Capture {
		return a.writeCaptured(job, checkpoint.RunInfo{}, plan.CapturesOf(0))
	}
	key := plan.Key
	if plan.Heap != nil {
		key = nil
	}
	undo, err := job.UndoJob(0, key, []pgsql.Range{{}}, nil)
	if err != nil {
		return err
	}
	if plan, err = a.plan(ctx, connect, backfill.Planner{Constants: plan.Constants}, undo, pace); err != nil {
		return err
	}
	return a.writeUndoPlan(plan)
}

// writeUndoPlan prints the plan of the job that takes a run back.
func (a *app) writeUndoPlan(plan *backfill.Plan) error {
	plan.Statements = slices.Concat(plan.Statements, checkpoint.UndoStatements(nil))
	return a.writePlan(plan)
}

// writeCaptured prints how a run is taken back from what it kept.
func (a *app) writeCaptured(job backfill.Job, info checkpoint.RunInfo, tables []pgsql.Capture) error {
	pace, _ := a.cfg.Resolve(job)
	list := slices.Concat(backfill.PlannedUndo(job.Name, tables, pace), checkpoint.UndoStatements(tables), checkpoint.Statements())
	if a.output == "json" {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(struct {
			Job        string                      `json:"job"`
			Run        backfill.RunID              `json:"run"`
			Statements []backfill.PlannedStatement `json:"statements"`
		}{job.Name, info.ID, list})
	}
	fmt.Fprintf(a.out, "%s: undo of run %d, from what it kept, by one worker, the last chunk first\n", job.Name, info.ID)
	if info.ID != 0 {
		fmt.Fprintf(a.out, "  %s changed by the run\n", human.Plural(info.Totals.RowsChanged, "row"))
	}
	for _, t := range tables {
		fmt.Fprintf(harmless{a.out}, "  %s from %s\n", t.Table, t.Store())
	}
	fmt.Fprintf(a.out, "\nStatements\n")
	writeStatements(harmless{a.out}, list)
	return nil
}

// undoable refuses a run that a job cannot take back.
func undoable(info checkpoint.RunInfo, job backfill.Job) error {
	switch {
	case info.State == backfill.StateUndone:
		return &backfill.Error{Place: fmt.Sprintf("run %d of %s", info.ID, info.Job), Found: "it was taken back, " + undoneAt(info), Remedy: "nothing is left to do", Kind: backfill.ErrInput}
	case !info.Did(job):
		return &backfill.Error{
			Place: job.Origin, Found: fmt.Sprintf("the job is not what run %d did", info.ID), Expected: "the job as it was run",
			Remedy: "take the file as it was then; only undo: may have changed", Kind: backfill.ErrChanged,
		}
	}
	return nil
}
