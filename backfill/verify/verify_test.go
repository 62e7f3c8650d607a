package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/lineprogram"
)

func TestMain(m *testing.M) {
	lineprogram.Main()
	pgtest.Main(m)
}

// pace reads ranges of seven rows, so that there are many.
func pace() backfill.Pace {
	return backfill.Pace{Workers: 3, ChunkRows: 7, LockTimeout: time.Second, StatementTimeout: 20 * time.Second, IdleTimeout: time.Minute}
}

func dialing(dsn string) backfill.Connect {
	return func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, dsn) }
}

// verified verifies a job in a database over a connection string; with changes the options are others.
func verified(t *testing.T, dsn string, job backfill.Job, changes ...func(*verify.Options)) (verify.Verdict, error) {
	t.Helper()
	return verifiedOf(t, dsn, backfill.Planner{}, job, changes...)
}

// verifiedOf verifies what the run did that a planner plans for.
func verifiedOf(t *testing.T, dsn string, planner backfill.Planner, job backfill.Job, changes ...func(*verify.Options)) (verify.Verdict, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	checks, err := verify.Checks(job)
	if err != nil {
		return verify.Verdict{}, err
	}
	o := verify.Options{Checks: checks, Connect: dialing(dsn), Plan: &backfill.Plan{Pace: pace()}}
	for _, change := range changes {
		change(&o)
	}
	if o.Plan, err = planner.Survey(ctx, pgtest.Connect(t, dsn), job, o.Plan.Pace); err != nil {
		return verify.Verdict{}, err
	}
	return verify.Verify(ctx, o)
}

func expr(sql string, columns ...string) backfill.Expr {
	return backfill.Expr{SQL: sql, Columns: columns, Subquery: strings.Contains(sql, "SELECT")}
}

func ptr(e backfill.Expr) *backfill.Expr { return &e }

// job is a job on a table with steps and checks.
func job(table string, steps []backfill.Step, checks ...backfill.Check) backfill.Job {
	return backfill.Job{
		Name: "proof", Table: backfill.TableName{Schema: "public", Name: table}, Idempotent: true,
		Steps: steps, Verify: checks, Origin: "proof.yaml",
	}
}

func updates(column, sql string, columns ...string) []backfill.Step {
	return []backfill.Step{{Name: "update", Update: &backfill.Update{Set: []backfill.Assignment{{Column: column, Value: expr(sql, columns...)}}}}}
}

// commands is a step whose result the job has to say itself.
func commands() []backfill.Step {
	return []backfill.Step{{Name: "copy", SQL: &backfill.Command{Expr: expr("INSERT INTO copies SELECT c.id, c.v FROM {{chunk}} AS c"), Kind: "insert", Target: backfill.TableName{Name: "copies"}}}}
}

// found are the mismatches as text: "different (3) c".
func found(v verify.Verdict) []string {
	var list []string
	for _, c := range v.Checks {
		for _, m := range c.Samples {
			key := make([]string, len(m.Key))
			for i, k := range m.Key {
				if key[i] = "NULL"; k != nil {
					key[i] = *k
				}
			}
			list = append(list, strings.TrimSpace(fmt.Sprintf("%s (%s) %s", m.Kind, strings.Join(key, ","), strings.Join(m.Columns, ","))))
		}
	}
	slices.Sort(list)
	return list
}

const source = `CREATE TABLE things (id int PRIMARY KEY, v text, n numeric(8,2), c text);
	INSERT INTO things SELECT g * 3, 'thing ' || g, g, upper('thing ' || g) FROM generate_series(1, 100) AS g; ANALYZE things;
	CREATE TABLE copies (id int, v text); INSERT INTO copies SELECT id, v FROM things;`

// Every kind of check says proven of a table that is right, and names the row where it is not.
//
// Made to fail: with the last range closed at the last key of the plan, the copies above it were proven; without the
// range of the NULLs in columns of others, the two checks with such a row were.
func TestChecksTellRightFromWrong(t *testing.T) {
	t.Parallel()
	upper := updates("c", "upper(t.v)", "t.v")
	bags := backfill.Check{
		Expected: ptr(backfill.Expr{SQL: "SELECT t.id, t.v FROM things t WHERE {{range}}", Templates: []string{"range"}}),
		Actual:   ptr(backfill.Expr{SQL: "SELECT d.id, d.v FROM copies d WHERE {{range d}}", Templates: []string{"range d"}}),
	}
	none := backfill.Check{None: ptr(backfill.Expr{SQL: "SELECT d.id, d.v FROM copies d WHERE {{range d}} AND NOT EXISTS (SELECT FROM things x WHERE x.id = d.id)", Templates: []string{"range d"}})}
	deletion := job("things", []backfill.Step{{Name: "delete", Delete: true}})
	deletion.Where = ptr(expr("t.n < 0", "t.n"))
	joined := job("things", []backfill.Step{{Name: "update", Update: &backfill.Update{
		Set:  []backfill.Assignment{{Column: "v", Value: expr("d.v", "d.v")}},
		From: ptr(expr("copies d")), Join: ptr(expr("d.id = t.id", "d.id", "t.id")),
	}}})
	scoped := job("things", upper)
	scoped.Where = ptr(expr("t.v <> 'thing 5'", "t.v"))
	for name, c := range map[string]struct {
		job  backfill.Job
		hurt string
		want []string
	}{
		"derived: one value":               {job("things", upper), "UPDATE things SET c = 'x' WHERE id = 30", []string{"different (30) c"}},
		"derived: NULL":                    {job("things", upper), "UPDATE things SET c = NULL WHERE id = 30", []string{"different (30) c"}},
		"derived: a row above the last":    {job("things", upper), "INSERT INTO things VALUES (9000, 'new', 1, 'new')", []string{"different (9000) c"}},
		"derived: a row below the first":   {job("things", upper), "INSERT INTO things VALUES (-9000, 'new', 1, 'new')", []string{"different (-9000) c"}},
		"derived: outside the scope":       {scoped, "UPDATE things SET c = 'x' WHERE v = 'thing 5'", nil},
		"derived: in scope":                {scoped, "UPDATE things SET c = 'x' WHERE v = 'thing 6'", []string{"different (18) c"}},
		"derived: joined":                  {joined, "UPDATE things SET v = 'x' WHERE id IN (3, 300)", []string{"different (3) v", "different (300) v"}},
		"derived: one of two that match":   {joined, "INSERT INTO copies VALUES (30, 'other')", nil},
		"derived: none of two that match":  {joined, "INSERT INTO copies VALUES (30, 'other'); UPDATE things SET v = 'x' WHERE id = 30", []string{"different (30) v"}},
		"derived: what the join met not":   {joined, "DELETE FROM copies WHERE id = 30; UPDATE things SET v = 'x' WHERE id = 30", nil},
		"delete: one is left":              {deletion, "UPDATE things SET n = -1 WHERE id = 30", []string{"extra (30)"}},
		"expect: one value":                {job("things", commands(), backfill.Check{Expect: []backfill.Assignment{{Column: "c", Value: expr("upper(t.v)")}}}), "UPDATE things SET c = 'x' WHERE id = 30", []string{"different (30) c"}},
		"bags: missing":                    {job("things", commands(), bags), "DELETE FROM copies WHERE id = 30", []string{"missing (30)"}},
		"bags: extra":                      {job("things", commands(), bags), "INSERT INTO copies VALUES (31, 'x')", []string{"extra (31)"}},
		"bags: different":                  {job("things", commands(), bags), "UPDATE copies SET v = 'x' WHERE id = 30", []string{"different (30)"}},
		"bags: NULL":                       {job("things", commands(), bags), "UPDATE copies SET v = NULL WHERE id = 30", []string{"different (30)"}},
		"bags: twice":                      {job("things", commands(), bags), "INSERT INTO copies SELECT * FROM copies WHERE id = 30", []string{"extra (30)"}},
		"bags: above the last key":         {job("things", commands(), bags), "INSERT INTO copies VALUES (9000, 'x')", []string{"extra (9000)"}},
		"bags: below the first key":        {job("things", commands(), bags), "INSERT INTO copies VALUES (-9000, 'x')", []string{"extra (-9000)"}},
		"bags: nothing is left to walk by": {job("things", commands(), bags), "DELETE FROM things", slices.Repeat([]string{"extra"}, 10)},
		"none: a row":                      {job("things", commands(), none), "INSERT INTO copies VALUES (31, 'x')", []string{"extra (31)"}},
		"none: a NULL in the others' key":  {job("things", commands(), none), "INSERT INTO copies VALUES (NULL, 'x')", []string{"extra (NULL)"}},
		"bags: a NULL in the others' key":  {job("things", commands(), bags), "INSERT INTO copies VALUES (NULL, 'x')", []string{"extra (NULL)"}},
		"none: a row above the last key":   {job("things", commands(), none), "INSERT INTO copies VALUES (9000, 'x')", []string{"extra (9000)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			db.Exec(source)
			before, err := verified(t, db.DSN(), c.job)
			if err != nil {
				t.Fatal(err)
			}
			if before.Result != verify.Proven || before.Err() != nil || len(found(before)) > 0 {
				t.Fatalf("a table that is right is %s: %v", before.Result, found(before))
			}
			if before.Rows() < 99 && !strings.HasPrefix(name, "delete") {
				t.Errorf("only %d rows were checked", before.Rows())
			}
			db.Exec(c.hurt)
			after, err := verified(t, db.DSN(), c.job)
			if err != nil {
				t.Fatal(err)
			}
			got := found(after)
			if strings.HasSuffix(name, "walk by") {
				for i := range got {
					got[i], _, _ = strings.Cut(got[i], " ")
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("mismatches (-want +got):\n%s", diff)
			}
			want := verify.Proven
			if len(c.want) > 0 {
				want = verify.Mismatched
			}
			if after.Result != want || errors.Is(after.Err(), verify.ErrMismatched) != (want == verify.Mismatched) {
				t.Errorf("the verdict is %s, want %s", after.Result, want)
			}
		})
	}
}

// imageKinds are types of which = says too little, or which have none: in every row but one both columns hold same, in
// that one the first holds source and the second stored, which is another value. The last ones are cut by a cast.
var imageKinds = []struct{ from, to, same, source, stored string }{
	{"numeric", "numeric", "1.0", "1.0", "1.00"},
	{"numeric", "numeric(8,2)", "1.50", "1.50", "1.51"},
	{"float4", "float4", "0", "0", "-0"},
	{"float8", "float8", "0", "0", "-0"},
	{"jsonb", "jsonb", `{"a": 1.0}`, `{"a": 1.0}`, `{"a": 1.00}`},
	{"json", "json", `{"a":1}`, `{"a":1}`, `{"a": 1}`},
	{"xml", "xml", "<a/>", "<a/>", "<a></a>"},
	{"interval", "interval", "1 day", "1 day", "24 hours"},
	{"timetz", "timetz", "12:00+00", "12:00+00", "14:00+02"},
	{"citext", "citext", "a", "a", "A"},
	{"text COLLATE blind", "text COLLATE blind", "a", "a", "A"},
	{"text COLLATE blind", "varchar(9) COLLATE blind", "a", "a", "A"},
	{"point", "point", "(0,0)", "(0,0)", "(-0,0)"},
	{"box", "box", "(2,2),(0,0)", "(2,2),(0,0)", "(4,1),(0,0)"},
	{"lseg", "lseg", "[(0,0),(1,1)]", "[(0,0),(1,1)]", "[(0,0),(1,1.0000001)]"},
	{"path", "path", "((0,0),(1,1))", "((0,0),(1,1))", "((0,0),(2,2))"},
	{"polygon", "polygon", "((0,0),(1,1),(1,0))", "((0,0),(1,1),(1,0))", "((1,1),(1,0),(0,0))"},
	{"circle", "circle", "<(0,0),1>", "<(0,0),1>", "<(5,5),1>"},
	{"text", "char(5)", "ab", "abcdefgh", "abcde"},
	{"char(9)", "char(5)", "ab", "abcdefgh", "abcde"},
	{"text", "varchar(5)", "ab", "abcdefgh", "abcde"},
	{"bpchar[]", "char(5)[]", "{ab}", "{abcdefgh}", "{abcde}"},
	{"varbit(9)", "varbit(3)", "101", "10111", "101"},
	{"bit(5)", "bit(5)", "10111", "10111", "10110"},
}

// IS DISTINCT FROM and GROUP BY do not see some differences, since = does not: what is stored is another value all the same. Each
// way of comparing sees them, and none where there is none.
//
// Made to fail: with = in the place of the images' comparison json cannot be compared; with IS DISTINCT FROM for numeric
// alone, the row of that is not found; with a plain GROUP BY, two queries cannot compare json; with casts to the columns' types,
// the last ones are not found; with what a transform returns taken for the column's type, texts for char(5) are not.
func TestImagesAreCompared(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false); CREATE EXTENSION citext;
		CREATE TABLE kinds (id int PRIMARY KEY); INSERT INTO kinds SELECT generate_series(0, 49)`)
	var set []backfill.Assignment
	var froms, tos, want []string
	for i, k := range imageKinds {
		from, to := fmt.Sprintf("f%d", i), fmt.Sprintf("t%d", i)
		db.Exec(fmt.Sprintf("ALTER TABLE kinds ADD %s %s DEFAULT '%s', ADD %s %s DEFAULT '%s'", from, k.from, k.same, to, k.to, k.same))
		db.Exec(fmt.Sprintf("UPDATE kinds SET %s = '%s', %s = '%s' WHERE id = %d", from, k.source, to, k.stored, i))
		set = append(set, backfill.Assignment{Column: to, Value: expr("t."+from, "t."+from)})
		froms, tos = append(froms, fmt.Sprintf("t.%s AS x%d", from, i)), append(tos, fmt.Sprintf("t.%s AS x%d", to, i))
		want = append(want, fmt.Sprintf("different (%d) %s", i, to))
	}
	renaming := job("kinds", nil, backfill.Check{Recompute: true})
	renaming.Transform = &backfill.Transform{Go: "f"}
	for i, k := range imageKinds {
		from, _, _ := strings.Cut(k.from, " COLLATE")
		renaming.Transform.Returns = append(renaming.Transform.Returns, backfill.Returned{Name: fmt.Sprintf("t%d", i), Type: from})
		renaming.Transform.Read = append(renaming.Transform.Read, backfill.Expr{SQL: fmt.Sprintf("t.f%d", i)})
		renaming.Transform.Write = append(renaming.Transform.Write, fmt.Sprintf("t%d", i))
	}
	rename := backfill.PerRow(func(_ context.Context, row map[string]json.RawMessage) (map[string]json.RawMessage, error) {
		out := map[string]json.RawMessage{"id": row["id"]}
		for i := range imageKinds {
			out[fmt.Sprintf("t%d", i)] = row[fmt.Sprintf("f%d", i)]
		}
		return out, nil
	})
	query := func(list []string) *backfill.Expr {
		return ptr(expr("SELECT t.id, " + strings.Join(list, ", ") + " FROM kinds t WHERE {{range}}"))
	}
	step := []backfill.Step{{Name: "update", Update: &backfill.Update{Set: set}}}
	joined := []backfill.Step{{Name: "update", Update: &backfill.Update{Set: set, From: ptr(expr("(SELECT 1) AS one")), Join: ptr(expr("true"))}}}
	for name, j := range map[string]backfill.Job{
		"derived": job("kinds", step), "joined": job("kinds", joined), "expect": job("kinds", commands(), backfill.Check{Expect: set}),
		"two queries": job("kinds", commands(), backfill.Check{Expected: query(froms), Actual: query(tos)}),
		"recompute":   renaming,
	} {
		v, err := recomputed(t, db.DSN(), j, rename, func(o *verify.Options) { o.Samples = len(imageKinds) })
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wants := slices.Clone(want)
		for i := range wants {
			if name == "two queries" { // it does not say which columns
				wants[i] = wants[i][:strings.IndexByte(wants[i], ')')+1]
			}
		}
		slices.Sort(wants)
		if diff := cmp.Diff(wants, found(v)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What an update assigns is cut to the column's precision, and what a query expects is not: it is compared as it would
// be stored, and what does not fit is not called the same.
func TestValuesAreComparedAsTheyAreStored(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE TABLE prices (id int PRIMARY KEY, cents int, price numeric(8,2), label varchar(5), long text);
		INSERT INTO prices SELECT g, g, g / 100.0, 'abcde', 'abcde' FROM generate_series(1, 20) AS g`)
	check := func(expected, actual string) backfill.Check {
		return backfill.Check{
			Expected: ptr(expr("SELECT t.id, " + expected + " AS x FROM prices t WHERE {{range}}")),
			Actual:   ptr(expr("SELECT t.id, " + actual + " AS x FROM prices t WHERE {{range}}")),
		}
	}
	for _, c := range []backfill.Check{check("t.cents / 100.0", "t.price"), check("t.long", "t.label"), check("t.cents::int2", "t.cents")} {
		if v, err := verified(t, db.DSN(), job("prices", commands(), c)); err != nil || v.Result != verify.Proven {
			t.Errorf("%s: %s %v %v", c.Expected.SQL, v.Result, found(v), err)
		}
	}
	db.Exec("UPDATE prices SET long = 'abcdef' WHERE id = 7")
	if v, err := verified(t, db.DSN(), job("prices", commands(), check("t.long", "t.label"))); err != nil || !slices.Equal(found(v), []string{"different (7)"}) {
		t.Errorf("a value that does not fit its column: %s %v %v", v.Result, found(v), err)
	}
}

// Rows with a NULL in the key are in no range of keys, and are looked at all the same; a key that is not unique, and
// one of several columns, lose no row at the borders.
//
// Made to fail: without the range of the NULLs, the first row that is hurt is not found.
func TestEveryRowIsInOneRange(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE TABLE loose (x int, y text, v int, c int);
		INSERT INTO loose SELECT CASE WHEN g % 10 > 0 THEN g / 20 END, CASE WHEN g % 7 > 0 THEN 'y' || g END, g, g FROM generate_series(1, 500) AS g;
		CREATE INDEX ON loose (x, y); CREATE INDEX ON loose (x)`)
	for _, key := range [][]string{{"x", "y"}, {"x"}} {
		j := job("loose", updates("c", "t.v", "t.v"))
		j.Key = key
		v, err := verified(t, db.DSN(), j)
		if err != nil || v.Result != verify.Proven || v.Rows() != 500 {
			t.Fatalf("by %v: %s, %d rows of 500, %v %v", key, v.Result, v.Rows(), found(v), err)
		}
		db.Exec("UPDATE loose SET c = 0 WHERE v IN (10, 77, 123)") // the first has no x, the second no y
		v, err = verified(t, db.DSN(), j, func(o *verify.Options) { o.Samples = 2 })
		if err != nil || v.Mismatches() != 3 || len(found(v)) != 2 {
			t.Errorf("by %v: %d mismatches, %v %v", key, v.Mismatches(), found(v), err)
		}
		db.Exec("UPDATE loose SET c = v")
	}
}

// A table without a key is read in physical order, in which rows move: a wrong row that somebody moves from a page that is
// still to be read to one that was read is seen all the same.
//
// Made to fail: with a moment of its own for each range, the row that moves is not seen, and the table is proven.
func TestATableWithoutAKeyIsReadAsOfOneMoment(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE TABLE heap (v int, c int, pad text) WITH (autovacuum_enabled = off);
		INSERT INTO heap SELECT g, CASE WHEN g <> 1500 THEN g ELSE 0 END, repeat('x', 200) FROM generate_series(1, 2000) AS g;
		DELETE FROM heap WHERE ctid < '(3,0)'`)
	db.Exec("VACUUM heap") // the first pages are free, and the server knows it
	calls := 0
	v, err := verified(t, db.DSN(), job("heap", updates("c", "t.v", "t.v")), func(o *verify.Options) {
		o.Plan.Pace.Workers = 1
		o.Throttle = wait(func(ctx context.Context) error {
			if calls++; calls != 6 { // the free pages are read, one at a time
				return nil
			}
			_, err := db.Pool().Exec(ctx, "UPDATE heap SET pad = repeat('y', 200) WHERE v = 1500")
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if pgtest.One[string](db, "SELECT ctid::text FROM heap WHERE v = 1500") >= "(3,0)" {
		t.Fatalf("the row is at %s, and did not move to a page that was read: this test could not fail", pgtest.One[string](db, "SELECT ctid::text FROM heap WHERE v = 1500"))
	}
	if v.Result != verify.Mismatched || v.Mismatches() != 1 || len(v.Notes) != 2 {
		t.Errorf("%s, %v, %v", v.Result, found(v), v.Notes)
	}
	db.Exec("UPDATE heap SET c = v")
	if v, err = verified(t, db.DSN(), job("heap", updates("c", "t.v", "t.v"))); err != nil || v.Result != verify.Proven || int(v.Rows()) != pgtest.One[int](db, "SELECT count(*) FROM heap") {
		t.Errorf("%s, %d rows, %v", v.Result, v.Rows(), err)
	}
}

// So is a partitioned one, all of its partitions side by side, however long each is.
//
// Made to fail: without a survey of its own, it is refused for want of a key.
func TestPartitionsWithoutAKeyAreRead(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE TABLE parts (v int, c int, pad text) PARTITION BY RANGE (v);
		CREATE TABLE parts_0 PARTITION OF parts FOR VALUES FROM (0) TO (10); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (10) TO (900) PARTITION BY HASH (v);
		CREATE TABLE parts_1_0 PARTITION OF parts_1 FOR VALUES WITH (MODULUS 1, REMAINDER 0); CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (900) TO (MAXVALUE);
		INSERT INTO parts SELECT g, g, repeat('x', 200) FROM generate_series(1, 1000) AS g`)
	j := job("parts", updates("c", "t.v", "t.v"))
	if v, err := verified(t, db.DSN(), j); err != nil || v.Result != verify.Proven || v.Rows() != 1000 {
		t.Errorf("%s, %d rows, %v", v.Result, v.Rows(), err)
	}
	db.Exec("UPDATE parts SET c = 0 WHERE v IN (5, 899, 1000)")
	if v, err := verified(t, db.DSN(), j); err != nil || v.Result != verify.Mismatched || v.Mismatches() != 3 {
		t.Errorf("%s, %v, %v", v.Result, found(v), err)
	}
}

// wait is a throttle that does something before each part.
type wait func(ctx context.Context) error

func (w wait) Wait(ctx context.Context, _ int) error { return w(ctx) }

// paid counts the rows that are waited for.
type paid struct{ rows atomic.Int64 }

func (p *paid) Wait(_ context.Context, rows int) error {
	p.rows.Add(int64(rows))
	return nil
}

// A rate is one of rows that are read: the last part of a range, which is short, is not paid for as if it were whole.
//
// Made to fail: with the size of a part paid for in place of what was in it, 20 000 rows were.
func TestWhatIsReadIsPaidFor(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec("CREATE TABLE things (id int PRIMARY KEY, v text, c text); INSERT INTO things SELECT g, 'v' || g, 'V' || g FROM generate_series(1, 4000) AS g; ANALYZE things")
	var throttle paid
	v, err := verified(t, db.DSN(), job("things", updates("c", "upper(t.v)", "t.v")), func(o *verify.Options) { o.Throttle, o.Plan.Pace.ChunkRows = &throttle, 0 })
	if n := throttle.rows.Load(); err != nil || v.Rows() != 4000 || n < 1 || n > 4000+v.Ranges {
		t.Errorf("%d rows were read in %d ranges, and %d paid for: %v", v.Rows(), v.Ranges, n, err)
	}
}
