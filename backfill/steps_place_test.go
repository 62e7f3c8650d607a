package backfill_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// Where no key names a chunk's rows between its steps, neither the walked one nor another that no step writes, their places do: a
// step that moves them before another one looks for them is refused, and so is one that writes the key. A setting is refused under which a key is not read as it was written.
//
// Made to fail: without the refusals the runs finish, and the later steps have found no row; with only UPDATE looked at, an upsert and a merge
// are planned that write the key.
func TestStepsThatLoseTheirRows(t *testing.T) {
	t.Parallel()
	db := installed(t, `CREATE TABLE w (id int, k text, f float8 PRIMARY KEY, open bool, done int); CREATE INDEX ON w (k); CREATE TABLE n (LIKE w); ALTER TABLE n ALTER f DROP NOT NULL; CREATE UNIQUE INDEX ON n (f); CREATE INDEX ON n (k);
		CREATE TABLE p (id int PRIMARY KEY, open bool); CREATE TABLE log (id int)`)
	copied := "INSERT INTO log SELECT c.id FROM {{chunk}} AS c"
	sql := func(job backfill.Job, step int, kind, target string, written ...string) backfill.Job {
		c := job.Steps[step].SQL
		c.Kind, c.Target, c.Written, c.Assigned = kind, backfill.TableName{Name: target}, written, written
		return job
	}
	keyed := func(job backfill.Job, key ...string) backfill.Job {
		job.Key = key
		return job
	}
	under := func(job backfill.Job, name, value string) backfill.Job {
		job.Settings = map[string]string{name: value}
		return job
	}
	for _, c := range []struct {
		name, refusal string
		job           backfill.Job
	}{
		{"an update before", "step 1", keyed(does("n", "", "set open = false", copied), "k")},
		{"SQL before", "step 1", sql(keyed(does("n", "", "UPDATE n AS t SET done = 1 FROM {{chunk}} AS c WHERE {{range}} AND c.id = t.id", copied), "k"), 0, "update", "n", "done")},
		{"an update before, named by another key", "", keyed(does("w", "", "set open = false", copied), "k")},
		{"another key that is written", "step 1", sql(keyed(does("w", "", "UPDATE w AS t SET f = -t.f FROM {{chunk}} AS c WHERE c.id = t.id", copied), "k"), 0, "update", "w", "f")},
		{"another key, digits", "extra_float_digits", under(keyed(does("w", "", "set open = false", copied), "k"), "extra_float_digits", "0")},
		{"an update after", "", keyed(does("w", "", copied, "set open = false"), "k")},
		{"named by a key", "", does("p", "", "set open = false", copied)},
		{"one that speaks of the chunk", "", keyed(does("w", "", "set open = false", "DELETE FROM log WHERE {{range log.k}}"), "k")},
		{"the key", "part of the key", sql(does("p", "", "UPDATE p AS t SET id = t.id + 1000 WHERE {{range}}"), 0, "update", "p", "id")},
		{"the key by an upsert", "part of the key", sql(does("p", "", "INSERT INTO p AS q SELECT c.id, c.open FROM {{chunk}} AS c ON CONFLICT (id) DO UPDATE SET id = q.id + 1000"), 0, "insert", "p", "id")},
		{"the key by a merge", "part of the key", sql(does("p", "", "MERGE INTO p AS q USING {{chunk}} AS c ON q.id = c.id WHEN MATCHED THEN UPDATE SET id = q.id + 1000"), 0, "merge", "p", "id")},
		{"an upsert before", "step 1", sql(keyed(does("n", "", "INSERT INTO n AS q (f, done) SELECT c.f, 1 FROM {{chunk}} AS c ON CONFLICT (f) DO UPDATE SET done = 1", copied), "k"), 0, "insert", "n", "done")},
		{"digits", "extra_float_digits", under(does("w", "", "set open = false", copied), "extra_float_digits", "0")},
		{"enough digits", "", under(does("w", "", "set open = false", copied), "extra_float_digits", "3")},
	} {
		job := c.job
		if c.name == "one that speaks of the chunk" {
			job.Steps[1].SQL.SQL = "DELETE FROM log"
		}
		_, err := backfill.Planner{}.Plan(t.Context(), db.Conn(), job, testPace())
		switch {
		case c.refusal == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.refusal != "" && (!errors.Is(err, backfill.ErrInput) || !strings.Contains(err.Error(), c.refusal)):
			t.Errorf("%s: expected a refusal that speaks of %q, got %v", c.name, c.refusal, err)
		}
	}
}

// A template is one however it is written.
//
// Made to fail: with the template looked for in the text, {{ range u }} is filled with places of rows of another table.
func TestHeapWalkIsRefusedForARange(t *testing.T) {
	t.Parallel()
	db := installed(t, keyless(100)+"; CREATE TABLE u (x int, n int); CREATE INDEX ON w (id)")
	job := sets("w", map[string]string{"n": "(SELECT u.n FROM u WHERE {{ range u }} AND u.x = t.x)"})
	job.Walk = backfill.WalkHeap
	job.UpdateStep().Set[0].Value.Templates, job.UpdateStep().Set[0].Value.Subquery = []string{"range u"}, true
	if _, err := (backfill.Planner{}).Plan(t.Context(), db.Conn(), job, testPace()); !errors.Is(err, backfill.ErrInput) || !strings.Contains(err.Error(), "{{range}}") {
		t.Errorf("expected a refusal that speaks of {{range}}, got %v", err)
	}
}
