package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// corpusDatabase is a fresh database with a case's schema and data.
func corpusDatabase(t *testing.T, dir string) *pgtest.DB {
	t.Helper()
	db := pgtest.New(t)
	script(t, db, filepath.Join(dir, "setup.sql"))
	return db
}

// script runs a file of several statements.
func script(t *testing.T, db *pgtest.DB, path string) {
	t.Helper()
	sql, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx := deadline(t, 2*time.Minute)
	conn, err := pgconn.Connect(ctx, db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }() // what it was for is done, or has failed already
	if _, err := conn.Exec(ctx, string(sql)).ReadAll(); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// fingerprint is the one line that a case's check.sql gives.
func fingerprint(t *testing.T, db *pgtest.DB, dir string) string {
	t.Helper()
	sql, err := os.ReadFile(filepath.Join(dir, "check.sql"))
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.One[string](db, strings.TrimSuffix(strings.TrimSpace(string(sql)), ";"))
}

// Real backfills that real products shipped. A run on fresh data gives what the reference, one plain transaction, gives on
// another copy: in small chunks by many workers, in whatever order they come to the segments; killed in the middle and
// resumed; and done a second time. Each is verified, and so is the reference; what a wrong engine would give is told from it, by
// the fingerprint of everything, and by verification wherever what is left shows it. `make long` takes all cases by many workers,
// in tiny chunks too, and by a run that nothing happens to.
func TestCorpus(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/corpus/*")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases in testdata/corpus: %v", err)
	}
	for _, dir := range cases {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			corpusCase(t, abs(t, dir))
		})
	}
}

// corpusCase takes one case all ways. The databases are used one after the other, so that the last need not be copied.
func corpusCase(t *testing.T, dir string) {
	t.Helper()
	list := corpusJobs(t, dir)
	origin := corpusDatabase(t, dir)
	reference := origin.Copy(t)
	prepare(t, reference, list[0])
	script(t, reference, filepath.Join(dir, "reference.sql"))
	want := fingerprint(t, reference, dir)
	isProven(t, reference, dir, list[:1])
	is := func(db *pgtest.DB, after string) {
		t.Helper()
		if got := fingerprint(t, db, dir); got != want {
			t.Errorf("%s: the result differs from the reference: fingerprint %s, want %s", after, got, want)
		}
	}
	many := func(rows string) {
		db := origin.Copy(t)
		for _, job := range list {
			must(t, db.DSN(), dir, "run", "--yes", "--allow-programs", "--workers", "4", "--chunk-rows", rows, "--chunk-target", "5s", "--set", "chunk.max_rows="+rows, job)
		}
		is(db, "four workers, chunks of "+rows)
		isProven(t, db, dir, list)
	}
	long := os.Getenv("PGBACKFILL_TEST_LONG") != ""
	if long || slices.Contains([]string{"01", "02", "04", "08"}, filepath.Base(dir)[:2]) {
		many("397")
	}
	if long {
		many("97")
		straight := origin.Copy(t)
		for _, job := range list {
			must(t, straight.DSN(), dir, "run", "--yes", "--allow-programs", job)
		}
		is(straight, "straight")
	}
	if _, err := os.Stat(filepath.Join(dir, "wrong.sql")); err == nil {
		wrongIsSeen(t, origin.Copy(t), dir, list[0], want)
	}
	for _, job := range list {
		killedAndResumed(t, origin, dir, job)
	}
	is(origin, "killed and resumed")
	isProven(t, origin, dir, list)
	for _, job := range list {
		again(t, origin, dir, job)
	}
	is(origin, "and again")
}

// isProven fails the test unless verification says so of each job.
func isProven(t *testing.T, db *pgtest.DB, dir string, list []string) {
	t.Helper()
	for _, job := range list {
		out := must(t, db.DSN(), dir, "verify", "--allow-programs", job)
		if first, _, _ := strings.Cut(out, "\n"); !strings.Contains(first, ": proven") {
			t.Errorf("verification says: %s", out)
		}
	}
}

// corpusJobs are a case's job files, in order.
func corpusJobs(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "job*.yaml"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no job in %s: %v", dir, err)
	}
	slices.SortFunc(list, func(a, b string) int { return len(a) - len(b) }) // job.yaml, job-2.yaml
	return list
}

// again runs a job that has finished once more. One that is not idempotent, and whose prepare says so by itself, is refused.
func again(t *testing.T, db *pgtest.DB, dir, job string) {
	t.Helper()
	code, out := pgbackfill(t, db.DSN(), dir, "run", "--yes", "--allow-programs", "--again", job)
	if refused := strings.HasPrefix(filepath.Base(dir), "30"); refused != (code != 0) {
		t.Errorf("run --again ended with exit code %d:\n%s", code, out)
	}
}

// killedAndResumed kills the run when a third of the rows are walked, and runs it again. However many rows there are, it
// would take some seconds and some sixty chunks.
func killedAndResumed(t *testing.T, db *pgtest.DB, dir, job string) {
	t.Helper()
	rows := estimated(t, must(t, db.DSN(), dir, "plan", "-o", "json", "--allow-programs", job))
	p := start(t, db.DSN(), dir, "run", "--yes", "--allow-programs", "--workers", "3",
		"--chunk-rows", fmt.Sprint(max(rows/60, 1)), "--rate", fmt.Sprint(max(rows/2, 1)), job)
	pgtest.Eventually(t, time.Minute, func() error {
		if p.ended() {
			t.Fatalf("the run ended before it was killed:\n%s", p.out)
		}
		if !pgtest.One[bool](db, "SELECT to_regclass('pgbackfill.chunks') IS NOT NULL") {
			return errNotYet
		}
		// of the job at hand, where there are two
		walked := pgtest.One[int64](db, "SELECT coalesce(sum(rows_seen), 0)::bigint FROM pgbackfill.chunks WHERE run_id = (SELECT max(id) FROM pgbackfill.runs WHERE state = 'running')")
		if want := pgtest.One[int64](db, "SELECT coalesce(max(estimated_rows), 0) FROM pgbackfill.runs WHERE state = 'running'"); walked == 0 || walked*3 < want {
			return fmt.Errorf("%d of %d rows walked", walked, want)
		}
		return nil
	})
	p.kill(t)
	if state := pgtest.One[string](db, "SELECT state FROM pgbackfill.runs ORDER BY id DESC LIMIT 1"); state != "running" {
		t.Fatalf("killed in mid-run, the run is %s", state)
	}
	must(t, db.DSN(), dir, "run", "--yes", "--allow-programs", "--workers", "2", "--chunk-target", "5s", job) // however busy the machine is
}

// estimated is how many rows a plan expects.
func estimated(t *testing.T, plan string) int64 {
	t.Helper()
	var p struct {
		EstimatedRows int64 `json:"estimated_rows"`
	}
	if err := json.Unmarshal([]byte(plan[strings.Index(plan, "{\n"):]), &p); err != nil {
		t.Fatalf("%v:\n%s", err, plan)
	}
	return p.EstimatedRows
}
