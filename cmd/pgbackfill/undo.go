package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/metrics"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

func (a *app) undoCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "undo FILE",
		Short: "Takes the newest run of a job back, as its undo: says",
		Long: `undo takes the newest run of each job of a file back, the last job first, in the way that the job
says under undo:. An unfinished run is closed first: no chunk of it is committed afterwards.

It is done in chunks, like the run: killed anywhere it goes on by the same command, it is shown by status
like a run, and held by pause, resume and set. From what was kept (undo: capture) it goes by one worker,
since that is taken back in the order opposite to that in which it was written. What was changed by
others since is never overwritten where the run kept what was there (undo: capture); such rows are
listed, and the exit code is 4.`,
		Args: args(1, 1, "one job file"),
		RunE: func(c *cobra.Command, given []string) error {
			a.verb = "undo"
			list, err := a.read(given[0])
			if err != nil {
				return err
			}
			for _, job := range slices.Backward(list) {
				if err := a.undoJob(c.Context(), given[0], job); err != nil {
					return err
				}
			}
			return nil
		},
	}
	configs.RunFlags(c.Flags())
	return a.measured(c)
}

// undoJob takes the newest run of a job back.
func (a *app) undoJob(ctx context.Context, file string, job backfill.Job) error {
	if err := mayUndo(job); err != nil {
		return err
	}
	connect, err := a.connect()
	if err != nil {
		return err
	}
	store, err := a.open(ctx, connect)
	if err != nil {
		return neverRun(job.Name, err)
	}
	defer func() { _ = store.Close(context.WithoutCancel(ctx)) }() // what it was for is done, or has failed already
	info, err := store.Newest(ctx, job.Name)
	if err != nil {
		return unknownJob(ctx, store, job.Name, err)
	}
	if info.State == backfill.StateUndone {
		return a.takenBack(ctx, store, info)
	}
	if err := undoable(info, job); err != nil {
		return err
	}
	how := "set"
	if job.Undo.Capture {
		how = "capture"
	}
	if u := info.Undo; u != nil && u.How != how {
		return &backfill.Error{
			Place: job.Origin, Found: fmt.Sprintf("run %d is being taken back by undo: %s, and the job says %s now", info.ID, u.How, how),
			Remedy: "end it as it was begun: with the file as it was then", Kind: backfill.ErrChanged,
		}
	}
	if job.Undo.Capture {
		return a.undoByCapture(ctx, connect, store, info, job, file)
	}
	return a.undoBySet(ctx, connect, store, info, job, file)
}

// takenBack says that a run was taken back before. Rows that were left then are left still, and it is incomplete.
func (a *app) takenBack(ctx context.Context, store *checkpoint.Store, info checkpoint.RunInfo) error {
	said := fmt.Sprintf("%s: run %d was taken back", info.Job, info.ID)
	if info.Undo == nil {
		a.result(said + ". Nothing to do.")
		return nil
	}
	said += ", " + undoneAt(info)
	if info.Undo.Missed == 0 {
		a.result(said + ". Nothing to do.")
		return nil
	}
	a.result(said + ", but for " + human.Plural(info.Undo.Missed, "row"))
	return a.left(ctx, store.Attach(info), info.Undo.UndoMark)
}

// mayUndo refuses a job that does not say how it is taken back, or says that it is not.
func mayUndo(job backfill.Job) error {
	e := &backfill.Error{Place: job.Origin, Kind: backfill.ErrInput}
	switch {
	case job.Undo == nil:
		e.Found = job.Name + " does not say how it is taken back"
		e.Remedy = "add  undo: {set: {column: expression}}: it may be said after the run"
	case job.Undo.None != "":
		e.Found = job.Name + " cannot be taken back: " + job.Undo.None
		e.Remedy = "restore a backup, or write a job that mends it"
	default:
		return nil
	}
	return e
}

// undoBySet takes a run back by a run of the job that its undo.set makes.
func (a *app) undoBySet(ctx context.Context, connect backfill.Connect, store *checkpoint.Store, info checkpoint.RunInfo, job backfill.Job, file string) error {
	run := store.Attach(info)
	if err := a.agreedTo(ctx, store, info, job); err != nil {
		return err
	}
	plan, err := a.planUndo(ctx, connect, run, info, job)
	if err != nil {
		return err
	}
	if blocking := plan.Blocking(); len(blocking) > 0 {
		a.findings(plan.Findings, file)
		return refused(plan, blocking)
	}
	told := info.Undo == nil
	if told {
		a.findings(plan.Findings, file)
		a.brief(plan)
		if !a.ask(takeBackQuestion(info)) {
			return &backfill.Error{Found: "not taken back, as answered; nothing was written", Kind: backfill.ErrInput}
		}
		if err := run.BeginUndo(ctx, "set"); err != nil {
			return err
		}
		// What was committed until the segments were closed is part of it.
		if plan, err = a.planUndo(ctx, connect, run, info, job); err != nil {
			return err
		}
	}
	if err := a.carryOut(ctx, connect, plan, file, runOptions{agreed: told}); err != nil {
		return err
	}
	return run.FinishUndo(ctx, fmt.Sprintf("by %s, job %s", who(), plan.Job.Name))
}

// takeBackQuestion is asked before a run is taken back.
func takeBackQuestion(info checkpoint.RunInfo) string {
	return fmt.Sprintf("Take run %d of %s back? It changed %s.", info.ID, info.Job, human.Plural(info.Totals.RowsChanged, "row"))
}

// agreedTo refuses an undo that would assign every row that was walked, unless that is accepted. It was, where the
// run that takes back is there already: the job of that run is held against this one when it is gone on with.
func (a *app) agreedTo(ctx context.Context, store *checkpoint.Store, info checkpoint.RunInfo, job backfill.Job) error {
	whole := job.WholeWalk() || info.Walk.Heap != nil && job.Undo.Where == nil
	if !whole || a.accepts("undo-whole-walk") {
		return nil
	}
	if info.Undo != nil {
		_, err := store.Newest(ctx, backfill.UndoName(job.Name, info.ID))
		if err == nil || !errors.Is(err, backfill.ErrNotFound) {
			return err
		}
	}
	if info.Walk.Heap != nil && !job.WholeWalk() {
		return &backfill.Error{
			Place: job.Origin,
			Found: fmt.Sprintf("undo.set would assign every row in scope, also those that run %d, which changed %s, never came to: it walked the table in physical order, and there are no ranges of keys to go back over",
				info.ID, human.Plural(info.Totals.RowsChanged, "row")),
			Expected: "undo: {set: {…}, where: …}", Remedy: "say which rows are meant, or mean all of them: --accept undo-whole-walk", Kind: backfill.ErrInput,
		}
	}
	return &backfill.Error{
		Place: job.Origin,
		Found: fmt.Sprintf("undo.set would assign every row that was walked: run %d changed %s, and about %s would be assigned; the scope does not tell any more which ones were changed",
			info.ID, human.Plural(info.Totals.RowsChanged, "row"), human.Count(info.Totals.RowsSeen)),
		Expected: "undo: {set: {…}, where: …}", Remedy: "say which rows are meant, or mean all of them: --accept undo-whole-walk", Kind: backfill.ErrInput,
	}
}

// planUndo plans the job that takes a run back.
func (a *app) planUndo(ctx context.Context, connect backfill.Connect, run *checkpoint.Run, info checkpoint.RunInfo, job backfill.Job) (*backfill.Plan, error) {
	covered, err := run.Covered(ctx)
	if err != nil {
		return nil, err
	}
	pace, notes := a.cfg.Resolve(job)
	for _, note := range notes {
		a.note("note", note)
	}
	key := info.Walk.Key
	if info.Walk.Heap != nil {
		key = nil
	}
	// Quarantined rows are as they were, and would be changed by taking them back. Where the job is idempotent the
	// closing sweep may have done them after all, and taking them back does no harm.
	var aside []pgsql.Range
	if !job.Idempotent {
		if aside, err = run.Unchanged(ctx); err != nil {
			return nil, err
		}
	}
	undo, err := job.UndoJob(info.ID, key, covered, aside)
	if err != nil {
		return nil, err
	}
	planner := info.Planner()
	planner.Walk = "" // it is another job: each row is assigned once, by its key
	plan, err := a.plan(ctx, connect, planner, undo, pace)
	if err != nil {
		return nil, err
	}
	plan.Pace.MaxQuarantined = backfill.Off // what cannot be taken back is to be seen at once
	if plan.Table.OID != info.TableOID {
		return nil, &backfill.Error{
			Place: "table " + plan.Table.Quoted, Found: fmt.Sprintf("it is another one than run %d changed: its OID was %d and is %d", info.ID, info.TableOID, plan.Table.OID),
			Remedy: "take back by hand what the run did to the table that it walked", Kind: backfill.ErrChanged,
		}
	}
	return plan, nil
}

// leftShown is how many of the rows are shown that could not be taken back.
const leftShown = 20

// undoByCapture takes a run back from what it kept.
func (a *app) undoByCapture(ctx context.Context, connect backfill.Connect, store *checkpoint.Store, info checkpoint.RunInfo, job backfill.Job, file string) error {
	run := store.Attach(info)
	tables, err := run.Captures(ctx)
	if err != nil {
		return err
	}
	if len(tables) == 0 && info.Totals.Chunks > 0 {
		return &backfill.Error{
			Place: fmt.Sprintf("run %d of %s", info.ID, info.Job), Found: "it did not keep what was there: undo: capture was not said when it began",
			Remedy: "take it back with undo: {set: …}, or from a backup", Kind: backfill.ErrInput,
		}
	}
	if info.Undo == nil {
		if !a.ask(takeBackQuestion(info)) {
			return &backfill.Error{Found: "not taken back, as answered; nothing was written", Kind: backfill.ErrInput}
		}
		if err := run.BeginUndo(ctx, "capture"); err != nil {
			return err
		}
	}
	a.release(ctx, run)
	mark := backfill.UndoMark{}
	if len(tables) == 0 {
		err = run.FinishUndo(ctx, "by "+who())
	} else {
		mark, err = a.takeBack(ctx, connect, run, info, tables, job)
	}
	if errors.Is(err, backfill.ErrInterrupted) {
		a.note("note", "to go on: pgbackfill undo "+file)
	}
	if err != nil {
		return err
	}
	a.result(fmt.Sprintf("%s: run %d is taken back: %s as before", job.Name, info.ID, human.Plural(mark.Restored, "row")))
	return a.left(ctx, run, mark)
}

// takeBack does the work and shows it as a run is shown.
func (a *app) takeBack(ctx context.Context, connect backfill.Connect, run *checkpoint.Run, info checkpoint.RunInfo, tables []pgsql.Capture, job backfill.Job) (backfill.UndoMark, error) {
	pace, notes := a.cfg.Resolve(job)
	for _, note := range notes {
		a.note("note", note)
	}
	pace = pace.Over(backfill.DefaultPace).Settled()
	if text := stillHeld(info, pace); text != "" {
		a.note("note", text)
	}
	show, err := a.show()
	if err != nil {
		return backfill.UndoMark{}, err
	}
	defer show.close()
	observe := backfill.Tee(show.observe, a.measure(metrics.Job{Name: job.Name, Command: a.verb, Run: run.ID(), Process: run.Process()}))
	limit, err := a.throttle(ctx, connect, pace, info.TableOID, false, show.warn)
	if err != nil {
		return backfill.UndoMark{}, err
	}
	defer limit.stop()
	defer context.AfterFunc(ctx, show.stopping)()
	return backfill.TakeBack(ctx, backfill.UndoOptions{
		Run: run.ID(), Job: job.Name, Process: run.Process(), Who: who(), Joined: info.Undoing() && live(info) > 0, Tables: tables, Pace: pace,
		Connect: connect, Ledger: run, Control: run, Throttle: limit, Blocked: limit.blocked, Notices: limit.notices, Observer: observe, Abort: a.abort,
		Clamp: func(p backfill.Pace) backfill.Pace { p, _ = a.cfg.Clamp(p); return p },
	})
}

// left lists what could not be taken back, and makes an error of it.
func (a *app) left(ctx context.Context, run *checkpoint.Run, mark backfill.UndoMark) error {
	if mark.Missed == 0 {
		return nil
	}
	list, err := run.Left(ctx, leftShown)
	if err != nil {
		return err
	}
	for _, l := range list {
		a.result(fmt.Sprintf("  left: %s %s, %s: %s", l.Table, l.Key, l.What, l.Why))
	}
	others, constraint, err := run.LeftFor(ctx)
	if err != nil {
		return err
	}
	return &backfill.Error{
		Place: fmt.Sprintf("run %d of %s", run.ID(), run.Job()), Found: fmt.Sprintf("%s could not be taken back: %s", human.Plural(mark.Missed, "row"), whyLeft(others, constraint)),
		Remedy: fmt.Sprintf("all of them: SELECT table_name, key, what, why FROM pgbackfill.undo_left WHERE run_id = %d", run.ID()), Kind: backfill.ErrIncomplete,
	}
}

// whyLeft is why rows could not be taken back.
func whyLeft(others, constraint int64) string {
	switch {
	case constraint == 0:
		return "somebody has changed them since"
	case others == 0:
		return "a constraint does not let them"
	}
	return fmt.Sprintf("somebody has changed %d of them since, and a constraint does not let %d", others, constraint)
}

// release removes the triggers that kept rows, where the run is over; that it does not work is no reason to stop:
// they cost next to nothing, and act for nobody any more.
func (a *app) release(ctx context.Context, run *checkpoint.Run) {
	if err := run.Release(ctx); err != nil {
		a.note("warning", "the triggers that kept rows for undo are still there: "+err.Error())
	}
}
