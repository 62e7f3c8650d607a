package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// blocksOf is how many blocks of a relation, and of its indexes and TOAST table, sessions that are over have asked for, whether they were in memory or not.
func blocksOf(t *testing.T, db *pgtest.DB, relation string) int64 {
	t.Helper()
	pgtest.Eventually(t, 30*time.Second, func() error {
		n := pgtest.One[int](db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'pgbackfill%'")
		if n > 0 {
			return fmt.Errorf("%d sessions of the program are there", n)
		}
		return nil
	})
	return pgtest.One[int64](db, `SELECT sum(COALESCE(heap_blks_read, 0) + COALESCE(heap_blks_hit, 0) + COALESCE(idx_blks_read, 0) + COALESCE(idx_blks_hit, 0) +
		COALESCE(toast_blks_read, 0) + COALESCE(toast_blks_hit, 0))::bigint FROM pg_statio_all_tables WHERE relid = $1::regclass`, relation)
}

// What plan reads does not depend on how large the table is: one that statistics hold for a billion rows, with a file many times larger than what may be
// read, is planned by a few hundred pages and the keys of one chunk, whatever it is walked by; status reads nothing of it; and neither status
// nor resuming reads a long ledger.
//
// Made to fail: with samplePages at 100000 plan reads the whole table; with the last ledger row found by its greatest number among all (lastRow), status and
// resuming read the whole ledger.
func TestPlanAndStatusReadLittle(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	setup := db.Conn()
	_, err := setup.Exec(t.Context(), `CREATE TABLE big (id bigint PRIMARY KEY, code uuid NOT NULL UNIQUE, a int NOT NULL, b int NOT NULL, pad text, n int, UNIQUE (a, b)) WITH (autovacuum_enabled = off, fillfactor = 10);
		INSERT INTO big SELECT i, md5(i::text)::uuid, i % 7, i, repeat('x', 700), NULL FROM generate_series(1, 9000) AS i;
		ANALYZE big`)
	if err = errors.Join(err, setup.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, 30*time.Second, func() error { // what it read is counted at its end
		if pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", setup.PgConn().PID()) {
			return errors.New("the session that made the table is there")
		}
		return nil
	})
	pages := pgtest.One[int64](db, "SELECT relpages FROM pg_class WHERE oid = 'big'::regclass")
	const most = 400 + 100 + 4*1000 // a sample for bounds, one for stripes, and the keys of the chunk that statements are explained for
	if pages < 2*most {
		t.Fatalf("the table has %d pages, which is too few to tell", pages)
	}
	db.Exec("UPDATE pg_class SET reltuples = 1e9 WHERE oid = 'big'::regclass; UPDATE pg_class SET reltuples = 1e9 WHERE oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'big'::regclass)")
	before := blocksOf(t, db, "big")
	read := func(relation string) int64 {
		now := blocksOf(t, db, relation)
		n := now - before
		before = now
		return n
	}
	for _, c := range []struct{ name, job, counted string }{
		{"the planner's walk", "", ""},
		{"by key", "walk: key\n", ""},
		{"by a random key", "walk: key\nkey: code\n", ""},
		{"by a key of two columns", "walk: key\nkey: [a, b]\n", "in a sample"},
		{"by heap", "walk: heap\n", ""},
	} {
		write(t, dir, "big.yaml", "name: big\ntable: big\n"+c.job+"update:\n  set:\n    n: 1\n")
		code, out := pgbackfill(t, db.DSN(), dir, "plan", "big.yaml")
		if code != 0 {
			t.Fatalf("%s: exit code %d:\n%s", c.name, code, out)
		}
		says(t, out, "\n  workers   ", "\n  chunks    ")
		if c.counted == "" {
			says(t, out, "about     1 000 000 0")
		}
		if n := read("big"); n == 0 || n > most {
			t.Errorf("%s: plan asked for %d blocks of a table of %d", c.name, n, pages)
		}
	}

	if code, out := pgbackfill(t, db.DSN(), dir, "plan", "-o", "json", "big.yaml"); code != 0 || !strings.Contains(out, `"choices"`) || !strings.Contains(out, `"what": "workers"`) || !strings.Contains(out, `"round_trip"`) {
		t.Errorf("exit code %d, and the choices are not in: %s", code, out)
	}

	// A long ledger: one chunk, and a hundred thousand more.
	write(t, dir, "big.yaml", "name: big\ntable: big\nwalk: key\nupdate:\n  set:\n    n: 1\n")
	if code, out := pgbackfill(t, db.DSN(), dir, "run", "--yes", "--max-chunks", "1", "--workers", "1", "--chunk-rows", "1", "big.yaml"); code != 130 {
		t.Fatalf("exit code %d, want 130:\n%s", code, out)
	}
	db.Exec(`INSERT INTO pgbackfill.chunks (run_id, segment, seq, after, through, follows, rows_seen, rows_changed, unmatched, multiple,
			total_seen, total_changed, total_unmatched, total_multiple, total_duration, started_at, duration, attempt, worker)
		SELECT c.run_id, c.segment, c.seq + n, c.through, c.through, true, 1, '{1}', 0, 0, n, n, 0, 0, n * interval '1ms', now(), '1ms', 1, 'test'
		FROM pgbackfill.chunks AS c, generate_series(1, 100000) AS n; ANALYZE pgbackfill.chunks`)
	length := pgtest.One[int64](db, "SELECT relpages FROM pg_class WHERE oid = 'pgbackfill.chunks'::regclass")
	before = blocksOf(t, db, "big")
	for _, args := range [][]string{{"status"}, {"status", "big"}, {"status", "-o", "json"}} {
		ledger := blocksOf(t, db, "pgbackfill.chunks")
		if code, out := pgbackfill(t, db.DSN(), dir, args...); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, out)
		}
		if n := blocksOf(t, db, "pgbackfill.chunks") - ledger; n > 300 {
			t.Errorf("%v asked for %d blocks of a ledger of %d", args, n, length)
		}
		if n := read("big"); n > 0 {
			t.Errorf("%v asked for %d blocks of the table", args, n)
		}
	}
	ledger := blocksOf(t, db, "pgbackfill.chunks")
	if code, out := pgbackfill(t, db.DSN(), dir, "run", "--yes", "--max-chunks", "1", "--workers", "1", "--chunk-rows", "1", "big.yaml"); code != 130 {
		t.Fatalf("exit code %d, want 130:\n%s", code, out)
	}
	if n := blocksOf(t, db, "pgbackfill.chunks") - ledger; n == 0 || n > 600 {
		t.Errorf("resuming asked for %d blocks of a ledger of %d", n, length)
	}
}
