package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

func (a *app) tripwireCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "tripwire", Short: "The triggers that record each commit that breaks what a job has set up: install, status, remove",
		Long: `A tripwire looks, when a transaction of the application commits, at each row that it inserted or of
which it changed what the job is about. Where the row does not hold the values that the job gives it,
it writes to pgbackfill.drift: the row's key, the application_name, role, address and statements. A
transaction may write the old and the new column in two statements.

run installs it before the first chunk where the role may, for jobs that have dual_write or contract
and do not say  tripwire: false. It never fails a transaction. The contract migration removes it.`,
		Args: cobra.ArbitraryArgs, RunE: group,
	}
	var o dualWriteOptions
	install := &cobra.Command{
		Use: "install FILE", Short: "Installs the tripwire, or replaces an older one; the table's owner may",
		Long: `install makes the tripwire of a job that is an update, in one transaction, and does nothing where it is
there already. The lock that this takes keeps writers out, so it is waited for in short attempts only.`,
		Args: args(1, 1, "one job file"),
		RunE: a.eachJob(func(ctx context.Context, job backfill.Job) error { return a.installTripwire(ctx, job, o) }),
	}
	configs.RunFlags(install.Flags())
	install.Flags().BoolVar(&o.print, "print", false, "print the SQL, for the table's owner to run, and install nothing")
	install.Flags().BoolVar(&o.replace, "replace", false, "install over what somebody changed by hand")
	status := &cobra.Command{
		Use: "status FILE", Short: "Says whether the tripwire is as it was installed, on every partition, and what it has recorded",
		Long: `status looks at the triggers of each partition, at what was recorded of them, and at the commits that broke
the relation. The exit code is 0 where the tripwire watches as it was installed for this job, without a
break, and could write down all that it found; 4 where it does not, or is not there. Commits that were
recorded do not change it: the gate says what they mean.`,
		Args: args(1, 1, "one job file"), RunE: a.eachJob(a.tripwireStatus),
	}
	remove := &cobra.Command{
		Use: "remove FILE", Short: "Drops the tripwire; what it recorded stays. The table's owner may", Args: args(1, 1, "one job file"),
		RunE: a.eachJob(func(ctx context.Context, job backfill.Job) error { return a.removeTripwire(ctx, job, o) }),
	}
	for _, sub := range []*cobra.Command{install, remove} {
		sub.Flags().DurationVar(&o.wait, "wait", time.Minute, "how long the table's lock is tried for, in short attempts")
	}
	c.AddCommand(install, a.jsonFlag(status), remove)
	return c
}

func (a *app) installTripwire(ctx context.Context, job backfill.Job, o dualWriteOptions) error {
	pace, notes := a.cfg.Resolve(job)
	for _, note := range notes {
		a.note("note", note)
	}
	connect, err := a.connect()
	if err != nil {
		return err
	}
	planner := backfill.Planner{}
	earlier, err := a.earlier(ctx, connect, job)
	if err != nil {
		return err
	}
	if earlier != nil && earlier.SpecHash == job.Hash() { // what it watches is what the run gave
		planner.Constants = earlier.Planner().Constants
	}
	planner.Tripwire = true
	plan, err := a.plan(ctx, connect, planner, job, pace)
	if err != nil {
		return err
	}
	options := a.dualWriteOptions(plan.Pace)
	options.Replace, options.Patience = o.replace, o.wait
	if o.print {
		return checkpoint.PrintTripwire(a.out, plan, options)
	}
	return a.connected(ctx, func(conn *pgx.Conn) error {
		if err := a.install(ctx, conn); err != nil {
			return err
		}
		done, err := checkpoint.InstallTripwire(ctx, conn, plan, options)
		if err != nil {
			return err
		}
		a.result(fmt.Sprintf("%s: the tripwire is %s on %s; it watches %s", job.Name, done, plan.Table.Quoted, strings.Join(plan.Tripwire.Watched, ", ")))
		return nil
	})
}

func (a *app) removeTripwire(ctx context.Context, job backfill.Job, o dualWriteOptions) error {
	return a.connected(ctx, func(conn *pgx.Conn) error {
		if _, err := checkpoint.Status(ctx, conn); err != nil {
			return err
		}
		options := a.dualWriteOptions(backfill.DefaultPace)
		options.Patience = o.wait
		removed, err := checkpoint.RemoveTripwire(ctx, conn, job.Name, options)
		switch {
		case err != nil:
			return err
		case removed:
			a.result(job.Name + ": the tripwire is removed; what it recorded stays in pgbackfill.drift")
		default:
			a.result(job.Name + ": there is no tripwire. Nothing to do.")
		}
		return nil
	})
}

func (a *app) tripwireStatus(ctx context.Context, job backfill.Job) error {
	return a.connected(ctx, func(conn *pgx.Conn) error {
		w, err := checkpoint.ReadTripwire(ctx, conn, job.Name)
		if err != nil {
			return err
		}
		if a.output == "json" {
			enc := json.NewEncoder(a.out)
			enc.SetIndent("", "  ")
			if err := enc.Encode(w); err != nil {
				return err
			}
		} else {
			writeTripwire(wrapping(a.out), w, job)
		}
		if !w.Watches(job) {
			return fmt.Errorf("%w: %w", backfill.ErrIncomplete, errSaid)
		}
		return nil
	})
}

// writeTripwire says what there is of a tripwire.
func writeTripwire(w io.Writer, t checkpoint.Tripwire, job backfill.Job) {
	if t.State == checkpoint.DualWriteMissing {
		fmt.Fprintf(w, "%s: the tripwire is not installed\n  → pgbackfill tripwire install FILE\n", t.Job)
	} else {
		writeTripwireState(w, t, job)
	}
	if t.Recorded > 0 {
		fmt.Fprintf(w, "  %s recorded that broke the relation; the latest:\n", human.Plural(t.Recorded, "commit"))
		for _, d := range t.Latest {
			what := "does not hold what the job gives it"
			if d.SQLState != "" {
				what = fmt.Sprintf("could not be told: %s: %s", d.SQLState, d.Message)
			}
			from := d.Client
			if from == "" {
				from = "the server itself"
			}
			fmt.Fprintf(w, "    %s %s of (%s) by %s (%s) from %s, transaction %s: %s\n      %s\n", d.At.Local().Format("2006-01-02 15:04:05"), d.Operation,
				strings.Join(d.Key, ", "), d.Role, d.Application, from, d.Transaction, what, strings.Join(strings.Fields(d.Query), " "))
		}
	}
}

func writeTripwireState(w io.Writer, t checkpoint.Tripwire, job backfill.Job) {
	older := ""
	if t.SpecHash != "" && t.SpecHash != job.Hash() {
		older = ", made for an older version of the job"
	}
	fmt.Fprintf(w, "%s: the tripwire is %s%s\n", t.Job, t.State, older)
	if t.Version > 0 {
		fmt.Fprintf(w, "  table      %s\n  watches    %s\n  has seen   %s\n  version    %d, by %s as role %s at %s, pgbackfill %s\n",
			t.Table, strings.Join(t.Watched, ", "), human.Plural(t.Writes, "write"), t.Version, t.InstalledBy, t.InstalledRole, when(t.InstalledAt), t.ToolVersion)
	}
	if t.Elsewhere {
		fmt.Fprintln(w, "  values come from other tables too: what changes there it does not see")
	}
	if t.Residual {
		fmt.Fprintln(w, "  the job's scope mentions what it writes: it only sees rows that are left to be filled")
	}
	for _, g := range t.Triggers {
		fmt.Fprintf(w, "  %-10s %s on %s\n", g.State, g.Trigger, g.Table)
	}
	for _, c := range t.Complaints {
		fmt.Fprintf(w, "  not as it was installed: %s\n", c)
	}
	for _, i := range t.Interrupted {
		fmt.Fprintf(w, "  switched off or made anew since it was installed: %s\n", i)
	}
	if t.Earlier {
		fmt.Fprintln(w, "  an earlier version of pgbackfill made it, which a setting of the session passes by")
	}
	if t.Unwritten > 0 {
		fmt.Fprintf(w, "  %s of broken rows, or of ones that it could not tell, could not be written to pgbackfill.drift\n", human.Plural(t.Unwritten, "record"))
	}
	switch {
	case t.State == checkpoint.DualWriteChanged:
		fmt.Fprintln(w, "  → to make it as the job says: pgbackfill tripwire install --replace FILE")
	case len(t.Interrupted) > 0 || t.Unwritten > 0:
		fmt.Fprintln(w, "  → nobody knows what went by meanwhile; to begin anew: pgbackfill tripwire install FILE, then verify again")
	case older != "" || t.Earlier:
		fmt.Fprintln(w, "  → to replace it: pgbackfill tripwire install FILE")
	}
}
