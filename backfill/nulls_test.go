package backfill

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// guardRows fills w with every combination of empty, odd and ordinary values, and those NULL.
const guardRows = `CREATE TABLE w (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text, b varchar(9), c char(4), n int, m bigint, x numeric, f float8,
	at timestamptz, raw bytea, flag bool, "Odd ""name" text,
	to_text text, to_varchar varchar(40), to_char char(40), to_int int, to_numeric numeric(12,2), to_float float8, to_raw bytea);
INSERT INTO w (a, b, c, n, m, x, f, at, raw, flag, "Odd ""name")
SELECT a, b, b, n, 7 * n, n / 4.0, CASE WHEN n = 0 THEN 'NaN'::float8 ELSE n END, at, a::bytea, n > 0, b
FROM unnest(ARRAY['', ' ', 'ada LOVELACE', 'Ada Lovelace', NULL]) AS a, unnest(ARRAY['', 'x', NULL]) AS b,
     unnest(ARRAY[-3, 0, 5, NULL]) AS n, unnest(ARRAY['infinity', '2024-02-29 12:00Z'::timestamptz, NULL]) AS at`

// guarded are provable expressions, by the column that they go to.
var guarded = map[string][]string{
	"to_text": {
		"initcap(t.a)", "upper(t.b)", "lower(t.c)", "btrim(t.a)", "ltrim(a)", "rtrim(t.a, 'x')", "md5(t.a)", "length(t.a)::text",
		"replace(t.a, 'a', '')", "reverse(t.a)", "repeat(t.a, 2)", "left(t.a, 2)", "right(t.a, 0)", "lpad(t.a, 9)", "rpad(t.a, 3, '-')",
		"translate(t.a, 'a', 'b')", "split_part(t.a, ' ', 2)", "substring(t.a from 2 for 3)", "trim(both from t.c)",
		"t.a || t.b", "t.a || ' ' || t.b || t.c", `lower(t."Odd ""name") || t.b`, "t.at::text", "t.flag::text", "t.f::text || t.a",
		"coalesce(t.a, '')", "coalesce(t.a, t.b, 'none')", "coalesce(lower(t.a), '') || t.b", "concat(t.a, t.n, t.b)", "concat_ws(' ', t.a, t.b)",
		"encode(sha256(convert_to(t.a, 'UTF8')), 'hex')", "date_trunc('day', t.at)::text", "(t.n + t.m)::text", "abs(t.n)::text", "to_text || lower(t.a)",
	},
	"to_varchar": {"initcap(t.a)", "t.b || t.a", "t.n::varchar", "lower(t.a)::varchar(3)"},
	"to_char":    {"initcap(t.a)", "t.c || t.b", "lower(t.c)"},
	"to_int":     {"t.n + 1", "t.n - t.m", "length(t.a)", "octet_length(t.raw)", "strpos(t.a, t.b)", "t.flag::int", "coalesce(t.n, 0) + 1"},
	"to_numeric": {"t.n / 4.0", "t.x * t.n", "round(t.x, 1)", "abs(t.x)", "t.n + 1"},
	"to_float":   {"t.f * 2", "t.n + t.f", "abs(t.f)", "t.n::float8"},
	"to_raw":     {"sha256(t.raw)", "convert_to(t.a, 'UTF8')", "decode(md5(t.a), 'hex')"},
}

// changedBy are the rows that a plan's change changes, in a transaction that is undone.
func changedBy(t *testing.T, conn *pgx.Conn, plan *Plan) []string {
	t.Helper()
	s, err := statementsOf(plan)
	if err != nil {
		t.Fatal(err)
	}
	work, err := s.steps[0].Statements(pgsql.Part{})
	if err != nil {
		t.Fatal(err)
	}
	work[0].SQL += " RETURNING t.id"
	if _, err := exchange(t.Context(), conn.PgConn(), pgsql.Begin); err != nil {
		t.Fatal(err)
	}
	defer rollback(t.Context(), conn.PgConn())
	answers, err := exchange(t.Context(), conn.PgConn(), s.jobSettings(Segment{}, plan.Pace), work[0])
	if err != nil {
		t.Fatalf("%s: %v", work[0].SQL, err)
	}
	var ids []string
	for _, row := range answers[1].rows {
		ids = append(ids, row[0])
	}
	slices.Sort(ids)
	return ids
}

// The guard that does not evaluate the expression on a first fill chooses the same rows as the one that does: those
// whose column is NULL, holds the new value already, or another one, with and without NULLs in what the value is made
// of. Made to fail: with
// OR between the columns.
func TestProvenGuardChoosesTheSameRows(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(guardRows)
	conn := db.Conn()
	for column, list := range guarded {
		for i, sql := range list {
			other := map[string]string{"to_int": "1", "to_numeric": "0.5", "to_float": "'-0'", "to_raw": "'\\x00'"}[column]
			if other == "" {
				other = "'Ada Lovelace'"
			}
			db.Exec(fmt.Sprintf("UPDATE w AS t SET %[1]s = CASE (id + %[3]d) %% 3 WHEN 0 THEN NULL WHEN 1 THEN %[2]s ELSE %[4]s END", column, sql, i, other))
			plan := planFor(t, conn, setJob(column, sql), Pace{})
			if plan.nulls[assigned{column, sql}] == nil {
				t.Errorf("%s = %s: nothing was proved", column, sql)
				continue
			}
			proven := changedBy(t, conn, plan)
			plan.nulls = nil
			if whole := changedBy(t, conn, plan); !slices.Equal(proven, whole) || len(whole) == 0 {
				t.Errorf("%s = %s: the guard that was made shorter chooses %d rows, the whole one %d: %v and %v", column, sql, len(proven), len(whole), proven, whole)
			}
		}
	}
}

// Nothing is proved in a database that does not know its encoding. Made to fail: with the encoding not looked at.
func TestNothingIsProvedOfBytes(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(guardRows)
	plan := planFor(t, db.Conn(), setJob("to_text", "lower(t.a)"), Pace{})
	for encoding, proved := range map[string]bool{"UTF8": true, "SQL_ASCII": false} {
		plan.nulls, plan.Server.Encoding = nil, encoding
		if err := (&planning{conn: db.Conn(), plan: plan}).proveNulls(t.Context()); err != nil || (plan.nulls != nil) != proved {
			t.Errorf("%s: %v, %v", encoding, plan.nulls, err)
		}
	}
}

// Nothing is proved where the names, the types or the statement are not those that the proof is about, and then the
// statement is what it always was.
func TestNothingIsProved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ setup, column, value string }{
		"a function of the user's of that name":  {"CREATE FUNCTION initcap(varchar) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT NULL::text'", "to_text", "initcap(t.b)"},
		"an operator of the user's of that name": {"CREATE FUNCTION f(varchar, varchar) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT NULL::text'; CREATE OPERATOR || (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = f)", "to_text", "t.b || 'x'"},
		"a cast of the user's":                   {"CREATE FUNCTION f(int) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT NULL::text'; CREATE CAST (int AS text) WITH FUNCTION f(int)", "to_text", "t.n::text"},
		"a column of a domain":                   {"CREATE DOMAIN word AS text CHECK (VALUE <> 'no'); ALTER TABLE w ADD d word", "d", "initcap(t.a)"},
		"an argument of a domain":                {"CREATE DOMAIN word AS text; ALTER TABLE w ADD d word", "to_text", "initcap(t.d)"},
		"a range":                                {"ALTER TABLE w ADD r int4range", "to_int", "lower(t.r)"},
		"a row":                                  {"CREATE TYPE pair AS (x int, y int); ALTER TABLE w ADD p pair", "to_text", "t.p::text"},
		"no function that is called":             {"SELECT", "to_text", "t.a"},
		"a subquery":                             {"SELECT", "to_text", "lower((SELECT t.a))"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			db.Exec(guardRows)
			db.Exec(c.setup)
			job := setJob(c.column, c.value)
			job.Steps[0].Update.Set[0].Value.Subquery = name == "a subquery"
			if plan := planFor(t, db.Conn(), job, Pace{}); plan.nulls != nil {
				t.Errorf("%s: proved", c.value)
			}
		})
	}
}
