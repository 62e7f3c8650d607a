package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill/contract"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/jobs"
)

// Whichever way a table was walked, the ledger of a finished run covers it, and one that lacks a row anywhere does not: by
// key with NULLs in it, split among many workers, in physical order, partition by partition, over an empty table.
//
// Made to fail: with the passes of a sweep followed as a part of the walk, with the end of a split segment asked of itself,
// and with segments of all leaves taken for one another's neighbours.
func TestGateCoversEveryWalk(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE plain (id int PRIMARY KEY, a int, b int); INSERT INTO plain SELECT g, g FROM generate_series(1, 3000) AS g;
		CREATE TABLE nulls (k int UNIQUE, a int, b int); INSERT INTO nulls SELECT nullif(g, 50 * (g / 50)), g FROM generate_series(1, 500) AS g;
		CREATE TABLE empty (id int PRIMARY KEY, a int, b int);
		CREATE TABLE heap (id int PRIMARY KEY, a int, b int, pad text); INSERT INTO heap SELECT g, g, NULL, repeat('x', 500) FROM generate_series(1, 2000) AS g;
		CREATE TABLE parts (id int, p int, a int, b int, pad text, PRIMARY KEY (p, id)) PARTITION BY LIST (p);
		CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1); CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
		INSERT INTO parts SELECT g, 1 + g % 2, g, NULL, repeat('x', 500) FROM generate_series(1, 2000) AS g; ANALYZE`)
	for _, c := range []struct{ table, more string }{
		{"plain", "chunk: {rows: 50}\nworkers: 6\n"},
		{"nulls", "key: k\nchunk: {rows: 50}\n"},
		{"empty", ""},
		{"heap", "walk: heap\nchunk: {rows: 100}\nworkers: 4\n"},
		{"parts", "walk: heap\nchunk: {rows: 100}\n"},
		{"parts", "walk: key\nchunk: {rows: 100}\nworkers: 4\n"},
	} {
		name := strings.NewReplacer("\n", " ", ":", "", "{", "", "}", "").Replace(c.table + " " + c.more)
		job := "w" + strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), " ", "-")
		file := write(t, dir, "job.yaml", "name: "+job+"\ntable: "+c.table+"\nupdate: {set: {b: t.a + 1}}\n"+c.more)
		must(t, db.DSN(), dir, "run", "--yes", "--accept", "no-index", file)
		list, err := jobs.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		coverage := func() contract.Condition {
			r, err := contract.Gate(t.Context(), contract.Options{Job: list[0], Conn: db.Conn(), Patience: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			told := 0
			for _, c := range r.Conditions { // no job here says what is dropped
				if c.Evidence != nil && slices.Contains(c.Evidence, contract.NoDrops) && c.Remedy != "" {
					told++
				}
			}
			if told != 1 {
				t.Errorf("%s: that it must say what is dropped is told %d times", name, told)
			}
			return r.Conditions[slices.Index(contract.IDs(), "coverage")]
		}
		if got := coverage(); got.Status != contract.Pass {
			t.Errorf("%s: %q", name, got.Evidence)
		}
		if db.Exec("DELETE FROM pgbackfill.chunks WHERE ctid = (SELECT c.ctid FROM pgbackfill.chunks AS c JOIN pgbackfill.runs AS r ON r.id = c.run_id WHERE r.job = $1 ORDER BY random() LIMIT 1)", job).RowsAffected() == 0 {
			continue // an empty table has no chunk
		}
		if got := coverage(); got.Status != contract.Fail {
			t.Errorf("%s without a row of its ledger: %s %q", name, got.Status, got.Evidence)
		}
		db.Exec("UPDATE pgbackfill.runs SET state = 'undone'")
	}
}

// A partitioned table whose old column the engine's own trigger brought over goes the whole way: all of the engine's triggers are
// gone with the migration, of every partition, and rows are written as before.
//
// Made to fail: with the triggers of the dual write left, the next insert fails; with those of partitions dropped by themselves,
// the migration does.
func TestContractOfPartitionsByTrigger(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE users (id int, p int, full_name text, display_name text, PRIMARY KEY (p, id)) PARTITION BY LIST (p);
		CREATE TABLE users_1 PARTITION OF users FOR VALUES IN (1); CREATE TABLE users_2 PARTITION OF users FOR VALUES IN (2);
		INSERT INTO users SELECT g, 1 + g % 2, 'user ' || g FROM generate_series(1, 60) AS g; ANALYZE users`)
	write(t, dir, "users.yaml", strings.Replace(contractJob, "by: application", "by: trigger", 1))
	must(t, db.DSN(), dir, "run", "--yes", "users.yaml")
	db.Exec("INSERT INTO users SELECT g, 1 + g % 2, 'late ' || g FROM generate_series(101, 120) AS g; CREATE TABLE users_3 PARTITION OF users FOR VALUES IN (3); INSERT INTO users VALUES (1, 3, 'x')")
	must(t, db.DSN(), dir, "verify", "users.yaml")
	db.Exec("UPDATE pgbackfill.tripwires SET installed_at = installed_at - interval '1 hour'")
	ready(t, db, dir)
	if said := try(t, pgtest.Connect(t, db.DSN()), "BEGIN; "+migration+" COMMIT"); said != "" {
		t.Fatalf("it is ready, and the migration fails: %s", said)
	}
	is(t, db, "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid <> 'pgbackfill.gates'::regclass", "(0)")
	db.Exec("INSERT INTO users (id, p, display_name) VALUES (200, 2, 'New'), (200, 3, 'New')")
	is(t, db, "SELECT count(*) FROM users WHERE display_name = 'New'", "(2)")
}
