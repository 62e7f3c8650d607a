package pgparse

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Made to fail: with the columns of ON CONFLICT left out, and with the end taken from the last token.
func TestCommandSaysWhatIsInIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql  string
		want Command
	}{
		{"DELETE FROM users", Command{Kind: "delete", Target: []string{"users"}, TargetOffset: 12, End: 17}},
		{"-- why\nDELETE FROM Public.\"Users\" AS t USING x WHERE x.id = t.id ; -- done\n;", Command{
			Kind: "delete", Target: []string{"public", "Users"}, TargetOffset: 19, End: 65,
			Facts: Facts{Columns: []string{"x.id", "t.id"}},
		}},
		{"INSERT INTO a (b, \"C\") SELECT f(c.x), 1 FROM (SELECT) AS c ON CONFLICT (b) DO UPDATE SET \"C\" = EXCLUDED.\"C\"", Command{
			Kind: "insert", Target: []string{"a"}, TargetOffset: 12, End: 107,
			Facts:   Facts{Subquery: true, Functions: []string{"f"}, Columns: []string{"c.x", "excluded.C"}},
			Written: []Written{{"b", 15, false}, {"C", 18, false}, {"C", 89, true}},
		}},
		{"INSERT INTO a TABLE b", Command{Kind: "insert", Target: []string{"a"}, TargetOffset: 12, End: 21, Facts: Facts{Subquery: true, Columns: []string{"*"}}}},
		{"INSERT INTO a DEFAULT VALUES;", Command{Kind: "insert", Target: []string{"a"}, TargetOffset: 12, End: 28}},
		{"UPDATE a AS t SET (b, c) = (1, 2), d[1] = now()", Command{
			Kind: "update", Target: []string{"a"}, TargetOffset: 7, End: 47, Facts: Facts{Functions: []string{"now"}}, Calls: []string{"now"},
			Written: []Written{{"b", 19, true}, {"c", 22, true}, {"d", 35, true}},
		}},
		{"WITH x AS (SELECT 1 AS id) UPDATE a SET b = x.id FROM x", Command{
			Kind: "update", Target: []string{"a"}, TargetOffset: 34, End: 55, Facts: Facts{Subquery: true, Columns: []string{"x.id"}},
			Written: []Written{{"b", 40, true}},
		}},
		{"UPDATE a AS t SET b = t.b + f(1), c = c, d = coalesce(t.d, t.e), e = x.e, g = b FROM a x WHERE t.e > now()", Command{
			Kind: "update", Target: []string{"a"}, TargetOffset: 7, End: 106,
			Facts:   Facts{Functions: []string{"f", "now"}, Columns: []string{"t.b", "c", "t.d", "t.e", "x.e", "b"}},
			Written: []Written{{"b", 18, true}, {"c", 34, true}, {"d", 41, true}, {"e", 65, true}, {"g", 74, true}},
			Rereads: []string{"b"}, Calls: []string{"f"},
		}},
		{"INSERT INTO a (n) VALUES (1) ON CONFLICT (id) DO UPDATE SET n = a.n + EXCLUDED.n", Command{
			Kind: "insert", Target: []string{"a"}, TargetOffset: 12, End: 80,
			Facts: Facts{Subquery: true, Columns: []string{"a.n", "excluded.n"}}, Written: []Written{{"n", 15, false}, {"n", 60, true}}, Rereads: []string{"n"},
		}},
		{"MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN UPDATE SET c = 1 WHEN NOT MATCHED THEN INSERT (id) VALUES (b.id)", Command{
			Kind: "merge", Target: []string{"a"}, TargetOffset: 11, End: 118, Facts: Facts{Columns: []string{"a.id", "b.id"}},
			Written: []Written{{"c", 65, true}, {"id", 101, false}},
		}},
	} {
		got, err := ParseCommand(c.sql)
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s:\n%s", c.sql, diff)
		}
	}
}

func TestCommandRefusesEverythingElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql, found string
		offset     int
	}{
		{"", "nothing but white space or comments", 0},
		{" ; -- nothing", "nothing but white space or comments", 0},
		{"SELECT 1", "the statement SELECT", 0},
		{"/* do */ WITH x AS (SELECT 1) SELECT * FROM x", "the statement WITH", 9},
		{"SELECT 1 INTO x", "the statement SELECT", 0},
		{"truncate a", "the statement TRUNCATE", 0},
		{"CREATE TABLE a AS SELECT 1", "the statement CREATE", 0},
		{"COMMIT", "the statement COMMIT", 0},
		{"SET work_mem = 1", "the statement SET", 0},
		{"EXPLAIN DELETE FROM a", "the statement EXPLAIN", 0},
		{"COPY a FROM STDIN", "the statement COPY", 0},
		{"DELETE FROM a; DELETE FROM b", "a ; and a second statement after it", 13},
		{"DELETE FROM a RETURNING id", "RETURNING", 24},
		{"DELETE FROM x.a.b", "a table's name in three parts", 12},
		{"DELETE FROM a WHERE", "syntax error at end of input", 19},
		{"DELETE FROM a WHERE id = $1", "the parameter $1", 25},
		{"INSERT INTO (SELECT) VALUES (1)", `syntax error at or near "("`, 12},
		{"WITH d AS (DELETE FROM x RETURNING id) INSERT INTO y SELECT id FROM d", "a DELETE inside the SQL", 23},
		{"WITH d AS (INSERT INTO x DEFAULT VALUES), e AS (UPDATE z SET a = 1) DELETE FROM y", "an INSERT inside the SQL", 23},
	} {
		_, err := ParseCommand(c.sql)
		checkError(t, c.sql, err, c.found, c.offset)
	}
}

// FuzzParseCommand checks that what is accepted is one statement up to its end, and that its places are in the text.
func FuzzParseCommand(f *testing.F) {
	for _, sql := range []string{
		"DELETE FROM a;", "UPDATE a SET b = 1 -- c", "INSERT INTO a (b) VALUES (1) ON CONFLICT DO NOTHING ; ;", "SELECT 1", "DELETE FROM a; DELETE FROM b",
		"WITH x AS (SELECT ';') DELETE FROM a USING x", "MERGE INTO a USING b ON true WHEN MATCHED THEN DO NOTHING", "DELETE FROM a /* ; */ ; /* ; */",
	} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		c, err := ParseCommand(sql)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(sql) || e.Found == "" || e.Expected == "" {
				t.Fatalf("%q: %#v says neither where nor what", sql, err)
			}
			return
		}
		if c.Kind == "" || len(c.Target) == 0 || c.End > len(sql) || c.TargetOffset >= c.End {
			t.Fatalf("%q: %+v", sql, c)
		}
		again, err := ParseCommand(sql[:c.End])
		if diff := cmp.Diff(c, again); err != nil || diff != "" {
			t.Fatalf("%q without its end: %v %s", sql, err, diff)
		}
		tree, err := parseTree(sql[:c.End] + "\n; SELECT 1")
		if err != nil || len(tree.GetStmts()) != 2 {
			t.Fatalf("%q is not one statement: %v", sql, err)
		}
	})
}
