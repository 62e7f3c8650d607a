package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/localpg"
)

// demoSoak is for how long the demo waits for its dual writes to have been seen.
const demoSoak = 30 * time.Second

// demoRows is how many rows the demo's table has.
const demoRows = 1_000_000

const demoJob = `name: users-display-name
description: Fills users.display_name, which the application writes for new and changed rows already.
table: public.users
update:
  set:
    display_name: initcap(t.full_name)
undo:
  set:
    display_name: null
contract:
  drops: [users.full_name]
  soak: 3s          # in earnest: 24h
  min_writes: 100
`

// demoMigration is the contract migration, as any tool would send it.
const demoMigration = `BEGIN;
SELECT pgbackfill.assert_ready('users-display-name');
ALTER TABLE users DROP COLUMN full_name;
COMMIT`

const demoTable = `CREATE TABLE users (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  full_name    text NOT NULL,
  email        text NOT NULL,
  note         text,
  display_name text)`

func (a *app) demoCommand() *cobra.Command {
	rows := demoRows
	c := &cobra.Command{
		Use:   "demo",
		Short: "The whole story on a throwaway PostgreSQL primary with a standby",
		Args:  args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			defer localpg.CloseAll()
			d := &demo{app: a, rows: rows, began: time.Now()}
			err := d.play(c.Context())
			if err != nil && c.Context().Err() != nil {
				return &backfill.Error{Place: "demo", Found: "stopped; its servers and files are removed", Kind: backfill.ErrInterrupted}
			}
			return err
		},
	}
	c.Flags().IntVar(&rows, "rows", demoRows, "the rows of the demo's table")
	return c
}

// demo is one telling of the story.
type demo struct {
	*app
	rows     int
	began    time.Time
	dir      string
	primary  *localpg.Cluster
	standby  *localpg.Cluster
	store    *checkpoint.Store
	traffic  *traffic
	chapters int
}

func (d *demo) play(ctx context.Context) error {
	var err error
	if d.dir, err = os.MkdirTemp("", "pgbackfill-demo-"); err != nil {
		return err
	}
	defer os.RemoveAll(d.dir)
	for _, chapter := range []func(context.Context) error{d.servers, d.expand, d.application, d.plan, d.runAndKill, d.resume, d.tooEarly, d.verify, d.gate, d.truth, d.contract} {
		if err := chapter(ctx); err != nil {
			if d.traffic != nil {
				d.traffic.stop()
			}
			return err
		}
	}
	return nil
}

// chapter begins a part of the story.
func (d *demo) chapter(title string) {
	d.chapters++
	fmt.Fprintf(d.out, "\n%d. %s  [%s]\n", d.chapters, title, human.Duration(time.Since(d.began)))
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, "   "+format+"\n", args...) }

func (d *demo) expand(ctx context.Context) error {
	d.chapter("Expand: a table of " + human.Count(int64(d.rows)) + " rows gets a new column, empty")
	return d.onPrimary(ctx, func(conn *pgx.Conn) error {
		for _, sql := range []string{
			demoTable,
			fmt.Sprintf(`INSERT INTO users (full_name, email, note)
SELECT 'ada lovelace the ' || g, 'ada' || g || '@example.com', repeat('x', 60) FROM generate_series(1, %d) AS g`, d.rows),
			"VACUUM ANALYZE users",
		} {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return err
			}
		}
		d.say("users.display_name is NULL in every row; it should be initcap(full_name)")
		return nil
	})
}

func (d *demo) application(ctx context.Context) error {
	d.chapter("The application goes on writing, and writes both columns from now on")
	var err error
	if d.traffic, err = startTraffic(ctx, d.primary.DSN("postgres"), d.rows); err != nil {
		return err
	}
	d.say("inserts, updates and deletes, one after the other, for as long as the demo goes on")
	return nil
}

func (d *demo) plan(ctx context.Context) error {
	d.chapter("The job file, and what it would do")
	if err := os.WriteFile(d.file(), []byte(demoJob), 0o644); err != nil {
		return err
	}
	fmt.Fprintln(d.out, indent(demoJob, "     "))
	plan := d.command(ctx, "plan", "users.yaml")
	text, err := plan.Output()
	if err != nil {
		return fmt.Errorf("pgbackfill plan: %w", err)
	}
	d.say("$ pgbackfill plan users.yaml   (its first lines; the rest is every statement)")
	fmt.Fprintln(d.out, indent(head(string(text), 5), "     "))
	return nil
}

// runAndKill starts the backfill as a process of its own and kills it in the middle.
func (d *demo) runAndKill(ctx context.Context) error {
	d.chapter("The backfill starts, and is killed with SIGKILL in the middle")
	run := d.command(ctx, "run", "--yes", "users.yaml")
	run.Stdout, run.Stderr = nil, nil
	if err := run.Start(); err != nil {
		return err
	}
	killed := make(chan error, 1)
	go func() { killed <- run.Wait() }()
	info, err := d.until(ctx, func(i checkpoint.RunInfo) bool { return i.Progress() >= 0.4 }, killed)
	if err != nil {
		return err
	}
	if err := run.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	if err := <-killed; err == nil {
		return errors.New("the run ended before it was killed")
	}
	d.say("$ kill -9 %d   at %s: no handler ran, nothing was flushed, a chunk was in flight on each worker", run.Process.Pid, human.Percent(info.Progress()))
	return d.status(ctx)
}

func (d *demo) resume(ctx context.Context) error {
	d.chapter("The same command again: it resumes from the ledger")
	run := d.command(ctx, "run", "--yes", "users.yaml")
	run.Stdout, run.Stderr = indented{d.out}, indented{d.out}
	if err := run.Run(); err != nil {
		return fmt.Errorf("pgbackfill run: %w", err)
	}
	return nil
}

// truth compares every row with what it should be, on both servers.
func (d *demo) truth(ctx context.Context) error {
	d.chapter("The truth")
	writes, worst := d.traffic.stop()
	d.say("the application made %s writes meanwhile; its slowest took %s, and %d failed", human.Count(writes.done), human.Duration(worst), writes.failed)
	if writes.failed > 0 {
		return fmt.Errorf("a write of the application failed: %w", writes.err)
	}
	if err := d.standby.CatchUp(ctx, d.primary); err != nil {
		return err
	}
	for _, server := range []struct {
		name    string
		cluster *localpg.Cluster
	}{{"primary", d.primary}, {"standby", d.standby}} {
		var rows, wrong int64
		err := d.on(ctx, server.cluster, func(conn *pgx.Conn) error {
			return conn.QueryRow(ctx, "SELECT count(*), count(*) FILTER (WHERE display_name IS DISTINCT FROM initcap(full_name)) FROM users").Scan(&rows, &wrong)
		})
		if err != nil {
			return err
		}
		d.say("%s: %s rows, %d of them wrong", server.name, human.Count(rows), wrong)
		if wrong != 0 {
			return errors.New("the demo's result is wrong: this is a bug, please report it")
		}
	}
	d.say("killed in the middle, resumed, and not a value lost.")
	return nil
}

// tooEarly tries the contract migration while nothing is proven.
func (d *demo) tooEarly(ctx context.Context) error {
	d.chapter("Contract, too early: the migration that drops the old column is refused")
	fmt.Fprintln(d.out, indent(demoMigration, "     "))
	err := d.migrate(ctx)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "55000" {
		return fmt.Errorf("the migration should have been refused, and was not: %w", err)
	}
	d.say("ERROR:  %s", refused.Message)
	d.say("HINT:   %s", refused.Hint)
	return nil
}

func (d *demo) migrate(ctx context.Context) error {
	return d.onPrimary(ctx, func(conn *pgx.Conn) error {
		_, err := conn.PgConn().Exec(ctx, demoMigration).ReadAll()
		return err
	})
}

// verify reads every row again, while the application writes.
func (d *demo) verify(ctx context.Context) error {
	d.chapter("Verify: every row is read again, while the application writes")
	return d.shown(ctx, "verify", "users.yaml")
}

// gate asks whether the old column may be dropped.
func (d *demo) gate(ctx context.Context) error {
	d.chapter("The gate: is it safe to drop the old column?")
	args := []string{
		"gate", "users.yaml", "--backup-at", time.Now().Add(-time.Minute).UTC().Format(time.RFC3339),
		"--waive", "statements", "--why", "nobody counts statements on this server", "--until", time.Now().Add(24 * time.Hour).Format(time.DateOnly),
	}
	for until := time.Now().Add(demoSoak); ; { // the dual writes have to be seen for a while
		err := d.command(ctx, args...).Run()
		if err == nil || time.Now().After(until) {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return d.shown(ctx, args...)
}

// shown carries out a command of this program and shows what it says.
func (d *demo) shown(ctx context.Context, args ...string) error {
	var line []string
	for _, a := range args {
		if strings.Contains(a, " ") {
			a = "'" + a + "'"
		}
		line = append(line, a)
	}
	d.say("$ pgbackfill %s", strings.Join(line, " "))
	c := d.command(ctx, args...)
	c.Stdout, c.Stderr = indented{d.out}, indented{d.out}
	if err := c.Run(); err != nil {
		return fmt.Errorf("pgbackfill %s: %w", args[0], err)
	}
	return nil
}

// contract runs the migration that was refused before.
func (d *demo) contract(ctx context.Context) error {
	d.chapter("Contract: the application names the old column no more, and the same migration succeeds")
	if err := d.migrate(ctx); err != nil {
		return fmt.Errorf("the contract migration: %w", err)
	}
	var columns string
	err := d.onPrimary(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped").Scan(&columns)
	})
	if err != nil {
		return err
	}
	d.say("users has %s: full_name is gone, and the engine's triggers with it", columns)
	fmt.Fprintf(d.out, "\n   next, on a database of your own: pgbackfill init TABLE -f job.yaml; pgbackfill plan job.yaml  [%s in all]\n", human.Duration(time.Since(d.began)))
	return nil
}
