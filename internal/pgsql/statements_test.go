package pgsql_test

import (
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

var (
	id = pgsql.KeyColumn{Name: "id", Type: "bigint", Less: "pg_catalog.<", LessEqual: "pg_catalog.<=", Equal: "pg_catalog.=", GreaterEqual: "pg_catalog.>=", Greater: "pg_catalog.>"}
	// code is nullable, has a collation of its own, and its name needs quotes.
	code = pgsql.KeyColumn{Name: `Co"de`, Type: "character(5)", Collation: `"pg_catalog"."C"`, Less: "pg_catalog.<", LessEqual: "pg_catalog.<=", Equal: "pg_catalog.=", GreaterEqual: "pg_catalog.>=", Greater: "pg_catalog.>", Nullable: true}
	// pattern is ordered by another operator class, so no row comparison says (id, pattern) > (…).
	pattern = pgsql.KeyColumn{Name: "path", Type: "text", Collation: `"pg_catalog"."default"`, Less: "pg_catalog.~<~", LessEqual: "pg_catalog.~<=~", Equal: "pg_catalog.=", GreaterEqual: "pg_catalog.~>=~", Greater: "pg_catalog.~>~"}
)

func walk(key ...pgsql.KeyColumn) pgsql.Walk { return pgsql.Walk{Table: `"public"."users"`, Key: key} }

// proof is both questions of a change's proof.
func proof(c pgsql.Change, r pgsql.Range, values bool) func() ([]pgsql.Statement, error) {
	return func() ([]pgsql.Statement, error) {
		p := pgsql.Part{Range: r, Reading: true}
		count, err := c.Proof(p)
		if err != nil {
			return nil, err
		}
		wrong, err := c.Wrong(p, 10, values)
		return []pgsql.Statement{count, wrong}, err
	}
}

func one1(s pgsql.Statement) func() ([]pgsql.Statement, error) {
	return func() ([]pgsql.Statement, error) { return []pgsql.Statement{s}, nil }
}

// A range that names other columns must name as many as the key has.
func TestRangeOverOtherColumns(t *testing.T) {
	t.Parallel()
	c := pgsql.Change{Scope: pgsql.Scope{Walk: walk(id, code)}, Set: []pgsql.SetColumn{{Name: "x", Type: "text", Expr: "'{{range}}' || (SELECT max(d.v) FROM d WHERE {{range d.user_id}})"}}}
	_, err := c.Statements(pgsql.Part{})
	if err == nil || !strings.Contains(err.Error(), "names 1 columns; expected 2") {
		t.Fatalf("a range over one column of a two-column key was accepted: %v", err)
	}
}

// Array parameters carry any text: quotes, backslashes, braces, commas, what looks like NULL, nothing.
func TestTextArray(t *testing.T) {
	t.Parallel()
	got := string(pgsql.TextArray([]string{`a"b`, `c\d`, `{,}`, `NULL`, ``}))
	if want := `{"a\"b","c\\d","{,}","NULL",""}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if pgsql.TextArray(nil) != nil {
		t.Error("a nil slice is NULL, not an empty array")
	}
}

func one2(s pgsql.Statement, err error) func() ([]pgsql.Statement, error) {
	return func() ([]pgsql.Statement, error) { return []pgsql.Statement{s}, err }
}
