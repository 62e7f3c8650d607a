package pgparse

import (
	"fmt"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// Expression checks that sql is exactly one expression that gives one value for one
// row, and says what is in it. Its error is an *[Error].
//
// Names are not resolved, so an aggregate or a function that returns rows is known by
// its name alone: PostgreSQL's own, unqualified, outside a subquery. The server checks
// the others when the statement is prepared.
func Expression(sql string) (Facts, error) {
	f := &fragment{sql: sql, expected: "exactly one SQL expression"}
	value, e := f.expression()
	if e != nil {
		return Facts{}, e
	}
	var c collector
	if e := f.onlyReads(value, &c); e != nil {
		return Facts{}, e
	}
	if e := f.oneValue(value); e != nil {
		return Facts{}, e
	}
	return c.facts(), nil
}

// expression parses the fragment bare and in parentheses and returns the one tree.
func (f *fragment) expression() (*pg_query.Node, *Error) {
	if _, e := f.tokens(); e != nil {
		return nil, e
	}
	bare, e := f.parseBare(selectList)
	if e != nil {
		return nil, e
	}
	list := bare.GetTargetList()
	if e := f.clauses(bare, &pg_query.SelectStmt{TargetList: list}, "a query goes into parentheses: (SELECT …)"); e != nil {
		return nil, e
	}
	switch {
	case len(list) == 0:
		return nil, f.wrong(0, "nothing", "")
	case len(list) > 1:
		return nil, f.wrong(f.at(list[1].GetResTarget().GetLocation()), fmt.Sprintf("%d expressions", len(list)), "")
	case list[0].GetResTarget().GetName() != "":
		return nil, f.wrong(len(f.sql), fmt.Sprintf("an expression with the alias %q", list[0].GetResTarget().GetName()), "remove the alias")
	}
	value := list[0].GetResTarget().GetVal()
	inside, e := f.parse("SELECT (", "\n)")
	if e != nil {
		return nil, e
	}
	if targets := inside.GetTargetList(); len(targets) != 1 || !proto.Equal(placeless(targets[0].GetResTarget().GetVal()), placeless(value)) {
		return nil, f.wrong(0, "SQL that means something else in parentheses", "")
	}
	return value, nil
}

// oneValue refuses what would change how many columns or rows there are: DEFAULT, a *
// alone, and outside a subquery aggregates, window functions and functions that return rows.
func (f *fragment) oneValue(value *pg_query.Node) *Error {
	if d := value.GetSetToDefault(); d != nil {
		return f.wrong(f.at(d.GetLocation()), "DEFAULT", "write the column's default out")
	}
	fields, at := value.GetColumnRef().GetFields(), f.at(value.GetColumnRef().GetLocation())
	if i := value.GetAIndirection(); i != nil {
		fields, at = i.GetIndirection(), 0
	}
	if n := len(fields); n > 0 && fields[n-1].GetAStar() != nil {
		return f.wrong(at, "a *, which stands for several columns", "name the column")
	}
	var first *Error
	walk(value.ProtoReflect(), func(m proto.Message) bool {
		if e := f.notScalar(m); e != nil && (first == nil || e.Offset < first.Offset) {
			first = e
		}
		_, query := m.(*pg_query.SelectStmt)
		return !query
	})
	return first
}

// notScalar refuses a node that does not give one value for each row.
func (f *fragment) notScalar(m proto.Message) *Error {
	const aggregate = "an aggregate belongs into a subquery: (SELECT … FROM …)"
	var name, remedy string
	var at int32
	switch n := m.(type) {
	case *pg_query.JsonObjectAgg:
		name, remedy, at = "json_objectagg", aggregate, n.GetConstructor().GetLocation()
	case *pg_query.JsonArrayAgg:
		name, remedy, at = "json_arrayagg", aggregate, n.GetConstructor().GetLocation()
	case *pg_query.FuncCall:
		name, at = lastName(n.GetFuncname()), n.GetLocation()
		own := len(n.GetFuncname()) == 1 || n.GetFuncname()[0].GetString_().GetSval() == "pg_catalog"
		switch {
		case n.GetOver() != nil:
			remedy = "a window function sees only the rows of one chunk: compute it in a subquery of `from`"
		case n.GetAggStar() || n.GetAggDistinct() || n.GetAggWithinGroup() || n.GetAggOrder() != nil || n.GetAggFilter() != nil || own && aggregates[name]:
			remedy = aggregate
		case own && setReturning[name]:
			remedy = "it returns rows, not one value: put it into a subquery, (SELECT … FROM " + name + "(…)), or into `from`"
		}
	}
	if remedy == "" {
		return nil
	}
	return &Error{Offset: f.at(at), Found: "the function " + name + "() outside a subquery", Expected: "one value for each row", Remedy: remedy}
}

// onlyReads collects the facts of a tree and refuses one that writes.
func (f *fragment) onlyReads(tree *pg_query.Node, c *collector) *Error {
	var first *Error
	walk(tree.ProtoReflect(), func(m proto.Message) bool {
		c.visit(m)
		if e := f.writes(m); e != nil && (first == nil || e.Offset < first.Offset) {
			first = e
		}
		return true
	})
	return first
}

// writes refuses a node that changes something.
func (f *fragment) writes(m proto.Message) *Error {
	var what string
	var relation *pg_query.RangeVar
	switch n := m.(type) {
	case *pg_query.InsertStmt:
		what, relation = "an INSERT", n.GetRelation()
	case *pg_query.UpdateStmt:
		what, relation = "an UPDATE", n.GetRelation()
	case *pg_query.DeleteStmt:
		what, relation = "a DELETE", n.GetRelation()
	case *pg_query.MergeStmt:
		what, relation = "a MERGE", n.GetRelation()
	case *pg_query.IntoClause:
		what, relation = "SELECT INTO", n.GetRel()
	default:
		return nil
	}
	return &Error{Offset: f.at(relation.GetLocation()), Found: what + " inside the SQL", Expected: "SQL that only reads"}
}
