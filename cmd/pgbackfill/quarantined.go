package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/eventlog"
	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/metrics"
)

// quarantinedShown is how many quarantined keys are listed for people; JSON has them all.
const quarantinedShown = 20

func (a *app) retryQuarantinedCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "retry-quarantined FILE",
		Short: "Does the rows that could not be changed, once the cause is mended",
		Long: `retry-quarantined does the quarantined rows of the newest run of each job in the file, key by key,
each in a transaction that also marks it as done: stopped or started twice, it does no row twice.
The job must be the one that was run. Rows that fail again stay quarantined, with the new error.
Rows that are there no more, since they were deleted or have another key now, are done by nobody:
they are counted as gone. The exit code is 0 where no row is left and none was found gone, else 4.`,
		Args: args(1, 1, "one job file"),
		RunE: func(c *cobra.Command, given []string) error {
			list, err := a.read(given[0])
			if err != nil {
				return err
			}
			incomplete := false
			for _, job := range list {
				err := a.retryJob(c.Context(), given[0], job)
				switch {
				case err == nil:
				case errors.Is(err, backfill.ErrIncomplete):
					incomplete = true
				case notFound(err) && len(list) > 1: // an incomplete job stops those after it
					a.note("note", job.Name+" has not been run")
				case notFound(err):
					return neverRun(job.Name, a.stored(c.Context(), func(s *checkpoint.Store) error { return unknownJob(c.Context(), s, job.Name, err) }))
				default:
					return err
				}
			}
			if incomplete {
				return fmt.Errorf("%w: %w", backfill.ErrIncomplete, errSaid)
			}
			return nil
		},
	}
	configs.RunFlags(c.Flags())
	return a.jsonFlag(a.measured(c))
}

// retryResult is what retry-quarantined prints in JSON.
type retryResult struct {
	Job string `json:"job"`
	backfill.Retried
	Quarantined []backfill.QuarantinedRow `json:"quarantined,omitempty"`
}

// retryJob does the quarantined rows of a job's newest run.
func (a *app) retryJob(ctx context.Context, file string, job backfill.Job) error {
	connect, err := a.connect()
	if err != nil {
		return err
	}
	return a.stored(ctx, func(store *checkpoint.Store) error {
		info, err := store.Newest(ctx, job.Name)
		if err != nil {
			return err
		}
		if err := info.UndoBegun(file); err != nil {
			return err
		}
		if info.State == backfill.StateCancelled || info.State == backfill.StateUndone {
			return &backfill.Error{
				Place: fmt.Sprintf("run %d of %s", info.ID, info.Job), Found: fmt.Sprintf("it is %s: it takes no more", info.State),
				Remedy: "start a new run, from the beginning: pgbackfill run --again " + file, Kind: backfill.ErrInput,
			}
		}
		result := retryResult{Job: job.Name, Retried: backfill.Retried{Run: info.ID}}
		if info.Totals.Quarantined > 0 {
			if result.Retried, err = a.retryRows(ctx, connect, store.Attach(info), info, job); err != nil {
				return err
			}
		}
		most := quarantinedShown
		if a.output == "json" {
			most = int(result.Left)
		}
		if result.Quarantined, err = store.Quarantined(ctx, info.ID, most); err != nil {
			return err
		}
		return a.retried(result)
	})
}

// retryRows plans the job as its run was planned, and does the rows.
func (a *app) retryRows(ctx context.Context, connect backfill.Connect, run *checkpoint.Run, info checkpoint.RunInfo, job backfill.Job) (backfill.Retried, error) {
	pace, notes := a.cfg.Resolve(job)
	for _, note := range notes {
		a.note("note", note)
	}
	planner := backfill.Planner{}
	if info.SpecHash == job.Hash() { // the run's own parameters
		planner = info.Planner()
	}
	plan, err := a.plan(ctx, connect, planner, job, pace)
	if err != nil {
		return backfill.Retried{}, err
	}
	differences := checkpoint.Compare(info, plan, a.version)
	mended, grave := checkpoint.Mendable(info, differences)
	if err := checkpoint.Changed(info, grave); err != nil {
		return backfill.Retried{}, err
	}
	for _, d := range mended {
		a.note("note", d.String())
	}
	info.Resume(plan)
	log, err := a.logger(a.err)
	if err != nil {
		return backfill.Retried{}, err
	}
	limit, err := a.throttle(ctx, connect, plan.Pace, plan.Table.OID, false, func(text string) { a.note("note", text) })
	if err != nil {
		return backfill.Retried{}, err
	}
	defer limit.stop()
	result, err := backfill.RetryQuarantined(ctx, backfill.Options{
		Run: run.ID(), Plan: plan, Process: run.Process(), Connect: connect, Tasks: run, Throttle: limit, Blocked: limit.blocked, Notices: limit.notices, Programs: a.programs(), Abort: a.abort,
		Observer: backfill.Tee(eventlog.Observer(log.With().Int64("run", int64(info.ID)).Str("job", info.Job).Logger()),
			a.measure(metrics.Job{Name: info.Job, Command: "retry-quarantined", Run: info.ID, Process: run.Process(), Retried: info.Totals.Quarantined})),
		Clamp: func(p backfill.Pace) backfill.Pace { p, _ = a.cfg.Clamp(p); return p },
	}, run)
	if len(plan.Captures) > 0 && result.Left == 0 {
		a.release(context.WithoutCancel(ctx), run)
	}
	return result, err
}

// retried says what it came to.
func (a *app) retried(r retryResult) error {
	if a.output == "json" {
		enc := json.NewEncoder(a.out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	} else {
		what := "nothing is quarantined"
		if r.Left > 0 {
			what = "incomplete: " + human.Plural(r.Left, "row") + " quarantined"
		}
		if r.Gone > 0 && r.Left == 0 {
			what = "incomplete: " + human.Plural(r.Gone, "row") + " gone, deleted or with another key now"
		}
		fmt.Fprintf(a.out, "%s, run %d: %s; %s done now, %s failed again, %s gone\n", r.Job, r.Run, what, human.Plural(r.Done, "row"), human.Count(r.Failed), human.Count(r.Gone))
		writeQuarantinedRows(harmless{a.out}, r.Quarantined, r.Left)
	}
	if r.Left > 0 || r.Gone > 0 {
		return fmt.Errorf("%w: %w", backfill.ErrIncomplete, errSaid)
	}
	return nil
}

// writeQuarantined is the part of a run's status about the rows that could not be changed.
func writeQuarantined(w io.Writer, s runStatus) {
	if s.Totals.Gone > 0 {
		fmt.Fprintf(w, "  gone      %s quarantined before: deleted, or with another key now, and changed by nobody\n", human.Plural(s.Totals.Gone, "row"))
	}
	if s.Totals.Quarantined == 0 {
		return
	}
	fmt.Fprintf(w, "  aside     %s quarantined: could not be changed\n", human.Plural(s.Totals.Quarantined, "row"))
	writeQuarantinedRows(w, s.Quarantined, s.Totals.Quarantined)
	fmt.Fprintf(w, "            → once the cause is mended: pgbackfill retry-quarantined %s\n", orFile(s.Walk.Origin))
}

// writeQuarantinedRows lists keys with why their rows could not be changed; all is how many rows there are.
func writeQuarantinedRows(w io.Writer, list []backfill.QuarantinedRow, all int64) {
	for _, q := range list {
		name := q.Name()
		if q.Rows > 1 {
			name += " (" + human.Plural(q.Rows, "row") + ")"
		}
		fmt.Fprintf(w, "    %s  %s\n", name, q.Why())
		all -= q.Rows
	}
	if all > 0 {
		fmt.Fprintf(w, "    … and %s; all of them: -o json\n", human.Plural(all, "row"))
	}
}
