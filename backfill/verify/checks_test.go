package verify_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// What a check shows is said: where rows leave the scope by being filled or deleted, or a value follows from what was
// written, nothing wrong is seen in what was done, only in what is left.
func TestResidualProofsSaySo(t *testing.T) {
	t.Parallel()
	where := func(j backfill.Job, e backfill.Expr) backfill.Job { j.Where = &e; return j }
	filled := updates("c", "upper(t.v)", "t.v")
	deletes := []backfill.Step{{Name: "delete", Delete: true}}
	chunk := backfill.Check{None: ptr(backfill.Expr{SQL: "SELECT c.id FROM {{chunk}} AS c", Templates: []string{"chunk"}})}
	own := backfill.Check{None: ptr(backfill.Expr{SQL: "SELECT t.id FROM things t WHERE {{range}} AND t.c IS NULL", Templates: []string{"range"}})}
	was := backfill.Check{Expected: ptr(backfill.Expr{SQL: "SELECT b.id FROM {{before}} AS b WHERE b.n >= 0", Templates: []string{"before"}}), Actual: ptr(backfill.Expr{SQL: "SELECT c.id FROM {{chunk}} AS c", Templates: []string{"chunk"}})}
	join := job("things", []backfill.Step{{Name: "update", Update: &backfill.Update{
		Set:  []backfill.Assignment{{Column: "c", Value: expr("d.v", "d.v")}},
		From: ptr(expr("copies d")), Join: ptr(expr("d.id = t.id AND t.c IS NULL", "d.id", "t.id", "t.c")),
	}}})
	for name, c := range map[string]struct {
		job  backfill.Job
		want string
	}{
		"all rows":                           {job("things", filled), ""},
		"another column's scope":             {where(job("things", filled), expr("t.v <> ''", "t.v")), ""},
		"where":                              {where(job("things", filled), expr("t.c IS NULL", "t.c")), "`where` speaks of c"},
		"where, without t":                   {where(job("things", filled), expr("c IS NULL", "c")), "`where` speaks of c"},
		"where, the whole row":               {where(job("things", filled), expr("f(t)", "t")), "`where` speaks of c"},
		"join":                               {join, "`join` speaks of c"},
		"value":                              {job("things", updates("c", "upper(t.c)", "t.c")), "is computed from c"},
		"a column that is kept":              {job("things", []backfill.Step{{Name: "update", Update: &backfill.Update{Set: []backfill.Assignment{{Column: "v", Value: expr("t.v ", "t.v")}, {Column: "c", Value: expr("upper(t.v)", "t.v")}}}}}), ""},
		"delete in a scope":                  {where(job("things", deletes), expr("t.n < 0", "t.n")), "being deleted"},
		"what must stay is known":            {where(job("things", deletes, was), expr("t.n < 5", "t.n")), ""},
		"delete of all":                      {job("things", deletes), ""},
		"a check of the chunk's rows":        {where(job("things", filled, chunk), expr("t.c IS NULL", "t.c")), "`where` speaks of c"},
		"a check that says itself what is":   {where(job("things", filled, own), expr("t.c IS NULL", "t.c")), ""},
		"another table's column of the name": {job("things", updates("c", "(SELECT max(c) FROM copies)", "c")), ""},
	} {
		checks, err := verify.Checks(c.job)
		if err != nil || len(checks) != 1 {
			t.Fatalf("%s: %v %v", name, checks, err)
		}
		if got := checks[0].Residual; (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: residual %q, want %q", name, got, c.want)
		}
	}
}

// A column that the table computes from one that is written is written along: who speaks of it is told the same.
//
// Made to fail: with residualOf left out of Verify the first is a full proof.
func TestGeneratedColumnsAreWrittenAlong(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE TABLE made (id int PRIMARY KEY, v text, c text, "odd C" text, follows text GENERATED ALWAYS AS (c || 'x') STORED, other text GENERATED ALWAYS AS (v || "odd C") STORED);
		INSERT INTO made SELECT g, 'v', 'V' FROM generate_series(1, 9) AS g`)
	for where, want := range map[string]string{"t.follows IS NOT NULL": "`where` speaks of follows", "t.other IS NULL": "", "t.v = 'v'": ""} {
		j := job("made", updates("c", "upper(t.v)", "t.v"))
		j.Where = ptr(expr(where, strings.Fields(where)[0]))
		v, err := verified(t, db.DSN(), j)
		if said := strings.Join(v.Residual, ""); err != nil || v.Result != verify.Proven || v.Rows() != 9 || (said == "") != (want == "") || !strings.Contains(said, want) {
			t.Errorf("%s: %s, residual %q, %v; want %q", where, v.Result, said, err, want)
		}
	}
}

// Without a check nothing would be proven: what to write is said, and nothing is called a success.
func TestJobsWithoutACheckAreRefused(t *testing.T) {
	t.Parallel()
	counting := job("things", updates("n", "t.n + 1", "t.n"))
	counting.Idempotent = false
	for name, c := range map[string]struct {
		job  backfill.Job
		want string
	}{
		"steps":          {job("things", commands()), "nothing to verify by"},
		"not idempotent": {counting, "not idempotent"},
		"recompute":      {job("things", commands(), backfill.Check{Recompute: true}), "recompute"},
	} {
		_, err := verify.Checks(c.job)
		if !errors.Is(err, backfill.ErrInput) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "→") {
			t.Errorf("%s: %v, want an input error with %q and a remedy", name, err, c.want)
		}
	}
}

// A check that PostgreSQL does not take is a mistake of the job file's, found before a row is read.
func TestChecksThatCannotBeAskedAreRefused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(source)
	two := func(expected, actual string) backfill.Check {
		return backfill.Check{Line: 7, Expected: ptr(expr(expected)), Actual: ptr(expr(actual))}
	}
	for want, c := range map[string]backfill.Check{
		`relation "nowhere" does not exist`: {Line: 7, None: ptr(expr("SELECT 1 FROM nowhere"))},
		"syntax error":                      {Line: 7, None: ptr(expr("SELECT FROM WHERE"))},
		"has no column":                     {Line: 7, Expect: []backfill.Assignment{{Column: "nope", Value: expr("1")}}},
		"is of type numeric but expression": {Line: 7, Expect: []backfill.Assignment{{Column: "n", Value: expr("t.v")}}},
		"the columns of expected are":       two("SELECT t.id, t.v FROM things t", "SELECT t.id, t.c FROM things t"),
		"the key alone has 1":               two("SELECT FROM things t", "SELECT FROM things t"),
		"UNION types":                       two("SELECT t.id, t.v AS x FROM things t", "SELECT t.id, t.n AS x FROM things t"),
		"{{nothing}}":                       {Line: 7, None: ptr(expr("SELECT 1 WHERE {{nothing}}"))},
	} {
		_, err := verified(t, db.DSN(), job("things", commands(), c))
		if !errors.Is(err, backfill.ErrInput) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "proof.yaml") {
			t.Errorf("%v, want an input error at proof.yaml with %q", err, want)
		}
	}
}
