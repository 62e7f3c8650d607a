package backfill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// historyVerdict verifies what a run did, from what it kept.
func historyVerdict(t *testing.T, db *pgtest.DB, dsn string, job backfill.Job, w *worked, changes ...func(*verify.Options)) (verify.Verdict, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ended)
	defer cancel()
	job.Undo = &backfill.Undo{Capture: true}
	checks, err := verify.Checks(job)
	if err != nil {
		return verify.Verdict{}, err
	}
	kept, err := w.run.Captures(ctx)
	if err != nil {
		t.Fatal(err)
	}
	pace := testPace()
	pace.ChunkRows, pace.IdleTimeout = 17, time.Minute
	conn := pgtest.Connect(t, dsn)
	functions := map[string]backfill.TransformFunc{"coded": func(context.Context, []json.RawMessage) ([]backfill.TransformResult, error) { return nil, nil }}
	plan, err := backfill.Planner{Run: w.run.ID(), Prepared: true, Captures: kept, Transforms: functions}.Survey(ctx, conn, job, pace)
	if err != nil {
		return verify.Verdict{}, err
	}
	o := verify.Options{Plan: plan, Checks: checks, Connect: dialing(dsn), Run: &verify.Run{ID: w.run.ID(), State: backfill.StateFinished, Same: true}}
	for _, change := range changes {
		change(&o)
	}
	return verify.Verify(ctx, o)
}

// wrongRows are the mismatches of a verdict, as "different (3) shown since".
func wrongRows(v verify.Verdict) []string {
	var list []string
	for _, c := range v.Checks {
		for _, m := range c.Samples {
			since := ""
			if m.Since {
				since = "since"
			}
			list = append(list, strings.Join(strings.Fields(fmt.Sprintf("%s (%s) %s %s", m.Kind, *m.Key[0], strings.Join(m.Columns, ","), since)), " "))
		}
	}
	slices.Sort(list)
	return list
}

// assigns is a job of one update, with what its fragments speak of, as the parser says it.
func assigns(column, value, where string, mentions ...string) backfill.Job {
	job := sets("people", map[string]string{column: value})
	job.UpdateStep().Set[0].Value.Columns = mentions[:1]
	if where != "" {
		job.Where = &backfill.Expr{SQL: where, Columns: mentions[1:]}
	}
	return job
}

const (
	people = `CREATE TABLE people (id int PRIMARY KEY, name text, shown text, visits int DEFAULT 0, twice text GENERATED ALWAYS AS (shown || shown) STORED);
		INSERT INTO people SELECT g, 'name ' || g, CASE WHEN g % 10 = 0 THEN 'own' END FROM generate_series(1, 100) AS g;
		CREATE TABLE labels (id int PRIMARY KEY, label text); INSERT INTO labels SELECT g, 'NAME ' || g FROM generate_series(1, 95) AS g;`
	peopleParted = `CREATE TABLE people (id int PRIMARY KEY, name text, shown text, visits int DEFAULT 0) PARTITION BY RANGE (id);
		CREATE TABLE people_1 PARTITION OF people FOR VALUES FROM (0) TO (50); CREATE TABLE people_2 PARTITION OF people FOR VALUES FROM (50) TO (1000);
		INSERT INTO people SELECT g, 'name ' || g, CASE WHEN g % 10 = 0 THEN 'own' END FROM generate_series(1, 49) AS g;
		INSERT INTO people SELECT g, 'name ' || g, CASE WHEN g % 10 = 0 THEN 'own' END FROM generate_series(101, 151) AS g;`
	// overriding is a trigger that writes something else than it is told to, of one row: as an engine that is wrong would.
	overriding = `CREATE FUNCTION wrong() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.shown := 'ODD'; RETURN new; END $$;
		CREATE TRIGGER wrong BEFORE UPDATE ON people FOR EACH ROW WHEN (old.id = 5) EXECUTE FUNCTION wrong();`
)

// Where rows leave the scope by being filled, what the run kept shows whether each was filled rightly: by what it held before,
// and not by what it holds now. Who changes a row since is told apart from the run, and what others may do without breaking
// anything breaks nothing.
//
// Made to fail: without the history in the change, the wrong value is proven; with the first write of a row in the place of
// the last, and with what others wrote since to columns that values are computed from taken as it was, "own" has other rows;
// with what a trigger may have changed always as it was, the dual write in "wrong" is; with nothing outside the scope, or not
// counting what was deleted wrongly, that is proven; with every row that the run wrote taken for untouched since, the one that
// others took out of the scope is wrong.
func TestVerifyByWhatTheRunKept(t *testing.T) {
	t.Parallel()
	fill := func() backfill.Job {
		return assigns("shown", "upper(t.name)", "t.shown IS NULL AND t.visits < 5", "t.name", "t.shown", "t.visits")
	}
	own := func() backfill.Job {
		return assigns("name", "upper(t.name)", "t.name <> upper(t.name)", "t.name", "t.name")
	}
	joined := func() backfill.Job {
		job := assigns("shown", "l.label", "", "l.label")
		job.UpdateStep().From, job.UpdateStep().Join = &backfill.Expr{SQL: "labels AS l"}, &backfill.Expr{SQL: "l.id = t.id AND t.shown IS NULL", Columns: []string{"l.id", "t.id", "t.shown"}}
		return job
	}
	deletes := func() backfill.Job {
		job := assigns("shown", "''", "t.shown IS NULL", "", "t.shown")
		job.Steps = []backfill.Step{{Name: "delete", Delete: true}}
		return job
	}
	whole := func() backfill.Job {
		return assigns("shown", "upper(to_jsonb(t) ->> 'name')", "(t).shown IS NULL AND to_jsonb(t) ->> 'shown' IS NULL", "t", "t")
	}
	byRun := func(sql string) func(*worked) string {
		return func(w *worked) string {
			return fmt.Sprintf("BEGIN; SET LOCAL pgbackfill.run = '%d'; SELECT set_config('pgbackfill.xid', pg_current_xact_id()::text, true); %s; COMMIT", w.run.ID(), sql)
		}
	}
	others := func(sql string) func(*worked) string { return func(*worked) string { return sql } }
	for name, c := range map[string]struct {
		job   backfill.Job
		setup string
		after func(*worked) string
		rows  int64
		want  []string
	}{
		"right":        {fill(), people, others(""), 90, nil},
		"wrong":        {fill(), people + overriding, others("UPDATE people SET name = 'n', shown = 'N', visits = 3 WHERE id = 6"), 90, []string{"different (5) shown"}},
		"partitioned":  {fill(), peopleParted + overriding, others("UPDATE people SET id = id + 60 WHERE id = 6"), 90, []string{"different (5) shown"}},
		"the row":      {whole(), people + overriding, others(""), 90, []string{"different (5) shown"}},
		"not in scope": {fill(), people, byRun("UPDATE people SET shown = 'MINE' WHERE id = 20"), 90, []string{"different (20) shown"}},
		"others": {
			fill(), people, others(`UPDATE people SET shown = 'wrong' WHERE id = 5; UPDATE people SET shown = NULL WHERE id = 7;
			UPDATE people SET name = 'n', shown = 'N' WHERE id < 4; UPDATE people SET name = 'n' WHERE id = 9; UPDATE people SET visits = 1 WHERE id > 50;
			UPDATE people SET shown = 'mine' WHERE id = 20; DELETE FROM people WHERE id IN (30, 31); INSERT INTO people VALUES (900, 'n', NULL), (901, 'n', 'own');
			UPDATE people SET visits = 9 WHERE id = 61`),
			89,
			[]string{"different (5) shown since", "different (7) shown since", "different (9) shown", "different (900) shown"},
		},
		"own": {own(), people + strings.ReplaceAll(overriding, "shown", "name"), func(w *worked) string {
			return "UPDATE people SET name = 'BOB' WHERE id = 6; UPDATE people SET name = 'Eve' WHERE id = 7; UPDATE people SET name = 'ann' WHERE id = 8; " +
				byRun("UPDATE people SET name = 'ANN' WHERE id = 8")(w)
		}, 99, []string{"different (5) name", "different (7) name since"}},
		"joined": {joined(), people + overriding, others(""), 100, []string{"different (5) shown"}},
		"deleted": {deletes(), people, func(w *worked) string {
			return "INSERT INTO people VALUES (5, 'again', NULL), (6, 'again', 'not meant'); DELETE FROM people WHERE id = 30; " + byRun("DELETE FROM people WHERE id = 20")(w)
		}, 99, []string{"extra (5)", "missing (20)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, c.setup)
			w := keeping(t, db, captured(t, db, c.job, 40), part{})
			db.Exec(c.after(w))
			v, err := historyVerdict(t, db, db.DSN(), c.job, w)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, wrongRows(v)); diff != "" || v.Mismatches() != int64(len(c.want)) {
				t.Errorf("%s (-want +got):\n%s", v.Result, diff)
			}
			taken := name == "others" || name == "own"
			if taken != (v.Checks[0].Unjudged == 1) || name == "others" != strings.Contains(strings.Join(v.Notes, "\n"), "2 hold what others wrote since") {
				t.Errorf("%d rows are not judged; noted is %q", v.Checks[0].Unjudged, v.Notes)
			}
			if v.Rows() != c.rows || len(v.Residual) > 0 {
				t.Errorf("%d rows, residual %q; want %d and no residue", v.Rows(), v.Residual, c.rows)
			}
		})
	}
}

// What is not known is said: no such run, a run of another job, one that was taken back, or one before it that wrote rows as
// well; and a role that may not read what was kept is told what to grant. Each is then the proof that it was before.
//
// Made to fail: with historic content with any run, the second and third are full proofs; without withoutHistory, the last is
// an error.
func TestVerifyWithoutWhatTheRunKept(t *testing.T) {
	t.Parallel()
	db := installed(t, people)
	role, dsn := db.Role("")
	db.Exec(fmt.Sprintf("GRANT SELECT ON people TO %q", role))
	job := assigns("shown", "upper(t.name)", "t.shown IS NULL", "t.name", "t.shown")
	w := keeping(t, db, captured(t, db, job, 40), part{})
	altered := func(sql string) func(*verify.Options) {
		return func(o *verify.Options) {
			db.Exec(sql)
			plan, err := backfill.Planner{Run: w.run.ID(), Prepared: true, Captures: o.Plan.Captures}.Survey(t.Context(), db.Conn(), o.Plan.Job, testPace())
			if err != nil {
				t.Fatal(err)
			}
			o.Plan = plan
		}
	}
	for _, c := range []struct {
		name   string
		dsn    string
		change func(*verify.Options)
		says   string
	}{
		{"no run", db.DSN(), func(o *verify.Options) { o.Run = nil }, "there is none to look at"},
		{"another job's", db.DSN(), func(o *verify.Options) { o.Run.Same = false }, "there is none to look at"},
		{"taken back", db.DSN(), func(o *verify.Options) { o.Run.State = backfill.StateUndone }, "there is none to look at"},
		{"one before it", db.DSN(), func(o *verify.Options) { o.Run.Earlier = 1 }, "1 earlier runs"},
		{"may not read", dsn, func(*verify.Options) {}, "GRANT USAGE ON SCHEMA pgbackfill, SELECT ON"},
		{"another type", db.DSN(), altered("ALTER TABLE people DROP twice, ALTER shown TYPE varchar(50)"), "there is none to look at"},
		{"made anew", db.DSN(), altered("ALTER TABLE people DROP shown, ADD shown text DEFAULT 'x'"), "there is none to look at"},
	} {
		name := c.name
		v, err := historyVerdict(t, db, c.dsn, job, w, c.change)
		if err != nil || v.Result != verify.Proven || len(v.Residual) != 1 || !strings.Contains(v.Residual[0], c.says) {
			t.Errorf("%s: %s, residual %q, %v; want %q", name, v.Result, v.Residual, err, c.says)
		}
	}
}

// {{before}} is the rows as they were, in every check that a job writes itself; without a run that kept them it is refused.
//
// Made to fail: with Before left out of Plan.Scope and Plan.Change, they are refused.
func TestVerifyByBefore(t *testing.T) {
	t.Parallel()
	db := installed(t, people)
	job := assigns("shown", "upper(t.name)", "t.shown IS NULL", "t.name", "t.shown")
	w := keeping(t, db, captured(t, db, job, 40), part{})
	before := func(sql string) *backfill.Expr {
		return &backfill.Expr{SQL: sql, Templates: []string{"before", "range"}, Subquery: true}
	}
	checks := map[string]backfill.Check{
		"two queries": {
			Expected: before("SELECT b.id, upper(b.name) AS shown FROM {{before}} AS b WHERE b.shown IS NULL"),
			Actual:   before("SELECT t.id, t.shown FROM people t WHERE {{range}} AND t.id IN (SELECT b.id FROM {{before}} AS b WHERE b.shown IS NULL)"),
		},
		"none":   {None: before("SELECT b.id FROM {{before}} AS b JOIN people t USING (id) WHERE b.shown IS NULL AND t.shown <> upper(b.name)")},
		"expect": {Expect: []backfill.Assignment{{Column: "shown", Value: *before("(SELECT COALESCE(b.shown, upper(b.name)) FROM {{before}} AS b WHERE b.id = t.id)")}}},
	}
	for _, hurt := range []bool{false, true} {
		if hurt {
			db.Exec("UPDATE people SET shown = 'wrong' WHERE id = 5")
		}
		for name, check := range checks {
			checked := job
			checked.Where, checked.Verify = nil, []backfill.Check{check}
			v, err := historyVerdict(t, db, db.DSN(), checked, w)
			if err != nil || (v.Result == verify.Mismatched) != hurt || v.Mismatches() > 1 || len(v.Residual) > 0 {
				t.Errorf("%s, a row is wrong: %t: %s %v %v %v", name, hurt, v.Result, wrongRows(v), v.Residual, err)
			}
			plan, err := backfill.Planner{}.Survey(t.Context(), db.Conn(), checked, testPace())
			if err != nil {
				t.Fatal(err)
			}
			list, err := verify.Checks(checked)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verify.Verify(t.Context(), verify.Options{Plan: plan, Checks: list, Connect: dialing(db.DSN())}); err == nil || !strings.Contains(err.Error(), "{{before}}") || !strings.Contains(err.Error(), "→ say undo: capture") {
				t.Errorf("%s, without a run: %v", name, err)
			}
		}
	}
}

// The transform is run again over the rows as they were, where what it reads or what limits the scope is written over: a column
// that is encrypted in its place, or filled where it is empty.
//
// Made to fail: with the rows read as they are (Then left out) "in place" computes of what was computed, and of "filled" no row
// is in scope, which is an error.
func TestRecomputeByWhatTheRunKept(t *testing.T) {
	t.Parallel()
	// coded gives every text another one, and the same one twice another.
	coded := backfill.PerRow(func(_ context.Context, row map[string]any) (map[string]any, error) {
		if doc, ok := row["doc"].(map[string]any); ok {
			row["name"] = doc["name"]
		}
		return map[string]any{"name": fmt.Sprint("<", row["name"], ">"), "shown": fmt.Sprint("<", row["name"], ">")}, nil
	})
	only := func(member string) backfill.TransformFunc {
		return func(ctx context.Context, in []json.RawMessage) ([]backfill.TransformResult, error) {
			list, err := coded(ctx, in)
			for i := range list {
				var all map[string]string
				if err := json.Unmarshal(list[i].JSON, &all); err != nil {
					return nil, err
				}
				if list[i].JSON, err = json.Marshal(map[string]string{member: all[member]}); err != nil {
					return nil, err
				}
			}
			return list, err
		}
	}
	transform := func(write, read, where, mentions string) backfill.Job {
		job := assigns(write, "", where, "", mentions)
		job.Steps = nil
		job.Transform = &backfill.Transform{Read: []backfill.Expr{{SQL: read, Columns: strings.Fields(read)[:1]}}, Go: "coded", Write: []string{write}}
		return job
	}
	whole := transform("shown", "to_jsonb(t) AS doc", "t.shown IS NULL", "t.shown")
	whole.Transform.Read[0].Columns = []string{"t"}
	over := transform("shown", "t.name", "t.shown IS NULL", "t.shown")
	over.Transform.Write, over.Transform.Returns = nil, []backfill.Returned{{Name: "shown", Type: "text"}}
	over.Steps = []backfill.Step{{Name: "put", Update: &backfill.Update{
		Set: []backfill.Assignment{{Column: "shown", Value: backfill.Expr{SQL: "o.shown", Columns: []string{"o.shown"}}}}, From: &backfill.Expr{SQL: "{{out}} AS o", Templates: []string{"out"}},
		Join: &backfill.Expr{SQL: "o.id = t.id", Columns: []string{"o.id", "t.id"}},
	}}}
	for name, c := range map[string]struct {
		job     backfill.Job
		trigger string
		after   string
		rows    int64
		want    []string
	}{
		"filled":       {transform("shown", "t.name", "t.shown IS NULL", "t.shown"), overriding, "UPDATE people SET shown = 'wrong' WHERE id = 7; UPDATE people SET shown = 'mine' WHERE id = 20", 90, []string{"different (5) shown", "different (7) shown since"}},
		"in place":     {transform("name", "t.name", "", "t.name"), strings.ReplaceAll(overriding, "shown", "name"), "UPDATE people SET visits = 1", 100, []string{"different (5) name"}},
		"the row":      {whole, overriding, "", 90, []string{"different (5) shown"}},
		"over {{out}}": {over, overriding, "", 90, []string{"different (5) shown"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, people, c.trigger)
			member := "shown"
			if name == "in place" {
				member = "name"
			}
			functions := map[string]backfill.TransformFunc{"coded": only(member)}
			job := c.job
			job.Undo, job.Verify = &backfill.Undo{Capture: true}, []backfill.Check{{Recompute: true}}
			w := keeping(t, db, planFor(t, db, job, functions), part{transforms: functions})
			db.Exec(c.after)
			v, err := historyVerdict(t, db, db.DSN(), job, w, func(o *verify.Options) { o.Transforms = functions })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, wrongRows(v)); diff != "" || v.Rows() != c.rows || len(v.Residual) > 0 || v.Checks[0].Unmatched > 0 {
				t.Errorf("%s, %d rows, residual %q (-want +got):\n%s", v.Result, v.Rows(), v.Residual, diff)
			}
		})
	}
}
