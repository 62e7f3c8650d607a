package jobs

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgparse"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// readItems are what a transform reads: plain names of columns, or expressions AS a name.
type readItems struct {
	value
	list []sqlText
}

func (i *readItems) read(r *reader, n *yaml.Node) {
	r.list(n, `a list of columns and expressions, as in [ssn, "lower(t.country) AS country"]`, func(item *yaml.Node) {
		var one sqlText
		one.take(item)
		one.fragment(r, item, "")
		i.list = append(i.list, one)
	})
}

// list calls each for every item of a list that must not be empty.
func (r *reader) list(n *yaml.Node, expected string, each func(item *yaml.Node)) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		found := describe(n)
		if n.Kind == yaml.SequenceNode {
			found = "an empty list"
		}
		r.refuse(placeOf(n), found, expected, "")
		return
	}
	for _, item := range n.Content {
		each(item)
	}
}

// words are a program and its arguments.
type words struct {
	value
	list []string
}

func (w *words) read(r *reader, n *yaml.Node) {
	r.list(n, "a list of a program and its arguments, as in [python3, transform.py]", func(item *yaml.Node) {
		word, ok := r.text(item, "a text")
		if ok && (strings.ContainsRune(word, 0) || word == "" && len(w.list) == 0) {
			r.refuse(placeOf(item), describe(item), "a program or an argument", "")
		}
		w.list = append(w.list, word)
	})
}

// typed are names with SQL types, in the order they were written.
type typed struct {
	value
	list []backfill.Returned
	keys []*yaml.Node
}

func (t *typed) read(r *reader, n *yaml.Node) {
	r.named(n, "returns", "a mapping of names to SQL types, as in {ssn_encrypted: bytea}", func(key, val *yaml.Node) {
		var typ typeName
		typ.take(val)
		typ.read(r, val)
		if r.columnName(key, key.Value) {
			t.list, t.keys = append(t.list, backfill.Returned{Name: key.Value, Type: typ.sql}), append(t.keys, key)
		}
	})
}

// typeName is an SQL type.
type typeName struct {
	value
	sql string
}

func (t *typeName) read(r *reader, n *yaml.Node) {
	var s sqlText
	s.take(n)
	s.fragment(r, n, "")
	if s.sql == "" {
		return
	}
	t.sql = s.sql
	r.parserError(s, &plain{}, pgparse.Type(s.sql))
}

// onError is what happens to a row on which a transform fails.
type onError struct {
	value
	fail bool
}

func (o *onError) read(r *reader, n *yaml.Node) {
	word, ok := r.text(n, "quarantine or fail")
	if ok && word != "quarantine" && word != "fail" {
		r.refuse(placeOf(n), describe(n), "quarantine or fail", "")
	}
	o.fail = word == "fail"
}

// transform checks what is computed outside of the database; nil where nothing is.
func (r *reader) transform(f file, a around) *backfill.Transform {
	t := f.Transform
	if !t.given() {
		return nil
	}
	out := &backfill.Transform{
		Command: t.Command.list, Go: t.Go.text, Returns: t.Returns.list, Write: t.Write.names, Quarantine: !t.OnError.fail, Line: t.node.Line,
	}
	if t.node.Kind != yaml.MappingNode {
		return out
	}
	if t.Command.given() {
		out.Dir = filepath.Dir(r.name)
	}
	r.oneOf(t.node, "`transform`", []part{{"command", t.Command.node}, {"go", t.Go.node}}, "say which program computes it, as in `command: [python3, transform.py]`")
	r.shortName(t.Go)
	names := map[string]bool{}
	for _, item := range t.Read.list {
		e, name := r.readItem(item, a.at("`transform.read`", "range", "scope", "helper"))
		if e == nil {
			continue
		}
		if names[name] || slices.Contains(a.key, name) {
			r.refuse(placeOf(item.node), "`"+name+"` again", "each name once", "the columns of the key are always there")
		}
		names[name] = true
		out.Read = append(out.Read, *e)
	}
	for i, ret := range t.Returns.list {
		if slices.Contains(a.key, ret.Name) {
			r.refuse(placeOf(t.Returns.keys[i]), "`"+ret.Name+"`, a column of the key", "other names", "the key comes back by itself")
		}
	}
	r.transformWrites(f, out, a)
	return out
}

// transformWrites checks where what came back goes.
func (r *reader) transformWrites(f file, out *backfill.Transform, a around) {
	t := f.Transform
	elsewhere := f.Update.given() || f.Steps.given()
	switch {
	case f.Delete.given():
		r.refuse(placeOf(f.Delete.node), "`delete` beside `transform`", "`update` or `steps` that write what it returned", "")
	case t.Write.given() && elsewhere:
		r.refuse(placeOf(t.Write.node), "`write` beside `update` or `steps`", "one of them", "`write` is the short form of an `update` that sets these columns from {{out}}")
	case !t.Write.given() && !elsewhere:
		r.refuse(placeOf(t.node), "`transform` whose result goes nowhere", "`write`, `update` or `steps`", "say in it which columns get what it returned, as in `write: [ssn_encrypted]`; or beside it, not in it, `update` or `steps` that read {{out}}")
	case !t.Write.given() && !t.Returns.given():
		r.refuse(placeOf(t.node), "`transform` without `returns`", "`returns`, or `write`, whose columns have types", "say what comes back, as in `returns: {ssn_encrypted: bytea}`")
	}
	for _, name := range out.Write {
		if slices.Contains(a.key, name) {
			r.refuse(placeOf(t.Write.node), "`"+name+"`, a column of the key", "columns outside the key", "a job may not write what its table is walked by: walk it by another key")
		}
		if t.Returns.given() && !slices.ContainsFunc(out.Returns, func(ret backfill.Returned) bool { return ret.Name == name }) {
			r.refuse(placeOf(t.Write.node), "`"+name+"`, which `returns` does not have", "columns that come back", "")
		}
	}
}

// unusedOut refuses a transform whose result no step reads.
func (r *reader) unusedOut(f file, job backfill.Job, a around) {
	if !f.Transform.given() || f.Transform.Write.given() || len(job.Steps) == 0 || !a.transform {
		return
	}
	for _, s := range job.Steps {
		exprs := []*backfill.Expr{}
		if s.SQL != nil {
			exprs = append(exprs, &s.SQL.Expr)
		}
		if u := s.Update; u != nil {
			exprs = append(exprs, u.From, u.Join)
			for i := range u.Set {
				exprs = append(exprs, &u.Set[i].Value)
			}
		}
		if len(exprs) == 0 && !s.Delete {
			return // it is wrong, which was said
		}
		for _, e := range exprs {
			if e != nil && slices.Contains(e.Templates, "out") {
				return
			}
		}
	}
	if len(r.errors) == 0 {
		r.refuse(placeOf(f.Transform.node), "`transform` whose result no step reads", "{{out}} in a step", "as in `from: \"{{out}} AS o\"` with `join: o.id = t.id`")
	}
}

var named = regexp.MustCompile(`(?is)\sAS\s`)

// readItem is one item of what a transform reads, as a select list has it, and its name.
func (r *reader) readItem(s sqlText, a around) (*backfill.Expr, string) {
	if s.sql == "" {
		return nil, ""
	}
	if !named.MatchString(s.sql) {
		if strings.ContainsAny(s.sql, "(){}") {
			r.refuse(placeOf(s.node), describe(s.node), "a column's plain name, or SQL AS a name", fmt.Sprintf("give it a name: %q", s.sql+" AS x"))
			return nil, ""
		}
		if !r.columnName(s.node, s.sql) {
			return nil, ""
		}
		return &backfill.Expr{SQL: "t." + pgsql.Ident(s.sql), Columns: []string{"t." + s.sql}, Line: s.node.Line}, s.sql
	}
	name := ""
	e, _ := r.parsed(s, a, func(sql string) (facts pgparse.Facts, err error) {
		facts, name, err = pgparse.Item(sql)
		return facts, err
	})
	return e, name
}
