package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill/contract"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/jobs"
)

// Rows that a job's where leaves out are not proven by it: the gate refuses where the column that goes has the only copy of what
// they hold. Rows that have nothing there, or that left the scope by being filled,
// do not count; of others that have both nobody knows. A waiver covers it.
//
// Made to fail: without the question of what the scope leaves out (the first is ready, and the migration drops 18 names), with
// rows counted that have no value, with those that are filled counted, without the look at what the job reads, and with the columns of a
// job counted together (rows 4 to 6 have an x, and the only copy of b).
func TestGateLooksOutsideOfTheScope(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE users (id int PRIMARY KEY, full_name text, display_name text);
		INSERT INTO users SELECT g, CASE WHEN g NOT IN (5, 25) THEN 'user ' || g END FROM generate_series(1, 30) AS g; ANALYZE users`)
	for i, c := range []struct {
		where       string
		status      contract.Status
		says, scope string
	}{
		{"t.id <= 10", contract.Fail, "19 of 30 rows are not in scope and have a value in full_name, and none in what replaces it", "10 of 30 rows are in scope; of the others 19 rows have in full_name the only copy"},
		{"t.full_name IS NOT NULL", contract.Pass, "28 of 30 rows are in scope; none of the others", "28 of 30 rows are in scope"},
		{"t.id > 10", contract.Unknown, "9 of 30 rows are not in scope and have a value in full_name and in what replaces it: nobody has compared them", "20 of 30 rows are in scope; of the others 9 rows have a value"},
		{"t.display_name IS NULL", contract.Pass, "2 of 30 rows are in scope; none of the others", "2 of 30 rows are in scope"},
	} {
		job := fmt.Sprintf("scope-%d", i)
		file := write(t, dir, job+".yaml", fmt.Sprintf("name: %s\ntable: users\nwhere: %s\nupdate: {set: {display_name: initcap(t.full_name)}}\ncontract: {drops: [users.full_name]}\n", job, c.where))
		must(t, db.DSN(), dir, "run", "--yes", file)
		says(t, must(t, db.DSN(), dir, "verify", file), c.scope)
		list, err := jobs.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		ask := func() contract.Condition {
			r, err := contract.Gate(t.Context(), contract.Options{Job: list[0], Conn: db.Conn(), Patience: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			return r.Conditions[slices.Index(contract.IDs(), "scope")]
		}
		if got := ask(); got.Status != c.status || !strings.Contains(strings.Join(got.Evidence, "\n"), c.says) {
			t.Errorf("where %s: %s %q", c.where, got.Status, got.Evidence)
		}
		if c.status == contract.Pass {
			continue
		}
		if err := contract.Waive(t.Context(), db.Conn(), job, []string{"scope"}, "they may go", time.Now().Add(time.Hour), "ann"); err != nil {
			t.Fatal(err)
		}
		if got := ask(); got.Status != contract.Waived {
			t.Errorf("where %s, waived: %s", c.where, got.Status)
		}
	}
	// Of two columns each is held against what replaces it, and not against what replaces the other.
	db.Exec(`CREATE TABLE pairs (id int PRIMARY KEY, a text, b text, x text, y text);
		INSERT INTO pairs SELECT g, 'a', CASE WHEN g < 9 THEN 'b' END, CASE WHEN g > 3 THEN 'A' END, CASE WHEN g > 6 THEN 'B' END FROM generate_series(1, 10) AS g; ANALYZE pairs`)
	file := write(t, dir, "pairs.yaml", "name: pairs\ntable: pairs\nwhere: t.id <= 2\nupdate: {set: {x: upper(t.a), y: upper(t.b)}}\ncontract: {drops: [pairs.a, pairs.b]}\n")
	must(t, db.DSN(), dir, "run", "--yes", file)
	must(t, db.DSN(), dir, "verify", file)
	list, err := jobs.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := contract.Gate(t.Context(), contract.Options{Job: list[0], Conn: db.Conn(), Patience: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"1 of 10 rows are not in scope and have a value in a, and none in what replaces it: the only copy would be dropped",
		"4 of 10 rows are not in scope and have a value in b, and none in what replaces it: the only copy would be dropped",
		"4 of 10 rows are not in scope and have a value in a, b and in what replaces it: nobody has compared them",
	}
	if got := r.Conditions[slices.Index(contract.IDs(), "scope")]; got.Status != contract.Fail || !slices.Equal(got.Evidence, want) {
		t.Errorf("of two columns it says %s %q, want %q", got.Status, got.Evidence, want)
	}
}
