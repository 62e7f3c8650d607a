package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// wrongRows are what an example's check.sql finds.
func wrongRows(t *testing.T, db *pgtest.DB, dir string) []string {
	t.Helper()
	sql, err := os.ReadFile(filepath.Join(dir, "check.sql"))
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.All[string](db, "SELECT wrong::text FROM ("+strings.TrimSuffix(strings.TrimSpace(string(sql)), ";")+") AS wrong LIMIT 5")
}

// Every example does what its README says: there is something to do, the job does all of it, and its verification says so;
// a row that is made wrong afterwards is found.
//
// Made to fail: with one row's value changed in a job.yaml, check.sql finds rows.
func TestExamples(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	schemas, err := filepath.Glob(filepath.Join(root, "*", "schema.sql"))
	if err != nil || len(schemas) < 10 {
		t.Fatalf("%d examples in %s: %v", len(schemas), root, err)
	}
	for _, schema := range schemas {
		dir := filepath.Dir(schema)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			script(t, db, schema)
			if len(wrongRows(t, db, dir)) == 0 {
				t.Fatal("there is nothing to do before the run")
			}
			if _, err := os.Stat(filepath.Join(dir, "main.go")); err == nil {
				embedded(t, db, dir)
			} else {
				must(t, db.DSN(), dir, "run", "--yes", "--allow-programs", "job.yaml")
				if out := must(t, db.DSN(), dir, "verify", "--allow-programs", "job.yaml"); !strings.Contains(strings.SplitN(out, "\n", 2)[0], "proven") {
					t.Errorf("the first line of the verification is not that all is proven:\n%s", out)
				}
			}
			if wrong := wrongRows(t, db, dir); len(wrong) > 0 {
				t.Errorf("these rows are wrong: %v", wrong)
			}
		})
	}
}

// embedded builds and runs a program that uses the engine as a library, twice: the second time starts a run anew.
func embedded(t *testing.T, db *pgtest.DB, dir string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	build := exec.CommandContext(deadline(t, 5*time.Minute), "go", "build", "-o", program, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	run := exec.CommandContext(deadline(t, time.Minute), program)
	run.Env = append(os.Environ(), "DATABASE_URL="+db.DSN())
	out, err := run.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "finished: 5000 rows walked, 5000 changed") {
		t.Fatalf("the program ended with %v and said\n%s", err, out)
	}
}
