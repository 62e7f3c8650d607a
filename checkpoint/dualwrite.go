package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// DualWriteOptions say who installs or removes a trigger and how patiently. The zero value works.
type DualWriteOptions struct {
	// Version is the tool's, recorded with the trigger; the default is "dev". Who is the person behind this process.
	Version, Who string
	// LockTimeout bounds each wait for the table's lock, behind which the application's writes queue; 500 ms by default.
	LockTimeout time.Duration
	// Patience is how long the lock is tried for, with pauses in which the application goes on; 1 min by default.
	Patience time.Duration
	// Replace installs over what somebody changed by hand.
	Replace bool
}

func (o DualWriteOptions) withDefaults() DualWriteOptions {
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Who == "" {
		o.Who = "unknown"
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = 500 * time.Millisecond
	}
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	return o
}

func dualWriteSettings(l pgsql.Limits) pgsql.Statement {
	limits := bounds
	if l.Lock > 0 {
		limits.Lock = l.Lock
	}
	return setLocal(limits)
}

// Installed is what [InstallDualWrite] did.
type Installed string

// What installing a trigger comes to.
const (
	InstalledNew      Installed = "installed"
	InstalledReplaced Installed = "replaced"
	InstalledAlready  Installed = "already installed"
)

// InstallDualWrite makes the trigger that a plan asks for, replaces an older one, or finds it as it is to be. It is one
// transaction under a lock that keeps writers out, which is never waited for long: it is tried again with pauses.
// Where somebody changed or switched off what was installed, it is a [backfill.ErrChanged].
func InstallDualWrite(ctx context.Context, conn *pgx.Conn, plan *backfill.Plan, o DualWriteOptions) (Installed, error) {
	o = o.withDefaults()
	w, err := newDualWriting(plan, o)
	if err != nil {
		return "", err
	}
	done := InstalledAlready
	err = inside(ctx, conn, func(t *tx) error {
		current, err := w.compare(t)
		if err == nil && !current {
			done = ""
			err = w.mayInstall(t)
		}
		return err
	})
	if err != nil || done != "" {
		return done, w.explain(err)
	}
	err = w.locked(ctx, conn, func(t *tx) error {
		// Somebody else may have been first.
		current, err := w.compareAfter(t, w.statements[:w.locks])
		if err != nil || current {
			done = InstalledAlready
			return err
		}
		for _, s := range w.statements[w.locks:] {
			if err := t.send(step{Statement: s}); err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
		}
		if done = InstalledNew; w.recorded != nil {
			done = InstalledReplaced
		}
		return t.send(step{Statement: w.record(plan)})
	})
	return done, w.explain(err)
}

// RemoveDualWrite drops a job's trigger, whatever it has become, and what is recorded of it. It reports whether there was one.
func RemoveDualWrite(ctx context.Context, conn *pgx.Conn, job string, o DualWriteOptions) (removed bool, err error) {
	w := &dualWriting{job: job, o: o.withDefaults()}
	err = w.locked(ctx, conn, func(t *tx) error {
		var tables []string
		there := false
		err := t.send(step{Statement: pgsql.Statement{SQL: readDualWrite, Args: [][]byte{pgsql.Text(job)}}, read: func(rows pgx.Rows) error {
			there = true
			return rows.Scan(&w.tableOID, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil)
		}}, step{Statement: pgsql.Statement{SQL: dualWriteTables, Args: [][]byte{pgsql.Text(w.function())}}, read: func(rows pgx.Rows) error {
			var table string
			err := rows.Scan(&table)
			tables = append(tables, table)
			return err
		}})
		if err != nil {
			return translate(err)
		}
		if removed = there || len(tables) > 0; !removed {
			return nil
		}
		for _, s := range pgsql.RemoveDualWrite(job, tables) {
			if err := t.send(step{Statement: s}); err != nil {
				return err
			}
		}
		args := [][]byte{pgsql.Text(job)}
		return t.send(step{Statement: pgsql.Statement{SQL: forgetDualWrite, Args: args}}, step{Statement: pgsql.Statement{SQL: forgetDualWriteErrors, Args: args}})
	})
	return removed, w.explain(err)
}

// PrintDualWrite writes what [InstallDualWrite] does, for whoever owns the table to run.
func PrintDualWrite(out io.Writer, plan *backfill.Plan, o DualWriteOptions) error {
	w, err := newDualWriting(plan, o.withDefaults())
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "-- The dual-write trigger of job %s, for the owner of %s, in one transaction.\nBEGIN;\nSET LOCAL search_path TO pg_catalog, pg_temp;\nSET LOCAL lock_timeout TO '%dms';\n",
		w.job, w.table, w.o.LockTimeout.Milliseconds())
	for _, s := range append(w.statements, w.record(plan)) {
		text := s.SQL
		for i := len(s.Args); i > 0; i-- {
			text = strings.ReplaceAll(text, "$"+strconv.Itoa(i)+"::", strings.TrimSpace(pgsql.Literal(string(s.Args[i-1])))+"::")
		}
		b.WriteString(text + ";\n")
	}
	b.WriteString("COMMIT;\n")
	_, err = io.WriteString(out, b.String())
	return err
}

// dualWriting is a trigger about to be installed or removed.
type dualWriting struct {
	job, table string
	tableOID   uint32
	o          DualWriteOptions
	// statements make the trigger; the first locks of them lock its tables. hash is of all of them.
	statements []pgsql.Statement
	locks      int
	hash       string
	// recorded is what was installed; nil where nothing was.
	recorded *DualWrite
}

func newDualWriting(plan *backfill.Plan, o DualWriteOptions) (*dualWriting, error) {
	if plan.DualWrite == nil {
		return nil, &backfill.Error{
			Place: plan.Job.Origin, Found: "the job asks for no dual-write trigger", Expected: "dual_write: {by: trigger}",
			Remedy: "write that into the job, where the application does not write both", Kind: backfill.ErrInput,
		}
	}
	w := &dualWriting{job: plan.Job.Name, table: plan.Table.Quoted, tableOID: plan.Table.OID, o: o}
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
			Place: "dual write of " + w.job, Found: fmt.Sprintf("it is installed on %s, which is another table", w.recorded.Table), Expected: w.table,
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
		Place: "dual write of " + w.job, Found: "somebody changed it: " + strings.Join(s.Complaints, "; "), Expected: "it as it was installed",
		Remedy: "look at it: pgbackfill dual-write status FILE; to make it as the job says: pgbackfill dual-write install --replace FILE", Kind: backfill.ErrChanged,
	}
}

func (w *dualWriting) mayInstall(t *tx) error {
	var role string
	var may bool
	if err := t.send(step{Statement: pgsql.Statement{SQL: mayInstall}, read: one(&role, &may)}); err != nil {
		return err
	}
	if may {
		return nil
	}
	return &backfill.Error{
		Place: place, Found: "role " + role + " may not make a trigger's function and its record there",
		Remedy: "let its owner grant what is printed by: pgbackfill schema grants --installer " + role, Kind: backfill.ErrInput,
	}
}

// locked runs work, which begins with taking the tables' locks, in a transaction, and again while it does not get them. What
// waits behind us waits no longer than the lock timeout, and has as much time again before the next attempt.
func (w *dualWriting) locked(ctx context.Context, conn *pgx.Conn, work func(*tx) error) error {
	deadline := time.Now().Add(w.o.Patience)
	for pause := 2 * w.o.LockTimeout; ; pause = min(2*pause, 10*time.Second) {
		err := inside(ctx, conn, func(t *tx) error {
			if err := t.send(step{Statement: dualWriteSettings(pgsql.Limits{Lock: w.o.LockTimeout})}); err != nil {
				return err
			}
			return work(t)
		})
		if pgerr.Class(err) != pgerr.Retry || conn.IsClosed() {
			return err
		}
		wait := pause/2 + rand.N(pause)
		if time.Now().Add(wait).After(deadline) {
			return w.blocked(ctx, conn, err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// blocked says who holds the table.
func (w *dualWriting) blocked(ctx context.Context, conn *pgx.Conn, cause error) error {
	var holders []string
	_ = inside(ctx, conn, func(t *tx) error { // it is only for the message
		oids := pgsql.Statement{SQL: lockHolders, Args: [][]byte{intsParam([]int64{int64(w.tableOID)})}}
		return t.send(step{Statement: oids, read: func(rows pgx.Rows) error {
			var pid int32
			var role, application string
			var seconds int64
			err := rows.Scan(&pid, &role, &application, &seconds)
			holders = append(holders, fmt.Sprintf("process %d (%s, %s), in a transaction for %s", pid, role, application, time.Duration(seconds)*time.Second))
			return err
		}})
	})
	found := fmt.Sprintf("the lock on the table was not had within %s", w.o.Patience)
	if len(holders) > 0 {
		found += "; in the way: " + strings.Join(holders, ", ")
	}
	return &backfill.Error{
		Place: "dual write of " + w.job, Found: found, Err: cause,
		Remedy: "nothing was changed: try again when those transactions are over, or with --wait 10m",
	}
}

// explain makes errors of rights into errors for people.
func (w *dualWriting) explain(err error) error {
	var made *backfill.Error
	switch {
	case err == nil || errors.As(err, &made):
		return err
	case pgerr.Code(err) == "42501":
		return &backfill.Error{
			Place: "dual write of " + w.job, Found: "this role may not do that", Err: err,
			Remedy: "let the table's owner do it; what it needs of the schema is printed by: pgbackfill schema grants --installer ROLE", Kind: backfill.ErrInput,
		}
	}
	return fmt.Errorf("dual write of %s: %w", w.job, translate(err))
}
