package pgparse

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// Command is what the parser saw in a statement that writes.
type Command struct {
	Facts
	// Kind is "insert", "update", "delete" or "merge".
	Kind string
	// Target is the table that it writes: its name, or its schema and its name.
	Target []string
	// Written are the columns of Target that it assigns or inserts, where it names them, in the order of the text.
	Written []Written
	// TargetOffset is where Target is named. End is where the statement ends, without the semicolon that it may
	// end with.
	TargetOffset, End int
}

// Written is a column that a statement writes.
type Written struct {
	Column string
	Offset int
	// Assigned is set where a row that is there already gets a value; else one is inserted with it.
	Assigned bool
}

// ParseCommand checks that sql is exactly one INSERT, UPDATE, DELETE or MERGE that writes one table, its WITH queries
// included, and returns no rows. A semicolon may end it. Its error is an *[Error].
func ParseCommand(sql string) (Command, error) {
	f := &fragment{sql: sql, expected: "one INSERT, UPDATE, DELETE or MERGE", whole: true, second: "make it a step of its own: steps are done in order, in one transaction"}
	list, e := f.tokens()
	if e != nil {
		return Command{}, e
	}
	root, e := f.statement(list)
	if e != nil {
		return Command{}, e
	}
	c, relation, returning := f.command(root)
	switch {
	case relation == nil:
		return Command{}, f.notCommand(root, list)
	case len(returning) > 0:
		return Command{}, f.wrong(f.at(returning[0].GetResTarget().GetLocation()), "RETURNING", "remove it: the rows would go nowhere")
	case relation.GetCatalogname() != "":
		return Command{}, f.wrong(f.at(relation.GetLocation()), "a table's name in three parts", "name the database in the connection, not here")
	}
	c.Target, c.TargetOffset, c.End = []string{relation.GetRelname()}, f.at(relation.GetLocation()), f.end
	if schema := relation.GetSchemaname(); schema != "" {
		c.Target = []string{schema, relation.GetRelname()}
	}
	facts, e := f.writesOnce(root)
	if e != nil {
		return Command{}, e
	}
	c.Facts = facts
	return c, nil
}

// statement is the tree of a fragment that is one statement.
func (f *fragment) statement(list []*pg_query.ScanToken) (*pg_query.Node, *Error) {
	text := f.sql[:f.end] + "\n"
	tree, err := parseTree(text)
	if err != nil {
		return nil, f.parserError(err, text, 0)
	}
	if len(tree.GetStmts()) != 1 {
		return nil, f.wrong(int(list[0].GetStart()), "more than one statement", "")
	}
	return tree.GetStmts()[0].GetStmt(), nil
}

// command is what kind of statement that writes root is, with the table that it writes; nil where it is another one.
func (f *fragment) command(root *pg_query.Node) (c Command, relation *pg_query.RangeVar, returning []*pg_query.Node) {
	switch n := root.GetNode().(type) {
	case *pg_query.Node_InsertStmt:
		s := n.InsertStmt
		c.Kind = "insert"
		c.Written = append(f.written(s.GetCols(), false), f.written(s.GetOnConflictClause().GetTargetList(), true)...)
		return c, s.GetRelation(), s.GetReturningList()
	case *pg_query.Node_UpdateStmt:
		c.Kind, c.Written = "update", f.written(n.UpdateStmt.GetTargetList(), true)
		return c, n.UpdateStmt.GetRelation(), n.UpdateStmt.GetReturningList()
	case *pg_query.Node_DeleteStmt:
		c.Kind = "delete"
		return c, n.DeleteStmt.GetRelation(), n.DeleteStmt.GetReturningList()
	case *pg_query.Node_MergeStmt:
		c.Kind = "merge"
		for _, when := range n.MergeStmt.GetMergeWhenClauses() {
			clause := when.GetMergeWhenClause()
			c.Written = append(c.Written, f.written(clause.GetTargetList(), clause.GetCommandType() == pg_query.CmdType_CMD_UPDATE)...)
		}
		return c, n.MergeStmt.GetRelation(), n.MergeStmt.GetReturningList()
	}
	return c, nil, nil
}

// written are the columns of a list of targets.
func (f *fragment) written(targets []*pg_query.Node, assigned bool) []Written {
	var list []Written
	for _, node := range targets {
		if t := node.GetResTarget(); t.GetName() != "" {
			list = append(list, Written{Column: t.GetName(), Offset: f.at(t.GetLocation()), Assigned: assigned})
		}
	}
	return list
}

// writesOnce collects the facts of a statement that writes and refuses another one within it.
func (f *fragment) writesOnce(root *pg_query.Node) (Facts, *Error) {
	var c collector
	var first *Error
	depth := 0
	walk(root.ProtoReflect(), func(m proto.Message) bool {
		c.visit(m)
		if e := f.writes(m); e != nil {
			if depth++; depth > 1 && (first == nil || e.Offset < first.Offset) {
				first = e
			}
		}
		return true
	})
	if first != nil {
		first.Expected, first.Remedy = "one statement, which writes one table", f.second
		return Facts{}, first
	}
	return c.facts(), nil
}

// notCommand says what a statement is that writes no rows of one table.
func (f *fragment) notCommand(root *pg_query.Node, list []*pg_query.ScanToken) *Error {
	at, what := f.first(list)
	remedy := "what is done once goes into `prepare` or `finish`"
	switch root.GetNode().(type) {
	case *pg_query.Node_SelectStmt:
		remedy = "a step writes: what a SELECT gives goes into an INSERT … SELECT"
	case *pg_query.Node_TransactionStmt:
		remedy = "remove it: the steps of a chunk are one transaction, which the engine begins and commits"
	case *pg_query.Node_VariableSetStmt:
		remedy = "settings of the job's statements go into `settings`"
	}
	return f.wrong(at, "the statement "+what, remedy)
}

// first is the first word of a fragment, for people, and where it stands.
func (f *fragment) first(list []*pg_query.ScanToken) (at int, word string) {
	for _, t := range list {
		if t.GetToken() != pg_query.Token_SQL_COMMENT && t.GetToken() != pg_query.Token_C_COMMENT {
			return int(t.GetStart()), strings.ToUpper(f.sql[t.GetStart():t.GetEnd()])
		}
	}
	return 0, ""
}
