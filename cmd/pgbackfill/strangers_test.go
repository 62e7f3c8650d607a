package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// strangersAlways are the cases that every run of the tests does; the others are done where [long] says so.
var strangersAlways = []string{"mastodon-merge-tags", "openproject-journal-periods"}

// Migrations of products that this engine was not made by: a run that is stopped and goes on gives what the plain SQL of
// reference.sql gives on a copy, verification says so, and undo brings back what was there.
//
// Made to fail: with a value of a job.yaml changed the fingerprints differ; without repeatable, superset-uuids is
// mismatched.
func TestStrangers(t *testing.T) {
	t.Parallel()
	dirs, err := filepath.Glob("testdata/strangers/*")
	if err != nil || len(dirs) < len(strangersAlways) {
		t.Fatalf("%d cases in testdata/strangers: %v", len(dirs), err)
	}
	for _, dir := range dirs {
		name := filepath.Base(dir)
		if os.Getenv(long) == "" && !slices.Contains(strangersAlways, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stranger(t, dir)
		})
	}
}

func stranger(t *testing.T, dir string) {
	t.Helper()
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	db := corpusDatabase(t, dir)
	reference := db.Copy(t)
	script(t, reference, filepath.Join(dir, "reference.sql"))
	before, want := fingerprint(t, db, dir), fingerprint(t, reference, dir)
	if before == want {
		t.Fatal("there is nothing to do before the run")
	}

	run := []string{"run", "--yes", "--allow-programs"}
	if filepath.Base(dir) == "mastodon-merge-tags" { // a step deletes what would cascade, before
		run = append(run, "--accept", "undo-cascades")
	}
	mustExit(t, 130, db.DSN(), dir, append(slices.Clone(run), "--workers", "2", "--chunk-rows", "97", "--max-chunks", "4", "job.yaml")...)
	ends, says := 0, ": proven"
	switch filepath.Base(dir) {
	case "zulip-auditlog-json": // a text that is no JSON is set aside
		ends, says = 4, "could not change 1 row"
	case "superset-uuids":
		says = "may give another value each time"
	}
	mustExit(t, ends, db.DSN(), dir, append(run, "job.yaml")...)
	if got := fingerprint(t, db, dir); got != want {
		t.Errorf("the result differs from the reference: fingerprint %s, want %s", got, want)
	}
	if out := mustExit(t, ends, db.DSN(), dir, "verify", "--allow-programs", "job.yaml"); !strings.Contains(out, says) {
		t.Errorf("verification does not say %q: %s", says, out)
	}

	if filepath.Base(dir) == "synapse-user-ips" {
		mustExit(t, 2, db.DSN(), dir, "undo", "--yes", "job.yaml")
		return
	}
	mustExit(t, 0, db.DSN(), dir, "undo", "--yes", "job.yaml")
	if got := fingerprint(t, db, dir); got != before {
		t.Errorf("undo does not bring back what was there: fingerprint %s, want %s", got, before)
	}
}

// A value that is another one each time cannot be verified by computing it again, and the answer says that, not that rows are wrong.
// A proof that has rows in it which `from` met by nothing says so in its first line.
//
// Made to fail: without repeatable the first ends with exit code 3; without unmet the first line of the second has no count.
func TestVerificationSaysWhatItCannotKnow(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE charts (id int PRIMARY KEY, uuid uuid, owner text); CREATE TABLE owners (chart int, name text);
		INSERT INTO charts SELECT generate_series(1, 40); INSERT INTO owners SELECT g, 'owner ' || g FROM generate_series(1, 30) g`)
	uuids := write(t, dir, "uuids.yaml", "name: uuids\ntable: charts\nupdate: {set: {uuid: gen_random_uuid()}}\n")
	must(t, db.DSN(), dir, "run", "--yes", "--accept", "volatile-expression", uuids)
	if out := mustExit(t, 2, db.DSN(), dir, "verify", uuids); !strings.Contains(out, "gen_random_uuid() may give another value each time") {
		t.Errorf("it said\n%s", out)
	}
	owned := write(t, dir, "owned.yaml", "name: owned\ntable: charts\nupdate: {set: {owner: o.name}, from: owners o, join: o.chart = t.id}\n")
	must(t, db.DSN(), dir, "run", "--yes", owned)
	first, _, _ := strings.Cut(must(t, db.DSN(), dir, "verify", owned), "\n")
	if !strings.Contains(first, "owned: proven") || !strings.Contains(first, "10 rows are matched by nothing in `from`") {
		t.Errorf("the first line is %q", first)
	}
}
