package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/proxy"
)

// traced runs the program to its end, and returns the round trips that come one after the other: with one worker all but those of the
// signals, which are read beside it.
func traced(t *testing.T, db *pgtest.DB, dir string, args ...string) []proxy.Trip {
	t.Helper()
	p, err := proxy.New(fmt.Sprintf("127.0.0.1:%d", db.Server().Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var trace proxy.Trace
	p.Hook(trace.Hook)
	dsn, err := p.DSN(db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	must(t, dsn, dir, args...)
	trips := trace.Trips()
	beside := map[uint64]bool{}
	for _, trip := range trips {
		if slices.ContainsFunc(trip.Statements, func(sql string) bool { return sql == pgsql.BeginSignal.SQL }) {
			beside[trip.Conn] = true
		}
	}
	return slices.DeleteFunc(trips, func(trip proxy.Trip) bool { return beside[trip.Conn] })
}

// What a run costs beside its chunks is round trips, over a long way most of all: here they are counted, so that they do not creep back. There were
// 239 for a first run before they were looked at. A connection here begins with three, since a password is asked for.
//
// Made to fail: with a round trip for each question to the catalogue (read in internal/catalog asking them one by one) there are 12 more.
func TestRoundTripsOfARun(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec("CREATE TABLE users (id bigint PRIMARY KEY, full_name text NOT NULL, display_name text); INSERT INTO users SELECT g, 'name ' || g FROM generate_series(1, 50) AS g; ANALYZE users")
	dir := t.TempDir()
	write(t, dir, "job.yaml", "name: names\ntable: users\nupdate: {set: {display_name: initcap(full_name)}}\n")
	for _, c := range []struct {
		args []string
		most int
	}{
		{[]string{"run", "--workers", "1", "job.yaml"}, 80},
		{[]string{"run", "--workers", "1", "--again", "job.yaml"}, 72},
		{[]string{"plan", "job.yaml"}, 30},
	} {
		began := time.Now()
		trips := traced(t, db, dir, c.args...)
		// A heartbeat comes once a second, however long it takes.
		if most := c.most + int(time.Since(began)/time.Second); len(trips) > most {
			var list []string
			for _, trip := range trips {
				list = append(list, trip.String())
			}
			t.Errorf("pgbackfill %v makes %d round trips, want at most %d:\n%s", c.args, len(trips), most, strings.Join(list, "\n"))
		}
	}
}
