package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// TriggerOptions say who installs or removes a trigger and how patiently. The zero value works.
type TriggerOptions struct {
	// Version is the tool's, recorded with the trigger; the default is "dev". Who is the person behind this process.
	Version, Who string
	// LockTimeout bounds each wait for the table's lock, behind which the application's writes queue; 500 ms by default.
	LockTimeout time.Duration
	// Patience is how long the lock is tried for, with pauses in which the application goes on; 1 min by default.
	Patience time.Duration
	// Replace installs over what somebody changed by hand.
	Replace bool
}

func (o TriggerOptions) withDefaults() TriggerOptions {
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

func triggerSettings(l pgsql.Limits) pgsql.Statement {
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

// surgery is the installing or removing of triggers on a table that is in use. what begins the place of its errors.
type surgery struct {
	what, job string
	tableOID  uint32
	o         TriggerOptions
}

func (w *surgery) mayInstall(t *tx, ask string) error {
	var role string
	var may bool
	if err := t.send(step{Statement: pgsql.Statement{SQL: ask}, read: one(&role, &may)}); err != nil {
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

// ensure finds the triggers as they are to be, or makes them. compare is asked without a lock first, and may is what the installer
// needs of the schema; install takes the locks, asks again, and says what it did.
func (w *surgery) ensure(ctx context.Context, conn *pgx.Conn, may string, compare func(*tx) (current bool, err error), install func(*tx) (Installed, error)) (Installed, error) {
	done := InstalledAlready
	err := inside(ctx, conn, func(t *tx) error {
		current, err := compare(t)
		if err == nil && !current {
			done = ""
			err = w.mayInstall(t, may)
		}
		return err
	})
	if err == nil && done == "" {
		err = w.locked(ctx, conn, func(t *tx) (err error) {
			done, err = install(t)
			return err
		})
	}
	return done, w.explain(err)
}

// made sends the statements that make the triggers and the one that records them.
func (w *surgery) made(t *tx, statements []pgsql.Statement, again bool, record pgsql.Statement) (Installed, error) {
	for _, s := range statements {
		if err := t.send(step{Statement: s}); err != nil {
			return "", fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	done := InstalledNew
	if again {
		done = InstalledReplaced
	}
	return done, t.send(step{Statement: record})
}

// remove drops a job's triggers, whatever they have become, with the statements that drop gives, and what is recorded of them. It
// reports whether there was anything. The first column that read answers with is the table's OID.
func (w *surgery) remove(ctx context.Context, conn *pgx.Conn, read, function string, drop func(job string, tables []string) []pgsql.Statement, forget ...string) (removed bool, err error) {
	args := [][]byte{pgsql.Text(w.job)}
	err = w.locked(ctx, conn, func(t *tx) error {
		there := false
		err := t.send(step{Statement: pgsql.Statement{SQL: read, Args: args}, read: func(rows pgx.Rows) error {
			there = true
			into := make([]any, len(rows.FieldDescriptions()))
			into[0] = &w.tableOID
			return rows.Scan(into...)
		}})
		if err != nil {
			return translate(err)
		}
		tables, err := tablesOf(t, function)
		if err != nil {
			return err
		}
		if removed = there || len(tables) > 0; !removed {
			return nil
		}
		for _, s := range drop(w.job, tables) {
			if err := t.send(step{Statement: s}); err != nil {
				return err
			}
		}
		for _, sql := range forget {
			if err := t.send(step{Statement: pgsql.Statement{SQL: sql, Args: args}}); err != nil {
				return err
			}
		}
		return nil
	})
	return removed, w.explain(err)
}

// locked runs work, which begins with taking the tables' locks, in a transaction, and again while it does not get them. What
// waits behind us waits no longer than the lock timeout, and has as much time again before the next attempt; but an autovacuum is ended for
// us by the server after its deadlock_timeout, and not before.
func (w *surgery) locked(ctx context.Context, conn *pgx.Conn, work func(*tx) error) error {
	deadline := time.Now().Add(w.o.Patience)
	lock := w.o.LockTimeout
	for pause := 2 * w.o.LockTimeout; ; pause = min(2*pause, 10*time.Second) {
		err := inside(ctx, conn, func(t *tx) error {
			if err := t.send(step{Statement: triggerSettings(pgsql.Limits{Lock: lock})}); err != nil {
				return err
			}
			return work(t)
		})
		if pgerr.Class(err) != pgerr.Retry || conn.IsClosed() {
			return err
		}
		lock = max(w.o.LockTimeout, w.vacuumed(ctx, conn))
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

// vacuumMargin is how much longer than it takes the server to end an autovacuum is waited for the lock that it has.
const vacuumMargin = 500 * time.Millisecond

// vacuumed is how long the lock must be waited for so that the server ends the autovacuum that has it; 0 where somebody else has it.
func (w *surgery) vacuumed(ctx context.Context, conn *pgx.Conn) time.Duration {
	var only bool
	var milliseconds int64
	err := inside(ctx, conn, func(t *tx) error {
		return t.send(step{Statement: pgsql.Statement{SQL: onlyVacuum, Args: [][]byte{intsParam([]int64{int64(w.tableOID)})}}, read: one(&only, &milliseconds)})
	})
	if err != nil || !only {
		return 0
	}
	return time.Duration(milliseconds)*time.Millisecond + vacuumMargin
}

// blocked says who holds the table.
func (w *surgery) blocked(ctx context.Context, conn *pgx.Conn, cause error) error {
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
		Place: w.what, Found: found, Err: cause,
		Remedy: "nothing was changed: try again when those transactions are over, or with --wait 10m",
	}
}

// explain makes errors of rights into errors for people.
func (w *surgery) explain(err error) error {
	var made *backfill.Error
	switch {
	case err == nil || errors.As(err, &made):
		return err
	case pgerr.Code(err) == "42501":
		return &backfill.Error{
			Place: w.what, Found: "this role may not do that", Err: err,
			Remedy: "let the table's owner do it; what it needs of the schema is printed by: pgbackfill schema grants --installer ROLE", Kind: backfill.ErrInput,
		}
	}
	return fmt.Errorf("%s: %w", w.what, translate(err))
}
