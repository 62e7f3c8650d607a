package main

import (
	"testing"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// One job file goes through development, staging and production. Where and how hard it runs is configuration, with ceilings that it does not
// exceed; what it is, and what is proven, is the same.
//
// Made to fail: with a configuration file that is not read, and with the pace in the job's hash.
func TestOneJobFileEverywhere(t *testing.T) {
	t.Parallel()
	job := write(t, t.TempDir(), "people.yaml", peopleJob)
	hash := ""
	for _, e := range []struct{ name, configuration, says string }{
		{"development", "", " workers"},
		{"staging", "workers: 3\n", "3 workers"},
		{"production", "workers: 3\nceilings: {workers: 1}\nlag: {max: 3s}\n", "1 worker,"},
	} {
		db, dir := pgtest.New(t), t.TempDir()
		people(t, db)
		if e.configuration != "" {
			write(t, dir, "pgbackfill.yaml", e.configuration)
		}
		code, _, said := streams(t, db.DSN(), dir, "run", "--yes", job)
		if says(t, said, e.says); code != 0 {
			t.Fatalf("%s: exit code %d: %s", e.name, code, said)
		}
		must(t, db.DSN(), dir, "verify", job)
		ran := pgtest.One[string](db, "SELECT spec_hash FROM pgbackfill.runs")
		if hash == "" {
			hash = ran
		}
		if ran != hash {
			t.Errorf("%s: it is another job there: %s, and %s in development", e.name, ran, hash)
		}
	}
}
