package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/metrics"
	"github.com/pgbackfill/pgbackfill/internal/programs"
)

// runOptions are the flags of run that are about this one invocation.
type runOptions struct {
	again bool
	// maxChunks and dryRun are 0 where the flag is not given.
	maxChunks, dryRun chunkCount
	// agreed is set where the plan was shown and agreed to before.
	agreed bool
}

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run FILE",
		Short: "Plans a job, asks, and runs it; resumes where a run is unfinished",
		Long: `run plans the jobs of a file, asks, and runs them in order.

It asks on a terminal. Elsewhere, in a pipeline say, it asks nothing and goes on, as with --yes;
what must not go on without a person is an error, and is accepted with --accept.

On an unfinished run of the same job it resumes, at once and wherever it was left; where others
are at work on it, it joins them. On a finished run it says so. A run is only gone on with where
the job, the table and the tool are what they were when it began.

A row that cannot be changed (a constraint, a cast, a division) is set aside, up to max_quarantined
of them, and the run goes on; it then ends with exit code 4, and retry-quarantined does these rows
once the cause is mended.`,
		Args: args(1, 1, "one job file"),
		RunE: func(c *cobra.Command, given []string) error {
			list, err := a.read(given[0])
			if err != nil {
				return err
			}
			for _, job := range list {
				if err := a.runJob(c.Context(), given[0], job, o); err != nil {
					return err
				}
			}
			return nil
		},
	}
	configs.RunFlags(c.Flags())
	a.backupFlag(c)
	c.Flags().BoolVar(&o.again, "again", false, "start a new run; an unfinished one is closed and what it has done stays")
	c.Flags().Var(&o.maxChunks, "max-chunks", "stop after so many chunks")
	c.Flags().Var(&o.dryRun, "dry-run", "carry out so many chunks and roll each of them back")
	return a.measured(c)
}

// runJob takes one job from a plan to the end of its run.
func (a *app) runJob(ctx context.Context, file string, job backfill.Job, o runOptions) error {
	if job.Transform != nil && len(job.Transform.Command) > 0 && !a.cfg.AllowPrograms {
		return backfill.ProgramsRefused(job)
	}
	pace, notes := a.cfg.Resolve(job)
	for _, note := range notes {
		a.note("note", note)
	}
	connect, err := a.connect()
	if err != nil {
		return err
	}
	a.lend = &lender{}
	defer a.lend.close(ctx)
	planner, err := a.planner(ctx, connect, job, o)
	if err != nil {
		return err
	}
	plan, err := a.plan(ctx, connect, planner, job, pace)
	if err != nil {
		return err
	}
	if o.dryRun > 0 {
		return a.dryRun(ctx, backfill.Options{Plan: plan, Connect: connect, Programs: a.programs()}, file, int(o.dryRun))
	}
	return a.carryOut(ctx, connect, plan, file, o)
}

// carryOut takes a plan to the end of its run.
func (a *app) carryOut(ctx context.Context, connect backfill.Connect, plan *backfill.Plan, file string, o runOptions) error {
	p, store, err := a.take(ctx, connect, plan, file, o)
	if errors.Is(err, checkpoint.ErrOvertaken) { // what was asked for is done, or to be looked at
		o.again = false
		p, store, err = a.take(ctx, connect, plan, file, o)
	}
	if store == nil || err != nil {
		return err
	}
	defer func() { _ = store.Close(context.WithoutCancel(ctx)) }() // what it was for is done, or has failed already
	// Else what is to be kept is known after prepare.
	if !plan.Pending {
		if err := p.Capture(ctx, plan.CapturesOf(p.ID())); err != nil {
			return err
		}
	}
	err = a.work(ctx, connect, plan, p, file, o)
	if u := plan.Job.Undo; u != nil && u.Capture {
		a.release(context.WithoutCancel(ctx), p.Run)
	}
	return err
}

// take decides what an earlier run means for this process, asks, and makes the run or finds the one
// to go on with. The store is nil where there is nothing left to do.
func (a *app) take(ctx context.Context, connect backfill.Connect, plan *backfill.Plan, file string, o runOptions) (part, *checkpoint.Store, error) {
	earlier, err := a.earlier(ctx, connect, plan.Job)
	if err != nil {
		return part{}, nil, err
	}
	if earlier != nil {
		if err := earlier.UndoBegun(file); err != nil {
			return part{}, nil, err
		}
	}
	if err := a.twice(earlier, plan, o); err != nil {
		return part{}, nil, err
	}
	done, err := a.settle(earlier, plan, file, o)
	if done || err != nil {
		return part{}, nil, err
	}
	if err := a.agree(plan, earlier, file, o); err != nil {
		return part{}, nil, err
	}
	return a.startRun(ctx, connect, plan, earlier, o)
}

// plan resolves a job against the database.
func (a *app) plan(ctx context.Context, connect backfill.Connect, planner backfill.Planner, job backfill.Job, pace backfill.Pace) (*backfill.Plan, error) {
	conn, err := a.borrow(ctx, connect)
	if err != nil {
		return nil, err
	}
	defer a.give(ctx, conn)
	job.Pace = backfill.Pace{} // it is in pace, with every other place that was heard
	planner.Programs = programs.Runner{}
	planner.BackupAt = a.backupAt.Time
	planner.MostWorkers = a.mostWorkers()
	plan, err := planner.Plan(ctx, conn, job, pace)
	if err != nil {
		return nil, err
	}
	plan.Accept(a.cfg.Accept, who())
	if plan.DualWrite != nil {
		plan.Statements = slices.Concat(plan.Statements, checkpoint.DualWriteStatements())
	}
	if plan.Tripwire != nil {
		plan.Statements = slices.Concat(plan.Statements, checkpoint.TripwireStatements())
	}
	plan.Statements = slices.Concat(plan.Statements, checkpoint.InstallStatements(), checkpoint.Statements(), a.signalStatements(plan.Pace))
	return plan, nil
}

// agree shows what is about to happen and asks. Findings of severity error stop it.
func (a *app) agree(plan *backfill.Plan, earlier *checkpoint.RunInfo, file string, o runOptions) error {
	resuming := earlier != nil && !earlier.State.Over() && !o.again
	if !o.agreed {
		a.findings(plan.Findings, file)
	}
	if blocking := plan.Blocking(); len(blocking) > 0 {
		return refused(plan, blocking)
	}
	if resuming {
		if text := stillHeld(*earlier, plan.Pace); text != "" {
			a.note("note", text)
		}
		if earlier.Desired == backfill.DesiredPaused && !(backfill.PausedItself(earlier.DesiredReason) && !a.interactive()) { // that ends it, and says so
			a.note("note", fmt.Sprintf("run %d is %s; this process waits until somebody says: pgbackfill resume %s", earlier.ID, earlier.DesiredReason, earlier.Job))
		}
		return nil
	}
	if o.agreed {
		return nil
	}
	a.brief(plan)
	if !a.ask("Run it?") {
		return &backfill.Error{Found: "not run, as answered; nothing was written", Kind: backfill.ErrInput}
	}
	return nil
}

// part is this process's part in a run: one it made, one that it resumes, or one that others are at.
type part struct {
	*checkpoint.Run
	resumed, joined bool
}

// startRun makes the run, or finds the one to go on with, and opens the store it is in.
func (a *app) startRun(ctx context.Context, connect backfill.Connect, plan *backfill.Plan, earlier *checkpoint.RunInfo, o runOptions) (part, *checkpoint.Store, error) {
	conn, err := a.borrow(ctx, connect)
	if err != nil {
		return part{}, nil, err
	}
	if err := a.begin(ctx, conn, plan); err != nil {
		closed(ctx, conn)
		return part{}, nil, err
	}
	store := checkpoint.OpenOn(conn, connect, a.opening())
	p, err := a.makeRun(ctx, store, plan, earlier, o)
	if err != nil {
		return part{}, nil, errors.Join(err, store.Close(context.WithoutCancel(ctx)))
	}
	return p, store, nil
}

func (a *app) makeRun(ctx context.Context, store *checkpoint.Store, plan *backfill.Plan, earlier *checkpoint.RunInfo, o runOptions) (part, error) {
	var newest backfill.RunID
	if earlier != nil {
		newest = earlier.ID
	}
	unfinished := earlier != nil && !earlier.State.Over()
	if unfinished && o.again {
		run := store.Attach(*earlier)
		if err := run.Supersede(ctx); err != nil {
			return part{}, err
		}
		a.release(ctx, run)
	}
	if !unfinished || o.again {
		run, created, err := store.CreateAfter(ctx, plan, newest)
		if err == nil && created && len(plan.Job.Helpers) > 0 {
			if err := run.DropOlderHelpers(ctx); err != nil {
				a.note("warning", err.Error())
			}
		}
		if err != nil || created {
			return part{Run: run}, err
		}
	}
	info, err := store.Find(ctx, plan.Job.Name)
	if errors.Is(err, backfill.ErrNotFound) { // it has ended since we looked
		return part{}, checkpoint.ErrOvertaken
	}
	if err != nil {
		return part{}, err
	}
	// Another process may have made it since we looked.
	if err := checkpoint.Changed(info, checkpoint.Compare(info, plan, a.version)); err != nil {
		return part{}, err
	}
	info.Resume(plan)
	return part{Run: store.Attach(info), resumed: true, joined: live(info) > 0}, nil
}

// install brings the schema to this version where it is missing or older.
func (a *app) install(ctx context.Context, conn *pgx.Conn) error {
	return checkpoint.Install(ctx, conn, checkpoint.InstallOptions{Version: a.version, AcceptPublications: a.accepts("schema-published")})
}

func (a *app) accepts(id string) bool {
	for _, accepted := range a.cfg.Accept {
		if accepted == id {
			return true
		}
	}
	return false
}

// work takes part in the run and shows it.
func (a *app) work(ctx context.Context, connect backfill.Connect, plan *backfill.Plan, run part, file string, o runOptions) error {
	show, err := a.show()
	if err != nil {
		return err
	}
	observe := backfill.Tee(show.observe, a.measure(metrics.Job{Name: plan.Job.Name, Command: a.verb, Run: run.ID(), Process: run.Process()}))
	limit, err := a.throttle(ctx, connect, plan.Pace, plan.Table.OID, false, show.warn)
	if err != nil {
		show.close()
		return err
	}
	quiet := context.AfterFunc(ctx, show.stopping)
	defer quiet()
	summary, err := backfill.Work(ctx, backfill.Options{
		Run: run.ID(), Plan: plan, Process: run.Process(), Resumed: run.resumed, Joined: run.joined,
		Connect: connect, Ledger: run, Segments: run, Control: run, Tasks: run, Quarantine: run, Throttle: limit, Programs: a.programs(),
		Prepared: a.prepared(connect, run.Run, show.warn), Observer: observe, Abort: a.abort, MaxChunks: int64(o.maxChunks), Unattended: !a.interactive(),
		Blocked: limit.blocked, Notices: limit.notices, Clamp: func(p backfill.Pace) backfill.Pace { p, _ = a.cfg.Clamp(p); return p },
	})
	limit.stop()
	show.close()
	show.summary(plan.Job, summary, err, file)
	switch {
	case err != nil:
		return errors.Join(err, errSaid)
	case summary.Quarantined > 0:
		return fmt.Errorf("%w: %w", backfill.ErrIncomplete, errSaid)
	}
	return nil
}

// programs starts the programs of transforms, where they are allowed; nil is where they are not.
func (a *app) programs() backfill.Programs {
	if !a.cfg.AllowPrograms {
		return nil
	}
	return programs.Runner{}
}
