package backfill

import (
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Keeps reports whether an assignment gives a column the value that it has, as is said to keep a trigger from changing it.
func (a Assignment) Keeps() bool {
	return slices.Contains([]string{a.Column, "t." + a.Column, `t."` + a.Column + `"`, pgsql.Ident(a.Column)}, strings.Trim(a.Value.SQL, "() \t\r\n"))
}

// Reads reports whether anything that the job writes, or holds what was written against, is computed from a column: what
// nothing reads, no verification can have proven. The scope does not count, which only says which rows are meant.
func (j Job) Reads(d Dropped) bool {
	return slices.ContainsFunc(j.sources(), func(e Expr) bool { return j.speaksOf(e, d) })
}

// speaksOf reports whether a fragment speaks of a column, of all of its table, or may.
func (j Job) speaksOf(e Expr, d Dropped) bool {
	ours := d.Table.Name == j.Table.Name && (d.Table.Schema == "" || j.Table.Schema == "" || d.Table.Schema == j.Table.Schema)
	return slices.ContainsFunc(e.Columns, func(ref string) bool {
		parts := strings.Split(ref, ".")
		last := parts[len(parts)-1]
		switch {
		case parts[0] == "t" && !ours:
			return false
		case ref == "t":
			return true
		}
		return last == "*" || last == d.Column
	})
}

// sources are the fragments from which a job's values come, and by which it is verified.
func (j Job) sources() []Expr {
	var list []Expr
	set := func(assignments []Assignment) {
		for _, a := range assignments {
			if !a.Keeps() {
				list = append(list, a.Value)
			}
		}
	}
	add := func(parts ...*Expr) {
		for _, e := range parts {
			if e != nil {
				list = append(list, *e)
			}
		}
	}
	for _, h := range j.Helpers {
		list = append(list, h.Query)
	}
	if j.Transform != nil {
		list = append(list, j.Transform.Read...)
	}
	for _, step := range j.Steps {
		switch {
		case step.SQL != nil:
			list = append(list, step.SQL.Expr)
		case step.Update != nil:
			set(step.Update.Set)
			add(step.Update.From, step.Update.Join)
		}
	}
	for _, c := range j.Verify {
		set(c.Expect)
		add(c.Expected, c.Actual, c.None)
	}
	return list
}

// Replaces are the columns of the walked table that the job computes from what it will drop of it: a row that has a value in
// one of those and none in these keeps its only copy in what is dropped.
func (j Job) Replaces(drops []Dropped) []string {
	from := func(e Expr) bool {
		return slices.ContainsFunc(drops, func(d Dropped) bool { return j.speaksOf(e, d) })
	}
	var list []string
	if j.Transform != nil && slices.ContainsFunc(j.Transform.Read, from) {
		list = append(list, j.Transform.Write...)
	}
	for _, step := range j.Steps {
		switch {
		case step.SQL != nil && step.SQL.Target.Name == j.Table.Name && from(step.SQL.Expr):
			list = append(list, step.SQL.Assigned...)
		case step.Update != nil:
			u := step.Update
			joined := u.From != nil && (from(*u.From) || from(*u.Join))
			for _, a := range u.Set {
				if !a.Keeps() && (joined && len(a.Value.Columns) > 0 || from(a.Value)) {
					list = append(list, a.Column)
				}
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
