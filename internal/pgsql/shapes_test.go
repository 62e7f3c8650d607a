package pgsql_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	id = pgsql.KeyColumn{Name: "id", Type: "bigint", Less: "pg_catalog.<", LessEqual: "pg_catalog.<=", Equal: "pg_catalog.=", GreaterEqual: "pg_catalog.>=", Greater: "pg_catalog.>"}
	// code is nullable, has a collation of its own, and its name needs quotes.
	code = pgsql.KeyColumn{Name: `Co"de`, Type: "character(5)", Collation: `"pg_catalog"."C"`, Less: "pg_catalog.<", LessEqual: "pg_catalog.<=", Equal: "pg_catalog.=", GreaterEqual: "pg_catalog.>=", Greater: "pg_catalog.>", Nullable: true}
	// pattern is ordered by another operator class, so no row comparison says (id, pattern) > (…).
	pattern = pgsql.KeyColumn{Name: "path", Type: "text", Collation: `"pg_catalog"."default"`, Less: "pg_catalog.~<~", LessEqual: "pg_catalog.~<=~", Equal: "pg_catalog.=", GreaterEqual: "pg_catalog.~>=~", Greater: "pg_catalog.~>~"}
)

func walk(key ...pgsql.KeyColumn) pgsql.Walk { return pgsql.Walk{Table: `"public"."users"`, Key: key} }

// Every shape of statement is held against a file that a person has read: `go test
// ./internal/pgsql -update` writes them, and the difference is reviewed.
func TestShapes(t *testing.T) {
	t.Parallel()
	one := pgsql.Range{After: []string{"41"}, Through: []string{"77"}}
	two := pgsql.Range{After: []string{"41", "a,b"}, Through: []string{"77", ""}}
	set := []pgsql.SetColumn{
		{Name: "display_name", Type: "character varying(40)", Bare: "character varying", Compare: pgsql.CompareCollateC, Expr: "initcap(t.full_name) -- as shown"},
		{Name: "price", Type: "numeric(8,2)", Bare: "numeric", Compare: pgsql.CompareImage, Expr: "t.cents / 100.0"},
		{Name: "seen", Type: "bigint", Bare: "bigint", Compare: pgsql.CompareIdentity, Expr: "t.seen + 1"},
	}
	plain := pgsql.Change{Walk: walk(id), Set: set[:1]}
	guarded := pgsql.Change{Walk: walk(id), Set: set, SkipUnchanged: true}
	scoped := guarded
	scoped.Where = "t.full_name ~ '^[a-z]' -- only names"
	sweep := scoped
	sweep.Sweep = 7
	joined := pgsql.Change{
		Walk: walk(id, code), Set: set[:2], Where: "t.display_name IS NULL", SkipUnchanged: true, LockFirst: true,
		From: "(SELECT p.user_id, p.code FROM posts p WHERE {{range p.user_id, p.code}} AND {{scope}}) p", Join: "p.user_id = t.id",
	}
	joined.Partitioned = true
	alone := pgsql.Change{Walk: walk(id), Set: set[:1], LockFirst: true}
	whole := joined
	whole.Set, whole.WholeRow = []pgsql.SetColumn{{Name: "doc", Type: "jsonb", Bare: "jsonb", Compare: pgsql.CompareImage, Expr: "to_jsonb(t)"}}, []string{"id", `Co"de`, "doc"}
	joinedSweep := joined
	joinedSweep.Sweep = 7

	shapes := map[string]func() ([]pgsql.Statement, error){
		"boundary":             one1(walk(id).Boundary(one, 1000)),
		"boundary_open":        one1(walk(id).Boundary(pgsql.Range{Through: []string{"77"}}, 1000)),
		"boundary_composite":   one1(walk(id, code).Boundary(two, 1000)),
		"boundary_mixed_order": one1(walk(id, pattern).Boundary(two, 1000)),
		"bounds_sample":        one1(walk(id, code).Bounds(walk(id, code).Sampled(2.5), 16)),
		"bounds_histogram":     one1(walk(code).Bounds(walk(code).Histogram("public", "users"), 16)),
		"bounds_spread":        one1(walk(id).Bounds(walk(id).Spread(16), 16)),
		"last":                 one1(walk(id, code).Last(pgsql.Range{After: []string{"41", "x"}})),
		"count":                one1(walk(id, code).Count(two)),
		"count_nulls":          one1(walk(id, code).Count(pgsql.Range{Nulls: true})),
		"settings":             one1(pgsql.SetLocal(pgsql.JobPins(`"$user", public`, map[string]string{"timezone": "Europe/Berlin", "work_mem": "64MB"})...)),
		"settings_key":         one1(pgsql.SetLocal(pgsql.KeyPins()...)),
		"writers":              one1(pgsql.Writers(16384)),
		"update_plain":         func() ([]pgsql.Statement, error) { return plain.Statements(one) },
		"update_guarded":       func() ([]pgsql.Statement, error) { return guarded.Statements(one) },
		"update_scoped":        func() ([]pgsql.Statement, error) { return scoped.Statements(one) },
		"update_nulls": func() ([]pgsql.Statement, error) {
			return pgsql.Change{Walk: walk(id, code), Set: set[:1]}.Statements(pgsql.Range{Nulls: true})
		},
		"update_sweep":        func() ([]pgsql.Statement, error) { return sweep.Statements(one) },
		"update_joined":       func() ([]pgsql.Statement, error) { return joined.Statements(two) },
		"update_joined_sweep": func() ([]pgsql.Statement, error) { return joinedSweep.Statements(two) },
		"update_whole_row":    func() ([]pgsql.Statement, error) { return whole.Statements(two) },
		"update_locked_alone": func() ([]pgsql.Statement, error) { return alone.Statements(one) },
		"check": func() ([]pgsql.Statement, error) {
			s, err := joined.Check()
			return []pgsql.Statement{s}, err
		},
	}
	for name, build := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			statements, err := build()
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, s := range statements {
				fmt.Fprintf(&b, "-- %s\n%s;\n", s.Name, s.SQL)
				for i, a := range s.Args {
					fmt.Fprintf(&b, "-- $%d = %q\n", i+1, a)
				}
			}
			file := filepath.Join("testdata", "shapes", name+".sql")
			if *update {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("%s has changed (-golden +now):\n%s", file, diff)
			}
		})
	}
}

func one1(s pgsql.Statement) func() ([]pgsql.Statement, error) {
	return func() ([]pgsql.Statement, error) { return []pgsql.Statement{s}, nil }
}

// A range that names other columns must name as many as the key has.
func TestRangeOverOtherColumns(t *testing.T) {
	t.Parallel()
	c := pgsql.Change{Walk: walk(id, code), Set: []pgsql.SetColumn{{Name: "x", Type: "text", Expr: "'{{range}}' || (SELECT max(d.v) FROM d WHERE {{range d.user_id}})"}}}
	_, err := c.Statements(pgsql.Range{})
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
