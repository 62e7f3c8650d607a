package main

import (
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
)

// place is a server, or a database, that is set up in a way that programs seldom reckon with.
type place struct {
	name string
	// sql sets the database up, and settings the server.
	sql      string
	settings map[string]string
}

var places = []place{
	{name: "serializable by default", sql: "ALTER DATABASE app SET default_transaction_isolation = serializable; ALTER DATABASE app SET default_transaction_deferrable = on"},
	{name: "repeatable read by default", sql: "ALTER DATABASE app SET default_transaction_isolation = 'repeatable read'"},
	{name: "short timeouts by default", sql: `ALTER DATABASE app SET statement_timeout = '700ms'; ALTER DATABASE app SET lock_timeout = '50ms';
		ALTER DATABASE app SET idle_in_transaction_session_timeout = '300ms'; ALTER DATABASE app SET idle_session_timeout = '400ms'`},
	{name: "odd settings by default", sql: `ALTER DATABASE app SET DateStyle = 'German, DMY'; ALTER DATABASE app SET IntervalStyle = sql_standard; ALTER DATABASE app SET TimeZone = 'Asia/Kathmandu';
		ALTER DATABASE app SET search_path = ''; ALTER DATABASE app SET extra_float_digits = -5; ALTER DATABASE app SET bytea_output = escape; ALTER DATABASE app SET synchronous_commit = off;
		ALTER DATABASE app SET standard_conforming_strings = off; ALTER DATABASE app SET backslash_quote = off; ALTER DATABASE app SET enable_indexscan = off; ALTER DATABASE app SET default_tablespace = 'pg_default';
		ALTER DATABASE app SET check_function_bodies = off; ALTER DATABASE app SET client_min_messages = debug5; ALTER DATABASE app SET session_replication_role = origin; ALTER DATABASE app SET transform_null_equals = on`},
	{name: "a small server", settings: map[string]string{"max_connections": "12", "superuser_reserved_connections": "1", "work_mem": "64kB", "max_worker_processes": "1", "max_locks_per_transaction": "10"}},
}

// A run is the same wherever it is: on a server and in a database whose settings are not what one expects, with the engine killed, its
// backends terminated, and the server restarted.
//
// Made to fail: with a session that the server ends for being idle taken for what never passes (57P05), the run fails where timeouts are short.
func TestChaosOfPlaces(t *testing.T) {
	t.Parallel()
	seed := firstSeed(t)
	for _, p := range places {
		scenario(t, p.name, func(t *testing.T) {
			w := newWorld(t, worldOptions{name: p.name, seed: seed, rows: 8000, rate: 1500, settings: p.settings})
			if p.sql != "" {
				w.exec(p.sql)
			}
			w.forget()
			w.start()
			w.awaits(5, "the beginning")
			for _, f := range []fault{
				{name: "engine killed", does: (*world).killEngine},
				{name: "backends terminated", does: (*world).terminateBackends},
				{name: "server restarted", does: func(w *world) {
					w.downServer(func(c *localpg.Cluster) error { return c.Stop(t.Context(), localpg.Fast) })
				}},
				{name: "deadlocks", does: (*world).deadlocks, pauses: true},
			} {
				w.awaits(w.random.Int64N(10), "before: "+f.name)
				w.note("%s", f.name)
				f.does(w)
				w.lives(f)
			}
			injected("place: "+p.name, seed)
			for _, one := range w.procs {
				if strings.Contains(one.out.String(), "40001") {
					t.Errorf("chunks failed to serialize:\n%s", one.out)
				}
			}
			w.finishes()
		})
	}
}

// A process whose name server is away for a while, when it has to connect again, finds its server when the name is known again. The name
// of one of its two hosts is never known.
//
// Made to fail: with a name that is not found taken for what never passes, the run fails.
func TestChaosOfNames(t *testing.T) {
	t.Parallel()
	seed := firstSeed(t)
	scenario(t, "name not resolved", func(t *testing.T) {
		var hosts hostsFile
		w := newWorld(t, worldOptions{name: "name not resolved", seed: seed, rows: 6000, rate: 1200, environ: hosts.environ(t), through: func(w *world) string {
			_, port, _ := strings.Cut(w.links[0].Addr(), ":")
			return strings.ReplaceAll(w.dsnOf("db.example:"+port+",nowhere.example:"+port), "127.0.0.1", "db.example")
		}})
		hosts.write(t, "127.0.0.1 db.example\n")
		w.start()
		w.awaits(5, "the beginning")
		for range 3 {
			hosts.write(t, "127.0.0.1 other.example\n")
			w.note("the name is gone")
			w.links[0].CutAll()
			lasts(300*time.Millisecond + w.some(2*time.Second))
			hosts.write(t, "127.0.0.1 db.example\n")
			injected("name not resolved", seed)
			w.lives(fault{name: "name not resolved"})
		}
		if said := w.procs[0].out.String(); !strings.Contains(said, "db.example") {
			t.Errorf("nobody says that the name is not known:\n%s", said)
		}
		w.finishes()
	})
}
