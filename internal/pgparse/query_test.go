package pgparse

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Made to fail: with the end at the last token.
func TestQuery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql  string
		end  int
		want Facts
	}{
		{"SELECT a.x, f(1) FROM a;", 23, Facts{Subquery: true, Functions: []string{"f"}, Columns: []string{"a.x"}}},
		{"VALUES (1), (2) -- two", 22, Facts{Subquery: true}},
		{"TABLE a ; ; /* all */", 8, Facts{Subquery: true, Columns: []string{"*"}}},
		{"WITH RECURSIVE x AS (SELECT 1 UNION ALL SELECT 2) SELECT FROM x ORDER BY 1 LIMIT 1", 82, Facts{Subquery: true}},
		{"(SELECT 1) UNION SELECT 2", 25, Facts{Subquery: true}},
	} {
		got, end, err := Query(c.sql)
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); err != nil || end != c.end || diff != "" {
			t.Errorf("%s: %v, ends at %d, expected %d %s", c.sql, err, end, c.end, diff)
		}
	}
	for _, c := range []struct {
		sql, found string
		offset     int
	}{
		{"", "nothing but white space or comments", 0},
		{"DELETE FROM a", "the statement DELETE", 0},
		{"-- x\nEXPLAIN SELECT 1", "the statement EXPLAIN", 5},
		{"SELECT 1; SELECT 2", "a ; and a second statement after it", 8},
		{"SELECT 1) AS q, (SELECT 2", `syntax error at or near ")"`, 8},
		{"SELECT 1 INTO x", "SELECT INTO inside the SQL", 14},
		{"SELECT 1 FROM a FOR SHARE", "FOR UPDATE or the like in it", 25},
		{"SELECT 1 FROM (SELECT FROM a FOR UPDATE) b", "FOR UPDATE or the like in it", 42},
		{"WITH d AS (DELETE FROM a RETURNING 1) SELECT * FROM d", "a DELETE inside the SQL", 23},
		{"SELECT $1", "the parameter $1", 7},
	} {
		_, _, err := Query(c.sql)
		checkError(t, c.sql, err, c.found, c.offset)
	}
}

func TestItem(t *testing.T) {
	t.Parallel()
	facts, name, err := Item(`lower(t.x) AS "Low" -- why`)
	if diff := cmp.Diff(Facts{Functions: []string{"lower"}, Columns: []string{"t.x"}}, facts); err != nil || name != "Low" || diff != "" {
		t.Error(name, err, diff)
	}
	for _, c := range []struct {
		sql, found string
		offset     int
	}{
		{"t.x", "an expression without a name", 3},
		{"t.x AS a, t.y AS b", "2 expressions", 10},
		{"t.x AS a FROM b", "the clause FROM too", 15},
		{"DISTINCT t.x AS a", "the clause DISTINCT too", 17},
		{"count(*) AS n", "the function count() outside a subquery", 0},
		{"t.x AS a) AS b, (1", `syntax error at or near ")"`, 8},
		{"(WITH d AS (DELETE FROM x RETURNING 1) SELECT 1 FROM d) AS a", "a DELETE inside the SQL", 24},
		{"t.x AS a;", "a ; which ends the statement", 8},
	} {
		_, _, err := Item(c.sql)
		checkError(t, c.sql, err, c.found, c.offset)
	}
}

func TestType(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{"int4", "numeric(8,2)", "int4[]", "pg_catalog.text", `"My Type"`, "timestamp(3) with time zone", "interval day to second", "character varying(5)[][]", "double precision"} {
		if err := Type(sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	for _, c := range []struct {
		sql, found string
		offset     int
	}{
		{"", "nothing but white space or comments", 0},
		{"int4 AS x", "something that is not a type", 0},
		{"int4 x", "something that is not a type", 0},
		{"int4, 1", "something that is not a type", 0},
		{"int4::text", "something that is not a type", 0},
		{"int4 + 1", "something that is not a type", 0},
		{"setof int4", "something that is not a type", 0},
		{"int4 -- why", "a comment", 5},
		{"int4 FROM x", "the clause FROM too", 11},
		{"int4)", `syntax error at or near ")"`, 4},
		{"int4; DROP TABLE x", "a ; and a second statement after it", 4},
		{"numeric($1)", "the parameter $1", 8},
	} {
		checkError(t, c.sql, Type(c.sql), c.found, c.offset)
	}
}

// Made to fail: with PostgreSQL's own offsets, which begin behind the semicolon before.
func TestScript(t *testing.T) {
	t.Parallel()
	sql := " ;-- first;\nCREATE TABLE a AS SELECT ';' ;; \n DO $$ BEGIN; END $$; SET LOCAL x = 1; UPDATE a SET é = f(b)  "
	list, err := Script(sql, false)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range list {
		got = append(got, sql[s.Offset:s.End])
		if plain := s.Functions != nil || s.Subquery; s.Plain != plain {
			t.Errorf("%+v: plain", s)
		}
	}
	want := []string{"-- first;\nCREATE TABLE a AS SELECT ';'", "DO $$ BEGIN; END $$", "SET LOCAL x = 1", "UPDATE a SET é = f(b)"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestScriptRefusesWhatCannotBeRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql, found string
		offset     int
		// alone says that it is refused outside of a transaction too.
		alone bool
	}{
		{"", "nothing but white space or comments", 0, true},
		{" ; ", "nothing but white space or comments", 0, true},
		{"SELECT 1; SELECT", "", 0, false},
		{"SELECT 1; SELEC", `syntax error at or near "SELEC"`, 10, true},
		{"SELECT 1;\n-- so\nCOMMIT", "the statement COMMIT", 16, true},
		{"SAVEPOINT a", "the statement SAVEPOINT", 0, true},
		{"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "the statement SET of the whole session", 0, true},
		{"RESET ALL", "the statement RESET of the whole session", 0, true},
		{"DISCARD ALL", "the statement DISCARD", 0, true},
		{"PREPARE a AS SELECT 1", "the statement PREPARE", 0, true},
		{"COPY a FROM STDIN", "COPY with the client", 0, true},
		{"CREATE INDEX CONCURRENTLY ON a (b)", "CREATE INDEX CONCURRENTLY in a transaction", 0, false},
		{"SELECT 1; DROP INDEX CONCURRENTLY a", "DROP INDEX CONCURRENTLY in a transaction", 10, false},
		{"REINDEX INDEX CONCURRENTLY a", "REINDEX CONCURRENTLY in a transaction", 0, false},
		{"REINDEX SCHEMA a", "REINDEX of more than a table in a transaction", 0, false},
		{"VACUUM a", "VACUUM in a transaction", 0, false},
		{"CLUSTER", "CLUSTER of all tables in a transaction", 0, false},
		{"ALTER TABLE a DETACH PARTITION b CONCURRENTLY", "DETACH PARTITION CONCURRENTLY in a transaction", 0, false},
		{"CREATE DATABASE a", "CREATE or DROP DATABASE in a transaction", 0, false},
		{"ALTER SYSTEM SET work_mem = 1", "ALTER SYSTEM in a transaction", 0, false},
		{"ANALYZE a; REINDEX TABLE a; CREATE INDEX ON a (b); ALTER TABLE a DETACH PARTITION b; COPY a TO '/x'", "", 0, false},
	} {
		_, err := Script(c.sql, false)
		if c.found == "" {
			if err != nil {
				t.Errorf("%s: %v", c.sql, err)
			}
			continue
		}
		checkError(t, c.sql, err, c.found, c.offset)
		_, err = Script(c.sql, true)
		if refused := err != nil; refused != c.alone {
			t.Errorf("%s outside of a transaction: %v", c.sql, err)
		}
	}
	// What the servers know that are newer than our parser is no misspelling, and there is a way.
	if _, err := Script("ALTER TABLE a ADD b int GENERATED ALWAYS AS (c * 2) VIRTUAL", false); err == nil || !strings.Contains(err.Error(), "newer than PostgreSQL 17") || !strings.Contains(err.Error(), "EXECUTE") {
		t.Errorf("syntax of PostgreSQL 18: %v", err)
	}
	if _, err := Script("SET LOCAL x = 1", true); err == nil {
		t.Error("SET LOCAL means nothing outside of a transaction")
	}
}

// FuzzScript checks that a script is its statements and nothing else: each is one statement by itself.
func FuzzScript(f *testing.F) {
	for _, sql := range []string{"SELECT 1; SELECT 2", "-- a\nSELECT ';';;/* b */", "DO $$;$$; é", "SELECT 1;\n;\nSELECT 'é';", "COMMIT", "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 1"} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		list, err := Script(sql, true)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(sql) || e.Found == "" {
				t.Fatalf("%q: %#v says neither where nor what", sql, err)
			}
			return
		}
		last := 0
		for _, s := range list {
			if s.Offset < last || s.End <= s.Offset || s.End > len(sql) {
				t.Fatalf("%q: a statement at [%d, %d) after %d", sql, s.Offset, s.End, last)
			}
			last = s.End
			if tree, err := parseTree(sql[s.Offset:s.End] + "\n"); err != nil || len(tree.GetStmts()) != 1 {
				t.Fatalf("%q: %q is not one statement: %v", sql, sql[s.Offset:s.End], err)
			}
		}
	})
}
