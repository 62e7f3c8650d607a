package pgparse

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestExpressionSaysWhatIsInIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql  string
		want Facts
	}{
		{"1", Facts{}},
		{"  NULL\n", Facts{}},
		{"initcap(t.full_name)", Facts{Functions: []string{"initcap"}, Columns: []string{"t.full_name"}}},
		{"t.a + t.b * t.A", Facts{Columns: []string{"t.a", "t.b"}}},
		{`t."A b" || public.F(x)`, Facts{Functions: []string{"f"}, Columns: []string{"t.A b", "x"}}},
		{"b(a(1), a(2))", Facts{Functions: []string{"b", "a"}}},
		{"coalesce(t.x, CURRENT_TIMESTAMP, localtime(3))", Facts{Functions: []string{"current_timestamp", "localtime"}, Columns: []string{"t.x"}}},
		{"(SELECT max(u.x) FROM u WHERE u.id = t.id)", Facts{Subquery: true, Functions: []string{"max"}, Columns: []string{"u.x", "u.id", "t.id"}}},
		{"t.id IN (VALUES (1), (2))", Facts{Subquery: true, Columns: []string{"t.id"}}},
		{"ARRAY(SELECT generate_series(1, 3))", Facts{Subquery: true, Functions: []string{"generate_series"}}},
		{"EXISTS (SELECT FROM u FOR SHARE)", Facts{Subquery: true}},
		{"t.tags[1:2]", Facts{Columns: []string{"t.tags"}}},
		{"t.tags[1:n]", Facts{Columns: []string{"t.tags", "n"}}},
		{"t.tags[1: n]", Facts{Columns: []string{"t.tags", "n"}}},
		{"t.x::int -- why", Facts{Columns: []string{"t.x"}}},
		{"/* why */ f(a := t.x)", Facts{Functions: []string{"f"}, Columns: []string{"t.x"}}},
		{"':x $1 ; --'", Facts{}},
		{"$$ ; $1 $$", Facts{}},
		{"to_jsonb(t.*)", Facts{Functions: []string{"to_jsonb"}, Columns: []string{"t.*"}}},
		{"CASE WHEN t.id > 0 THEN 1 END", Facts{Columns: []string{"t.id"}}},
		{"my.max(t.a, t.b)", Facts{Functions: []string{"max"}, Columns: []string{"t.a", "t.b"}}},
		{"values", Facts{Columns: []string{"values"}}},
		{"t.c COLLATE \"C\" AT TIME ZONE 'UTC' IS NOT NULL", Facts{Functions: []string{"timezone"}, Columns: []string{"t.c"}}},
	} {
		got, err := Expression(c.sql)
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s:\n%s", c.sql, diff)
		}
	}
}

func TestExpressionRefusesEverythingElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql, found string
		offset     int
	}{
		{"", "nothing but white space or comments", 0},
		{" \n -- only this\n/* and this */", "nothing but white space or comments", 0},
		{"t.a;", "a ; which ends the statement", 3},
		{"t.a; -- done", "a ; which ends the statement", 3},
		{"1; DROP TABLE users", "a ; and a second statement after it", 1},
		{"1) OR (1=1", `syntax error at or near ")"`, 1},
		{"1)", `syntax error at or near ")"`, 1},
		{"(1", "syntax error at end of input", 2},
		{"a, b", "2 expressions", 3},
		{"a AS b", `an expression with the alias "b"`, 6},
		{"a b", `an expression with the alias "b"`, 3},
		{"a FROM users", "the clause FROM too", 12},
		{"a WHERE true", "the clause WHERE too", 12},
		{"a UNION SELECT 1", "the clause UNION, INTERSECT or EXCEPT too", 16},
		{"DISTINCT a", "the clause DISTINCT too", 10},
		{"ALL a", `syntax error at or near "ALL"`, 0},
		{"a INTO b", "the clause INTO too", 8},
		{"a LIMIT 1", "the clause LIMIT or OFFSET too", 9},
		{"a ORDER BY 1", "the clause ORDER BY too", 12},
		{"SELECT 1", `syntax error at or near "SELECT"`, 0},
		{"t.*", "a *, which stands for several columns", 0},
		{"*", `syntax error at or near "*"`, 0},
		{"(f(t.x)).*", "a *, which stands for several columns", 0},
		{"DEFAULT", "DEFAULT", 0},
		{"'abc", "unterminated quoted string at or near \"'abc\"", 0},
		{"1 /* abc", `unterminated /* comment at or near "/* abc"`, 2},
		{"a +", "syntax error at end of input", 3},
		{"é + ü )", `syntax error at or near ")"`, 8},
		{"1 + $1", "the parameter $1", 4},
		{"t.a > :low", `syntax error at or near ":"`, 6},
		{"1 + count(*)", "the function count() outside a subquery", 4},
		{"pg_catalog.sum(t.a)", "the function sum() outside a subquery", 0},
		{"my.agg(t.a ORDER BY t.b)", "the function agg() outside a subquery", 0},
		{"my.agg(t.a) FILTER (WHERE t.b)", "the function agg() outside a subquery", 0},
		{"row_number() OVER ()", "the function row_number() outside a subquery", 0},
		{"json_arrayagg(t.a)", "the function json_arrayagg() outside a subquery", 0},
		{"unnest(t.tags)", "the function unnest() outside a subquery", 0},
		{"(WITH d AS (DELETE FROM x RETURNING 1) SELECT 1 FROM d)", "a DELETE inside the SQL", 24},
		{"(SELECT 1 INTO x)", "SELECT INTO inside the SQL", 15},
		{"1\x00; DROP", "a NUL character, which PostgreSQL takes for the end of the text", 1},
		{"'\xff'", "text that is not UTF-8", 1},
		{"1" + strings.Repeat("+1", 1<<18), "SQL of more than 1000 operators and parentheses", 2001},
		{strings.Repeat(" ", 1<<20) + "1", "SQL of more than 1 MiB", 1 << 20},
	} {
		_, err := Expression(c.sql)
		checkError(t, c.sql, err, c.found, c.offset)
	}
}

// A long list is flat and not deep: only what nests is bounded.
func TestExpressionTakesALongList(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{
		"t.id IN (1" + strings.Repeat(", 1000000", 3_000) + ")",
		"CASE" + strings.Repeat(" WHEN t.code = 17 THEN 'seventeen'", 600) + " END",
		"t.id = 1" + strings.Repeat(" OR t.id = 17 AND t.x > 1", 600),
		"CASE t.code" + strings.Repeat(" WHEN 17 THEN 'seventeen'", 600) + " END",
	} {
		if _, err := Expression(sql); err != nil {
			t.Errorf("%.40s…: %v", sql, err)
		}
	}
}

// What is nested as deeply as it may be is accepted or refused; it does not take the process with it.
func TestExpressionAtTheLimitOfNesting(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		open, inside, close string
		// tokens is how many of one level count.
		tokens int
	}{
		{"", "1", "+1", 1},
		{"", "1", "::a", 1},
		{"", "1", " IS NULL", 2},
		{"", "1", " COLLATE a", 1},
		{"", "1", " AT TIME ZONE 'a'", 3},
		{"- ", "1", "", 1},
		{"NOT ", "a", "", 1},
		{"(", "1", ")", 1},
		{"f(", "1", ")", 1},
		{"(SELECT ", "1", ")", 2},
		{"(SELECT FROM (", "VALUES (1)", "))", 4},
		{"(VALUES ", "(1)", ")", 2},
		{"CASE ", "a", " WHEN b THEN c END", 2},
		{"CASE WHEN a THEN ", "a", " END", 2},
		{"ARRAY[", "1", "]", 2},
		{"", "ARRAY" + strings.Repeat("[", maxNesting-1) + strings.Repeat("]", maxNesting-1), "", 1},
		{"ROW(", "1", ")", 2},
		{"a IN (", "1", ")", 2},
		{"EXISTS (SELECT ", "1", ")", 3},
		{"a[", "1", "]", 1},
		{"coalesce(", "1", ")", 2},
		{"(WITH w AS (SELECT ", "1", ") SELECT)", 6},
		{"(SELECT ", "1", " UNION SELECT 1)", 4},
		{"json_object('a': ", "1", ")", 3},
	} {
		n := maxNesting/c.tokens - 2
		sql := strings.Repeat(c.open, max(n, 1)) + c.inside + strings.Repeat(c.close, max(n, 1))
		if _, err := Expression(sql); err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Offset > len(sql) {
				t.Errorf("%.40s…: %v", sql, err)
			}
		}
	}
}

func checkError(t *testing.T, sql string, err error, found string, offset int) {
	t.Helper()
	if len(sql) > 60 {
		sql = sql[:60] + "…"
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("%s: %v; expected an Error", sql, err)
		return
	}
	if e.Found != found || e.Offset != offset {
		t.Errorf("%s: found %q at %d; expected %q at %d", sql, e.Found, e.Offset, found, offset)
	}
	if e.Expected == "" {
		t.Errorf("%s: the error does not say what was expected: %v", sql, e)
	}
}

// FuzzExpression checks that what is accepted can be put between other things and stays
// what it was: one statement, with an assignment, a condition and nothing more.
func FuzzExpression(f *testing.F) {
	for _, sql := range []string{
		"1", "t.a", "a, b", "1) OR (1=1", "a -- c", "a /* c", "'x", "$$a$$", "E'\\''", "(SELECT 1)", "a AS b", "a;b", "U&'x' UESCAPE '!'",
		"CASE WHEN a THEN b END", "(a)", "a BETWEEN 1 AND 2", "NOT a", "a IS NULL", "a::int[]", "(1, 2)", "ROW(1)", "a[1: 2]", "x 'y'", "DISTINCT a", "values", "a FROM b",
	} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		if _, err := Expression(sql); err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(sql) || e.Found == "" || e.Expected == "" {
				t.Fatalf("%q: %#v says neither where nor what", sql, err)
			}
			return
		}
		text := "UPDATE x AS t SET y = (" + sql + "\n), z = (" + sql + "\n) WHERE (" + sql + "\n) IS TRUE AND (" + sql + "\n) IS TRUE"
		tree, err := parseTree(text)
		if err != nil || len(tree.GetStmts()) != 1 {
			t.Fatalf("%q does not fit: %v", sql, err)
		}
		update := tree.GetStmts()[0].GetStmt().GetUpdateStmt()
		if update == nil || len(update.GetTargetList()) != 2 || update.GetFromClause() != nil || update.GetReturningList() != nil {
			t.Fatalf("%q makes something else of the statement: %v", sql, update)
		}
		if args := update.GetWhereClause().GetBoolExpr().GetArgs(); len(args) != 2 || args[0].GetBooleanTest() == nil || args[1].GetBooleanTest() == nil {
			t.Fatalf("%q makes something else of the condition: %v", sql, update.GetWhereClause())
		}
	})
}
