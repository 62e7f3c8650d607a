package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSummarise(t *testing.T) {
	t.Parallel()
	list := []trial{{name: single}, {name: engine1, how: "how"}, {name: "new", offline: true}}
	hot := func(share float64) *float64 { return &share }
	all := []measurement{
		{Way: single, Round: 1, Seconds: 10, WALBytes: 100, HeapGrowthBytes: 1},
		{Way: single, Round: 2, Seconds: 12, WALBytes: 102, HeapGrowthBytes: 1},
		{Way: single, Round: 3, Seconds: 40, WALBytes: 300, HeapGrowthBytes: 1},
		{Way: engine1, Round: 1, Seconds: 20, WALBytes: 50, ClientPeakRSSBytes: 7, ClientCPUSeconds: 1, HOTShare: hot(0)},
		{Way: engine1, Round: 2, Seconds: 6, WALBytes: 70, ClientPeakRSSBytes: 9, ClientCPUSeconds: 3, HOTShare: hot(0.75)},
		{Way: engine1, Round: 3, Seconds: 16, WALBytes: 60, ClientPeakRSSBytes: 8, ClientCPUSeconds: 2, HOTShare: hot(0.5)},
		{Way: "new", Round: 1, Seconds: 5, IndexGrowthBytes: 4},
		{Way: "new", Round: 2, Seconds: 6, IndexGrowthBytes: 6},
	}
	want := []way{
		{Name: single, Seconds: 12, RowsPerSecond: 100, Ratio: 1, RatioLeast: 1, RatioMost: 1, WALBytes: 102, HeapGrowthBytes: 1},
		{Name: engine1, How: "how", Seconds: 16, RowsPerSecond: 75, Ratio: 0.75, RatioLeast: 0.5, RatioMost: 2.5, WALBytes: 60, ClientCPUSeconds: 2, ClientPeakRSSBytes: 9, HOTShare: hot(0.5)},
		{Name: "new", Offline: true, Seconds: 5.5, RowsPerSecond: 1200 / 5.5, Ratio: 12 / 5.5, RatioLeast: 2, RatioMost: 2, IndexGrowthBytes: 5},
	}
	if diff := cmp.Diff(want, summarise(list, 1200, all)); diff != "" {
		t.Error(diff)
	}
}

// A target that was missed says so, and how much was missing.
func TestTargets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		r    result
		want []string
	}{
		"compare": {
			result{Part: "compare", Table: "sequential", Ways: []way{
				{Name: single, Seconds: 10, WALBytes: 100, HeapGrowthBytes: 100},
				{Name: engine2, Seconds: 5.6, ClientPeakRSSBytes: 65 * mebibyte, WALBytes: 75, HeapGrowthBytes: 71},
				{Name: byKey2, Seconds: 6.5},
				{Name: floor, Seconds: 4.4},
			}},
			[]string{
				"speed of pgbackfill, of that of one UPDATE, ≥ 1.80, 1.79, not met",
				"WAL of pgbackfill, of that of one UPDATE, ≤ 0.75, 0.75, met",
				"heap growth of pgbackfill, of that of one UPDATE, ≤ 0.70, 0.71, not met",
				"speed of pgbackfill, of that of new table (floor), ≥ 0.80, 0.79, not met",
				"speed of pgbackfill by key, 2 workers, of that of one UPDATE, ≥ 1.45, 1.54, met",
				"memory of pgbackfill, ≤ 64 MiB, 65.0 MiB, not met",
			},
		},
		"start": {
			result{Start: &starting{Fresh: beginning{Case: "new", FirstChunk: 0.99}, Resumed: beginning{Case: "resumed", FirstChunk: 1}}},
			[]string{"first chunk of new, < 1 s, 0.99 s, met", "first chunk of resumed, < 1 s, 1.00 s, not met"},
		},
		"foreground": {
			result{Foreground: []disturbance{{Name: idle, P99: 2, Worst: 3}, {Name: engine2, P99: 8.2, Worst: 150}}},
			[]string{"worst transaction of the application, ≤ 150 ms, 150 ms, met", "its p99, against the application alone, ≤ 4 ×, 4.1 ×, not met"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			partNamed(name).targets(&c.r)
			var got []string
			for _, row := range targetsGrid(c.r.Targets)[1:] {
				got = append(got, strings.Join(row, ", "))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGrid(t *testing.T) {
	t.Parallel()
	list := grid{{"way", "n"}, {"é", "10"}, {"long", "5"}}
	if got, want := list.aligned(), "way    n\né     10\nlong   5\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := list.markdown(), "| way | n |\n|---|--:|\n| é | 10 |\n| long | 5 |\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// A column of which nothing was measured is left out, one of which something was says where not.
	for _, c := range []struct {
		ways []way
		want bool
	}{{[]way{{Name: "a"}}, false}, {[]way{{Name: "a"}, {Name: "b", ServerCPUSeconds: 2}}, true}} {
		if got := strings.Contains(waysGrid(c.ways).markdown(), "server CPU"); got != c.want {
			t.Errorf("%+v: a column for the server's processor: %v", c.ways, got)
		}
	}
}

// The document is put together from what was kept at any time, every part in its place, and the rest of it stays as it is.
func TestRender(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "measured")
	for _, r := range []result{
		{Part: "compare", Table: "wide", Ways: []way{{Name: "a way", How: "how it goes"}}},
		{Part: "compare", Table: "random", Ways: []way{{Name: "a way", How: "how it goes"}}},
		{Part: "start", Start: &starting{}, Targets: []target{{Name: "a target", Want: "1", Got: "2"}}},
	} {
		if err := r.save(dir); err != nil {
			t.Fatal(err)
		}
	}
	page := "Before.\n<!-- bench targets -->\n<!-- /bench targets -->\n<!-- bench compare -->\nold\n<!-- /bench compare -->\nBetween.\n<!-- bench start -->\n<!-- /bench start -->\n<!-- bench foreground -->\nkept\n<!-- /bench foreground -->\nAfter.\n"
	if err := os.WriteFile(dir+".md", []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run([]string{"-render", "-out", dir}, os.Stderr, os.Stderr); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	got, err := os.ReadFile(dir + ".md")
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, want := range []string{"Before.\n", "| start | a target | 1 | 2 | not met |", "### random", "a way", "### wide", "how it goes", "Between.\n", "first chunk", "kept\n", "After.\n"} {
		i := strings.Index(string(got)[at:], want)
		if i < 0 {
			t.Fatalf("no %q where it should be in:\n%s", want, got)
		}
		at += i
	}
	if strings.Contains(string(got), "old\n") || strings.Count(string(got), "how it goes") != 1 {
		t.Errorf("the document became:\n%s", got)
	}
	if err := os.WriteFile(dir+".md", []byte("a document without marks\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if render(dir) == nil {
		t.Error("a document without marks was overwritten")
	}
}

// The project's own document has a place for every part.
func TestDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(parts(), part{name: summary}) {
		if _, err := between(text, "docs/benchmarks.md", p.name, ""); err != nil {
			t.Error(err)
		}
	}
}
