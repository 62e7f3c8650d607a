package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/eventlog"
	"github.com/pgbackfill/pgbackfill/internal/metrics"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/programs"
	"github.com/pgbackfill/pgbackfill/internal/progressui"
	"github.com/pgbackfill/pgbackfill/jobs"
)

// verifyOptions are the flags of verify.
type verifyOptions struct {
	values  bool
	samples int
	again   bool
	// standby is the one to be read, by its name or a connection string; "" is where the job is run.
	standby string
	// databases are what jobs call by name in in:, each NAME=CONNECTION; still is how long a difference must stand still.
	databases []string
	still     time.Duration
	// sample is the part of the rows that is looked at; "" is all.
	sample string
	// continuous goes over it again and again, each time when every has passed.
	continuous bool
	every      time.Duration
}

func (a *app) verifyCommand() *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Reads every row again and says whether the result is right",
		Long: `verify reads the whole table, also rows above the last key that was walked, and holds it against
what the job says: the checks under verify: in the job file, or what follows from its update or delete.

The first line says proven, mismatched or incomplete, and the exit code is 0, 3 or 4: incomplete is
what could not be read, and what is not finished yet; 5 where all was read, and what differs did not stand still long enough to be
judged, or a standby did not catch up in time. A proof that is residual (exit code 0) shows
that nothing is left to do, and not that what was done is right; the line says so, and why.

A check that says recompute: true runs the job's program again, which must be allowed as for run.

Interrupted or killed, it goes on where it was when the same command is given again, as long as nothing was added to
the run; a part of the table in which something was wrong is read again.

With --on-standby it reads a standby, once that shows the last chunk of the run. With --sample it looks at some of the rows,
drawn by their keys, and says with what confidence at most how many of all are wrong; that is incomplete (exit code 4), as
not all was read. With --continuous it begins again each time, until it is stopped.

It only reads, in short transactions, and may be used at any time, by a role that may only read.
Rows that are wrong are named by their keys; their values are shown with --show-values.`,
		Args: args(1, 1, "one job file"),
		RunE: func(c *cobra.Command, given []string) error {
			list, err := jobs.ReadFile(given[0]) // what lint would warn of, the verdict itself says
			if err != nil {
				return err
			}
			if o.samples < 0 {
				return backfill.Inputf("--samples", "0 names none", "found %d, expected how many wrong rows are to be named", o.samples)
			}
			checks := make([][]verify.Check, len(list))
			for i, job := range list { // all of the file is understood before any of it is done
				if checks[i], err = a.checksOf(job); err != nil {
					return err
				}
			}
			pass := func() (error, error) { return a.verifyAll(c.Context(), list, checks, o) }
			var worst error
			if o.continuous {
				worst, err = a.verifyAgain(c.Context(), o.every, pass)
			} else {
				worst, err = pass()
			}
			if err != nil || worst == nil {
				return err
			}
			return errors.Join(worst, errSaid)
		},
	}
	configs.RunFlags(c.Flags())
	_ = c.Flags().MarkHidden("accept") // there are no findings here; that the flag is there is certain
	c.Flags().BoolVar(&o.values, "show-values", false, "show what wrong rows hold and should hold; it may be secret")
	c.Flags().IntVar(&o.samples, "samples", 10, "how many wrong rows of a check are named; all are counted")
	c.Flags().StringVar(&o.standby, "on-standby", "", "read this standby: its name in the configuration, or a connection string; what is recorded goes to the primary")
	c.Flags().StringVar(&o.sample, "sample", "", "look at a part of the rows only, as 5%, and say what that means for all")
	c.Flags().StringArrayVar(&o.databases, "database", nil, "NAME=CONNECTION: what a check means by in: NAME, over what databases: in the configuration says; the connection may be env:VARIABLE, which holds it")
	c.Flags().DurationVar(&o.still, "still", 0, "how long a row must stand still in both databases for a difference to count: longer than one lags behind the other (default 2s)")
	c.Flags().BoolVar(&o.continuous, "continuous", false, "go over it again and again until stopped, each time a verification of its own")
	c.Flags().DurationVar(&o.every, "every", time.Hour, "with --continuous: how long to wait after each time")
	return a.jsonFlag(a.measured(c))
}

// verifyAll verifies jobs in order and prints what each came to; it returns the gravest verdict.
func (a *app) verifyAll(ctx context.Context, list []backfill.Job, checks [][]verify.Check, o verifyOptions) (worst, err error) {
	for i, job := range list {
		verdict, err := a.verifyJob(ctx, job, checks[i], o)
		if err != nil {
			return nil, err
		}
		if err := a.writeVerdict(verdict); err != nil {
			return nil, err
		}
		worst = graver(worst, verdict.Err())
	}
	return worst, nil
}

// checksOf are the checks of a job. A program that one of them runs again must be allowed.
func (a *app) checksOf(job backfill.Job) ([]verify.Check, error) {
	checks, err := verify.Checks(job)
	if err != nil {
		return nil, err
	}
	recomputes := slices.ContainsFunc(checks, func(c verify.Check) bool { return c.Kind == verify.KindRecompute })
	if recomputes && len(job.Transform.Command) > 0 && !a.cfg.AllowPrograms {
		return nil, backfill.ProgramsRefused(job)
	}
	return checks, nil
}

// surveyed is a job with what is known of it, for reading.
type surveyed struct {
	connect backfill.Connect
	plan    *backfill.Plan
	run     *verify.Run
}

// surveyed resolves a job for reading.
func (a *app) surveyed(ctx context.Context, job backfill.Job) (surveyed, error) {
	// A job's rate and chunk size are how carefully it writes. Reading is as fast as this invocation and the
	// operator say.
	job.Pace.Rate, job.Pace.ChunkRows = 0, 0
	pace, notes := a.cfg.Resolve(job)
	for _, note := range notes {
		a.note("note", note)
	}
	connect, err := a.connect()
	if err != nil {
		return surveyed{}, err
	}
	earlier, err := a.earlier(ctx, connect, job)
	if err != nil {
		return surveyed{}, err
	}
	kept, before, err := a.keptBy(ctx, connect, earlier, job)
	if err != nil {
		return surveyed{}, err
	}
	plan, err := survey(ctx, connect, earlier, kept, job, pace)
	if err != nil {
		return surveyed{}, err
	}
	run, err := verified(earlier, plan)
	if run != nil {
		run.Earlier = before
	}
	if err == nil {
		err = seen(plan)
	}
	return surveyed{connect, plan, run}, err
}

// verifyJob verifies one job.
func (a *app) verifyJob(ctx context.Context, job backfill.Job, checks []verify.Check, o verifyOptions) (verify.Verdict, error) {
	s, err := a.surveyed(ctx, job)
	if errors.Is(err, backfill.ErrBlinded) {
		return verify.Unseen(job, err), nil
	}
	if err != nil {
		return verify.Verdict{}, err
	}
	if s.run != nil && s.run.State == backfill.StateUndone {
		return verify.TakenBack(job, *s.run), nil
	}
	observe, done, err := a.progress()
	if err != nil {
		return verify.Verdict{}, err
	}
	defer done()
	about := backfill.RunID(0)
	if s.run != nil {
		about = s.run.ID
	}
	observe = backfill.Tee(observe, a.measure(metrics.Job{Name: job.Name, Command: "verify", Run: about}))
	limit, err := a.throttle(ctx, s.connect, s.plan.Pace, s.plan.Table.OID, true, func(text string) { a.note("note", text) })
	if err != nil {
		return verify.Verdict{}, err
	}
	defer limit.stop()
	defer limit.showing(ctx, observe)()
	options := verify.Options{
		Plan: s.plan, Checks: checks, Connect: s.connect, Run: s.run, Throttle: limit, Observer: observe,
		Programs: a.programs(), Target: a.cfg.Asked().ChunkTarget, Samples: o.samples, ShowValues: o.values, Again: o.again || o.continuous,
	}
	options.Still = o.still
	if options.Sample, err = fraction(o.sample); err != nil {
		return verify.Verdict{}, err
	}
	if options.Databases, err = a.databases(job, o.databases); err != nil {
		return verify.Verdict{}, err
	}
	if o.standby != "" {
		if options.Connect, options.Shown, err = a.onStandby(ctx, o.standby, s); err != nil {
			return verify.Verdict{}, err
		}
	}
	store, err := a.open(ctx, s.connect)
	switch {
	case err == nil:
		defer func() { _ = store.Close(context.WithoutCancel(ctx)) }() // what it was for is done, or has failed already
		options.Record = store.Verifications(o.values)
	case notFound(err):
		options.NotRecorded = "the schema pgbackfill is not installed here"
	default:
		options.NotRecorded = err.Error()
	}
	return verify.Verify(ctx, options)
}

// keptBy is what the newest run of a job kept of the rows that it changed, where it is not taken back, and how many runs
// before it changed rows as well.
func (a *app) keptBy(ctx context.Context, connect backfill.Connect, earlier *checkpoint.RunInfo, job backfill.Job) (kept []pgsql.Capture, before int, _ error) {
	if earlier == nil || earlier.Undo != nil || job.Undo == nil || !job.Undo.Capture {
		return nil, 0, nil
	}
	store, err := a.open(ctx, connect)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = store.Close(context.WithoutCancel(ctx)) }() // what it was for is done, or has failed already
	runs, err := store.Runs(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, r := range runs {
		if r.Job == job.Name && r.ID < earlier.ID && r.State != backfill.StateUndone && r.Totals.RowsChanged > 0 {
			before++
		}
	}
	kept, err = store.Attach(*earlier).Captures(ctx)
	return kept, before, err
}

// survey resolves a job for reading, with the values that the parameters of its newest run have.
func survey(ctx context.Context, connect backfill.Connect, earlier *checkpoint.RunInfo, kept []pgsql.Capture, job backfill.Job, pace backfill.Pace) (*backfill.Plan, error) {
	conn, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	job.Pace = backfill.Pace{} // it is in pace, with every other place that was heard
	var planner backfill.Planner
	if earlier != nil {
		planner = earlier.Planner()
	}
	planner.Programs, planner.Captures = programs.Runner{}, kept
	return planner.Survey(ctx, conn, job, pace)
}

// verified is the newest run of a job, which a verification speaks of; nil where none is known. The plan then reads the
// job's SQL as that run did.
func verified(earlier *checkpoint.RunInfo, plan *backfill.Plan) (*verify.Run, error) {
	if earlier == nil {
		return nil, nil
	}
	for _, c := range plan.Constants {
		if stored, ok := earlier.Params[c.Name]; ok && !c.Same(stored) {
			return nil, &backfill.Error{
				Place: fmt.Sprintf("run %d of %s", earlier.ID, earlier.Job), Found: "param " + c.Name + ": the environment variable " + c.Env + " is not what it was in the run",
				Remedy: "set it to the secret that the run had", Kind: backfill.ErrChanged,
			}
		}
	}
	if earlier.Walk.SearchPath != "" {
		plan.SearchPath = earlier.Walk.SearchPath
	}
	var walked []string
	if earlier.Walk.Walk == string(backfill.WalkKey) {
		for _, k := range earlier.Walk.Key {
			walked = append(walked, k.Name)
		}
	}
	return &verify.Run{
		Walked: walked, ID: earlier.ID, State: earlier.State, Same: earlier.SpecHash == plan.Job.Hash(), Quarantined: earlier.Totals.Quarantined,
		Undoing: earlier.Undoing(), Interrupted: stateText(statusOf(*earlier)) == stateInterrupted,
	}, nil
}

// progress shows how far a verification is, as run shows how far a run is: it returns what is to be told, and what
// ends it.
func (a *app) progress() (backfill.Observer, func(), error) {
	switch {
	case a.cfg.Log.Format == eventlog.FormatJSON:
		log, err := a.logger(a.err)
		if err != nil {
			return nil, nil, err
		}
		records := eventlog.Records(log, a.cfg.ProgressInterval)
		return records.Observe, records.Close, nil
	case progressui.Usable(a.err) && a.cfg.Log.Format == "auto":
		display := progressui.Start(a.err)
		return display.Observe, display.Close, nil
	}
	lines := eventlog.Lines(a.err, a.cfg.ProgressInterval)
	return lines.Observe, lines.Close, nil
}

// writeVerdict prints a verdict, the answer on the first line.
func (a *app) writeVerdict(v verify.Verdict) error {
	if a.output == "json" {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	_, err := fmt.Fprint(wrapping(a.out), verdictText(v))
	return err
}
