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

// Real backfills that real products shipped. A run on fresh data gives what the reference, one
// plain transaction, gives on another copy; so do tiny chunks with many workers, in whatever
// order they come to the segments, a kill in the middle and a resume, and a second run.
func TestCorpus(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/corpus/*")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases in testdata/corpus: %v", err)
	}
	for _, dir := range cases {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			dir, err := filepath.Abs(dir)
			if err != nil {
				t.Fatal(err)
			}
			origin := corpusDatabase(t, dir)
			reference := origin.Copy(t)
			script(t, reference, filepath.Join(dir, "reference.sql"))
			want := fingerprint(t, reference, dir)
			ways := map[string]func(*testing.T, *pgtest.DB, string){
				"four workers, tiny chunks": func(t *testing.T, db *pgtest.DB, job string) {
					must(t, db.DSN(), dir, "run", "--yes", "--allow-programs", "--workers", "4", "--chunk-rows", "97", job)
				},
				"killed and resumed": func(t *testing.T, db *pgtest.DB, job string) {
					killedAndResumed(t, db, dir, job)
				},
				"straight, and again": func(t *testing.T, db *pgtest.DB, job string) {
					must(t, db.DSN(), dir, "run", "--yes", "--allow-programs", job)
					if got := fingerprint(t, db, dir); got != want && len(corpusJobs(t, dir)) == 1 {
						t.Errorf("the result differs from the reference: fingerprint %s, want %s", got, want)
					}
					again(t, db, dir, job)
				},
			}
			for name, way := range ways {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					db := origin.Copy(t)
					for _, job := range corpusJobs(t, dir) {
						way(t, db, job)
					}
					if got := fingerprint(t, db, dir); got != want {
						t.Errorf("the result differs from the reference: fingerprint %s, want %s", got, want)
					}
					if strings.HasPrefix(filepath.Base(dir), "30") && name == "straight, and again" {
						return // the second run was refused, and is the one that verification speaks of
					}
					for _, job := range corpusJobs(t, dir) {
						out := must(t, db.DSN(), dir, "verify", "--allow-programs", job)
						if first, _, _ := strings.Cut(out, "\n"); !strings.Contains(first, ": proven") {
							t.Errorf("verification says: %s", out)
						}
					}
				})
			}
			if _, err := os.Stat(filepath.Join(dir, "wrong.sql")); err == nil {
				t.Run("a wrong engine is seen", func(t *testing.T) {
					t.Parallel()
					db := origin.Copy(t)
					script(t, db, filepath.Join(dir, "wrong.sql"))
					if got := fingerprint(t, db, dir); got == want {
						t.Error("the fingerprint of a wrong result is that of the right one: this test could not fail")
					}
				})
			}
		})
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
	must(t, db.DSN(), dir, "run", "--yes", "--allow-programs", "--workers", "2", job)
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
