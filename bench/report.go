package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

// report is everything that one call of the benchmark found.
type report struct {
	Machine machine `json:"machine"`
	Command string  `json:"command"`
	Rows    int     `json:"rows"`
	// RowBytes is how much of the table a row takes.
	RowBytes     int           `json:"row_bytes,omitempty"`
	Seed         int64         `json:"seed"`
	Rounds       int           `json:"rounds"`
	Ways         []way         `json:"ways,omitempty"`
	Start        *starting     `json:"start,omitempty"`
	Foreground   []disturbance `json:"foreground,omitempty"`
	Targets      []target      `json:"targets"`
	Measurements []measurement `json:"measurements,omitempty"`
}

// target is what the engine should reach.
type target struct {
	Name string  `json:"name"`
	Want string  `json:"want"`
	Got  string  `json:"got"`
	Met  bool    `json:"met"`
	Size float64 `json:"measured"`
}

const mebibyte = 1 << 20

// judge compares what was measured with what was aimed at.
func (r *report) judge() {
	add := func(name, want, got string, size float64, met bool) {
		r.Targets = append(r.Targets, target{Name: name, Want: want, Got: got, Met: met, Size: size})
	}
	faster := func(w way, least float64) {
		add(w.Name+", against one UPDATE", fmt.Sprintf("≥ %.2f", least), fmt.Sprintf("%.2f", w.Ratio), w.Ratio, w.Ratio >= least)
	}
	less := func(name string, size, of int64, most float64) {
		if of > 0 {
			is := float64(size) / float64(of)
			add("its "+name+", against one UPDATE's", fmt.Sprintf("≤ %.2f", most), fmt.Sprintf("%.2f", is), is, is <= most)
		}
	}
	var peak int64
	var base way
	for _, w := range r.Ways {
		switch w.Name {
		case single:
			base = w
		case engine1:
			faster(w, 0.9)
		case engine2:
			faster(w, 1.8)
			less("WAL", w.WALBytes, base.WALBytes, 0.75)
			less("heap growth", w.HeapGrowthBytes, base.HeapGrowthBytes, 0.7)
		case byKey2:
			faster(w, 1.4)
		}
		peak = max(peak, w.ClientPeakRSSBytes)
	}
	if peak > 0 {
		add("pgbackfill's memory", "≤ 64 MiB", human.Bytes(peak), float64(peak), peak <= 64*mebibyte)
	}
	for _, d := range r.Foreground {
		if d.Name == engine2 {
			alone := r.Foreground[0].P99
			add("worst transaction of the application", "≤ 150 ms", fmt.Sprintf("%.0f ms", d.Worst), d.Worst, d.Worst <= 150)
			add("its p99, against the application alone", "≤ 4 ×", fmt.Sprintf("%.1f ×", d.P99/alone), d.P99/alone, d.P99 <= 4*alone)
		}
	}
	if r.Start != nil {
		for _, b := range []beginning{r.Start.Fresh, r.Start.Resumed} {
			add("first chunk of "+b.Case, "< 1 s", fmt.Sprintf("%.2f s", b.FirstChunk), b.FirstChunk, b.FirstChunk < 1)
		}
	}
}

// table is rows of cells, the first row its head. The first column is text, the others are numbers.
type table [][]string

func (r *report) waysTable() table {
	t := table{{"way", "seconds", "rows/s", "speed", "(rounds)", "WAL", "heap growth", "server CPU", "client CPU", "client memory"}}
	for _, w := range r.Ways {
		memory := "–"
		if w.ClientPeakRSSBytes > 0 {
			memory = human.Bytes(w.ClientPeakRSSBytes)
		}
		t = append(t, []string{
			w.Name, fmt.Sprintf("%.2f", w.Seconds), human.Count(int64(w.RowsPerSecond)), fmt.Sprintf("%.2f", w.Ratio),
			fmt.Sprintf("%.2f–%.2f", w.RatioLeast, w.RatioMost), human.Bytes(w.WALBytes), human.Bytes(w.HeapGrowthBytes),
			fmt.Sprintf("%.2f s", w.ServerCPUSeconds), fmt.Sprintf("%.2f s", w.ClientCPUSeconds), memory,
		})
	}
	return t
}

func (r *report) startTable() table {
	t := table{{"seconds from the start of the process", "a process at all", "planned and recorded", "first chunk", "worst"}}
	for _, b := range []beginning{r.Start.Fresh, r.Start.Resumed} {
		planned := "–"
		if b.Planned > 0 {
			planned = fmt.Sprintf("%.3f", b.Planned)
		}
		t = append(t, []string{b.Case, fmt.Sprintf("%.3f", b.Process), planned, fmt.Sprintf("%.3f", b.FirstChunk), fmt.Sprintf("%.3f", b.Worst)})
	}
	return t
}

func (r *report) foregroundTable() table {
	t := table{{"at work beside the application", "seconds", "transactions", "p50", "p99", "worst"}}
	for _, d := range r.Foreground {
		t = append(t, []string{
			d.Name, fmt.Sprintf("%.1f", d.Seconds), human.Count(d.Transactions), fmt.Sprintf("%.1f ms", d.P50), fmt.Sprintf("%.1f ms", d.P99), fmt.Sprintf("%.0f ms", d.Worst),
		})
	}
	return t
}

func (r *report) targetsTable() table {
	t := table{{"target", "wanted", "found", ""}}
	for _, g := range r.Targets {
		verdict := "MISS"
		if g.Met {
			verdict = "PASS"
		}
		t = append(t, []string{g.Name, g.Want, g.Got, verdict})
	}
	return t
}

// conditions say what the numbers depend on, a line each.
func (r *report) conditions() []string {
	m := r.Machine
	var settings []string
	for _, name := range slices.Sorted(maps.Keys(m.Settings)) {
		settings = append(settings, name+"="+m.Settings[name])
	}
	lines := []string{
		fmt.Sprintf("%s: PostgreSQL %s with locale %s, %s, %s", m.Date, m.PostgreSQL, m.Locale, m.Go, m.System),
		fmt.Sprintf("%s, %s, memory %s, load at the start %s", m.CPU, human.Plural(int64(m.Cores), "core"), m.Memory, m.Load),
		"server: " + strings.Join(settings, " "),
		fmt.Sprintf("%s, seed %d, %s", human.Plural(int64(r.Rows), "row"), r.Seed, human.Plural(int64(r.Rounds), "round")),
		"command: " + r.Command,
	}
	var others float64
	for _, w := range r.Ways {
		others = max(others, w.OthersShare)
	}
	if others > 0 {
		lines = append(lines, fmt.Sprintf("other processes used up to %.0f %% of a core meanwhile", 100*others))
	}
	if r.RowBytes > 0 {
		lines[3] = fmt.Sprintf("%s of %d bytes, seed %d, %s", human.Plural(int64(r.Rows), "row"), r.RowBytes, r.Seed, human.Plural(int64(r.Rounds), "round"))
	}
	return lines
}

// tables are those that there is something for.
func (r *report) tables() []table {
	var list []table
	if len(r.Ways) > 0 {
		list = append(list, r.waysTable())
	}
	if r.Start != nil {
		list = append(list, r.startTable())
	}
	if len(r.Foreground) > 0 {
		list = append(list, r.foregroundTable())
	}
	return append(list, r.targetsTable())
}

// print writes the tables for a terminal.
func (r *report) print(out io.Writer) {
	for _, line := range r.conditions() {
		fmt.Fprintln(out, line)
	}
	for _, t := range r.tables() {
		fmt.Fprint(out, "\n"+t.aligned())
	}
	if r.Start != nil {
		fmt.Fprintf(out, "\nThe rest of the run with the long ledger, to its end: %.1f s\n", r.Start.Rest)
	}
}

func (t table) widths() []int {
	widths := make([]int, len(t[0]))
	for _, row := range t {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	return widths
}

// aligned is the table with its columns under one another.
func (t table) aligned() string {
	widths := t.widths()
	var b strings.Builder
	for _, row := range t {
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			switch {
			case i == 0:
				b.WriteString(cell + space)
			default:
				b.WriteString("  " + space + cell)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// markdown is the table as Markdown has it.
func (t table) markdown() string {
	var b strings.Builder
	for i, row := range t {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|---|" + strings.Repeat("--:|", len(row)-1) + "\n")
		}
	}
	return b.String()
}

func (r *report) writeJSON(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// markdown is what goes between the marks of a document.
func (r *report) markdown() string {
	var b strings.Builder
	for _, line := range r.conditions() {
		b.WriteString("- " + line + "\n")
	}
	for _, t := range r.tables() {
		b.WriteString("\n" + t.markdown())
	}
	if len(r.Ways)+len(r.Foreground) > 0 {
		b.WriteString("\n")
	}
	for _, w := range r.Ways {
		fmt.Fprintf(&b, "- *%s*: %s.\n", w.Name, w.How)
	}
	for _, d := range r.Foreground {
		fmt.Fprintf(&b, "- *%s*: %s.\n", d.Name, d.How)
	}
	if r.Start != nil {
		fmt.Fprintf(&b, "\nThe rest of the run with the long ledger, to its end, took %.1f s.\n", r.Start.Rest)
	}
	return b.String()
}

// writeMarkdown puts the tables between the marks of a document that already has them.
func (r *report) writeMarkdown(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	mark := "compare"
	switch {
	case r.Start != nil:
		mark = "start"
	case len(r.Foreground) > 0:
		mark = "foreground"
	}
	begin, end := "<!-- bench "+mark+" -->\n", "<!-- /bench "+mark+" -->\n"
	before, rest, found := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return fmt.Errorf("%s has no lines %q and %q for the tables to stand between", path, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(path, []byte(before+begin+r.markdown()+end+after), 0o644)
}
