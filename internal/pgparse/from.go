package pgparse

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// From checks that sql is exactly what may follow FROM and nothing after it, and says
// what is in it. Its error is an *[Error].
func From(sql string) (Facts, error) {
	f := &fragment{sql: sql, expected: "what may follow FROM: tables, subqueries, joins"}
	items, e := f.from()
	if e != nil {
		return Facts{}, e
	}
	var c collector
	var aliases []Alias
	for _, item := range items {
		if e := f.onlyReads(item, &c); e != nil {
			return Facts{}, e
		}
		aliases = f.aliases(aliases, item)
	}
	facts := c.facts()
	facts.Aliases = aliases
	return facts, nil
}

// from parses the fragment after FROM and between other clauses and returns the one tree.
func (f *fragment) from() ([]*pg_query.Node, *Error) {
	if _, e := f.tokens(); e != nil {
		return nil, e
	}
	bare, e := f.parseBare(selectFrom)
	if e != nil {
		return nil, e
	}
	items := bare.GetFromClause()
	remedy := "conditions go into `join` and `where`, anything else into a subquery: (SELECT …) AS x"
	if e := f.clauses(bare, &pg_query.SelectStmt{FromClause: items}, remedy); e != nil {
		return nil, e
	}
	if len(items) == 0 || !f.sameBetween(items) {
		return nil, f.wrong(0, "SQL that means something else within a statement", "")
	}
	return items, nil
}

// sameBetween reports whether the items are the same ones in an UPDATE with a WHERE.
func (f *fragment) sameBetween(items []*pg_query.Node) bool {
	tree, err := parseTree("UPDATE x AS t SET y = 1 FROM\n" + f.sql + "\nWHERE true")
	if err != nil || len(tree.GetStmts()) != 1 {
		return false
	}
	update := tree.GetStmts()[0].GetStmt().GetUpdateStmt()
	if update == nil || len(update.GetFromClause()) != len(items) || update.GetWhereClause().GetAConst() == nil || update.GetReturningList() != nil {
		return false
	}
	for i, item := range update.GetFromClause() {
		if !proto.Equal(placeless(item), placeless(items[i])) {
			return false
		}
	}
	return true
}

// aliases adds the names that an item, and the parts of a join, go by.
func (f *fragment) aliases(list []Alias, item *pg_query.Node) []Alias {
	switch n := item.GetNode().(type) {
	case *pg_query.Node_RangeVar:
		name := n.RangeVar.GetAlias().GetAliasname()
		if name == "" {
			name = n.RangeVar.GetRelname()
		}
		return append(list, Alias{name, f.at(n.RangeVar.GetLocation())})
	case *pg_query.Node_RangeTableSample:
		return f.aliases(list, n.RangeTableSample.GetRelation())
	case *pg_query.Node_JoinExpr:
		list = f.aliases(list, n.JoinExpr.GetLarg())
		list = f.aliases(list, n.JoinExpr.GetRarg())
		for _, a := range []*pg_query.Alias{n.JoinExpr.GetAlias(), n.JoinExpr.GetJoinUsingAlias()} {
			if a != nil {
				list = append(list, Alias{Name: a.GetAliasname()})
			}
		}
	default:
		if name := alias(item); name != "" {
			list = append(list, Alias{Name: name})
		}
	}
	return list
}

// alias is the alias of a from-item that is neither table nor join; a function without
// one goes by its own name.
func alias(item *pg_query.Node) string {
	switch n := item.GetNode().(type) {
	case *pg_query.Node_RangeSubselect:
		return n.RangeSubselect.GetAlias().GetAliasname()
	case *pg_query.Node_RangeTableFunc:
		return n.RangeTableFunc.GetAlias().GetAliasname()
	case *pg_query.Node_JsonTable:
		return n.JsonTable.GetAlias().GetAliasname()
	case *pg_query.Node_RangeFunction:
		if name := n.RangeFunction.GetAlias().GetAliasname(); name != "" {
			return name
		}
		for _, function := range n.RangeFunction.GetFunctions() {
			for _, part := range function.GetList().GetItems() {
				if call := part.GetFuncCall(); call != nil {
					return lastName(call.GetFuncname())
				}
			}
		}
	}
	return ""
}
