package pgparse

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The columns that the expressions below are over.
var nullsColumns = map[string]string{
	"a": "text", "b": "text", "v": "varchar", "c": "bpchar", "n": "int4", "m": "int8", "x": "numeric", "f": "float8",
	"at": "timestamptz", "raw": "bytea", "flag": "bool", "T": "text",
}

func nullsColumn(name string) string { return nullsColumns[name] }

// What can be proved is proved, with the columns that it depends on.
func TestNullsOfProves(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string][]string{
		"initcap(t.a)":                                   {"a"},
		"initcap(a) -- as shown":                         {"a"},
		"pg_catalog.lower(t.v)":                          {"v"},
		`upper(t."T")`:                                   {"T"},
		"t.a || ' ' || t.b":                              {"a", "b"},
		"lower(trim(both from t.c)) || lower(t.b)":       {"c", "b"},
		"(t.n + 1)::text":                                {"n"},
		"(t.n * t.m)::text":                              {"n", "m"},
		"abs(t.x)::text":                                 {"x"},
		"substring(t.a from 1 for 3)":                    {"a"},
		"coalesce(t.a, '')":                              nil,
		"coalesce(t.a, '') || coalesce(t.b, 'none')":     nil,
		"concat(t.a, t.n, '!')":                          nil,
		"concat_ws(' ', t.a, t.b)":                       nil,
		"encode(sha256(convert_to(t.a, 'UTF8')), 'hex')": {"a"},
		"CAST(t.at AS text)":                             {"at"},
		"lower(t.a COLLATE \"C\")":                       {"a"},
		"'x'::text || t.a":                               {"a"},
		"date_trunc('day', t.at)::text":                  {"at"},
		"upper('x'::text)":                               nil,
		"lower(t.a || t.b)":                              {"a", "b"},
		"lower((t.a || t.b) COLLATE \"C\") || t.v":       {"a", "b", "v"},
		"strpos(t.a, t.b)":                               {"a", "b"},
		"t.flag::text":                                   {"flag"},
	} {
		n, ok := NullsOf(sql, "varchar", nullsColumn)
		if !ok {
			t.Errorf("%s: not proved", sql)
		}
		if diff := cmp.Diff(want, n.Columns); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sql, diff)
		}
	}
}

// What may be NULL for another reason, or may fail where it is NULL, is not proved. Each was
// made to fail by taking it into the lists, or by leaving its condition out.
func TestNullsOfDoesNotProve(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{
		"NULL", "nullif(t.a, '')", "coalesce(t.a, t.b)", "coalesce(t.a, NULL)",
		"lower(t.r)", "t.r", "nothing", "u.a", "s.t.a", "t", "t.*", // not columns of t whose types are known
		"substring(t.a from '[0-9]+')", "substring(t.a, t.b)", "regexp_replace(t.a, 'x', 'y')",
		"to_char(t.at, 'YYYY')", "extract(hour from t.at)::text", "t.at::time::text", "to_number(t.a, '9')",
		"CASE WHEN t.a = 'x' THEN 'y' END", "(SELECT 'x')", "app.lower(t.a)", "initcap(t.a, t.b)", "left(t.a, t.m)",
		"t.a OPERATOR(app.||) t.b", "t.a || t.n", "-t.n", "t.n + t.at", "t.a::app.word", "t.a::citext", "t.a::text[]",
		"t.at::time", "t.n % 2", "concat_ws(t.a, t.b)", "concat(VARIADIC ARRAY['a', 'b'])", "lower(t.a) OVER ()",
		"lower(t.a) FILTER (WHERE true)", "t.a[1]", "current_user", "{{range}}", "$1", "lower(t.a), lower(t.b)",
		// Where a is NULL these are not NULL but an error, if b says so.
		"t.a || (1 / t.n)::text", "lower(t.a) || repeat(t.b, 3)", "t.a || coalesce((1 / t.n)::text, '')",
		"concat(1 / t.n) || t.a", "t.n + (1/0)",
		// So are these, where a and v have two collations, or one of them is not deterministic.
		"lower(t.a || t.v) || t.b", "initcap(coalesce(t.a, '') || coalesce(t.v, '')) || t.b", "upper(concat(t.a, t.v)) || t.b", "strpos(t.a, 'x')::text || t.b",
	} {
		if n, ok := NullsOf(sql, "text", nullsColumn); ok {
			t.Errorf("%s: proved, NULL where one of %v is", sql, n.Columns)
		}
	}
	for _, as := range []string{"", "json", "citext", "time", "date"} {
		if _, ok := NullsOf("t.n + 1", as, nullsColumn); ok {
			t.Errorf("t.n + 1 as %q: proved", as)
		}
	}
}

// The names that must be PostgreSQL's own are all listed, and what needs no evaluation is told from
// what does.
func TestNullsOfNames(t *testing.T) {
	t.Parallel()
	n, ok := NullsOf("pg_catalog.lower(t.a::text) || initcap(t.v::varchar)", "text", nullsColumn)
	if !ok {
		t.Fatal("not proved")
	}
	want := Nulls{Columns: []string{"a", "v"}, Functions: []string{"lower", "initcap"}, Operators: []string{"||"}, Types: []string{"text"}, Calls: 3}
	if diff := cmp.Diff(want, n); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n, ok := NullsOf("t.a", "text", nullsColumn); !ok || n.Calls != 0 {
		t.Errorf("t.a: %+v, %t", n, ok)
	}
}
