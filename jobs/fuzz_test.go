package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
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
	for _, folder := range []string{"valid", "invalid"} {
		for _, src := range files(f, folder) {
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		jobs, err := Parse("f.yaml", src)
		if err != nil {
			checkPlaces(t, src, err)
			return
		}
		var b strings.Builder
		for _, job := range jobs {
			b.WriteString(render(job))
		}
		again, err := Parse("f.yaml", []byte(b.String()))
		if err != nil {
			t.Fatalf("written down again:\n%s\n%v", b.String(), err)
		}
		if diff := cmp.Diff(jobs, again, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(backfill.Expr{}, "Line")); diff != "" {
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

// render writes a job as YAML, every text in double quotes.
func render(job backfill.Job) string {
	var b strings.Builder
	quote := func(s string) string {
		out, err := json.Marshal(s)
		if err != nil {
			panic(err)
		}
		return string(out)
	}
	field := func(indent, name, value string) { fmt.Fprintf(&b, "%s%s: %s\n", indent, quote(name), value) }
	b.WriteString("---\n")
	field("", "name", quote(job.Name))
	if job.Description != "" {
		field("", "description", quote(job.Description))
	}
	table := `"` + strings.ReplaceAll(job.Table.Name, `"`, `""`) + `"`
	if job.Table.Schema != "" {
		table = `"` + strings.ReplaceAll(job.Table.Schema, `"`, `""`) + `".` + table
	}
	field("", "table", quote(table))
	if len(job.Key) > 0 {
		keys := make([]string, len(job.Key))
		for i, k := range job.Key {
			keys[i] = quote(k)
		}
		field("", "key", "["+strings.Join(keys, ", ")+"]")
	}
	if job.Where != nil {
		field("", "where", quote(job.Where.SQL))
	}
	field("", "idempotent", strconv.FormatBool(job.Idempotent))
	if job.Settings != nil {
		settings, err := json.Marshal(job.Settings)
		if err != nil {
			panic(err)
		}
		field("", "settings", string(settings))
	}
	b.WriteString("steps:\n")
	for _, step := range job.Steps {
		field("- ", "name", quote(step.Name))
		switch {
		case step.Delete:
			field("  ", "delete", "true")
		case step.SQL != nil:
			field("  ", "sql", quote(step.SQL.SQL))
		default:
			renderUpdate(step.Update, field, quote)
		}
	}
	renderPace(&b, job.Pace)
	return b.String()
}

func renderUpdate(u *backfill.Update, field func(indent, name, value string), quote func(string) string) {
	field("  ", "update", "")
	field("    ", "skip_unchanged", strconv.FormatBool(u.SkipUnchanged))
	if u.From != nil {
		field("    ", "from", quote(u.From.SQL))
		field("    ", "join", quote(u.Join.SQL))
	}
	field("    ", "set", "")
	for _, a := range u.Set {
		field("      ", a.Column, quote(a.Value.SQL))
	}
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
}
