package pgparse

import (
	"fmt"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// Query checks that sql is exactly one query that only reads, and stays one as a subquery; end is where it ends without
// the semicolon that it may end with. Its error is an *[Error].
func Query(sql string) (facts Facts, end int, err error) {
	f := &fragment{sql: sql, expected: "one SELECT", whole: true}
	list, e := f.tokens()
	if e != nil {
		return Facts{}, 0, e
	}
	root, e := f.statement(list)
	if e != nil {
		return Facts{}, 0, e
	}
	if root.GetSelectStmt() == nil {
		at, what := f.first(list)
		return Facts{}, 0, f.wrong(at, "the statement "+what, "")
	}
	var c collector
	if e := f.onlyReads(root, &c); e != nil {
		return Facts{}, 0, e
	}
	if locks(root) {
		return Facts{}, 0, f.wrong(f.end, "FOR UPDATE or the like in it", "remove it: what only reads locks nothing")
	}
	text := "SELECT FROM (\n" + sql[:f.end] + "\n) AS q"
	tree, perr := parseTree(text)
	if perr != nil {
		return Facts{}, 0, f.parserError(perr, text, len("SELECT FROM (\n"))
	}
	if stmts := tree.GetStmts(); len(stmts) != 1 || !onlySubquery(stmts[0].GetStmt().GetSelectStmt(), root) {
		return Facts{}, 0, f.wrong(0, "SQL that means something else as a subquery", "")
	}
	return c.facts(), f.end, nil
}

// onlySubquery reports whether s reads from root as a subquery and does nothing else.
func onlySubquery(s *pg_query.SelectStmt, root *pg_query.Node) bool {
	return len(s.GetFromClause()) == 1 && s.GetWhereClause() == nil &&
		proto.Equal(placeless(s.GetFromClause()[0].GetRangeSubselect().GetSubquery()), placeless(root))
}

// locks reports whether a query locks what it reads.
func locks(root *pg_query.Node) bool {
	found := false
	walk(root.ProtoReflect(), func(m proto.Message) bool {
		_, lock := m.(*pg_query.LockingClause)
		found = found || lock
		return !found
	})
	return found
}

// Item checks that sql is exactly one item of a select list, an expression AS a name, and returns the name. Its error is
// an *[Error].
func Item(sql string) (facts Facts, name string, err error) {
	f := &fragment{sql: sql, expected: "one SQL expression AS a name"}
	if _, e := f.tokens(); e != nil {
		return Facts{}, "", e
	}
	bare, e := f.parseBare(selectList)
	if e != nil {
		return Facts{}, "", e
	}
	list := bare.GetTargetList()
	if e := f.clauses(bare, &pg_query.SelectStmt{TargetList: list}, "a query goes into parentheses: (SELECT …) AS x"); e != nil {
		return Facts{}, "", e
	}
	if len(list) > 1 {
		return Facts{}, "", f.wrong(f.at(list[1].GetResTarget().GetLocation()), fmt.Sprintf("%d expressions", len(list)), "")
	}
	if len(list) == 0 || list[0].GetResTarget().GetName() == "" {
		return Facts{}, "", f.wrong(len(sql), "an expression without a name", "write AS and a name behind it")
	}
	inside, e := f.parse("SELECT 1,\n", "\n, 2 FROM x")
	if e != nil {
		return Facts{}, "", e
	}
	if targets := inside.GetTargetList(); len(targets) != 3 || len(inside.GetFromClause()) != 1 || !proto.Equal(placeless(targets[1]), placeless(list[0])) {
		return Facts{}, "", f.wrong(0, "SQL that means something else in a select list", "")
	}
	var c collector
	value := list[0].GetResTarget().GetVal()
	if e := f.onlyReads(value, &c); e != nil {
		return Facts{}, "", e
	}
	if e := f.oneValue(value); e != nil {
		return Facts{}, "", e
	}
	return c.facts(), list[0].GetResTarget().GetName(), nil
}

// Type checks that sql is exactly one type as a cast may name it: "numeric(8,2)", "int4[]". Its error is an *[Error].
func Type(sql string) error {
	f := &fragment{sql: sql, expected: "the name of an SQL type, such as int4 or numeric(8,2)"}
	list, e := f.tokens()
	if e != nil {
		return e
	}
	for _, t := range list {
		if t.GetToken() == pg_query.Token_SQL_COMMENT || t.GetToken() == pg_query.Token_C_COMMENT {
			return f.wrong(int(t.GetStart()), "a comment", "remove it")
		}
	}
	const before = "SELECT NULL::"
	bare, e := f.parseBare(before)
	if e != nil {
		return e
	}
	targets := bare.GetTargetList()
	if e := f.clauses(bare, &pg_query.SelectStmt{TargetList: targets}, ""); e != nil {
		return e
	}
	cast := targets[0].GetResTarget().GetVal().GetTypeCast()
	if len(targets) != 1 || targets[0].GetResTarget().GetName() != "" || cast.GetArg().GetAConst() == nil || cast.GetTypeName().GetSetof() || cast.GetTypeName().GetPctType() || strings.TrimSpace(sql) != sql {
		return f.wrong(0, "something that is not a type", "")
	}
	return nil
}
