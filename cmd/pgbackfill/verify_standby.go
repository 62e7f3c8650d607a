package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/human"
)

const (
	// standbyPatience is how long a standby may take to show the run's last chunk, standbyLook how often it is looked at.
	standbyPatience = 5 * time.Minute
	standbyLook     = 100 * time.Millisecond
)

// onStandby is a connection to the standby that is to be read, once it shows all of the run. A position in the log will not
// do for that: the one in a chunk's row was taken before its commit. The ledger's last row is there when its chunk is.
// The snapshot is one of the primary's: what is visible in it is visible there.
func (a *app) onStandby(ctx context.Context, on string, s surveyed) (connect backfill.Connect, snapshot string, err error) {
	if connect, err = configs.StandbyConnector(a.cfg, on, "--on-standby"); err != nil {
		return nil, "", err
	}
	conn, err := connect(ctx)
	if err != nil {
		return nil, "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var standby bool
	if err := conn.QueryRow(ctx, "SELECT pg_catalog.pg_is_in_recovery()").Scan(&standby); err != nil {
		return nil, "", fmt.Errorf("asking the standby: %w", err)
	}
	if !standby {
		return nil, "", &backfill.Error{Place: "--on-standby", Found: "the server is no standby", Remedy: "name one, or leave --on-standby out", Kind: backfill.ErrInput}
	}
	snapshot, err = a.caughtUp(ctx, conn, s)
	return connect, snapshot, err
}

// caughtUp returns when a standby shows as much of the run's ledger as the primary does; where there is no run, what the
// primary has written by now. It shows what is visible in the snapshot then.
func (a *app) caughtUp(ctx context.Context, conn *pgx.Conn, s surveyed) (snapshot string, err error) {
	reached, what, snapshot, err := a.wanted(ctx, s)
	if err != nil {
		return "", err
	}
	deadline, said := time.Now().Add(standbyPatience), false
	for {
		there, err := reached(ctx, conn)
		switch {
		case err != nil:
			return "", fmt.Errorf("asking the standby: %w", err)
		case there:
			return snapshot, nil
		case time.Now().After(deadline):
			return "", &backfill.Error{
				Place: "--on-standby", Found: fmt.Sprintf("it does not show %s after %s", what, human.Duration(standbyPatience)), Expected: "a standby of the same server that keeps up",
				Remedy: "look at its lag; nothing was read", Kind: verify.ErrUnresolved,
			}
		case !said:
			said = true
			a.note("note", "waiting for the standby to show "+what)
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(standbyLook):
		}
	}
}

// wanted is what a standby must show, as a question to it: all that the primary has written by now, so that no verification
// there is younger than what a tripwire has seen here, and the ledger's last row. A commit is in the log before a snapshot shows
// it: what is visible in the one that is returned, which is older than the place in the log, is visible where that was replayed.
func (a *app) wanted(ctx context.Context, s surveyed) (reached func(context.Context, *pgx.Conn) (bool, error), what, snapshot string, err error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, "", "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var lsn string
	if err := conn.QueryRow(ctx, "SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text, pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text").Scan(&snapshot, &lsn); err != nil {
		return nil, "", "", fmt.Errorf("asking the primary how far it is: %w", err)
	}
	written := func(ctx context.Context, conn *pgx.Conn) (there bool, err error) {
		err = conn.QueryRow(ctx, "SELECT COALESCE(pg_catalog.pg_last_wal_replay_lsn() OPERATOR(pg_catalog.>=) $1::pg_catalog.pg_lsn, false)", lsn).Scan(&there)
		return there, err
	}
	if s.run == nil {
		return written, "what the primary has written", snapshot, nil
	}
	var rows int64
	err = a.stored(ctx, func(store *checkpoint.Store) error {
		rows, err = store.LedgerRows(ctx, s.run.ID)
		return err
	})
	if err != nil {
		return nil, "", "", err
	}
	return func(ctx context.Context, conn *pgx.Conn) (bool, error) {
		n, err := checkpoint.LedgerRowsOn(ctx, conn, s.run.ID)
		var server *pgconn.PgError
		if errors.As(err, &server) && (server.Code == "42P01" || server.Code == "3F000") {
			return false, nil // not even the schema has come yet
		}
		if err != nil || n < rows {
			return false, err
		}
		return written(ctx, conn)
	}, fmt.Sprintf("the last chunk of run %d, and what the primary has written since", s.run.ID), snapshot, nil
}

// databases are those that a job's checks name with in:, as NAME=CONNECTION was given for them, or as the configuration says.
func (a *app) databases(job backfill.Job, given []string) (map[string]backfill.Connect, error) {
	list := map[string]backfill.Connect{}
	for _, one := range given {
		name, text, ok := strings.Cut(one, "=")
		if !ok || name == "" || text == "" || list[name] != nil {
			return nil, fmt.Errorf("%w: --database; expected NAME=CONNECTION, each name once", errUsage)
		}
		var err error
		if list[name], err = configs.DatabaseConnector(a.cfg, name, text, "--database "+name); err != nil {
			return nil, err
		}
	}
	for _, check := range job.Verify {
		if check.In == "" || list[check.In] != nil {
			continue
		}
		connect, err := configs.Database(a.cfg, check.In)
		if err != nil {
			return nil, err
		}
		if connect != nil {
			list[check.In] = connect
		}
	}
	return list, nil
}

// fraction reads the part of the rows that a sample is: 5%, 0.05.
func fraction(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		f /= 100
	}
	if err != nil || !(f > 0 && f < 1) {
		return 0, fmt.Errorf("%w: --sample %s; expected a part of the rows, as 5%% or 0.05", errUsage, text)
	}
	return f, nil
}

// graver is the graver one of two verdicts, as their exit codes are ordered: mismatched, incomplete, unresolved, proven.
func graver(a, b error) error {
	for _, kind := range []error{verify.ErrMismatched, verify.ErrIncomplete, verify.ErrUnresolved} {
		if errors.Is(a, kind) {
			return a
		}
		if errors.Is(b, kind) {
			return b
		}
	}
	return errors.Join(a, b)
}

// verifyAgain goes over the jobs again and again, until it is stopped. What it returns is the gravest verdict that it gave.
func (a *app) verifyAgain(ctx context.Context, every time.Duration, pass func() (verdict, err error)) (worst, err error) {
	for passes := 0; ; passes++ {
		verdict, err := pass()
		switch {
		case errors.Is(err, backfill.ErrInterrupted) && passes > 0:
			return worst, nil
		case err != nil:
			return nil, err
		}
		worst = graver(worst, verdict)
		select {
		case <-ctx.Done():
			return worst, nil
		case <-time.After(every):
		}
	}
}
