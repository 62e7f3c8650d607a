package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// FuzzParse checks that any bytes are either jobs or errors with a place in the file, and
// that a job, written down again in the plainest form, is the same job.
func FuzzParse(f *testing.F) {
	for _, folder := range []string{"valid", "invalid", "later", "invalid-later", "corpus"} {
		for _, src := range files(f, folder) {
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		jobs, err := parse("f.yaml", src, true)
		if err != nil {
			checkPlaces(t, src, err)
			return
		}
		var b strings.Builder
		for _, job := range jobs {
			b.WriteString(render(job))
		}
		again, err := parse("f.yaml", []byte(b.String()), true)
		if err != nil {
			t.Fatalf("written down again:\n%s\n%v", b.String(), err)
		}
		if diff := cmp.Diff(jobs, again, cmpopts.EquateEmpty(), cmp.FilterPath(isLine, cmp.Ignore())); diff != "" {
			t.Fatalf("written down again:\n%s\n%s", b.String(), diff)
		}
		for i := range jobs {
			if jobs[i].Hash() != again[i].Hash() {
				t.Fatalf("job %d has another hash", i)
			}
		}
	})
}

// checkPlaces checks that each error has a place that is in the file, in the order of the file.
func checkPlaces(t *testing.T, src []byte, err error) {
	t.Helper()
	var list Errors
	if !errors.As(err, &list) || len(list) == 0 {
		t.Fatalf("%v are not Errors", err)
	}
	s := newSource([]byte(strings.TrimPrefix(string(src), "\xef\xbb\xbf")))
	last := place{}
	for _, e := range list {
		parts := strings.Split(e.Place, ":")
		if len(parts) != 3 || e.Found == "" || !errors.Is(e, backfill.ErrInput) {
			t.Fatalf("%v says neither where nor what", e)
		}
		line, err1 := strconv.Atoi(parts[1])
		column, err2 := strconv.Atoi(parts[2])
		if err1 != nil || err2 != nil || line < 1 || column < 1 || line > len(s.starts) || column > utf8.RuneCountInString(s.line(line))+1 {
			t.Fatalf("%v is not in the file of %d lines", e, len(s.starts))
		}
		if line < last.line || line == last.line && column < last.column {
			t.Fatalf("%v comes after %v", e, last)
		}
		last = place{line, column}
	}
}

// isLine matches the places in the file, which another style has elsewhere.
func isLine(p cmp.Path) bool { return p.Last().String() == ".Line" }

// render writes a job as YAML: one JSON object a document, which YAML reads as well, but for the pace.
func render(job backfill.Job) string {
	var b strings.Builder
	b.WriteString("---\n")
	field := func(name string, given bool, value any) {
		if given {
			fmt.Fprintf(&b, "%s: %s\n", name, asJSON(value))
		}
	}
	table := `"` + strings.ReplaceAll(job.Table.Name, `"`, `""`) + `"`
	if job.Table.Schema != "" {
		table = `"` + strings.ReplaceAll(job.Table.Schema, `"`, `""`) + `".` + table
	}
	if job.WalkHelper != "" {
		table = "{{helper " + job.WalkHelper + "}}"
	}
	field("name", true, job.Name)
	field("description", job.Description != "", job.Description)
	field("table", true, table)
	field("key", len(job.Key) > 0, job.Key)
	field("walk", job.Walk != "", job.Walk)
	if job.Where != nil {
		field("where", true, job.Where.SQL)
	}
	field("params", len(job.Params) > 0, renderParams(job.Params))
	field("helpers", len(job.Helpers) > 0, renderHelpers(job.Helpers))
	field("prepare", job.Prepare != nil, renderScript(job.Prepare))
	field("finish", job.Finish != nil, renderScript(job.Finish))
	field("idempotent", true, job.Idempotent)
	field("settings", job.Settings != nil, job.Settings)
	field("transform", job.Transform != nil, renderTransform(job.Transform))
	renderSteps(field, job)
	field("verify", len(job.Verify) > 0, renderChecks(job.Verify))
	field("undo", job.Undo != nil, renderUndo(job.Undo))
	if d := job.DualWrite; d != nil {
		one := ordered{{"by", "application"}}
		if d.Trigger {
			one[0].value = "trigger"
		}
		field("dual_write", true, one.with("tripwire", d.Tripwire != nil, d.Tripwire))
	}
	field("contract", job.Contract != nil, renderContract(job.Contract))
	renderPace(&b, job.Pace)
	return b.String()
}

func renderContract(c *backfill.Contract) ordered {
	if c == nil {
		return nil
	}
	var drops []string
	for _, d := range c.Drops {
		drops = append(drops, d.String())
	}
	out := ordered{{"drops", drops}, {"soak", c.Soak.String()}, {"min_writes", c.MinWrites}, {"report_max_age", c.ReportMaxAge.String()}}
	if c.Backup != nil {
		out = out.with("backup", true, ordered{{"sql", c.Backup.Query.SQL}, {"max_age", c.Backup.MaxAge.String()}})
	}
	return out
}

// ordered is a JSON object whose fields stay in order.
type ordered []struct {
	name  string
	value any
}

func (o ordered) with(name string, given bool, value any) ordered {
	if !given {
		return o
	}
	return append(o, struct {
		name  string
		value any
	}{name, value})
}

func (o ordered) MarshalJSON() ([]byte, error) {
	parts := make([]string, len(o))
	for i, f := range o {
		parts[i] = asJSON(f.name) + ": " + asJSON(f.value)
	}
	return []byte("{" + strings.Join(parts, ", ") + "}"), nil
}

func asJSON(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func renderParams(params []backfill.Param) ordered {
	var all ordered
	for _, p := range params {
		var one ordered
		one = one.with("type", p.Type != "", p.Type).with("env", p.Env != "", p.Env)
		switch {
		case p.SQL != nil:
			one = one.with("sql", true, p.SQL.SQL)
		case p.Env == "":
			one = one.with("value", true, p.Value)
		}
		all = all.with(p.Name, true, one)
	}
	return all
}

func renderHelpers(helpers []backfill.Helper) ordered {
	var all ordered
	for _, h := range helpers {
		all = all.with(h.Name, true, ordered{{"sql", h.Query.SQL}}.with("key", len(h.Key) > 0, h.Key))
	}
	return all
}

func renderScript(s *backfill.Script) ordered {
	if s == nil {
		return nil
	}
	var text string
	for _, one := range s.Statements {
		text += one.SQL + "\n;"
	}
	return ordered{{"sql", text}, {"transaction", !s.Alone}}
}

func renderTransform(t *backfill.Transform) ordered {
	if t == nil {
		return nil
	}
	var read []string
	for _, e := range t.Read {
		if e.Functions == nil && len(e.Columns) == 1 && e.SQL == `t."`+strings.ReplaceAll(strings.TrimPrefix(e.Columns[0], "t."), `"`, `""`)+`"` {
			read = append(read, strings.TrimPrefix(e.Columns[0], "t."))
		} else {
			read = append(read, e.SQL)
		}
	}
	returns := ordered{}
	for _, r := range t.Returns {
		returns = returns.with(r.Name, true, r.Type)
	}
	onError := "fail"
	if t.Quarantine {
		onError = "quarantine"
	}
	return ordered{{"on_error", onError}}.with("read", len(read) > 0, read).with("command", len(t.Command) > 0, t.Command).
		with("go", len(t.Command) == 0, t.Go).with("returns", len(returns) > 0, returns).with("write", len(t.Write) > 0, t.Write)
}

func renderSteps(field func(name string, given bool, value any), job backfill.Job) {
	var list []ordered
	for _, s := range job.Steps {
		one := ordered{{"name", s.Name}}.with("delete", s.Delete, true)
		if s.SQL != nil {
			one = one.with("sql", true, s.SQL.SQL)
		}
		if u := s.Update; u != nil {
			set := ordered{{"skip_unchanged", u.SkipUnchanged}, {"set", renderSet(u.Set)}}
			if u.From != nil {
				set = set.with("from", true, u.From.SQL).with("join", true, u.Join.SQL)
			}
			one = one.with("update", true, set)
			if d := job.DualWrite; d != nil && (d.Trigger || d.Tripwire != nil && *d.Tripwire) { // which goes with no list of steps
				field("update", true, set)
				return
			}
		}
		list = append(list, one)
	}
	field("steps", len(list) > 0, list)
}

func renderSet(set []backfill.Assignment) ordered {
	var all ordered
	for _, a := range set {
		all = all.with(a.Column, true, a.Value.SQL)
	}
	return all
}

func renderChecks(checks []backfill.Check) []ordered {
	var list []ordered
	for _, c := range checks {
		one := ordered{}.with("name", c.Name != "", c.Name).with("expect", len(c.Expect) > 0, renderSet(c.Expect)).
			with("in", c.In != "", c.In).with("recompute", c.Recompute, true)
		for name, e := range map[string]*backfill.Expr{"expected": c.Expected, "actual": c.Actual, "none": c.None} {
			if e != nil {
				one = one.with(name, true, e.SQL)
			}
		}
		list = append(list, one)
	}
	return list
}

func renderUndo(u *backfill.Undo) any {
	switch {
	case u == nil:
		return nil
	case u.Capture:
		return "capture"
	case u.None != "":
		return ordered{{"none", u.None}}
	}
	out := ordered{{"set", renderSet(u.Set)}}
	if u.Where != nil {
		out = append(out, ordered{{"where", u.Where.SQL}}...)
	}
	return out
}

func renderPace(b *strings.Builder, p backfill.Pace) {
	add := func(name string, set bool, value any) {
		if set {
			fmt.Fprintf(b, "%s: %v\n", name, value)
		}
	}
	add("workers", p.Workers > 0, p.Workers)
	add("rate", p.Rate > 0, strconv.FormatFloat(p.Rate, 'g', -1, 64))
	if p.ChunkRows > 0 || p.ChunkTarget > 0 || p.ChunkMaxRows > 0 {
		b.WriteString("chunk:\n")
		add("  rows", p.ChunkRows > 0, p.ChunkRows)
		add("  target", p.ChunkTarget > 0, p.ChunkTarget)
		add("  max_rows", p.ChunkMaxRows > 0, p.ChunkMaxRows)
	}
	if p.LockTimeout > 0 || p.StatementTimeout > 0 || p.IdleTimeout > 0 || p.ConnectTimeout > 0 {
		b.WriteString("timeouts:\n")
		add("  lock", p.LockTimeout > 0, p.LockTimeout)
		add("  statement", p.StatementTimeout > 0, p.StatementTimeout)
		add("  idle", p.IdleTimeout > 0, p.IdleTimeout)
		add("  connect", p.ConnectTimeout > 0, p.ConnectTimeout)
	}
	renderLimits(b, p.Limits)
}

// renderLimits writes groups in braces: a text that is JSON is YAML too.
func renderLimits(b *strings.Builder, limits backfill.Limits) {
	groups := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		if strings.HasPrefix(name, "window") {
			fmt.Fprintf(b, "%s: %s\n", name, limits[name])
			continue
		}
		group, rest, nested := strings.Cut(name, ".")
		if !nested {
			rest = ""
		}
		groups[group] = append(groups[group], strings.TrimPrefix(rest+": "+limits[name], ": "))
	}
	if len(groups) > 0 {
		b.WriteString("throttle:\n")
	}
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		if items := groups[group]; strings.Contains(items[0], ": ") && !strings.HasPrefix(items[0], "[") {
			fmt.Fprintf(b, "  %s: {%s}\n", group, strings.Join(items, ", "))
		} else {
			fmt.Fprintf(b, "  %s: %s\n", group, items[0])
		}
	}
}
