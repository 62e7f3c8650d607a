package pgsql

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExpandFindsDirectives(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, sql, want string }{
		{"none", "t.id > 0", "t.id > 0"},
		{"empty", "", ""},
		{"alone", "{{range}}", "<range|>"},
		{"alias", "a AND {{range u}} AND b", "a AND <range|u> AND b"},
		{"columns", "{{ range  d.org_id , d.id }}", "<range|d.org_id , d.id>"},
		{"two", "{{scope}} OR {{range}}", "<scope|> OR <range|>"},
		{"adjacent", "{{a}}{{b}}", "<a|><b|>"},
		{"line break inside", "{{range\n u}}", "<range|u>"},
		{"quoted argument", `{{range "a}}b"}}`, `<range|"a}}b">`},
		{"after an identifier that ends in e", "namee'x\\'{{a}}", "namee'x\\'<a|>"},
		{"after a name with a dollar", "a$b$ {{a}} $b$", "a$b$ <a|> $b$"},
		{"after a parameter", "$1 {{a}}", "$1 <a|>"},
		{"after a comment", "/* {{no}} /* {{no}} */ {{no}} */ {{a}} -- {{no}}\n{{b}}", "/* {{no}} /* {{no}} */ {{no}} */ <a|> -- {{no}}\n<b|>"},
		{"a carriage return ends a line comment", "-- {{no}}\r{{a}}", "-- {{no}}\r<a|>"},
		{"operator that runs into a comment", "1 +-- {{no}}\n 2 {{a}}", "1 +-- {{no}}\n 2 <a|>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := Expand(c.sql, func(d Directive) (string, error) { return "<" + d.Name + "|" + d.Arg + ">", nil })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What PostgreSQL's lexer takes for one token is never looked into.
func TestExpandLeavesQuotedTextAlone(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{
		`'{{1,2},{3,4}}'::int[][]`,
		`'it''s {{a}}'`,
		`'back\' || 'slash {{a}}'`,
		`E'it\'s {{a}}'`,
		`e'\\' || '{{a}}'`,
		`E'a''\'{{a}}'`,
		"E'a'\n'\\'{{a}}'",
		"E'a' -- why\n  -- not\n '\\'{{a}}'",
		`U&'{{a}}'`,
		`U&"{{a}}"`,
		`"odd ""{{a}}"`,
		`$${{a}}$$`,
		`$tag$ $$ {{a}} $other$ $tag$`,
		`$é$ {{a}} $é$`,
		`'never closed {{a}}`,
		`E'never closed \`,
		`"never closed {{a}}`,
		`$$ never closed {{a}}`,
		`/* never closed {{a}} /* */`,
		`-- {{a}}`,
	} {
		got, err := Expand(sql, func(d Directive) (string, error) { return "", errors.New("found " + d.String()) })
		if err != nil || got != sql {
			t.Errorf("Expand(%s) = %s, %v", sql, got, err)
		}
	}
}

func TestExpandRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql, found string
		offset     int
	}{
		{"t.id AND {{range", "a {{ that is never closed", 9},
		{"{{range {{scope}}", "a {{ that is never closed", 0},
		{`{{range "u}}`, "a {{ that is never closed", 0},
		{"x {{}}", "the template {{}}", 2},
		{"x {{ }}", "the template {{ }}", 2},
		{"{{Range}}", "the template {{Range}}", 0},
		{"{{range(u)}}", "the template {{range(u)}}", 0},
		{"{{_}}", "the template {{_}}", 0},
	} {
		_, err := Expand(c.sql, func(Directive) (string, error) { return "", nil })
		var te *TemplateError
		if !errors.As(err, &te) {
			t.Errorf("Expand(%s): %v; expected a TemplateError", c.sql, err)
			continue
		}
		if te.Found != c.found || te.Offset != c.offset || te.Expected == "" {
			t.Errorf("Expand(%s) found %q at %d; expected %q at %d", c.sql, te.Found, te.Offset, c.found, c.offset)
		}
	}
}

func TestExpandStopsAtTheFunctionsError(t *testing.T) {
	t.Parallel()
	no := errors.New("no")
	calls := 0
	if _, err := Expand("{{a}} {{b}}", func(Directive) (string, error) { calls++; return "", no }); err != no || calls != 1 {
		t.Errorf("got %v after %d calls; expected the function's own error after one", err, calls)
	}
}

// FuzzExpand checks that nothing is lost or invented: the text around the directives and
// the directives themselves make up the fragment, and putting each back changes nothing.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"{{range}}", "a {{range u}} 'b' {{ scope }}", "E'\\'{{x}}' {{y}}", "$a$ {{x}} $a$", "/* /* */ {{x}} */ -- \n{{y}}", "{{", "{{}}", "E'a'\n--\n'\\'{{x}}'{{y}}", "a$$b {{x}} $$", `{{range "}}"}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		last := 0
		identity, err := Expand(sql, func(d Directive) (string, error) {
			if d.Offset < last || d.End > len(sql) || d.Offset >= d.End {
				t.Fatalf("directive at [%d, %d) of %q, the one before ended at %d", d.Offset, d.End, sql, last)
			}
			last = d.End
			text := sql[d.Offset:d.End]
			if !strings.HasPrefix(text, "{{") || !strings.HasSuffix(text, "}}") || !strings.Contains(text, d.Name) || !strings.Contains(text, d.Arg) {
				t.Fatalf("directive %v is not what is written: %q", d, text)
			}
			return text, nil
		})
		var te *TemplateError
		switch {
		case err == nil && identity != sql:
			t.Fatalf("%q became %q", sql, identity)
		case err != nil && (!errors.As(err, &te) || te.Offset < 0 || te.Offset >= len(sql) || te.Expected == ""):
			t.Fatalf("%q: %#v has no place in the fragment", sql, err)
		}
	})
}

// Made to fail: without the brackets (a slice's bound became a parameter), and with every colon in brackets taken for
// a slice's (ARRAY[:a] kept its name).
func TestExpandAllTellsParametersFromOtherColons(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ sql, want string }{
		{":a", "<a>"},
		{"t.x > :a AND t.y<:b", "t.x > <a> AND t.y<<b>"},
		{":a::int", "<a>::int"},
		{"now() - :a_1", "now() - <a_1>"},
		{"f(x => :a, y := :b)", "f(x => <a>, y := <b>)"},
		{"t.x::a::b", "t.x::a::b"},
		{"t.x[1:b], t.x[f(:a):b], t.x['1':b], t.x[y[1]:b]", "t.x[1:b], t.x[f(<a>):b], t.x['1':b], t.x[y[1]:b]"},
		{"t.x[:a], ARRAY[:a, :b], t.x[1: :b], t.x[(:a):(:b)]", "t.x[<a>], ARRAY[<a>, <b>], t.x[1: <b>], t.x[(<a>):(<b>)]"},
		{"':a' || E'\\':a' || $$:a$$ || \":a\" /* :a */ -- :a", "':a' || E'\\':a' || $$:a$$ || \":a\" /* :a */ -- :a"},
		{":other {{x}} :a", ":other <x> <a>"},
		{"a] :b", "a] <b>"},
		{": a", ": a"},
		{"t.x[1:2]", "t.x[1:2]"},
		{":", ":"},
	} {
		got, err := ExpandAll(c.sql, func(d Directive) (string, error) { return "<" + d.Name + ">", nil }, func(name string, at int) (string, bool) {
			if c.sql[at:at+1+len(name)] != ":"+name {
				t.Errorf("%s: %s is not at %d", c.sql, name, at)
			}
			return "<" + name + ">", name != "other"
		})
		if err != nil || got != c.want {
			t.Errorf("%s: got %s, %v; expected %s", c.sql, got, err, c.want)
		}
	}
}
