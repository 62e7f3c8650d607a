package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// InstallDualWrite makes the trigger that a plan asks for, replaces an older one, or finds it as it is to be. It is one
// transaction under a lock that keeps writers out, which is never waited for long: it is tried again with pauses.
// Where somebody changed or switched off what was installed, it is a [backfill.ErrChanged].
func InstallDualWrite(ctx context.Context, conn *pgx.Conn, plan *backfill.Plan, o TriggerOptions) (Installed, error) {
	o = o.withDefaults()
	w, err := newDualWriting(plan, o)
	if err != nil {
		return "", err
	}
	return w.ensure(ctx, conn, mayInstall, w.compare, func(t *tx) (Installed, error) {
		if current, err := w.compareAfter(t, w.statements[:w.locks]); err != nil || current { // somebody else was first
			return InstalledAlready, err
		}
		return w.made(t, w.statements[w.locks:], w.recorded != nil, w.record(plan))
	})
}

// RemoveDualWrite drops a job's trigger, whatever it has become, and what is recorded of it. It reports whether there was one.
func RemoveDualWrite(ctx context.Context, conn *pgx.Conn, job string, o TriggerOptions) (removed bool, err error) {
	w := &dualWriting{surgery: surgery{what: dualWriteOf + job, job: job, o: o.withDefaults()}}
	return w.remove(ctx, conn, readDualWrite, w.function(), pgsql.RemoveDualWrite, forgetDualWrite, forgetDualWriteErrors)
}

// PrintDualWrite writes what [InstallDualWrite] does, for whoever owns the table to run.
func PrintDualWrite(out io.Writer, plan *backfill.Plan, o TriggerOptions) error {
	w, err := newDualWriting(plan, o.withDefaults())
	if err != nil {
		return err
	}
	return printSurgery(out, fmt.Sprintf("-- The dual-write trigger of job %s, for the owner of %s, in one transaction.", w.job, w.table), append(w.statements, w.record(plan)), w.o)
}

// dualWriteOf begins the place of an error.
const dualWriteOf = "dual write of "

// dualWriting is a trigger about to be installed or removed.
type dualWriting struct {
	surgery
	table string
	// statements make the trigger; the first locks of them lock its tables. hash is of all of them.
	statements []pgsql.Statement
	locks      int
	hash       string
	// recorded is what was installed; nil where nothing was.
	recorded *DualWrite
}

func newDualWriting(plan *backfill.Plan, o TriggerOptions) (*dualWriting, error) {
	if plan.DualWrite == nil {
		return nil, &backfill.Error{
			Place: plan.Job.Origin, Found: "the job asks for no dual-write trigger", Expected: "dual_write: {by: trigger}",
			Remedy: "write that into the job, where the application does not write both", Kind: backfill.ErrInput,
		}
	}
	w := &dualWriting{surgery: surgery{what: dualWriteOf + plan.Job.Name, job: plan.Job.Name, tableOID: plan.Table.OID, o: o}, table: plan.Table.Quoted}
	var err error
	if w.statements, err = plan.DualWrite.Install(); err != nil {
		return nil, err
	}
	sum := sha256.New()
	for i, s := range w.statements {
		if s.Name == "lock" {
			w.locks = i + 1
		}
		sum.Write([]byte(s.SQL + ";\n"))
	}
	w.hash = hex.EncodeToString(sum.Sum(nil))
	return w, nil
}

func (w *dualWriting) function() string { return pgsql.DualWriteFunction(w.job) + "()" }

// treeArgs are the parameters $1 to $4.
func (w *dualWriting) treeArgs() [][]byte {
	insert, update := pgsql.DualWriteTriggers(w.job)
	return [][]byte{pgsql.Int(int64(w.tableOID)), pgsql.Text(insert), pgsql.Text(update), pgsql.Text(w.function())}
}

func (w *dualWriting) record(plan *backfill.Plan) pgsql.Statement {
	var written []string
	for _, s := range plan.DualWrite.Set {
		written = append(written, s.Name)
	}
	return pgsql.Statement{Name: "record", SQL: recordDualWrite, Args: append(w.treeArgs(),
		pgsql.Text(w.job), pgsql.Text(w.table), pgsql.Text(plan.Job.Hash()), pgsql.Text(w.hash), pgsql.TextArray(written), pgsql.TextArray(plan.DualWrite.Depends),
		pgsql.Text(strconv.FormatBool(plan.LockFirst)), pgsql.Text(w.o.Who), pgsql.Text(w.o.Version))}
}

// compareAfter is compare after other statements.
func (w *dualWriting) compareAfter(t *tx, first []pgsql.Statement) (bool, error) {
	for _, s := range first {
		if err := t.send(step{Statement: s}); err != nil {
			return false, err
		}
	}
	return w.compare(t)
}

// compare reports whether the trigger is there as it is to be. What somebody changed is an error.
func (w *dualWriting) compare(t *tx) (current bool, err error) {
	status, err := readStatus(t, w.job, w.tableOID)
	if err != nil {
		return false, err
	}
	if w.recorded = status.recorded(); w.recorded == nil {
		if status.State == DualWriteChanged && !w.o.Replace { // there, and nobody wrote down that it was made
			return false, w.changed(status)
		}
		return false, nil
	}
	if w.recorded.TableOID != w.tableOID && len(status.Triggers) > 0 && !w.o.Replace { // the other one is still there
		return false, &backfill.Error{
			Place: w.what, Found: fmt.Sprintf("it is installed on %s, which is another table", w.recorded.Table), Expected: w.table,
			Remedy: "remove it first: pgbackfill dual-write remove FILE", Kind: backfill.ErrChanged,
		}
	}
	switch status.State {
	case DualWriteInstalled:
		if w.recorded.TableOID != w.tableOID {
			return false, nil
		}
		return w.recorded.statements == w.hash, nil
	case DualWriteMissing: // made again
		return false, nil
	}
	if w.o.Replace {
		return false, nil
	}
	return false, w.changed(status)
}

func (w *dualWriting) changed(s DualWrite) error {
	return &backfill.Error{
		Place: w.what, Found: "somebody changed it: " + strings.Join(s.Complaints, "; "), Expected: "it as it was installed",
		Remedy: "look at it: pgbackfill dual-write status FILE; to make it as the job says: pgbackfill dual-write install --replace FILE", Kind: backfill.ErrChanged,
	}
}
