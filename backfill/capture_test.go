package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// captured plans a job with undo: capture by the real planner.
func captured(t testing.TB, db *pgtest.DB, job backfill.Job, rows int) *backfill.Plan {
	t.Helper()
	job.Undo = &backfill.Undo{Capture: true}
	pace := testPace()
	pace.ChunkRows = rows
	plan, err := backfill.Planner{}.Plan(t.Context(), db.Conn(), job, pace)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// keeping runs a plan that keeps what was there, to its end or for so many chunks.
func keeping(t testing.TB, db *pgtest.DB, plan *backfill.Plan, p part) *worked {
	t.Helper()
	p.before = func(w *worked) {
		if err := w.run.Capture(t.Context(), plan.CapturesOf(w.run.ID())); err != nil {
			t.Fatal(err)
		}
	}
	w := join(t, db, plan, p)
	if _, err := w.wait(); err != nil && !errors.Is(err, backfill.ErrInterrupted) {
		t.Fatal(err)
	}
	return w
}

// takingBack are the options that take a run back.
func takingBack(t testing.TB, db *pgtest.DB, w *worked, plan *backfill.Plan) backfill.UndoOptions {
	t.Helper()
	if err := w.run.BeginUndo(t.Context(), "capture"); err != nil {
		t.Fatal(err)
	}
	if err := w.run.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	tables, err := w.run.Captures(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rate, err := throttle.NewRate(0)
	if err != nil {
		t.Fatal(err)
	}
	return backfill.UndoOptions{
		Run: w.run.ID(), Job: plan.Job.Name, Process: w.run.Process(), Who: "a test", Tables: tables, Pace: plan.Pace,
		Connect: dialing(db.DSN()), Ledger: w.run, Control: w.run, Throttle: rate,
	}
}

// takenBack takes a run back and ends it as undone.
func takenBack(t testing.TB, db *pgtest.DB, w *worked, plan *backfill.Plan) backfill.UndoMark {
	t.Helper()
	mark, err := backfill.TakeBack(t.Context(), takingBack(t, db, w, plan))
	if err != nil {
		t.Fatal(err)
	}
	if state := pgtest.One[string](db, "SELECT state FROM pgbackfill.runs WHERE id = $1", w.run.ID()); state != "undone" {
		t.Errorf("the run is %s, want undone", state)
	}
	if n := pgtest.One[int](db, "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pgbackfill%'"); n != 0 {
		t.Errorf("%d of our triggers are left", n)
	}
	return mark
}

// image is a whole table, row by row and byte for byte.
func image(db *pgtest.DB, table string) string {
	return strings.Join(pgtest.All[string](db, fmt.Sprintf("SELECT t::text FROM %s AS t ORDER BY t::text COLLATE \"C\"", table)), "\n")
}

// odd is a table with all that makes rows hard to put back: a key of two columns and a collation, names that need quotes,
// a dropped column, generated and identity columns, a domain, types whose = is not identity or that have none.
const odd = `CREATE DOMAIN small AS int NOT NULL CHECK (VALUE < 1000);
	CREATE TABLE "Odd ""one" (
		"a'b" text COLLATE "C", gone int, no int, "N" bigint GENERATED ALWAYS AS IDENTITY, twice bigint GENERATED ALWAYS AS ("N" * 2) STORED,
		amount numeric, doc json, bits bit(3), fixed char(5), s small DEFAULT 1, blob bytea, at timestamptz, list int[], f float8, PRIMARY KEY (no, "a'b"));
	ALTER TABLE "Odd ""one" DROP COLUMN gone;
	INSERT INTO "Odd ""one" ("a'b", no, amount, doc, bits, fixed, s, blob, at, list, f)
	SELECT 'k ' || g % 3, g, CASE g % 4 WHEN 0 THEN NULL WHEN 1 THEN 1.50 ELSE 'NaN'::numeric END, '{"b":1,  "a":1,"a":2}', B'101', 'x', g, '\x00ff',
		CASE g % 2 WHEN 0 THEN 'infinity'::timestamptz ELSE '2020-01-01 00:00:00.000001+00' END, '[0:1]={1,2}', '-0' FROM generate_series(1, 200) AS g`

// After run and undo the tables are as they were, byte for byte: for updates, deletions, and steps that insert
// and update elsewhere; of a whole run and of a part; in small chunks; and of what foreign keys deleted and changed along, which is kept after
// what it followed from. Made to fail: with unDelete without OVERRIDING SYSTEM VALUE; with Kept ignoring rows that come twice; of cascades, with
// a statement for each table
// (402 of 696 rows were left), without retryLeft (49: two workers' rows are mixed), and without keptAlong they were warned of.
func TestUndoByCaptureRestoresEverything(t *testing.T) {
	t.Parallel()
	table := backfill.TableName{Schema: "public", Name: `Odd "one`}
	totals := "CREATE TABLE totals (grp int PRIMARY KEY, n int NOT NULL, note text); INSERT INTO totals VALUES (1, 7, 'old')"
	moved := `CREATE TABLE archive (no int, k text, amount numeric, PRIMARY KEY (no, k)); CREATE TABLE lines (id int PRIMARY KEY, no int NOT NULL, k text NOT NULL, FOREIGN KEY (no, k) REFERENCES archive)`
	// Rows that others follow when they are deleted, some of which refer to each other in a circle, and one to one of its own kind.
	kids := `CREATE TABLE toys (id int PRIMARY KEY, kid int);
		CREATE TABLE kids (id int PRIMARY KEY, no int, k text, boss int REFERENCES kids ON DELETE CASCADE, toy int REFERENCES toys ON DELETE SET NULL, note text,
			FOREIGN KEY (no, k) REFERENCES "Odd ""one" ON DELETE CASCADE);
		ALTER TABLE toys ADD FOREIGN KEY (kid) REFERENCES kids ON DELETE CASCADE;
		INSERT INTO toys SELECT generate_series(1, 400);
		INSERT INTO kids SELECT g, (g + 1) / 2, 'k ' || (g + 1) / 2 % 3, NULLIF(NULLIF(g - g % 5, g), 0), g FROM generate_series(1, 400) AS g ORDER BY g % 5, g;
		UPDATE toys SET kid = id WHERE id % 4 > 0`
	chunk := backfill.Expr{Templates: []string{"chunk"}}
	command := func(name, kind, target, sql string) backfill.Step {
		e := chunk
		e.SQL = sql
		return backfill.Step{Name: name, SQL: &backfill.Command{Expr: e, Kind: kind, Target: backfill.TableName{Name: target}}}
	}
	cases := map[string]struct {
		setup string
		where string
		steps []backfill.Step
		also  []string
	}{
		"update": {steps: sets("x", map[string]string{
			"amount": "t.amount + 1", "doc": "'[]'::json", "fixed": "'yy'", "s": "t.s + 1", "list": "'{9}'", "f": "0", "at": "now()", "blob": "NULL", "bits": "B'010'",
		}).Steps},
		"delete":              {steps: []backfill.Step{{Name: "delete", Delete: true}}, where: "t.no % 3 = 0"},
		"update, then delete": {where: "t.no % 3 = 0", steps: append(sets("x", map[string]string{"amount": "5"}).Steps, backfill.Step{Name: "delete", Delete: true})},
		"upsert into totals": {setup: totals, also: []string{"totals"}, steps: []backfill.Step{command("sum", "insert", "totals",
			`INSERT INTO totals (grp, n) SELECT c.no % 3, count(*) FROM {{chunk}} AS c GROUP BY 1 ORDER BY 1 ON CONFLICT (grp) DO UPDATE SET n = totals.n + EXCLUDED.n, note = 'new'`)}},
		"moved, with foreign keys": {setup: moved, also: []string{"archive", "lines"}, steps: []backfill.Step{
			command("archive", "insert", "archive", `INSERT INTO archive SELECT c.no, c."a'b", c.amount FROM {{chunk}} AS c`),
			command("lines", "insert", "lines", `INSERT INTO lines SELECT c.no, c.no, c."a'b" FROM {{chunk}} AS c`),
			command("remove", "delete", `Odd "one`, `DELETE FROM "Odd ""one" AS t USING {{chunk}} AS c WHERE t.no = c.no AND t."a'b" = c."a'b"`),
		}},
		"cascades": {setup: kids, also: []string{"kids", "toys"}, where: "t.no % 3 = 0", steps: []backfill.Step{
			command("notes", "update", "kids", `UPDATE kids SET note = 'seen' FROM {{chunk}} AS c WHERE kids.no = c.no`),
			command("lost", "delete", "toys", `DELETE FROM toys USING {{chunk}} AS c WHERE toys.id = c.no * 2`),
			command("kids", "delete", "kids", `DELETE FROM kids USING {{chunk}} AS c WHERE kids.no = c.no AND kids.id % 10 = 5`),
			command("remove", "delete", `Odd "one`, `DELETE FROM "Odd ""one" AS t USING {{chunk}} AS c WHERE t.no = c.no AND t."a'b" = c."a'b"`),
		}},
	}
	for name, c := range cases {
		for _, most := range []int64{0, 5} {
			t.Run(fmt.Sprintf("%s, %d chunks", name, most), func(t *testing.T) {
				t.Parallel()
				db := installed(t, odd, c.setup)
				db.Virtual(`"Odd ""one"`, "sum numeric", "amount + no")
				job := backfill.Job{Name: "odd", Table: table, Steps: c.steps, Idempotent: false}
				if c.where != "" {
					job.Where = &backfill.Expr{SQL: c.where}
				}
				tables := append([]string{`"Odd ""one"`}, c.also...)
				var was []string
				for _, name := range tables {
					was = append(was, image(db, name))
				}
				plan := captured(t, db, job, 17)
				if slices.ContainsFunc(plan.Findings, func(f backfill.Finding) bool { return f.ID == "undo-cascades" }) {
					t.Error("what is kept along is warned of")
				}
				w := keeping(t, db, plan, part{most: most})
				if image(db, tables[0]) == was[0] && (len(tables) == 1 || image(db, tables[1]) == was[1]) {
					t.Fatal("the run changed nothing")
				}
				mark := takenBack(t, db, w, plan)
				for i, name := range tables {
					if now := image(db, name); now != was[i] {
						t.Errorf("%s is not as it was:\n%s", name, cmp.Diff(strings.Split(was[i], "\n"), strings.Split(now, "\n")))
					}
				}
				if mark.Missed != 0 || mark.Restored == 0 {
					left, err := w.run.Left(t.Context(), 10)
					t.Errorf("%+v; left %+v, %v", mark, left, err)
				}
			})
		}
	}
}

// What others write while a run goes on, and while it is taken back, is kept: rows that they changed where the run had
// written are left whole and listed, and what they changed beside that stays while the run's part is taken back. What they changed
// and changed back is as the run wrote it. Their own changes are not kept by us. Made to fail: with unUpdate that does not look at
// the new values (their values were lost), or holds one of several columns to be enough (a row was half the run's); with triggers
// without WHEN, or one that asks for the run's number alone (more rows were kept than the run had changed).
func TestUndoByCaptureLeavesWhatOthersChanged(t *testing.T) {
	t.Parallel()
	db := installed(t, `CREATE TABLE people (id int PRIMARY KEY, name text, shown text, seen int NOT NULL DEFAULT 0, tag text);
		INSERT INTO people SELECT g, 'name ' || g, CASE g % 5 WHEN 0 THEN 'own' END FROM generate_series(1, 1000) AS g`)
	job := sets("people", map[string]string{"shown": "upper(t.name)", "tag": "'run'"})
	plan := captured(t, db, job, 50)
	var n atomic.Int64
	app := db.Conn()
	for _, setting := range []string{"SET pgbackfill.run = '1'", "SET pgbackfill.xid = '1'"} { // as a role may have them for good
		if _, err := app.Exec(t.Context(), setting); err != nil {
			t.Fatal(err)
		}
	}
	write := func(e backfill.Event) {
		if _, ok := e.(backfill.ChunkCommitted); ok && n.Add(1) == 10 {
			if _, err := app.Exec(context.Background(), "UPDATE people SET seen = 1 WHERE id % 2 = 0"); err != nil {
				t.Error(err)
			}
		}
	}
	w := keeping(t, db, plan, part{observer: write})
	if w.run.ID() != 1 {
		t.Fatalf("it is run %d, and the application says another", w.run.ID())
	}
	kept := pgtest.One[int](db, fmt.Sprintf("SELECT count(*) FROM %s", plan.CapturesOf(w.run.ID())[0].Store()))
	if changed := int(w.summary.RowsChanged); kept != changed {
		t.Errorf("%d rows were kept, want the %d that the run changed", kept, changed)
	}
	db.Exec("UPDATE people SET shown = 'theirs' WHERE id % 10 = 3; DELETE FROM people WHERE id % 10 = 4; UPDATE people SET seen = seen + 10 WHERE id % 10 = 5; UPDATE people SET shown = 'x' WHERE id % 10 = 6; UPDATE people SET shown = upper(name) WHERE id % 10 = 6; INSERT INTO people VALUES (2000, 'new', 'new')")
	mark := takenBack(t, db, w, plan)
	for _, wrong := range pgtest.All[string](db, `SELECT t::text FROM people AS t
		WHERE shown IS DISTINCT FROM CASE WHEN id = 2000 THEN 'new' WHEN id % 10 = 3 THEN 'theirs' WHEN id % 5 = 0 THEN 'own' END
		   OR tag IS DISTINCT FROM CASE WHEN id % 10 = 3 THEN 'run' END
		   OR seen <> CASE WHEN id = 2000 THEN 0 ELSE (CASE id % 2 WHEN 0 THEN 1 ELSE 0 END) + (CASE id % 10 WHEN 5 THEN 10 ELSE 0 END) END LIMIT 5`) {
		t.Errorf("this row is wrong: %s", wrong)
	}
	if mark.Missed != 200 || mark.Restored != 800 {
		t.Errorf("%+v, want 800 restored and 200 left", mark)
	}
	left, err := w.run.Left(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	why := map[string]int{}
	for _, l := range left {
		why[l.What+": "+l.Why]++
		if len(l.Key) != 1 || l.Table != "public.people" {
			t.Fatalf("left: %+v", l)
		}
	}
	if why["update: changed since"] != 100 || why["update: deleted since"] != 100 {
		t.Errorf("left: %v", why)
	}
}

// A run whose triggers somebody has disabled does not go on: what it changed could not be taken back. Made to fail:
// without the check at the chunk's end the run finished.
func TestRunStopsWhereNothingKeepsItsRows(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(300))
	plan := captured(t, db, counts("numbers"), 20)
	w := keeping(t, db, plan, part{most: 3})
	db.Exec("ALTER TABLE numbers DISABLE TRIGGER USER")
	again := join(t, db, plan, part{})
	if _, err := again.wait(); !errors.Is(err, backfill.ErrChanged) || !strings.Contains(err.Error(), "0 of the triggers") {
		t.Errorf("the run said %v", err)
	}
	db.Exec(fmt.Sprintf("ALTER TABLE numbers ENABLE ALWAYS TRIGGER pgbackfill_undo_%d_update", w.run.ID()))
	if err := join(t, db, plan, part{}).run.Capture(t.Context(), plan.CapturesOf(w.run.ID())); err != nil {
		t.Errorf("a second process: %v", err)
	}
}

// {{before}} gives the rows as they were: those that were changed and deleted, without those that were inserted. Made
// to fail: with the last version that was kept of a row instead of the first; without the second half of the query; on PostgreSQL 18
// with a generated column that is not stored taken from the trigger's row, which has none.
func TestBefore(t *testing.T) {
	t.Parallel()
	db := installed(t, `CREATE TABLE people (id int PRIMARY KEY, name text, shown varchar(20));
		INSERT INTO people SELECT g, 'name ' || g, CASE g % 5 WHEN 0 THEN 'own' END FROM generate_series(1, 300) AS g`)
	db.Virtual("people", "labelled text", "name || coalesce(shown, '')")
	was := image(db, "people")
	job := sets("people", map[string]string{"shown": "'x' || t.id"})
	job.Idempotent = false
	job.Steps = append(job.Steps,
		backfill.Step{Name: "delete some", SQL: &backfill.Command{Expr: backfill.Expr{SQL: "DELETE FROM people AS t WHERE {{range}} AND t.id % 7 = 0", Templates: []string{"range"}}, Kind: "delete", Target: backfill.TableName{Name: "people"}}},
		backfill.Step{Name: "insert some", SQL: &backfill.Command{Expr: backfill.Expr{SQL: "INSERT INTO people SELECT t.id + 10000, 'new' FROM people AS t WHERE {{range}} AND t.id % 9 = 0 AND t.id <= 300", Templates: []string{"range"}}, Kind: "insert", Target: backfill.TableName{Name: "people"}}})
	plan := captured(t, db, job, 40)
	w := keeping(t, db, plan, part{})
	if now := image(db, "people"); now == was || !strings.Contains(now, "(10009,new,") {
		t.Fatal("the run did nothing")
	}
	before := beforeImage(t, db, plan, w)
	if before != was {
		t.Errorf("before the run there was\n%s\nand {{before}} gives\n%s", was, before)
	}
	db.Exec("INSERT INTO people VALUES (7, 'again', 'again')") // by others, where the run deleted
	if again := beforeImage(t, db, plan, w); again != was {
		t.Error("a row that others inserted again is not as it was before")
	}
}

// beforeImage is the table as {{before}} gives it.
func beforeImage(t *testing.T, db *pgtest.DB, plan *backfill.Plan, w *worked) string {
	t.Helper()
	binder := &pgsql.Binder{}
	sql := plan.Before(w.run.ID())(pgsql.Range{}, binder)
	rows, err := db.Conn().Query(t.Context(), "SELECT t::text FROM ("+sql+") AS t ORDER BY t::text COLLATE \"C\"")
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, "\n")
}

// Rows of a partitioned table are kept, and put back, through it. Made to fail: with the trigger on a partition.
func TestUndoByCaptureOfAPartitionedTable(t *testing.T) {
	t.Parallel()
	db := installed(t, `CREATE TABLE parted (id int PRIMARY KEY, n int) PARTITION BY RANGE (id); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
		CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (1000); INSERT INTO parted SELECT g, g FROM generate_series(1, 200) AS g`)
	was := image(db, "parted")
	job := sets("parted", map[string]string{"n": "t.n * 2"})
	job.Idempotent = false
	job.Steps = append(job.Steps, backfill.Step{Name: "delete", SQL: &backfill.Command{
		Expr: backfill.Expr{SQL: "DELETE FROM parted AS t WHERE {{range}} AND t.id % 3 = 0", Templates: []string{"range"}}, Kind: "delete", Target: backfill.TableName{Name: "parted"},
	}})
	plan := captured(t, db, job, 30)
	w := keeping(t, db, plan, part{})
	if image(db, "parted") == was {
		t.Fatal("the run did nothing")
	}
	if before := beforeImage(t, db, plan, w); before != was {
		t.Error("{{before}} is not what there was")
	}
	if mark := takenBack(t, db, w, plan); image(db, "parted") != was || mark.Missed != 0 {
		t.Errorf("the table is not as it was; %+v", mark)
	}
}
