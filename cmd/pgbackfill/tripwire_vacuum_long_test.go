//go:build long

package main

import (
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// A tripwire is installed though autovacuum is on the table: the server ends that for whoever waits longer than deadlock_timeout.
//
// Made to fail: with the lock timeout as it is for all others, it was not had within a minute.
func TestTripwireWhileTheTableIsVacuumed(t *testing.T) {
	t.Parallel()
	c := pgtest.Cluster(t, localpg.Options{Settings: map[string]string{"autovacuum": "on", "autovacuum_naptime": "1s"}})
	db, dir := pgtest.NewOn(t, c), t.TempDir()
	db.Exec(`CREATE TABLE users (id int PRIMARY KEY, full_name text, display_name text) WITH (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
		INSERT INTO users SELECT g, 'user ' || g FROM generate_series(1, 200000) AS g`)
	db.Exec("UPDATE users SET full_name = full_name || 'x'")
	write(t, dir, "users.yaml", contractJob)
	must(t, db.DSN(), dir, "schema", "install")
	pgtest.Eventually(t, time.Minute, func() error {
		if pgtest.One[int](db, "SELECT count(*) FROM pg_stat_progress_vacuum WHERE relid = 'users'::regclass") == 0 {
			return errNotYet
		}
		return nil
	})
	must(t, db.DSN(), dir, "tripwire", "install", "users.yaml")
}
