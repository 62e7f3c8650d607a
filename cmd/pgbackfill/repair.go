package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/metrics"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/jobs"
)

// repairShown is how many rows that are left alone are listed for people; JSON has them all.
const repairShown = 20

func (a *app) repairCommand() *cobra.Command {
	var apply bool
	c := &cobra.Command{
		Use:   "repair FILE",
		Short: "Mends the rows that the newest verification found to be wrong, one by one",
		Long: `repair takes the rows that the newest verification of each job named, and says which of them it would
make what they should be; with --apply it does, one row at a time, under a lock and in a transaction of its own.

A row that somebody has written since the verification, or that is right by now, is left alone and counted. So is
what is missing or in another table: that takes a hand, or a new run.

Repairing proves nothing: with the first row every verification of the job is void, and a new one is needed.
The exit code is 0 where every row was, or would be, repaired, and 4 where some are left alone.`,
		Args: args(1, 1, "one job file"),
		RunE: func(c *cobra.Command, given []string) error {
			list, err := jobs.ReadFile(given[0])
			if err != nil {
				return err
			}
			var left int64
			for _, job := range list {
				n, err := a.repairJob(c.Context(), given[0], job, apply)
				if err != nil {
					return err
				}
				left += n
			}
			if left > 0 {
				return fmt.Errorf("%w: %w", verify.ErrIncomplete, errSaid)
			}
			return nil
		},
	}
	configs.RunFlags(c.Flags())
	_ = c.Flags().MarkHidden("accept") // there are no findings here; that the flag is there is certain
	c.Flags().BoolVar(&apply, "apply", false, "do it; without it is only said what would be done")
	return a.jsonFlag(a.measured(c))
}

// repairResult is what repair prints in JSON.
type repairResult struct {
	Job          string `json:"job"`
	Verification int64  `json:"verification"`
	verify.Repaired
	// Unrecorded counts the wrong rows that the verification counted and did not name.
	Unrecorded int64 `json:"unrecorded"`
}

// repairJob repairs the rows of one job, and returns how many are left alone.
func (a *app) repairJob(ctx context.Context, file string, job backfill.Job, apply bool) (int64, error) {
	checks, err := a.checksOf(job)
	if err != nil {
		return 0, err
	}
	s, err := a.surveyed(ctx, job)
	if err != nil {
		return 0, err
	}
	var result repairResult
	err = a.stored(ctx, func(store *checkpoint.Store) error {
		result, err = a.repairRows(ctx, store, file, s, checks, apply)
		return err
	})
	if err != nil {
		return 0, err
	}
	return result.Skipped + result.Unrecorded, a.writeRepair(result, file)
}

func (a *app) repairRows(ctx context.Context, store *checkpoint.Store, file string, s surveyed, checks []verify.Check, apply bool) (repairResult, error) {
	v, err := repairable(ctx, store, s.plan.Job, file)
	if err != nil {
		return repairResult{}, err
	}
	out := repairResult{Job: v.Job, Verification: v.ID}
	limit, err := a.throttle(ctx, s.connect, s.plan.Pace, s.plan.Table.OID, true, func(text string) { a.note("note", text) })
	if err != nil {
		return out, err
	}
	defer limit.stop()
	about := metrics.Job{Name: s.plan.Job.Name, Command: "repair"}
	if s.run != nil {
		about.Run = s.run.ID
	}
	options := verify.RepairOptions{
		Options: verify.Options{Plan: s.plan, Checks: checks, Connect: s.connect, Run: s.run, Throttle: limit, Programs: a.programs(), Observer: a.measure(about)}, Apply: apply,
	}
	list, err := store.MismatchesOf(ctx, v.ID, 0, 1<<30)
	if err != nil {
		return out, err
	}
	out.Unrecorded = v.Mismatches
	for _, m := range list {
		options.Rows = append(options.Rows, m.Mismatch)
		out.Unrecorded -= m.Rows
	}
	out.Unrecorded = max(out.Unrecorded, 0)
	if apply && len(list) > 0 {
		repair, err := store.BeginRepair(ctx, v.ID, v.Job)
		if err != nil {
			return out, err
		}
		options.Voids = []pgsql.Statement{repair.Voids()}
		out.Repaired, err = verify.Repair(ctx, options)
		return out, errors.Join(stopped(ctx, err, out.Repaired), repair.End(context.WithoutCancel(ctx), out.Skipped))
	}
	out.Repaired, err = verify.Repair(ctx, options)
	return out, stopped(ctx, err, out.Repaired)
}

// stopped says of a repair that was stopped how far it was.
func stopped(ctx context.Context, err error, r verify.Repaired) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return &backfill.Error{Found: fmt.Sprintf("stopped between two rows; %s repaired, which stays", human.Plural(r.Mended, "row")), Remedy: "verify again, and repair what is left", Kind: backfill.ErrInterrupted}
}

// repairable is the newest verification of a job that has ended, whose rows can be repaired.
func repairable(ctx context.Context, store *checkpoint.Store, job backfill.Job, file string) (checkpoint.VerificationInfo, error) {
	list, err := store.VerificationsOf(ctx, job.Name)
	if err != nil {
		return checkpoint.VerificationInfo{}, err
	}
	again := "verify first: pgbackfill verify " + file
	for i := len(list) - 1; i >= 0; i-- {
		v := list[i]
		switch {
		case v.State != "ended":
			continue
		case v.SpecHash != job.Hash():
			return v, &backfill.Error{Place: fmt.Sprintf("verification %d of %s", v.ID, v.Job), Found: "it was of another version of this job", Remedy: again, Kind: backfill.ErrChanged}
		}
		return v, nil
	}
	return checkpoint.VerificationInfo{}, &backfill.Error{Place: "job " + job.Name, Found: "no verification of it is recorded that says which rows are wrong", Remedy: again, Kind: backfill.ErrInput}
}

func (a *app) writeRepair(r repairResult, file string) error {
	if a.output == "json" {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	}
	out := wrapping(a.out)
	did := "would be repaired"
	if r.Applied {
		did = "repaired"
	}
	fmt.Fprintf(out, "%s: %s %s, %s left alone (of verification %d)\n", r.Job, human.Plural(r.Mended, "row"), did, human.Count(r.Skipped), r.Verification)
	shown := 0
	for _, row := range r.Rows {
		if shown++; shown > repairShown {
			fmt.Fprintf(out, "  %-10s %s\n", "", "… and others; all of them: -o json")
			break
		}
		word, why := "repaired", ""
		if !row.Repaired {
			word, why = "left alone", ": "+row.Why
		} else if !r.Applied {
			word = "wrong"
		}
		fmt.Fprintf(out, "  %-10s %s %s%s\n", word, row.Check, tuple(row.Key), why)
	}
	if r.Unrecorded > 0 {
		fmt.Fprintf(out, "  %-10s %s wrong that the verification did not name: repair these, verify and repair again\n", "besides", isOrAre(r.Unrecorded))
	}
	switch {
	case r.Applied && r.Mended > 0:
		fmt.Fprintf(out, "  %-10s %s\n", "next", "this is no proof, and the verifications before it are void: pgbackfill verify "+file)
	case r.Mended > 0:
		fmt.Fprintf(out, "  %-10s %s\n", "next", "do it: pgbackfill repair --apply "+file)
	}
	return nil
}
