package pgparse

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// fragment is a piece of SQL on its way through the parser.
type fragment struct {
	sql string
	// expected says what belongs in its place, for errors.
	expected string
	// before is how much text stood before it when it was parsed bare.
	before int
	// whole is set where it is a statement by itself, which a semicolon may end; second says then where another
	// statement goes.
	whole  bool
	second string
	// many is set where it is several statements, with semicolons between them.
	many bool
	// end is where it ends without that semicolon.
	end int
}

// What stands before a fragment that is parsed bare.
const (
	selectList = "SELECT\n"
	selectFrom = "SELECT FROM\n"
)

// at turns a place in the bare tree into an offset in the fragment.
func (f *fragment) at(location int32) int {
	return min(max(int(location)-f.before, 0), len(f.sql))
}

// wrong is an error at an offset of the fragment.
func (f *fragment) wrong(offset int, found, remedy string) *Error {
	return &Error{Offset: offset, Found: found, Expected: f.expected, Remedy: remedy}
}

// parse parses the fragment in a text that must be one SELECT.
func (f *fragment) parse(before, after string) (*pg_query.SelectStmt, *Error) {
	text := before + f.sql[:f.end] + after
	tree, err := parseTree(text)
	if err != nil {
		return nil, f.parserError(err, text, len(before))
	}
	if stmts := tree.GetStmts(); len(stmts) == 1 && stmts[0].GetStmt().GetSelectStmt() != nil {
		return stmts[0].GetStmt().GetSelectStmt(), nil
	}
	return nil, f.wrong(0, "more than one statement", "")
}

// parseBare parses the fragment after a beginning, with nothing but a line break behind it.
func (f *fragment) parseBare(before string) (*pg_query.SelectStmt, *Error) {
	f.before = len(before)
	return f.parse(before, "\n")
}

// clauses refuses a SELECT that holds more than it should: the given clauses of it and no others.
func (f *fragment) clauses(s, only *pg_query.SelectStmt, remedy string) *Error {
	only.LimitOption, only.Op = pg_query.LimitOption_LIMIT_OPTION_DEFAULT, pg_query.SetOperation_SETOP_NONE
	if proto.Equal(s, only) {
		return nil
	}
	for _, clause := range []struct {
		there bool
		name  string
	}{
		{s.GetOp() != pg_query.SetOperation_SETOP_NONE, "UNION, INTERSECT or EXCEPT"},
		{s.GetDistinctClause() != nil, "DISTINCT"},
		{s.GetIntoClause() != nil, "INTO"},
		{s.GetFromClause() != nil && only.GetFromClause() == nil, "FROM"},
		{s.GetWhereClause() != nil, "WHERE"},
		{s.GetGroupClause() != nil, "GROUP BY"},
		{s.GetHavingClause() != nil, "HAVING"},
		{s.GetWindowClause() != nil, "WINDOW"},
		{s.GetSortClause() != nil, "ORDER BY"},
		{s.GetLimitCount() != nil || s.GetLimitOffset() != nil, "LIMIT or OFFSET"},
		{s.GetLockingClause() != nil, "FOR UPDATE"},
	} {
		if clause.there {
			return f.wrong(len(f.sql), "the clause "+clause.name+" too", remedy)
		}
	}
	return f.wrong(0, "something else", remedy)
}
