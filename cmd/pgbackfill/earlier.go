package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

// earlier is the newest run of a job; nil where there was none.
func (a *app) earlier(ctx context.Context, connect backfill.Connect, job backfill.Job) (*checkpoint.RunInfo, error) {
	conn, err := a.borrow(ctx, connect)
	if err != nil {
		return nil, err
	}
	_, err = checkpoint.Status(ctx, conn)
	if err != nil {
		a.give(ctx, conn)
	}
	if errors.Is(err, backfill.ErrNotFound) { // the schema is installed when the run is started
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	store := checkpoint.OpenOn(conn, connect, a.opening())
	defer func() { a.give(ctx, store.Detach()) }()
	info, err := store.Newest(ctx, job.Name)
	if errors.Is(err, backfill.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &info, nil
}

// twice refuses to do again what a job has done that is not idempotent, unless that is accepted.
func (a *app) twice(earlier *checkpoint.RunInfo, plan *backfill.Plan, o runOptions) error {
	if earlier == nil || !o.again || plan.Job.Idempotent || earlier.State == backfill.StateUndone || earlier.Totals.RowsChanged == 0 || a.accepts("not-idempotent") {
		return nil
	}
	remedy := "to change them once more all the same: --accept not-idempotent"
	if !earlier.State.Over() {
		remedy = "leave --again out: the run goes on where it stopped; " + remedy
	}
	return &backfill.Error{
		Place: fmt.Sprintf("run %d of %s", earlier.ID, earlier.Job), Kind: backfill.ErrInput,
		Found:  fmt.Sprintf("the job is not idempotent, and %s are changed already: a new run would change them a second time, and undo takes back the newest run only", human.Plural(earlier.Totals.RowsChanged, "row")),
		Remedy: remedy,
	}
}

// planner plans for the run that is gone on with, where there is one and the job has what a run keeps.
func (a *app) planner(ctx context.Context, connect backfill.Connect, job backfill.Job, o runOptions) (backfill.Planner, error) {
	if o.again || o.dryRun > 0 {
		return backfill.Planner{}, nil
	}
	earlier, err := a.earlier(ctx, connect, job)
	if err != nil || earlier == nil || earlier.State.Over() || earlier.SpecHash != job.Hash() {
		return backfill.Planner{}, err
	}
	planner := earlier.Planner()
	if len(job.Params) == 0 && len(job.Helpers) == 0 && job.Prepare == nil && job.Finish == nil {
		return backfill.Planner{Walk: planner.Walk, Heap: planner.Heap}, nil
	}
	return planner, nil
}

// settle decides what an earlier run of the job means for this one. It reports whether there
// is nothing left to do.
func (a *app) settle(earlier *checkpoint.RunInfo, plan *backfill.Plan, file string, o runOptions) (done bool, err error) {
	if earlier == nil || o.again {
		return false, nil
	}
	again := fmt.Sprintf("start a new run, from the beginning: pgbackfill run --again %s", file)
	if !plan.Job.Idempotent {
		again += "\n    (the job is not idempotent: rows that were changed would be changed once more)"
	}
	place := fmt.Sprintf("run %d of %s", earlier.ID, earlier.Job)
	switch {
	case earlier.State == backfill.StateFinished && earlier.SpecHash == plan.Job.Hash():
		return true, a.nothingToDo(*earlier, file)
	case earlier.State == backfill.StateFinished:
		found := "it has finished, and the job is not the same any more:"
		for _, d := range checkpoint.Compare(*earlier, plan, a.version) {
			found += "\n    " + d.String()
		}
		return true, &backfill.Error{Place: place, Found: found, Remedy: again, Kind: backfill.ErrChanged}
	case earlier.State == backfill.StateUndone:
		return true, &backfill.Error{
			Place: place, Found: "it was taken back, " + undoneAt(*earlier), Remedy: again, Kind: backfill.ErrInput,
		}
	case earlier.State.Over():
		return true, &backfill.Error{
			Place:  place,
			Found:  fmt.Sprintf("it is %s (%s); %s are changed, and stay so", earlier.State, earlier.Reason, human.Plural(earlier.Totals.RowsChanged, "row")),
			Remedy: again, Kind: backfill.ErrInput,
		}
	}
	return false, checkpoint.Changed(*earlier, checkpoint.Compare(*earlier, plan, a.version))
}

// nothingToDo says that a run has finished. Where rows of it are quarantined, it is incomplete.
func (a *app) nothingToDo(earlier checkpoint.RunInfo, file string) error {
	said := fmt.Sprintf("%s: run %d has finished, %s: %s walked, %s changed.",
		earlier.Job, earlier.ID, when(earlier.FinishedAt), human.Plural(earlier.Totals.RowsSeen, "row"), human.Count(earlier.Totals.RowsChanged))
	if n := earlier.Totals.Quarantined; n > 0 {
		return &backfill.Error{
			Found:  fmt.Sprintf("%s: incomplete: %s quarantined, that could not be changed; otherwise %s", earlier.Job, human.Plural(n, "row"), strings.TrimPrefix(said, earlier.Job+": ")),
			Remedy: fmt.Sprintf("see them: pgbackfill status %s; once the cause is mended: pgbackfill retry-quarantined %s", earlier.Job, file),
			Kind:   backfill.ErrIncomplete,
		}
	}
	a.result(said + " Nothing to do.\n  → to do it again: pgbackfill run --again " + file)
	return nil
}

// before says what the job's newest run means for what is planned, and is the error with which run would refuse because of it.
func (a *app) before(ctx context.Context, connect backfill.Connect, plan *backfill.Plan, file string) error {
	earlier, err := a.earlier(ctx, connect, plan.Job)
	if err != nil || earlier == nil {
		return err
	}
	place := fmt.Sprintf("run %d of %s", earlier.ID, earlier.Job)
	if earlier.State == backfill.StateFinished && earlier.SpecHash == plan.Job.Hash() {
		a.note("note", place+" has finished: run has nothing to do; this is what run --again would do")
		return nil
	}
	if err := earlier.UndoBegun(file); err != nil {
		return err
	}
	if earlier.State.Over() {
		a.note("note", fmt.Sprintf("%s is %s: this is what run --again would do", place, earlier.State))
		return nil
	}
	if _, err := a.settle(earlier, plan, file, runOptions{}); err != nil {
		return err
	}
	a.note("note", fmt.Sprintf("%s is unfinished (%s): run goes on with it, from %s walked; what is planned here is all of it", place, earlier.State, human.Plural(earlier.Totals.RowsSeen, "row")))
	return nil
}
