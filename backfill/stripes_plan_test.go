package backfill_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// A walk in physical order is one in stripes where that helps, and where it is not the plan says why.
//
// Made to fail: each condition left out of noStripes makes its case one in stripes.
func TestStripesArePlannedWhereTheyHelp(t *testing.T) {
	t.Parallel()
	db := installed(t, filled(3000))
	writes := func(set map[string]string) backfill.Job { return sets("w", set) }
	where := func(sql string) backfill.Job {
		job := doubling()
		job.Where = &backfill.Expr{SQL: sql}
		return job
	}
	deletes := doubling()
	deletes.Steps = []backfill.Step{{Name: "delete", Delete: true}}
	for _, c := range []struct {
		name, sql, undo string
		job             backfill.Job
		why             string // "" is that there are stripes
	}{
		{"as it is", "", "", doubling(), ""},
		{"most rows", "", "", where("t.id % 6 <> 0"), ""},
		{"few rows", "", "", where("t.id % 5 = 0"), "% would find room"},
		{"no rows", "", "", where("t.x < 0"), "has no row to be changed"},
		{"a scope that fails", "", "", where("1 / (t.x - t.id) > 0"), "how evenly"},
		{"deletion", "", "", deletes, "a deletion"},
		{"index", "CREATE INDEX late ON w (n)", "DROP INDEX late", doubling(), "index late"},
		{"index's condition", "CREATE INDEX open ON w (x) WHERE n IS NULL", "DROP INDEX open", doubling(), "index open"},
		{"generated", "ALTER TABLE w ADD g int GENERATED ALWAYS AS (n + 1) STORED; CREATE INDEX made ON w (g)", "ALTER TABLE w DROP g", doubling(), "index made"},
		{"fillfactor", "ALTER TABLE w SET (fillfactor = 60)", "ALTER TABLE w RESET (fillfactor)", doubling(), "fillfactor of 60"},
		{"trigger", "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER touch BEFORE UPDATE ON w FOR EACH ROW EXECUTE FUNCTION f()", "DROP TRIGGER touch ON w", doubling(), "trigger touch"},
		{"trigger after", "CREATE TRIGGER later AFTER UPDATE ON w FOR EACH ROW EXECUTE FUNCTION f()", "DROP TRIGGER later ON w", doubling(), ""},
		{"rule", "CREATE RULE other AS ON UPDATE TO w DO ALSO NOTHING", "DROP RULE other ON w", doubling(), "rewrite rules"},
		{"key", "", "", writes(map[string]string{"id": "t.id + 100000"}), "index w_pkey"},
		{"no key", "ALTER TABLE w DROP CONSTRAINT w_pkey", "ALTER TABLE w ADD PRIMARY KEY (id)", doubling(), "no unique key that stays"},
		{"small", "TRUNCATE w; INSERT INTO w VALUES (1, 1, 0, ''); ANALYZE w", "", doubling(), "small"},
	} {
		if c.sql != "" {
			db.Exec(c.sql)
		}
		plan := byHeap(t, db, c.job)
		if got := plan.Heap.Stripes != nil; got != (c.why == "") || !strings.Contains(plan.WalkReason, c.why) {
			t.Errorf("%s: stripes %t, %s", c.name, got, plan.WalkReason)
		}
		if c.undo != "" {
			db.Exec(c.undo)
		}
	}
}

// A large table that would be walked by key is walked in stripes of its pages by itself where nothing is lost by it, or by whole pages where few rows are in scope, and else the plan says why
// not; what the job says, and what a run has begun, stands.
//
// Made to fail: each condition left out of mayChooseHeap or needsKey makes its case one in stripes; without bounds, few rows by their key were walked by pages.
func TestStripesAreChosen(t *testing.T) {
	t.Parallel()
	db := installed(t, `CREATE TABLE w (id int PRIMARY KEY, name text NOT NULL, other text, s text, n int, pad text) WITH (autovacuum_enabled = off);
		INSERT INTO w SELECT i, 'ada ' || i, NULL, NULL, 0, repeat('x', 780) FROM generate_series(1, 40000) AS i; ANALYZE w;
		CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TABLE o (id int PRIMARY KEY, s text)`)
	upper := map[string]string{"s": "upper(t.name)"}
	edit := func(set map[string]string, change func(*backfill.Job)) backfill.Job {
		job := sets("w", set)
		if change != nil {
			change(&job)
		}
		return job
	}
	scope := func(where, column string) func(*backfill.Job) {
		return func(j *backfill.Job) { j.Where = &backfill.Expr{SQL: where, Columns: []string{column}} }
	}
	for _, c := range []struct {
		name, sql, undo string
		job             backfill.Job
		known           backfill.WalkKind
		heap, whole     bool
		why             string
	}{
		{name: "as it is", job: edit(upper, nil), heap: true, why: "3 stripes, by id modulo 3"},
		{name: "a constant", job: edit(map[string]string{"n": "7"}, nil), heap: true},
		{name: "asked by key", job: edit(upper, func(j *backfill.Job) { j.Walk = backfill.WalkKey })},
		{name: "a key", job: edit(upper, func(j *backfill.Job) { j.Key = []string{"id"} })},
		{name: "begun by key", job: edit(upper, nil), known: backfill.WalkKey},
		{name: "begun by heap", job: edit(map[string]string{"n": "t.name::int"}, nil), known: backfill.WalkHeap, heap: true},
		{name: "undo", job: edit(upper, func(j *backfill.Job) {
			j.Undo = &backfill.Undo{Set: []backfill.Assignment{{Column: "s", Value: backfill.Expr{SQL: "NULL"}}}}
		})},
		{name: "not idempotent", job: edit(upper, func(j *backfill.Job) { j.Idempotent = false })},
		{name: "few rows", job: edit(upper, scope("t.n < 0", "t.n")), heap: true, whole: true, why: "less than half"},
		{name: "few rows by their key", job: edit(upper, scope("t.id < 9000", "t.id")), why: "where speaks of the key"},
		{name: "a join", job: edit(map[string]string{"s": "o.s"}, func(j *backfill.Job) {
			j.UpdateStep().From, j.UpdateStep().Join = &backfill.Expr{SQL: "o"}, &backfill.Expr{SQL: "o.id = t.id"}
		}), why: "more than the row"},
		{name: "index", sql: "CREATE INDEX late ON w (s)", undo: "DROP INDEX late", job: edit(upper, nil), why: "index late"},
		{name: "a cast", job: edit(map[string]string{"n": "t.name::int"}, nil), heap: true},
		{name: "trigger", sql: "CREATE TRIGGER later AFTER UPDATE ON w FOR EACH ROW EXECUTE FUNCTION f()", undo: "DROP TRIGGER later ON w", job: edit(upper, nil), why: "trigger later fires"},
		{name: "a value that is another each time", job: edit(map[string]string{"s": "t.name || random()"}, func(j *backfill.Job) {
			j.UpdateStep().Set[0].Value.Functions = []string{"random"}
		}), why: "others each time"},
		{name: "check", sql: "ALTER TABLE w ADD CONSTRAINT loud CHECK (s = upper(s))", undo: "ALTER TABLE w DROP CONSTRAINT loud", job: edit(upper, nil), heap: true},
	} {
		if c.sql != "" {
			db.Exec(c.sql)
		}
		plan, err := backfill.Planner{Walk: c.known}.Plan(t.Context(), db.Conn(), c.job, testPace())
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		striped := plan.Heap != nil && plan.Heap.Stripes != nil
		if (plan.Heap != nil) != c.heap || c.heap && c.known == "" && striped == c.whole || !strings.Contains(plan.WalkReason, c.why) {
			t.Errorf("%s: by %s, stripes %t: %s", c.name, plan.Walk, striped, plan.WalkReason)
		}
		// What is printed and fingerprinted is that of the walk that was chosen.
		ofPages := slices.ContainsFunc(plan.Statements, func(s backfill.PlannedStatement) bool { return strings.Contains(s.SQL, `t."ctid"`) })
		if ofPages != c.heap || (len(plan.Index) == 0) != c.heap {
			t.Errorf("%s: statements of pages %t, index %q", c.name, ofPages, plan.Index)
		}
		if c.undo != "" {
			db.Exec(c.undo)
		}
	}
	if n := pgtest.One[int](db, "SELECT pg_relation_size('w') / 8192"); n < 4096 {
		t.Errorf("the table has %d pages: the test shows nothing", n)
	}
}
