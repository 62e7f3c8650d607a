package jobs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgparse"
)

// steps are what happens to a chunk, in order.
type steps struct {
	value
	list []step
}

func (s *steps) read(r *reader, n *yaml.Node) {
	r.list(n, "a list of steps, as in [{name: link, sql: UPDATE …}]", func(item *yaml.Node) {
		one := step{}
		one.take(item)
		r.mapping(item, reflect.ValueOf(&one).Elem(), fmt.Sprintf("steps[%d]", len(s.list)+1))
		s.list = append(s.list, one)
	})
}

// steps makes the steps of the job of what was decoded.
func (r *reader) steps(f file, a around) []backfill.Step {
	var list []backfill.Step
	switch {
	case f.Update.given():
		list = append(list, backfill.Step{Name: "update", Update: r.update(f.Update, a)})
	case f.Delete.given():
		list = append(list, backfill.Step{Name: "delete", Delete: true})
	}
	seen := map[string]int{}
	for i, s := range f.Steps.list {
		one := r.step(f, s, a)
		if one.Name = s.Name.text; !s.Name.given() {
			one.Name = fmt.Sprintf("step %d", i+1)
		}
		if line, twice := seen[one.Name]; twice {
			at := s.node
			if s.Name.given() {
				at = s.Name.node
			}
			r.refuse(placeOf(at), fmt.Sprintf("the step's name %q again", one.Name), "a name of its own for each step", fmt.Sprintf("line %d has it already", line))
		}
		seen[one.Name] = s.node.Line
		list = append(list, one)
	}
	return list
}

// step checks one step.
func (r *reader) step(f file, s step, a around) backfill.Step {
	var one backfill.Step
	if s.node.Kind == yaml.MappingNode {
		r.oneOf(s.node, "a step", []part{{"sql", s.SQL.node}, {"update", s.Update.node}, {"delete", s.Delete.node}},
			"say what it does, as in {name: link, sql: UPDATE …}")
	}
	r.shortName(s.Name)
	if s.Update.given() {
		one.Update = r.update(s.Update, a)
	}
	one.Delete = s.Delete.isTrue
	one.SQL = r.command(f, s.SQL, a)
	return one
}

// shortText reports whether people can read it as a name.
func shortText(s string) bool {
	return s == strings.TrimSpace(s) && s != "" && utf8.RuneCountInString(s) <= 63 && !strings.ContainsFunc(s, unicode.IsControl)
}

// shortName refuses a name that is given and cannot be read as one, and reports whether there is one that can.
func (r *reader) shortName(name text) bool {
	if !name.given() || name.node.Tag != "!!str" {
		return false
	}
	if !shortText(name.text) {
		r.refuse(placeOf(name.node), describe(name.node), "a name of 1 to 63 characters in one line", "")
		return false
	}
	return true
}

// part is a field of several of which exactly one is given.
type part struct {
	name string
	node *yaml.Node
}

// oneOf refuses n, which is what, where it does not have exactly one of its parts. remedy is what to do about none.
func (r *reader) oneOf(n *yaml.Node, what string, parts []part, remedy string) {
	var given, names []string
	for _, p := range parts {
		names = append(names, "`"+p.name+"`")
	}
	for _, p := range parts {
		if p.node == nil {
			continue
		}
		given = append(given, p.name)
		if len(given) == 2 {
			r.refuse(placeOf(p.node), fmt.Sprintf("`%s` beside `%s`", p.name, given[0]), "exactly one of "+orList(names)+" in "+what, "")
		}
	}
	if len(given) == 0 {
		r.refuse(placeOf(n), what+" without "+orList(names), "exactly one of them", remedy)
	}
}

// command checks a step's statement; nil where it was not given or is wrong.
func (r *reader) command(f file, s queryText, a around) *backfill.Command {
	if !s.given() || s.sql == "" {
		return nil
	}
	p, ok := r.plain(s.sqlText, a.at("a step", "range", "scope", "chunk", "out", "helper"))
	if !ok {
		return nil
	}
	c, err := pgparse.ParseCommand(p.sql)
	if r.parserError(s.sqlText, p, err) {
		return nil
	}
	if at, stand := p.offset(c.TargetOffset); stand != nil {
		r.refuse(s.at(r, at), stand.name+", which a step would write", "a table of the job's", "a helper is built once; what changes goes into a table that `prepare` creates")
		return nil
	}
	s.sql = s.upTo(p, c.End)
	out := &backfill.Command{Expr: *r.expr(s.sqlText, p, c.Facts), Kind: c.Kind, Rereads: c.Rereads, Calls: c.Calls, Target: backfill.TableName{Name: c.Target[len(c.Target)-1]}}
	if len(c.Target) == 2 {
		out.Target.Schema = c.Target[0]
	}
	for _, w := range c.Written {
		if !slices.Contains(out.Written, w.Column) {
			out.Written = append(out.Written, w.Column)
		}
		if w.Assigned && !slices.Contains(out.Assigned, w.Column) {
			out.Assigned = append(out.Assigned, w.Column)
		}
		if at, _ := p.offset(w.Offset); w.Assigned && slices.Contains(a.key, w.Column) && same(out.Target, f.Table.name) {
			r.refuse(s.at(r, at), "`"+w.Column+"`, a column of the key", "columns outside the key", "a job may not write what its table is walked by: walk it by another key")
		}
	}
	return out
}

// same reports whether two names may be those of one table.
func same(a, b backfill.TableName) bool {
	return a.Name == b.Name && (a.Schema == b.Schema || a.Schema == "" || b.Schema == "")
}

// unusedWhere refuses a `where` that no step is limited by: it looks as if it were.
func (r *reader) unusedWhere(f file, job backfill.Job) {
	if !f.Where.given() || !f.Steps.given() || job.Transform != nil {
		return
	}
	for _, s := range f.Steps.list {
		if s.Update.given() || s.Delete.given() {
			return
		}
	}
	for _, s := range job.Steps {
		// A step that is wrong may have been meant to use it.
		if s.SQL == nil || slices.ContainsFunc(s.SQL.Templates, func(t string) bool { return t == "scope" || t == "chunk" || t == "chunk nolock" }) {
			return
		}
	}
	r.refuse(placeOf(f.Where.node), "a `where` that no step uses", "{{chunk}} or {{scope}} in a step",
		"write `AND {{scope}}` beside {{range}}, or read the rows as `FROM {{chunk}} AS c`; a condition that the steps say themselves is taken out here")
}
