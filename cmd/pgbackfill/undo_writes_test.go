package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// writtenMeanwhile is a table of people, in two partitions where it says so, that an application writes to, with a copy
// that only the application writes to, and the rows whose column "shown" it wrote.
func writtenMeanwhile(db *pgtest.DB, partitioned bool) {
	people := "CREATE TABLE people (id int PRIMARY KEY, grp int NOT NULL, name text, shown text, seen int NOT NULL DEFAULT 0)"
	if partitioned {
		people += ` PARTITION BY RANGE (id);
			CREATE TABLE people_1 PARTITION OF people FOR VALUES FROM (MINVALUE) TO (1500);
			CREATE TABLE people_2 PARTITION OF people FOR VALUES FROM (1500) TO (MAXVALUE)`
	}
	db.Exec(people + `;
		INSERT INTO people SELECT g, g % 10, 'name ' || g, CASE g % 5 WHEN 0 THEN 'own' END FROM generate_series(1, 3000) AS g;
		CREATE TABLE alone (LIKE people INCLUDING ALL); INSERT INTO alone TABLE people;
		CREATE TABLE theirs (id int PRIMARY KEY);
		CREATE TABLE details (id int PRIMARY KEY, bio text); INSERT INTO details VALUES (-1, 'was there');
		CREATE TABLE totals (grp int PRIMARY KEY, n int NOT NULL); INSERT INTO totals VALUES (3, 7);
		ANALYZE people`)
}

// applicationWrites writes until stop is called, which returns how often it did: rows of people that are new, that go, and
// whose other columns change, likewise in alone; and, of some rows, what the job writes.
func applicationWrites(t *testing.T, db *pgtest.DB) (stop func() int) {
	t.Helper()
	conn := pgtest.Connect(t, db.DSN())
	ctx, cancel := context.WithCancel(t.Context())
	type outcome struct {
		n   int
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		o := outcome{}
		for ; o.err == nil && ctx.Err() == nil; o.n++ {
			var sql strings.Builder
			for _, table := range []string{"people", "alone"} {
				fmt.Fprintf(&sql, "INSERT INTO %[1]s VALUES (%[2]d, %[3]d, 'new', NULL); UPDATE %[1]s SET seen = seen + 1 WHERE id = %[4]d; DELETE FROM %[1]s WHERE id = %[5]d;",
					table, 10_000+o.n, o.n%10, 3*(o.n*37%1000)+1, 3*(o.n*91%1000)+2)
			}
			mine := 3*(o.n*53%1000) + 1
			fmt.Fprintf(&sql, "UPDATE people SET shown = 'theirs' WHERE id = %[1]d; INSERT INTO theirs VALUES (%[1]d) ON CONFLICT DO NOTHING;", mine)
			_, o.err = conn.Exec(context.WithoutCancel(ctx), sql.String(), pgx.QueryExecModeSimpleProtocol)
			if o.err == nil {
				select {
				case <-ctx.Done():
				case <-time.After(5 * time.Millisecond):
				}
			}
		}
		done <- o
	}()
	return func() int {
		cancel()
		o := <-done
		if o.err != nil {
			t.Fatalf("the application: %v", o.err)
		}
		return o.n
	}
}

// While an application inserts, updates and deletes, a run is carried out and taken back, by processes of which one is
// killed in the middle and two are at work at once. In the end every table is as if there had been neither, but for the
// rows where the application wrote what the run writes; with undo: capture these are as the application wrote them.
//
// Made to fail: with unUpdate that looks at no value (theirs were lost), or sets columns that the run left alone (what they
// wrote beside was lost); with Covered without the sweep's ranges; without ON CONFLICT in the list of what is left, one
// of the two processes gave up.
func TestRunAndUndoWhileApplicationsWrite(t *testing.T) {
	t.Parallel()
	const steps = `steps:
  - {name: shown, sql: "UPDATE people AS t SET shown = upper(t.name) FROM {{chunk}} AS c WHERE c.id = t.id"}
  - {name: details, sql: "INSERT INTO details SELECT c.id, c.name FROM {{chunk}} AS c WHERE c.id % 3 = 0"}
  - {name: totals, sql: "INSERT INTO totals SELECT c.grp, count(*) FROM {{chunk}} AS c GROUP BY 1 ORDER BY 1 ON CONFLICT (grp) DO UPDATE SET n = totals.n + EXCLUDED.n"}
  - {name: moved, sql: "DELETE FROM people AS t USING {{chunk nolock}} AS c WHERE c.id = t.id AND t.id % 3 = 0"}
idempotent: false
`
	for name, c := range map[string]struct {
		job         string
		partitioned bool
		captures    bool
	}{
		"set":                   {"where: t.grp <> 0 AND t.grp <> 5\nupdate: {set: {shown: upper(t.name)}}\nundo: {set: {shown: \"NULL\"}}\n", false, false},
		"capture, four steps":   {steps + "undo: capture\n", false, true},
		"capture of partitions": {steps + "undo: capture\n", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, dir := pgtest.New(t), t.TempDir()
			writtenMeanwhile(db, c.partitioned)
			job := write(t, dir, "job.yaml", "name: shown\ntable: people\nchunk: {rows: 50}\nworkers: 2\n"+c.job)
			stop := applicationWrites(t, db)
			must(t, db.DSN(), dir, "run", "--yes", "--rate", "4000", "--accept", "undo-triggers", job)
			changed := pgtest.One[int](db, "SELECT count(*) FROM people WHERE shown LIKE 'NAME %'")
			p := start(t, db.DSN(), dir, "undo", "--yes", "--rate", "1000", job)
			awaitUndo(t, db, p)
			p.kill(t)
			both := []*process{start(t, db.DSN(), dir, "undo", "--yes", "--rate", "4000", job), start(t, db.DSN(), dir, "undo", "--yes", "--rate", "4000", job)}
			for _, p := range both {
				if code := p.wait(t, time.Minute); code != 0 && (code != 4 || !c.captures) {
					t.Errorf("exit code %d:\n%s", code, p.out)
				}
			}
			if n := stop(); n < 20 || changed < 500 {
				t.Errorf("the application wrote %d times, and %d rows were changed: nothing is shown", n, changed)
			}
			is(t, db, "SELECT state FROM pgbackfill.runs WHERE id = 1", "(undone)")
			const differ = `SELECT * FROM ((TABLE people EXCEPT TABLE alone) UNION ALL (TABLE alone EXCEPT TABLE people)) AS d WHERE id NOT IN (TABLE theirs) LIMIT 5`
			is(t, db, differ, "")
			is(t, db, "SELECT * FROM details", `(-1,"was there")`)
			is(t, db, "SELECT * FROM totals", "(3,7)")
			if c.captures { // of what they wrote before the run, the run's own value stands in between
				is(t, db, "SELECT t.* FROM people AS t JOIN theirs USING (id) WHERE shown IS DISTINCT FROM 'theirs' LIMIT 5", "")
			}
		})
	}
}
