package jobs

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// In every style of YAML, the place of a character of the value is where it stands in the file.
func TestPlaceWithinValue(t *testing.T) {
	t.Parallel()
	for name, src := range map[string]string{
		"plain":               "a: one @ two\n",
		"plain, folded":       "a: one\n  two\n  @ three\n",
		"single":              "a: 'it''s ''@'' here'\n",
		"double":              `a: "\ttab \x41\u00e9 \"@\" x"` + "\n",
		"double, folded":      "a: \"one \\\n  two\n\n  @\"\n",
		"literal":             "a: |\n  one\n    two\n\n  é @ x\n",
		"literal, blank head": "a: |\n\n\n  one @\n",
		"literal, indented":   "a: |2-\n    one\n  @ two\n",
		"folded":              "a: >+  # why\n  one\n  two\n\n   more\n  @\n\n",
		"windows":             "a: |\r\n  one\r\n  @ x\r\n",
		"flow":                "a: {b: [x, 'é @']}\n",
		"second line":         "# é\nb: 1\na: @x\n",
	} {
		if name == "second line" {
			src = strings.Replace(src, "a: @x", "a: x@x", 1)
		}
		s := newSource([]byte(src))
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(src), &doc); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		n := holder(&doc)
		if n == nil {
			t.Fatalf("%s: no scalar holds the mark", name)
		}
		got := s.within(n, strings.Index(n.Value, "@"))
		want := s.place(strings.Index(strings.ReplaceAll(src, "é", "e"), "@"))
		if got != want {
			t.Errorf("%s: %v; expected %v", name, got, want)
		}
		end := s.within(n, len(n.Value))
		if end.line < want.line || end.line == want.line && end.column <= want.column {
			t.Errorf("%s: the end at %v, before the mark at %v", name, end, want)
		}
	}
}

// holder is the scalar with the mark.
func holder(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "@") {
		return n
	}
	for _, c := range n.Content {
		if h := holder(c); h != nil {
			return h
		}
	}
	return nil
}
