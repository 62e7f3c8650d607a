package backfill_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// What does not fit the column is an error and not cut to size: also where the value comes from
// another table, and so is computed by a query before it is assigned.
//
// It failed, and stored 'abcde' and '101', when that query cast the value to the column's type; and of an array of a domain when
// that was taken for what it is made of.
func TestValueThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ column, value string }{
		{"char(5)", "'abcdefgh'::text"},
		{"varchar(5)", "'abcdefgh'::text"},
		{"fits", "'abcdefgh'::text"},
		{"bit(3)", "B'10111'"},
		{"char(5)[]", "ARRAY['abcdefgh'::text]"},
		{"fits[]", "ARRAY['abcdefgh'::text]"},
		{"numeric(4,2)", "1000.5"},
	} {
		t.Run(c.column, func(t *testing.T) {
			t.Parallel()
			db := installed(t, "CREATE DOMAIN fits AS varchar(5)", "CREATE TABLE w (id int PRIMARY KEY, c "+c.column+")",
				"CREATE TABLE src (id int PRIMARY KEY)", "INSERT INTO w VALUES (1)", "INSERT INTO src VALUES (1)")
			job := sets("w", map[string]string{"c": c.value})
			for _, from := range []bool{false, true} {
				if from {
					job.UpdateStep().From, job.UpdateStep().Join = &backfill.Expr{SQL: "src s"}, &backfill.Expr{SQL: "s.id = t.id"}
				}
				plan := planned(t, db, job, whole)
				plan.Pace.MaxQuarantined = backfill.Off
				_, err := join(t, db, plan, part{}).wait()
				if err == nil || !strings.Contains(err.Error(), "a row cannot be changed") {
					t.Errorf("from another table: %t: a value that does not fit is not refused: %v", from, err)
				}
				if stored := pgtest.One[*string](db, "SELECT c::text FROM w"); stored != nil {
					t.Errorf("from another table: %t: %q was stored", from, *stored)
				}
			}
		})
	}
}

// A value that does not fit is refused also where the row holds just what it would be cut to: such a row is not taken for
// unchanged.
//
// Made to fail: with the new value cast to the column's own type before it is compared, all are unchanged; with an array of a
// domain taken for what it is made of, those two are.
func TestValueWhoseCutFormIsHeldIsRefused(t *testing.T) {
	t.Parallel()
	kinds := []struct{ column, value string }{
		{"varchar(5)", "'abcdefgh'::text"},
		{"varchar(5)[]", "ARRAY['abcdefgh'::text]"},
		{"short", "'abcdefgh'::text"},
		{"short[]", "ARRAY['abcdefgh'::text]"},
		{"filled[]", "ARRAY['abcdefgh'::text]"},
		{"char(5)", "'abcdefgh'::text"},
		{"char(5)[]", "ARRAY['abcdefgh'::text]"},
		{"filled", "'abcdefgh'::text"},
		{"bit(3)", "B'10111'"},
		{"bits", "B'1'"},
		{"bit(3)[]", "ARRAY[B'10111']"},
		{"varbit(3)", "B'10111'"},
	}
	for _, lockFirst := range []bool{false, true} {
		db := installed(t, "CREATE DOMAIN short AS varchar(5); CREATE DOMAIN filled AS char(5); CREATE DOMAIN bits AS bit(3); CREATE TABLE w (id int PRIMARY KEY)", "INSERT INTO w SELECT generate_series(0, 11)")
		set := map[string]string{}
		for i, k := range kinds {
			name := fmt.Sprintf("c%d", i)
			db.Exec(fmt.Sprintf("ALTER TABLE w ADD %s %s; UPDATE w SET %s = CAST(%s AS %s)", name, k.column, name, k.value, k.column))
			base := pgtest.One[string](db, "SELECT pg_typeof("+k.value+")::text")
			set[name] = fmt.Sprintf("CASE WHEN t.id = %d THEN %s ELSE t.%s::%s END", i, k.value, name, base)
			if strings.HasPrefix(base, "bit") { // a cast from bit(3) to bit is one to bit(1)
				set[name] = fmt.Sprintf("CASE WHEN t.id = %d THEN %s ELSE t.%s END", i, k.value, name)
			}
		}
		plan := planned(t, db, sets("w", set), whole)
		plan.LockFirst = lockFirst
		if s := join(t, db, plan, part{}).finished(); s.Quarantined != int64(len(kinds)) || s.RowsChanged != 0 {
			t.Errorf("locked first %t: %d rows are refused and %d changed; expected %d and none; refused are %v", lockFirst, s.Quarantined, s.RowsChanged, len(kinds), aside(db))
		}
	}
}

// Which rows are unchanged is said by PostgreSQL's own comparison, whatever operators somebody
// has put on the job's search_path: an = of varchar in public once said that every row was.
func TestForeignOperatorDoesNotDecideWhatIsUnchanged(t *testing.T) {
	t.Parallel()
	db := installed(t, "CREATE TYPE mood AS ENUM ('glad', 'sad')",
		"CREATE FUNCTION public.same(varchar, varchar) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
		"CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.same)",
		"CREATE FUNCTION public.same(mood, mood) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
		"CREATE OPERATOR public.= (LEFTARG = mood, RIGHTARG = mood, FUNCTION = public.same)",
		"CREATE TABLE w (id int PRIMARY KEY, c varchar(9) DEFAULT 'old', m mood DEFAULT 'sad')", "INSERT INTO w SELECT generate_series(1, 20)")
	do(t, db, planned(t, db, sets("w", map[string]string{"c": "'new'::varchar", "m": "'glad'::mood"}), whole))
	if left := pgtest.One[int](db, "SELECT count(*) FROM w WHERE c::text <> 'new' OR m::text <> 'glad'"); left != 0 {
		t.Errorf("%d of 20 rows were taken for unchanged", left)
	}
}

// Two columns under different collations are compared all the same: byte for byte.
func TestValueUnderAnotherCollation(t *testing.T) {
	t.Parallel()
	db := installed(t, `CREATE TABLE w (id int PRIMARY KEY, a text COLLATE "C", b text COLLATE "POSIX")`, "INSERT INTO w VALUES (1, NULL, 'x')")
	do(t, db, planned(t, db, sets("w", map[string]string{"a": "t.b"}), whole))
	if got := pgtest.One[string](db, "SELECT a FROM w"); got != "x" {
		t.Errorf("a is %q", got)
	}
}

// The rows of a partition that is attached while the run goes on are old and were in no chunk:
// the closing sweep does them. It failed when the sweep looked at the age of rows alone.
func TestPartitionAttachedBehindTheWalk(t *testing.T) {
	t.Parallel()
	db := installed(t, "CREATE TABLE w (id int PRIMARY KEY, c text) PARTITION BY RANGE (id)",
		"CREATE TABLE above PARTITION OF w FOR VALUES FROM (100) TO (200)", "INSERT INTO w SELECT generate_series(100, 199)",
		"CREATE TABLE below (id int NOT NULL, c text) PARTITION BY RANGE (id)",
		"CREATE TABLE lowest PARTITION OF below FOR VALUES FROM (0) TO (100)", "INSERT INTO below SELECT generate_series(0, 99)")
	plan := planned(t, db, sets("w", map[string]string{"c": "'x'"}), whole)
	attached := false
	w := join(t, db, plan, part{observer: func(e backfill.Event) {
		if pass, ok := e.(backfill.PassStarted); ok && pass.Pass == backfill.PassTail && !attached {
			attached = true
			db.Exec("ALTER TABLE w ATTACH PARTITION below FOR VALUES FROM (0) TO (100)")
		}
	}})
	if _, err := w.wait(); err != nil {
		t.Fatal(err)
	}
	if left := pgtest.One[int](db, "SELECT count(*) FROM w WHERE c IS NULL"); !attached || left != 0 {
		t.Errorf("attached: %t; %d rows of the new partition were left out", attached, left)
	}
}
