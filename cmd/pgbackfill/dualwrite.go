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

// dualWriteOptions are what the commands about the trigger take.
type dualWriteOptions struct {
	print, replace bool
	wait           time.Duration
}

func (a *app) dualWriteCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "dual-write", Short: "The trigger of dual_write: {by: trigger}: install, status, remove",
		Long: `A job with  dual_write: {by: trigger}  has a trigger on its table that computes the job's columns whenever
the application writes a row, until the application does so itself. run installs it before the first
chunk where the role may.

An error in what it computes never fails the application's statement: the row is as that wrote it, in all
of its columns, and  dual-write status  lists the error. Only a conflict that the application is to repeat
(serialization, deadlock), or a cancellation, reaches it.`,
		Args: cobra.ArbitraryArgs, RunE: group,
	}
	var o dualWriteOptions
	install := &cobra.Command{
		Use: "install FILE", Short: "Installs the trigger, or replaces an older one; the table's owner may",
		Long: `install makes the trigger that the job asks for, in one transaction, and does nothing where it is there
already. The lock that this takes keeps writers out, so it is waited for in short attempts only.`,
		Args: args(1, 1, "one job file"),
		RunE: a.eachTrigger(func(ctx context.Context, job backfill.Job) error { return a.installDualWrite(ctx, job, o) }),
	}
	configs.RunFlags(install.Flags())
	install.Flags().BoolVar(&o.print, "print", false, "print the SQL, for the table's owner to run, and install nothing")
	install.Flags().BoolVar(&o.replace, "replace", false, "install over what somebody changed by hand")
	status := &cobra.Command{
		Use: "status FILE", Short: "Says whether the trigger is as it was installed, on every partition, and what it could not compute",
		Long: `status looks at the triggers of each partition and at the rows that they could not compute. The exit code is
0 where the trigger is as it was installed for this job, and 4 where it is not, is switched off or is not there.`,
		Args: args(1, 1, "one job file"), RunE: a.eachTrigger(a.dualWriteStatus),
	}
	remove := &cobra.Command{
		Use: "remove FILE", Short: "Drops the trigger and its record; the table's owner may", Args: args(1, 1, "one job file"),
		RunE: a.eachJob(func(ctx context.Context, job backfill.Job) error { return a.removeDualWrite(ctx, job, o) }),
	}
	for _, sub := range []*cobra.Command{install, remove} {
		sub.Flags().DurationVar(&o.wait, "wait", time.Minute, "how long the table's lock is tried for, in short attempts")
	}
	c.AddCommand(install, a.jsonFlag(status), remove)
	return c
}

// eachJob calls f with each job of a file.
func (a *app) eachJob(f func(context.Context, backfill.Job) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, given []string) error {
		list, err := a.read(given[0])
		if err != nil {
			return err
		}
		for _, job := range list {
			if err := f(c.Context(), job); err != nil {
				return err
			}
		}
		return nil
	}
}

// eachTrigger calls f with the jobs of a file that ask for a trigger.
func (a *app) eachTrigger(f func(context.Context, backfill.Job) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, given []string) error {
		some := false
		err := a.eachJob(func(ctx context.Context, job backfill.Job) error {
			if !job.ByTrigger() {
				return nil
			}
			some = true
			return f(ctx, job)
		})(c, given)
		if err != nil || some {
			return err
		}
		return &backfill.Error{
			Place: given[0], Found: "no job asks for a dual-write trigger", Expected: "dual_write: {by: trigger}",
			Remedy: "write that into the job, where the application does not write both", Kind: backfill.ErrInput,
		}
	}
}

func (a *app) installDualWrite(ctx context.Context, job backfill.Job, o dualWriteOptions) error {
	pace, notes := a.cfg.Resolve(job)
	for _, note := range notes {
		a.note("note", note)
	}
	connect, err := a.connect()
	if err != nil {
		return err
	}
	plan, err := a.plan(ctx, connect, backfill.Planner{}, job, pace)
	if err != nil {
		return err
	}
	options := a.dualWriteOptions(plan.Pace)
	options.Replace, options.Patience = o.replace, o.wait
	if o.print {
		return checkpoint.PrintDualWrite(a.out, plan, options)
	}
	return a.connected(ctx, func(conn *pgx.Conn) error {
		done, err := a.ensureDualWrite(ctx, conn, plan, options)
		if err != nil {
			return err
		}
		a.result(fmt.Sprintf("%s: the dual-write trigger is %s on %s; it computes %s", job.Name, done, plan.Table.Quoted, strings.Join(written(plan), ", ")))
		return nil
	})
}

// dualWriteOptions are those of this process. A lock is not waited for longer than a chunk would, and never long.
func (a *app) dualWriteOptions(p backfill.Pace) checkpoint.TriggerOptions {
	return checkpoint.TriggerOptions{Version: a.version, Who: who(), LockTimeout: min(p.LockTimeout, 500*time.Millisecond)}
}

// ensureDualWrite makes sure of the trigger that a plan asks for, and of the schema that it is recorded in.
func (a *app) ensureDualWrite(ctx context.Context, conn *pgx.Conn, plan *backfill.Plan, o checkpoint.TriggerOptions) (checkpoint.Installed, error) {
	if err := a.install(ctx, conn); err != nil {
		return "", err
	}
	return checkpoint.InstallDualWrite(ctx, conn, plan, o)
}

func (a *app) removeDualWrite(ctx context.Context, job backfill.Job, o dualWriteOptions) error {
	return a.connected(ctx, func(conn *pgx.Conn) error {
		if _, err := checkpoint.Status(ctx, conn); err != nil {
			return err
		}
		options := a.dualWriteOptions(backfill.DefaultPace)
		options.Patience = o.wait
		removed, err := checkpoint.RemoveDualWrite(ctx, conn, job.Name, options)
		switch {
		case err != nil:
			return err
		case removed:
			a.result(job.Name + ": the dual-write trigger is removed")
		default:
			a.result(job.Name + ": there is no dual-write trigger. Nothing to do.")
		}
		return nil
	})
}

func (a *app) dualWriteStatus(ctx context.Context, job backfill.Job) error {
	return a.connected(ctx, func(conn *pgx.Conn) error {
		d, err := checkpoint.ReadDualWrite(ctx, conn, job.Name)
		if err != nil {
			return err
		}
		if a.output == "json" {
			enc := json.NewEncoder(a.out)
			enc.SetIndent("", "  ")
			if err := enc.Encode(d); err != nil {
				return err
			}
		} else {
			writeDualWrite(wrapping(a.out), d, job)
		}
		if d.State != checkpoint.DualWriteInstalled || d.SpecHash != job.Hash() {
			return fmt.Errorf("%w: %w", backfill.ErrIncomplete, errSaid)
		}
		return nil
	})
}

// writeDualWrite says what there is of a trigger.
func writeDualWrite(w io.Writer, d checkpoint.DualWrite, job backfill.Job) {
	if d.State == checkpoint.DualWriteMissing {
		fmt.Fprintf(w, "%s: the dual-write trigger is not installed\n  → pgbackfill dual-write install FILE, or pgbackfill run FILE\n", d.Job)
		return
	}
	older := ""
	if d.SpecHash != "" && d.SpecHash != job.Hash() {
		older = ", made for an older version of the job"
	}
	fmt.Fprintf(w, "%s: the dual-write trigger is %s%s\n", d.Job, d.State, older)
	if d.Version > 0 {
		fmt.Fprintf(w, "  table      %s\n  computes   %s\n  whenever   a row is inserted, or one of these changes: %s\n  version    %d, by %s as role %s at %s, pgbackfill %s\n",
			d.Table, strings.Join(d.Written, ", "), strings.Join(d.Depends, ", "), d.Version, d.InstalledBy, d.InstalledRole, when(d.InstalledAt), d.ToolVersion)
	}
	if d.Elsewhere {
		fmt.Fprintln(w, "  values come from other tables too: what changes there after a row was written, it does not see")
	}
	for _, g := range d.Triggers {
		fmt.Fprintf(w, "  %-10s %s on %s\n", g.State, g.Trigger, g.Table)
	}
	for _, c := range d.Complaints {
		fmt.Fprintf(w, "  not as it was installed: %s\n", c)
	}
	if len(d.Later) > 0 {
		fmt.Fprintf(w, "  BEFORE triggers that fire after it, which does not see what they change: %s\n", strings.Join(d.Later, ", "))
	}
	if d.Errors > 0 {
		fmt.Fprintf(w, "  %s it could not compute, and that are as the application wrote them; the latest:\n", human.Plural(d.Errors, "row"))
		for _, e := range d.Latest {
			fmt.Fprintf(w, "    %s %s of (%s) by %s (%s): %s: %s\n", e.At.Local().Format("2006-01-02 15:04:05"), e.Operation, strings.Join(e.Key, ", "), e.Role, e.Application, e.SQLState, e.Message)
		}
	}
	if d.State == checkpoint.DualWriteChanged {
		fmt.Fprintln(w, "  → to make it as the job says: pgbackfill dual-write install --replace FILE")
	} else if older != "" {
		fmt.Fprintln(w, "  → to replace it: pgbackfill dual-write install FILE")
	}
}

// written are the columns that a plan's trigger computes.
func written(plan *backfill.Plan) []string {
	var names []string
	for _, s := range plan.DualWrite.Set {
		names = append(names, s.Name)
	}
	return names
}
