package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/contract"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

// gateOptions are the flags of gate.
type gateOptions struct {
	waive []string
	why   string
	until moment
	// databases are what checks call by name in in:, each NAME=CONNECTION.
	databases []string
}

func (a *app) gateCommand() *cobra.Command {
	var o gateOptions
	c := &cobra.Command{
		Use: "gate FILE", Short: "Says whether the contract migration may run: every condition with its evidence",
		Long: `gate looks at every condition under which the old columns may be dropped: it computes each anew, and
relies on nobody's "done". A condition passes, fails, or is unknown, which never passes. The exit code is
0 where the migration may run, and 6 where it may not.

  pgbackfill gate FILE --waive functions --why "read by nobody" --until 2026-12-31

does without a condition until a date; who said so, and why, is recorded and shown. Rows that are known to
be wrong, or not to be done, cannot be waived.

The migration itself begins with  SELECT pgbackfill.assert_ready('JOB');  in its transaction, which
fails unless a recent gate said ready and nothing has happened since.`,
		Args: args(1, 1, "one job file"),
		RunE: func(c *cobra.Command, given []string) error {
			if err := o.check(); err != nil {
				return err
			}
			refused := error(nil)
			err := a.eachJob(func(ctx context.Context, job backfill.Job) error {
				err := a.gate(ctx, job, o)
				if errors.Is(err, contract.ErrRefused) {
					refused, err = err, nil
				}
				return err
			})(c, given)
			return errors.Join(err, refused)
		},
	}
	c.Flags().StringArrayVar(&o.waive, "waive", nil, "the id of a condition to do without; may be repeated")
	c.Flags().StringVar(&o.why, "why", "", "why it is waived")
	c.Flags().Var(&o.until, "until", "until when it is waived")
	c.Flags().StringArrayVar(&o.databases, "database", nil, "NAME=CONNECTION, as verify has it: a verification counts that compared with this very database")
	a.backupFlag(c)
	return a.jsonFlag(c)
}

// longestWaiver is how long anybody may do without a condition.
const longestWaiver = 366 * 24 * time.Hour

// check refuses waivers that say less than they must.
func (o gateOptions) check() error {
	if len(o.waive) == 0 {
		if o.why != "" || !o.until.IsZero() {
			return fmt.Errorf("%w: --why and --until go with --waive ID", errUsage)
		}
		return nil
	}
	for _, id := range o.waive {
		if !slices.Contains(contract.IDs(), id) {
			return fmt.Errorf("%w: --waive %s: no condition has that id; expected one of %s", errUsage, id, strings.Join(contract.IDs(), ", "))
		}
	}
	switch {
	case strings.TrimSpace(o.why) == "":
		return fmt.Errorf("%w: --waive without --why: a waiver says why", errUsage)
	case o.until.IsZero():
		return fmt.Errorf("%w: --waive without --until: a waiver ends", errUsage)
	case o.until.Before(time.Now()) || o.until.After(time.Now().Add(longestWaiver)):
		return fmt.Errorf("%w: --until %s; expected a time to come, within a year", errUsage, o.until.String())
	}
	return nil
}

// gate looks at the conditions of one job and says what they come to.
func (a *app) gate(ctx context.Context, job backfill.Job, o gateOptions) error {
	standbys, err := configs.Standbys(a.cfg)
	if err != nil {
		return err
	}
	databases, err := a.databases(job, o.databases)
	if err != nil {
		return err
	}
	var result contract.Result
	err = a.connected(ctx, func(conn *pgx.Conn) error {
		if _, err := checkpoint.Status(ctx, conn); err != nil {
			return neverRun(job.Name, err)
		}
		if len(o.waive) > 0 {
			if err := contract.Waive(ctx, conn, job.Name, o.waive, o.why, o.until.Time, who()); err != nil {
				return err
			}
		}
		options := contract.Options{
			Job: job, Conn: conn, Databases: databases, BackupAt: a.backupAt.Time, Who: who(), Tool: a.version,
			Triggers: func(ctx context.Context) (contract.Triggers, error) { return triggersOf(ctx, conn, job) },
		}
		for _, s := range standbys {
			options.Standbys = append(options.Standbys, contract.Standby{Name: s.Name, Connect: s.Connect})
		}
		result, err = contract.Gate(ctx, options)
		return err
	})
	if err != nil {
		return err
	}
	if a.output == "json" {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(result); err != nil {
			return err
		}
	} else {
		writeGate(wrapping(a.out), result)
	}
	if err := result.Err(); err != nil {
		return errors.Join(err, errSaid)
	}
	return nil
}

// triggersOf is what there is of the engine's triggers for a job, as the gate takes it.
func triggersOf(ctx context.Context, conn *pgx.Conn, job backfill.Job) (contract.Triggers, error) {
	w, err := checkpoint.ReadTripwire(ctx, conn, job.Name)
	if err != nil {
		return contract.Triggers{}, err
	}
	t := contract.Triggers{Possible: job.UpdateStep() != nil, Installed: w.Version > 0, Complaints: w.Complaints, Interrupted: w.Interrupted}
	if t.Installed {
		if w.State == checkpoint.DualWriteMissing {
			t.Complaints = append(t.Complaints, "the tripwire was installed, and is gone")
		}
		if w.Earlier {
			t.Complaints = append(t.Complaints, "an earlier version of pgbackfill made the tripwire, which a setting of the session passes by")
		}
		if w.SpecHash != job.Hash() {
			t.Complaints = append(t.Complaints, "the tripwire was made for another version of the job")
		}
		t.Evidence = append(t.Evidence, fmt.Sprintf("the tripwire on %s is as it was made at %s by %s: %s", w.Table, w.InstalledAt.UTC().Format(time.RFC3339), w.InstalledBy, human.Plural(int64(len(w.Triggers)), "trigger")))
	}
	if !job.ByTrigger() {
		return t, nil
	}
	d, err := checkpoint.ReadDualWrite(ctx, conn, job.Name)
	if err != nil {
		return t, err
	}
	t.Complaints = append(t.Complaints, d.Complaints...)
	if d.State == checkpoint.DualWriteMissing {
		t.Complaints = append(t.Complaints, "the dual-write trigger is gone")
	}
	t.Evidence = append(t.Evidence, "the dual-write trigger on "+d.Table+" is as it was made")
	return t, nil
}

// writeGate says what the conditions came to, the verdict on the first line.
func writeGate(w io.Writer, r contract.Result) {
	if r.Verdict == contract.Ready {
		fmt.Fprintf(w, "%s: ready: the contract migration may run\n", r.Job)
	} else {
		fmt.Fprintf(w, "%s: refused: the contract migration must not run: %d fail, %d unknown\n", r.Job, r.Count(contract.Fail), r.Count(contract.Unknown))
	}
	if len(r.Drops) > 0 {
		fmt.Fprintf(w, "  drops %s\n", strings.Join(r.Drops, ", "))
	}
	for _, c := range r.Conditions {
		fmt.Fprintf(w, "  %-8s%-18s%s\n", c.Status, c.ID, c.Title)
		for _, line := range c.Evidence {
			fmt.Fprintf(w, "            %s\n", line)
		}
		if c.Waiver != nil {
			fmt.Fprintf(w, "            waived by %s until %s: %s\n", c.Waiver.Who, c.Waiver.Until.Local().Format("2006-01-02 15:04"), c.Waiver.Why)
		} else if c.Remedy != "" {
			fmt.Fprintf(w, "            → %s\n", c.Remedy)
		}
	}
	if r.Verdict == contract.Ready {
		fmt.Fprintf(w, "  → begin the migration with: SELECT pgbackfill.assert_ready('%s');\n", r.Job)
	}
}
