package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

// conditions say what the numbers depend on, a line each.
func (r *result) conditions() []string {
	m := r.Machine
	where := fmt.Sprintf("%s, %s, memory %s, load at the start %s", m.CPU, human.Plural(int64(m.Cores), "core"), m.Memory, m.Load)
	if m.Elsewhere {
		where = "client: " + where + "; the server's machine is not known"
	}
	rows := human.Plural(int64(r.Rows), "row")
	if r.RowBytes > 0 {
		rows += fmt.Sprintf(" of %d bytes", r.RowBytes)
	}
	lines := []string{
		fmt.Sprintf("%s: PostgreSQL %s with locale %s, %s, %s", m.Date, m.PostgreSQL, m.Locale, m.Go, m.System), where,
		"server: " + settingsText(m.Settings),
		fmt.Sprintf("%s, seed %d, %s", rows, r.Seed, human.Plural(int64(r.Rounds), "round")),
		"command: `" + r.Command + "`",
	}
	var others float64
	for _, w := range r.Ways {
		others = max(others, w.OthersShare)
	}
	if others > 0 {
		lines = append(lines, fmt.Sprintf("other processes used up to %.0f %% of a core meanwhile", 100*others))
	}
	for _, text := range r.Missing {
		lines = append(lines, "not measured, or not as meant: "+text)
	}
	return lines
}

// settingsText is settings in the order of their names.
func settingsText(settings map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		list = append(list, name+"="+settings[name])
	}
	return strings.Join(list, " ")
}

// grids are the tables that there is something for.
func (r *result) grids() []grid {
	var list []grid
	if len(r.Ways) > 0 {
		list = append(list, waysGrid(r.Ways))
	}
	if r.Start != nil {
		list = append(list, r.Start.grid(), r.Start.planningGrid())
	}
	if len(r.Foreground) > 0 {
		list = append(list, foregroundGrid(r.Foreground))
	}
	if len(r.Tripwire) > 0 {
		list = append(list, tripwireGrid(r.Tripwire))
	}
	if len(r.Targets) > 0 {
		list = append(list, targetsGrid(r.Targets))
	}
	return list
}

// print writes a result for a terminal.
func (r *result) print(out io.Writer) {
	fmt.Fprintf(out, "\n== %s ==\n", r.name())
	for _, line := range r.conditions() {
		fmt.Fprintln(out, line)
	}
	for _, g := range r.grids() {
		fmt.Fprint(out, "\n"+g.aligned())
	}
	for _, text := range r.Notes {
		fmt.Fprintln(out, "\n"+text)
	}
}

// markdown is a result as the document has it.
func (r *result) markdown() string {
	var b strings.Builder
	if partNamed(r.Part).tabled {
		t, err := tableNamed(r.Table)
		if err != nil {
			t.about = r.Table
		}
		fmt.Fprintf(&b, "### %s: %s\n\n", r.Table, t.about)
	}
	for _, line := range r.conditions() {
		b.WriteString("- " + line + "\n")
	}
	for _, g := range r.grids() {
		b.WriteString("\n" + g.markdown())
	}
	for _, text := range r.Notes {
		b.WriteString("\n" + text + ".\n")
	}
	return b.String()
}

// notes say of every way what it does, once for all results of a part.
func notes(list []*result) string {
	var b strings.Builder
	seen := map[string]bool{}
	note := func(name, how string) {
		if !seen[name] && how != "" {
			seen[name] = true
			fmt.Fprintf(&b, "- *%s*: %s.\n", name, how)
		}
	}
	for _, r := range list {
		for _, w := range r.Ways {
			note(w.Name, w.How)
		}
		for _, d := range r.Foreground {
			note(d.Name, d.How)
		}
	}
	return b.String()
}

// render puts the document together from what is kept in a folder: what stands between the marks of a part becomes what was
// measured of it. A document that is not there yet is begun.
func render(dir string) error {
	path := strings.TrimSuffix(dir, "/") + ".md"
	list, err := load(dir)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte(blank()), nil
	}
	if err != nil {
		return err
	}
	if text, err = between(text, path, summary, summaryGrid(list).markdown()); err != nil {
		return err
	}
	for _, p := range parts() {
		of := slices.DeleteFunc(slices.Clone(list), func(r *result) bool { return r.Part != p.name })
		if len(of) == 0 {
			continue
		}
		var b strings.Builder
		for _, picture := range picturesOf(p.name, of) {
			shown, err := picture.save(dir)
			if err != nil {
				return err
			}
			b.WriteString(shown + "\n")
		}
		for i, r := range of {
			if i > 0 {
				b.WriteString("\n")
			}
			b.WriteString(r.markdown())
		}
		if n := notes(of); n != "" {
			b.WriteString("\n" + n)
		}
		if text, err = between(text, path, p.name, b.String()); err != nil {
			return err
		}
	}
	return os.WriteFile(path, text, 0o644)
}

// summary is the place in a document of all targets at once.
const summary = "targets"

// summaryGrid has a row for each target of all that was measured.
func summaryGrid(list []*result) grid {
	g := grid{{"measured", "target", "wanted", "found", ""}}
	for _, r := range list {
		for _, row := range targetsGrid(r.Targets)[1:] {
			g = append(g, append([]string{strings.ReplaceAll(r.name(), "-", ", ")}, row...))
		}
	}
	return g
}

// marks are the lines that a part stands between in a document.
func marks(name string) (begin, end string) {
	return "<!-- bench " + name + " -->\n", "<!-- /bench " + name + " -->\n"
}

// between puts a text between the marks of a part.
func between(text []byte, path, name, part string) ([]byte, error) {
	begin, end := marks(name)
	before, rest, found := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return nil, fmt.Errorf("%s has no lines %q and %q for the tables to stand between", path, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return []byte(before + begin + part + end + after), nil
}

// blank is a document in which nothing was measured yet.
func blank() string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nPut together by pgbackfill's benchmark; docs/benchmarks.md of the project says how it measures.\n")
	begin, end := marks(summary)
	b.WriteString("\n## Targets\n\n" + begin + end)
	for _, p := range parts() {
		begin, end = marks(p.name)
		fmt.Fprintf(&b, "\n## %s\n\n%s%s", p.title, begin, end)
	}
	return b.String()
}
