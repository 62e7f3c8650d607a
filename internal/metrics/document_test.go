package metrics

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the names into docs/metrics.md")

const (
	page      = "../../docs/metrics.md"
	dashboard = "../../docs/grafana/pgbackfill.json"
	namesFrom = "its tests -->\n"
	namesTo   = "<!-- end of names -->"
)

// table is what docs/metrics.md says of the names.
func table() string {
	var b strings.Builder
	b.WriteString("| name | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		labels := "–"
		if len(f.labels) > 0 {
			labels = "`" + strings.Join(f.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, f.kind, labels, f.help)
	}
	return b.String()
}

// Made to fail: with a help text changed, and with a metric added, in the code alone.
func TestPageNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(text), namesFrom)
	said, after, ended := strings.Cut(rest, namesTo)
	if !begun || !ended {
		t.Fatalf("%s has no place for the names", page)
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+namesFrom+table()+namesTo+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if said != table() {
		t.Errorf("%s says\n%s\nexpected\n%s\nwrite it with: go test ./internal/metrics -update", page, said, table())
	}
	checkNames(t, page, before+after)
}

// ours finds names of ours in PromQL and prose.
var ours = regexp.MustCompile(namespace + `_[a-z_]+[a-z]`)

// checkNames complains about names that are of no metric. It returns those that are.
func checkNames(t *testing.T, where, text string) []string {
	t.Helper()
	var found []string
	for _, name := range ours.FindAllString(text, -1) {
		known := slices.ContainsFunc(families, func(f *family) bool {
			if f.kind == histogram {
				return slices.Contains([]string{f.name + "_bucket", f.name + "_sum", f.name + "_count"}, name)
			}
			return f.name == name
		})
		if !known {
			t.Errorf("%s speaks of %s, which there is not", where, name)
			continue
		}
		found = append(found, name)
	}
	return found
}

// label finds the matchers and groupings of PromQL.
var (
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping = regexp.MustCompile(`\bby\s*\(([^)]*)\)`)
)

// panel is a panel of a Grafana dashboard, or a row of them.
type panel struct {
	ID      int     `json:"id"`
	Title   string  `json:"title"`
	Type    string  `json:"type"`
	Panels  []panel `json:"panels"`
	GridPos struct{ H, W, X, Y int }
	Targets []struct {
		Expr  string `json:"expr"`
		RefID string `json:"refId"`
	} `json:"targets"`
}

// A dashboard asks for what there is, by labels that there are; every panel asks for something, and none hides another.
//
// Made to fail: with a name misspelt, a panel without a query, a label that no metric has, and two panels at one place.
func TestDashboardAsksForWhatThereIs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Title, UID string
		Panels     []panel
		Templating struct {
			List []struct{ Name, Query string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.Title == "" || d.UID == "" {
		t.Error("it has no title or no uid")
	}
	labels := map[string]bool{"le": true, "instance": true}
	for _, f := range families {
		for _, l := range f.labels {
			labels[l] = true
		}
	}
	for _, v := range d.Templating.List {
		checkNames(t, "the variable "+v.Name, v.Query)
	}
	used := map[string]bool{}
	ids := map[int]string{}
	var panels []panel
	for _, p := range d.Panels {
		panels = append(append(panels, p), p.Panels...)
	}
	for i, p := range panels {
		if before, twice := ids[p.ID]; twice {
			t.Errorf("%q and %q have the same id", p.Title, before)
		}
		ids[p.ID] = p.Title
		for _, q := range panels[:i] {
			a, b := p.GridPos, q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%q lies over %q", p.Title, q.Title)
			}
		}
		if p.Type == "row" || p.Type == "text" {
			continue
		}
		if len(p.Targets) == 0 {
			t.Errorf("%q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			found := checkNames(t, fmt.Sprintf("%q", p.Title), target.Expr)
			if len(found) == 0 {
				t.Errorf("%q asks for nothing of ours: %q", p.Title, target.Expr)
			}
			for _, name := range found {
				used[strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")] = true
			}
			for _, l := range labelsIn(target.Expr) {
				if !labels[l] {
					t.Errorf("%q asks by the label %s, which there is not: %s", p.Title, l, target.Expr)
				}
			}
		}
	}
	if len(panels) < 10 || len(used) < 20 {
		t.Errorf("%d panels with %d metrics: it was not read", len(panels), len(used))
	}
}

func labelsIn(expr string) []string {
	var list []string
	for _, m := range matcher.FindAllStringSubmatch(expr, -1) {
		list = append(list, m[1])
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			list = append(list, strings.TrimSpace(l))
		}
	}
	return list
}

// The page speaks of files that are there.
func TestPageLeadsToTheDashboard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(page), "grafana/pgbackfill.json")); err != nil || !strings.Contains(string(text), "](grafana/pgbackfill.json)") {
		t.Errorf("%v", err)
	}
}
