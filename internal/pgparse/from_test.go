package pgparse

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestFromSaysWhatIsInIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql  string
		want Facts
	}{
		{"issues i", Facts{Aliases: []Alias{{"i", 0}}}},
		{"public.issues", Facts{Aliases: []Alias{{"issues", 0}}}},
		{`a, "B" AS b`, Facts{Aliases: []Alias{{"a", 0}, {"b", 3}}}},
		{"a JOIN b AS t ON t.x = a.x", Facts{Columns: []string{"t.x", "a.x"}, Aliases: []Alias{{"a", 0}, {"t", 7}}}},
		{"(a CROSS JOIN b) AS j", Facts{Aliases: []Alias{{"a", 1}, {"b", 14}, {"j", 0}}}},
		{"a JOIN b USING (id) AS u", Facts{Aliases: []Alias{{"a", 0}, {"b", 7}, {"u", 0}}}},
		{"LATERAL (SELECT max(x) FROM b WHERE b.id = t.id) AS m", Facts{Subquery: true, Functions: []string{"max"}, Columns: []string{"x", "b.id", "t.id"}, Aliases: []Alias{{"m", 0}}}},
		{"unnest(t.tags) WITH ORDINALITY", Facts{Functions: []string{"unnest"}, Columns: []string{"t.tags"}, Aliases: []Alias{{"unnest", 0}}}},
		{"ROWS FROM (f(1), g(2)) AS r", Facts{Functions: []string{"f", "g"}, Aliases: []Alias{{"r", 0}}}},
		{"a TABLESAMPLE SYSTEM (1) -- some", Facts{Aliases: []Alias{{"a", 0}}}},
		{"(VALUES (1, 'a')) AS v (id, name)", Facts{Subquery: true, Aliases: []Alias{{"v", 0}}}},
		{"XMLTABLE('/a' PASSING t.doc COLUMNS id int) AS x", Facts{Columns: []string{"t.doc"}, Aliases: []Alias{{"x", 0}}}},
	} {
		got, err := From(c.sql)
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s:\n%s", c.sql, diff)
		}
	}
}

func TestFromRefusesEverythingElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql, found string
		offset     int
	}{
		{"", "nothing but white space or comments", 0},
		{"a WHERE true", "the clause WHERE too", 12},
		{"a GROUP BY 1", "the clause GROUP BY too", 12},
		{"a LIMIT 1", "the clause LIMIT or OFFSET too", 9},
		{"a FOR UPDATE", "the clause FOR UPDATE too", 12},
		{"a UNION SELECT FROM b", "the clause UNION, INTERSECT or EXCEPT too", 21},
		{"a;", "a ; which ends the statement", 1},
		{"a) x", `syntax error at or near ")"`, 1},
		{"a,", "syntax error at end of input", 2},
		{"a JOIN b", "syntax error at end of input", 8},
		{"SELECT 1", `syntax error at or near "SELECT"`, 0},
		{"a b c", `syntax error at or near "c"`, 4},
		{"(WITH d AS (DELETE FROM x RETURNING 1) SELECT 1 FROM d) AS s", "a DELETE inside the SQL", 24},
		{"f(:x)", `syntax error at or near ":"`, 2},
	} {
		_, err := From(c.sql)
		checkError(t, c.sql, err, c.found, c.offset)
	}
}

func FuzzFrom(f *testing.F) {
	for _, sql := range []string{"a", "a b", "a, b", "a JOIN b ON true", "(SELECT 1) s", "f(1)", "a WHERE true", "a -- c", "LATERAL (SELECT 1) x", "a NATURAL JOIN b", "a TABLESAMPLE s (1)"} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		if _, err := From(sql); err != nil {
			return
		}
		tree, err := parseTree("SELECT 1 FROM x AS t, " + sql + "\nWHERE (true) ORDER BY 1")
		if err != nil || len(tree.GetStmts()) != 1 {
			t.Fatalf("%q does not fit: %v", sql, err)
		}
		s := tree.GetStmts()[0].GetStmt().GetSelectStmt()
		if len(s.GetFromClause()) < 2 || s.GetWhereClause().GetAConst() == nil || len(s.GetSortClause()) != 1 {
			t.Fatalf("%q makes something else of the statement: %v", sql, s)
		}
	})
}
