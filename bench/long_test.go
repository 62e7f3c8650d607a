//go:build long

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The tables that TestCompare leaves out.
func TestCompareTheOtherTables(t *testing.T) {
	t.Parallel()
	kept := compared(t, "sequential", "indexed", "fillfactor", "wide", "sparse")
	if n := len(kept["compare-sequential"].Targets); n != 7 {
		t.Errorf("%d targets of the sequential table", n)
	}
}

// The application is watched beside what others do, too.
func TestForegroundOfOthers(t *testing.T) {
	t.Parallel()
	_, kept, _ := bench(t, "-only", "foreground")
	if r := kept["foreground"]; len(r.Foreground) != len(works()) {
		t.Errorf("result: %+v", r)
	}
}

// Growth is told with what it predicts, and a longer way to the server with what is spent on it whatever the table.
func TestGrowth(t *testing.T) {
	t.Parallel()
	_, kept, dir := bench(t, "-only", "growth")
	r := kept["growth"]
	if len(r.Ways) != 4 || len(r.Notes) != 2 || !strings.Contains(r.Notes[0], "1 000 000 000 rows take") || len(r.Measurements) != 4 {
		t.Errorf("growth: %+v", r)
	}
	if svg, err := os.ReadFile(filepath.Join(dir, "growth-light.svg")); err != nil || !strings.Contains(string(svg), "</svg>") {
		t.Error("the picture:", err)
	}
	_, kept, _ = bench(t, "-only", "latency", "-way", far)
	l := kept["latency"]
	here, measured := l.way(near)
	there, distant := l.way(far)
	if !measured || !distant || there.Seconds < here.Seconds+0.1 || len(l.Targets) != 1 || l.Targets[0].Met || len(l.Notes) != 1 {
		t.Errorf("latency: %+v", l)
	}
}

// The parts in which one setting is turned, and all settings beside the planner's choice.
func TestDials(t *testing.T) {
	t.Parallel()
	_, kept, dir := bench(t, "-only", "choice,workers,chunk", "-table", "scoped")
	for name, want := range map[string]int{"choice-scoped": 7, "workers": 5, "chunk": 12} {
		if r := kept[name]; len(r.Ways) != want {
			t.Errorf("%s: %d ways", name, len(r.Ways))
		}
	}
	page, err := os.ReadFile(dir + ".md")
	if err != nil || strings.Count(string(page), "<picture>") != 2 {
		t.Errorf("%v, pictures in:\n%s", err, page)
	}
}
