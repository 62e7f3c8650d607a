package jobs

import (
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// checks are the proofs that the job asks for: a mapping, or a list of them.
type checks struct {
	value
	list []check
}

func (c *checks) read(r *reader, n *yaml.Node) {
	one := func(item *yaml.Node, where string) {
		var one check
		one.take(item)
		r.mapping(item, reflect.ValueOf(&one).Elem(), where)
		c.list = append(c.list, one)
	}
	if n.Kind == yaml.MappingNode {
		one(n, "verify")
		return
	}
	r.list(n, "a mapping, as in {none: SELECT …}, or a list of them", func(item *yaml.Node) { one(item, fmt.Sprintf("verify[%d]", len(c.list)+1)) })
}

// expectedQuery is a query, or {sql, in}: a query of another database.
type expectedQuery struct {
	value
	expectedParts
}

func (e *expectedQuery) read(r *reader, n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		r.mapping(n, reflect.ValueOf(&e.expectedParts).Elem(), "expected")
		return
	}
	e.SQL.take(n)
	e.SQL.read(r, n)
}

// checks checks the proofs.
func (r *reader) checks(f file, a around) []backfill.Check {
	var list []backfill.Check
	seen := map[string]int{}
	for _, c := range f.Verify.list {
		if c.node.Kind != yaml.MappingNode {
			continue
		}
		r.checkForm(f, c)
		in := a.at("`verify`", "range", "scope", "chunk", "before", "helper")
		one := backfill.Check{Name: c.Name.text, In: c.Expected.In.text, Recompute: c.Recompute.isTrue, Line: c.node.Line}
		if c.In.given() {
			one.In = c.In.text
		}
		r.shortName(c.In)
		r.shortName(c.Expected.In)
		if r.shortName(c.Name) {
			if line, twice := seen[one.Name]; twice {
				r.refuse(placeOf(c.Name.node), fmt.Sprintf("the name %q again", one.Name), "a name of its own for each check", fmt.Sprintf("line %d has it already", line))
			}
			seen[one.Name] = c.Name.node.Line
		}
		one.Expect = r.assignments(c.Expect, in)
		one.Expected, one.Actual, one.None = r.query(c.Expected.SQL, in), r.query(c.Actual, in), r.query(c.None, in)
		list = append(list, one)
	}
	return list
}

// checkForm refuses a check that does not have exactly one form.
func (r *reader) checkForm(f file, c check) {
	bags := part{"expected", c.Expected.node}
	if bags.node == nil && c.Actual.given() {
		bags = part{"actual", c.Actual.node}
	}
	r.oneOf(c.node, "a check", []part{{"expect", c.Expect.node}, bags, {"none", c.None.node}, {"recompute", c.Recompute.node}},
		"say what must hold, as in `none: SELECT …`, which must return no row")
	switch {
	case c.Expected.given() && !c.Actual.given():
		r.refuse(placeOf(c.Expected.node), "`expected` without `actual`", "both", "`actual` is the query that is compared with it, with the same columns")
	case c.Actual.given() && !c.Expected.given():
		r.refuse(placeOf(c.Actual.node), "`actual` without `expected`", "both", "`expected` is the query that is compared with it, with the same columns")
	}
	if c.In.given() {
		switch {
		case !c.Expected.given():
			r.refuse(placeOf(c.In.node), "`in` without `expected`", "both", "it names the database in which `expected` is asked")
		case c.Expected.In.given():
			r.refuse(placeOf(c.In.node), "`in` again", "it once", fmt.Sprintf("it is in line %d already", c.Expected.In.node.Line))
		}
	}
	if c.Recompute.given() && !f.Transform.given() {
		r.refuse(placeOf(c.Recompute.node), "`recompute` without `transform`", "a job with `transform`", "there is no program to run again")
	}
}
