package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// Whatever goes wrong on the server, the run stands still, status says why, and it goes on by itself: a transaction that is
// open for long, a logical slot that nobody reads, an archive_command that fails, a lock on the table.
//
// Made to fail: with any of the signals left out of Throttle.signals, its case; with a lock timeout that ends the run, the last.
func TestRunWaitsForWhatIsWrongOnTheServer(t *testing.T) {
	t.Parallel()
	server := pgtest.Cluster(t, localpg.Options{Settings: map[string]string{"wal_level": "logical", "archive_mode": "on", "archive_command": "test ! -f noarchive"}})
	db, dir := pgtest.NewOn(t, server), t.TempDir()
	numbered(db, 100_000)
	write(t, dir, "job.yaml", "name: troubled\ntable: numbers\nupdate: {set: {n: t.id}}\nchunk: {rows: 20}\nrate: 1000\ntimeouts: {lock: 300ms}\n"+
		"throttle: {snapshots: {max_age: 1s}, slots: {max_bytes: 2MiB}, archive: {max_segments: 2}}\n")
	p := start(t, db.DSN(), dir, "run", "--yes", "job.yaml")
	awaitChunks(t, db, p, 2)
	moves := func() {
		t.Helper()
		before := chunks(db)
		pgtest.Eventually(t, time.Minute, func() error {
			if chunks(db) <= before+2 {
				return fmt.Errorf("it does not go on: %s", must(t, db.DSN(), dir, "status"))
			}
			return nil
		})
	}
	other := db.Conn()
	exec := func(sql string) func() {
		return func() {
			t.Helper()
			if _, err := other.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
		}
	}
	noArchive, slot := filepath.Join(server.Dir(), "data", "noarchive"), db.Name()
	segments := func() {
		for range 3 {
			exec("SELECT pg_logical_emit_message(true, 'x', 'x'); SELECT pg_switch_wal()")()
		}
	}
	drop := exec("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()")
	t.Cleanup(drop) // else the database cannot be dropped
	for _, c := range []struct {
		name     string
		do, undo func()
		reason   []string
	}{
		{"long transaction", exec("BEGIN; SELECT pg_current_xact_id()"), exec("ROLLBACK"), []string{"old_snapshot ", "> 1s (pid ", "idle in transaction"}},
		{"stalled slot", func() {
			exec("SELECT pg_create_logical_replication_slot('" + slot + "', 'pgoutput')")()
			exec("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 4000)")()
		}, drop, []string{"slot_retention ", "> 2 MiB (logical slot " + slot + ", nobody reads it)"}},
		{"failing archive", func() {
			if err := os.WriteFile(noArchive, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			segments()
		}, func() {
			if err := os.Remove(noArchive); err != nil {
				t.Fatal(err)
			}
			segments() // the archiver waits for a minute after three failures, unless something wakes it
		}, []string{"archive_backlog ", " > 2"}},
		{"locked table", func() {
			must(t, db.DSN(), dir, "set", "troubled", "snapshots.max_age=1h") // else the transaction that locks becomes the reason
			exec("BEGIN; LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE")()
		}, exec("ROLLBACK"), []string{"lock_not_available"}},
	} {
		moves()
		c.do()
		pgtest.Eventually(t, time.Minute, func() error {
			if p.ended() {
				t.Fatalf("%s: it ended:\n%s", c.name, p.out)
			}
			out := must(t, db.DSN(), dir, "status")
			for _, part := range c.reason {
				if !strings.Contains(out, part) {
					return fmt.Errorf("%s: status does not say %q:\n%s", c.name, part, out)
				}
			}
			return nil
		})
		c.undo()
		moves()
	}
	p.signal(t, syscall.SIGINT)
	if code := p.wait(t, time.Minute); code != 130 {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	says(t, p.out.String(), "waited", "old_snapshot ", "slot_retention ", "archive_backlog ")
}
