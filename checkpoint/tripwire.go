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
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// tripwireOf begins the place of an error.
const tripwireOf = "tripwire of "

// InstallTripwire makes the tripwire that a plan asks for, replaces an older one, or finds it as it is to be. It is one
// transaction under a lock that keeps writers out, which is never waited for long: it is tried again with pauses.
// Where somebody changed or switched off what was installed, it is a [backfill.ErrChanged]. One that was switched off for a
// while and is on again is made anew: what it has seen begins with that.
func InstallTripwire(ctx context.Context, conn *pgx.Conn, plan *backfill.Plan, o TriggerOptions) (Installed, error) {
	o = o.withDefaults()
	w, err := newTripwiring(plan, o)
	if err != nil {
		return "", err
	}
	done, err := w.ensure(ctx, conn, mayInstallTripwire, w.compare, func(t *tx) (Installed, error) { return w.install(t, plan) })
	if err != nil || done == InstalledAlready {
		return done, err
	}
	return done, w.explain(w.purge(ctx, conn))
}

// purge deletes what was recorded before the tripwire was made, which nothing that is asked by now goes by: all but the newest rows, a
// part at a time. A role that may not delete there leaves it.
func (w *tripwiring) purge(ctx context.Context, conn *pgx.Conn) error {
	for {
		var deleted int64
		err := inside(ctx, conn, func(t *tx) error {
			return t.send(step{Statement: pgsql.Statement{Name: "purge", SQL: purgeDrift, Args: [][]byte{pgsql.Text(w.job)}}, read: one(&deleted)})
		})
		if pgerr.Code(err) == "42501" {
			return nil
		}
		if err != nil || deleted == 0 {
			return err
		}
	}
}

// install makes it in a transaction, unless somebody else was first.
func (w *tripwiring) install(t *tx, plan *backfill.Plan) (Installed, error) {
	tables, err := tablesOf(t, w.function())
	if err != nil {
		return "", err
	}
	statements, err := w.wire.Install(tables)
	if err != nil {
		return "", err
	}
	locks := 0
	for ; statements[locks].Name == "lock"; locks++ {
		if err := t.send(step{Statement: statements[locks]}); err != nil {
			return "", err
		}
	}
	if current, err := w.compare(t); err != nil || current {
		return InstalledAlready, err
	}
	return w.made(t, statements[locks:], w.recorded != nil, w.record(plan))
}

// RemoveTripwire drops a job's tripwire, whatever it has become, and what is recorded of it; the drift stays. It reports
// whether there was one.
func RemoveTripwire(ctx context.Context, conn *pgx.Conn, job string, o TriggerOptions) (removed bool, err error) {
	w := &tripwiring{surgery: surgery{what: tripwireOf + job, job: job, o: o.withDefaults()}}
	return w.remove(ctx, conn, readTripwire, w.function(), pgsql.RemoveTripwire, forgetTripwire)
}

// tablesOf are the tables with triggers of a function's, quoted.
func tablesOf(t *tx, function string) (tables []string, err error) {
	err = t.send(step{Statement: pgsql.Statement{SQL: dualWriteTables, Args: [][]byte{pgsql.Text(function)}}, read: func(rows pgx.Rows) error {
		var table string
		err := rows.Scan(&table)
		tables = append(tables, table)
		return err
	}})
	return tables, translate(err)
}

// PrintTripwire writes what [InstallTripwire] does, for whoever owns the table to run.
func PrintTripwire(out io.Writer, plan *backfill.Plan, o TriggerOptions) error {
	w, err := newTripwiring(plan, o.withDefaults())
	if err != nil {
		return err
	}
	return printSurgery(out, fmt.Sprintf("-- The tripwire of job %s, for the owner of %s, in one transaction.", w.job, w.table), append(w.statements, w.record(plan)), w.o)
}

// printSurgery writes statements as a script.
func printSurgery(out io.Writer, head string, statements []pgsql.Statement, o TriggerOptions) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nBEGIN;\nSET LOCAL search_path TO pg_catalog, pg_temp;\nSET LOCAL lock_timeout TO '%dms';\n", head, o.LockTimeout.Milliseconds())
	for _, s := range statements {
		text := s.SQL
		for i := len(s.Args); i > 0; i-- {
			text = strings.ReplaceAll(text, "$"+strconv.Itoa(i)+"::", strings.TrimSpace(pgsql.Literal(string(s.Args[i-1])))+"::")
		}
		b.WriteString(text + ";\n")
	}
	b.WriteString("COMMIT;\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// tripwiring is a tripwire about to be installed or removed.
type tripwiring struct {
	surgery
	table string
	wire  *pgsql.Tripwire
	// statements make it where there is none; hash is of all of them.
	statements []pgsql.Statement
	hash       string
	// recorded is what was installed; nil where nothing was.
	recorded *Tripwire
}

func newTripwiring(plan *backfill.Plan, o TriggerOptions) (*tripwiring, error) {
	if plan.Tripwire == nil {
		return nil, &backfill.Error{
			Place: plan.Job.Origin, Found: "the job asks for no tripwire, or there can be none", Expected: "an update of which a trigger can tell",
			Remedy: "see the findings of: pgbackfill plan FILE", Kind: backfill.ErrInput,
		}
	}
	w := &tripwiring{surgery: surgery{what: tripwireOf + plan.Job.Name, job: plan.Job.Name, tableOID: plan.Table.OID, o: o}, table: plan.Table.Quoted, wire: plan.Tripwire}
	var err error
	if w.statements, err = w.wire.Install(nil); err != nil {
		return nil, err
	}
	sum := sha256.New()
	for _, s := range w.statements {
		sum.Write([]byte(s.SQL + ";\n"))
	}
	w.hash = hex.EncodeToString(sum.Sum(nil))
	return w, nil
}

func (w *tripwiring) function() string { return pgsql.TripwireFunction(w.job) + "()" }

// treeArgs are the parameters $1 to $4.
func (w *tripwiring) treeArgs() [][]byte {
	insert, update := pgsql.TripwireTriggers(w.job)
	return [][]byte{pgsql.Int(int64(w.tableOID)), pgsql.Text(insert), pgsql.Text(update), pgsql.Text(w.function())}
}

func (w *tripwiring) record(plan *backfill.Plan) pgsql.Statement {
	return pgsql.Statement{Name: "record", SQL: recordTripwire, Args: append(w.treeArgs(),
		pgsql.Text(w.job), pgsql.Text(w.table), pgsql.Text(plan.Job.Hash()), pgsql.Text(w.hash), pgsql.TextArray(w.wire.Watched),
		pgsql.Text(strconv.FormatBool(plan.LockFirst)), pgsql.Text(strconv.FormatBool(w.wire.Values.ScopeReadsSet)), pgsql.Text(w.o.Who), pgsql.Text(w.o.Version), pgsql.Text(pgsql.TripwireUnwritten(w.job)))}
}

// compare reports whether the tripwire is there as it is to be. What somebody changed is an error.
func (w *tripwiring) compare(t *tx) (current bool, err error) {
	status, err := readTripwireStatus(t, w.job, w.tableOID)
	if err != nil {
		return false, err
	}
	changed := &backfill.Error{
		Place: w.what, Found: "somebody changed it: " + strings.Join(status.Complaints, "; "), Expected: "it as it was installed",
		Remedy: "look at it: pgbackfill tripwire status FILE; to make it as the job says: pgbackfill tripwire install --replace FILE", Kind: backfill.ErrChanged,
	}
	w.recorded = nil
	if status.Version > 0 {
		w.recorded = &status
	}
	switch {
	case w.recorded == nil && status.State == DualWriteChanged && !w.o.Replace:
		return false, changed
	case w.recorded == nil:
		return false, nil
	case w.recorded.TableOID != w.tableOID && len(status.Triggers) > 0 && !w.o.Replace:
		return false, &backfill.Error{
			Place: w.what, Found: fmt.Sprintf("it is installed on %s, which is another table", w.recorded.Table), Expected: w.table,
			Remedy: "remove it first: pgbackfill tripwire remove FILE", Kind: backfill.ErrChanged,
		}
	case status.State == DualWriteChanged && !w.o.Replace:
		return false, changed
	}
	return status.State == DualWriteInstalled && w.recorded.TableOID == w.tableOID && w.recorded.statements == w.hash && len(status.Interrupted) == 0 && status.Unwritten == 0 && !status.Earlier, nil
}
