package pgparse

import (
	"cmp"
	"slices"
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
	// Rereads are the columns that it assigns and that the values it assigns are computed from, under the target's own
	// name: doing it twice may change them twice. Calls are the functions that these values call.
	Rereads, Calls []string
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
	var assigned []*pg_query.Node
	switch n := root.GetNode().(type) {
	case *pg_query.Node_InsertStmt:
		s := n.InsertStmt
		c.Kind, relation, returning, assigned = "insert", s.GetRelation(), s.GetReturningList(), s.GetOnConflictClause().GetTargetList()
		c.Written = f.written(s.GetCols(), false)
	case *pg_query.Node_UpdateStmt:
		c.Kind, relation, returning, assigned = "update", n.UpdateStmt.GetRelation(), n.UpdateStmt.GetReturningList(), n.UpdateStmt.GetTargetList()
	case *pg_query.Node_DeleteStmt:
		c.Kind, relation, returning = "delete", n.DeleteStmt.GetRelation(), n.DeleteStmt.GetReturningList()
	case *pg_query.Node_MergeStmt:
		c.Kind, relation, returning = "merge", n.MergeStmt.GetRelation(), n.MergeStmt.GetReturningList()
		for _, when := range n.MergeStmt.GetMergeWhenClauses() {
			if clause := when.GetMergeWhenClause(); clause.GetCommandType() == pg_query.CmdType_CMD_UPDATE {
				assigned = append(assigned, clause.GetTargetList()...)
			} else {
				c.Written = append(c.Written, f.written(clause.GetTargetList(), false)...)
			}
		}
	default:
		return c, nil, nil
	}
	c.Written = append(c.Written, f.written(assigned, true)...)
	slices.SortStableFunc(c.Written, func(a, b Written) int { return cmp.Compare(a.Offset, b.Offset) })
	c.Rereads, c.Calls = rereads(relation, assigned)
	return c, relation, returning
}

// rereads says which of the assigned columns the assigned values are computed from, and which functions they call. A
// column that is assigned to itself, or kept by a COALESCE that begins with it, is the same the second time.
func rereads(relation *pg_query.RangeVar, assigned []*pg_query.Node) (columns, calls []string) {
	table := relation.GetAlias().GetAliasname()
	if table == "" {
		table = relation.GetRelname()
	}
	own := func(name, column string) bool { return name == column || name == table+"."+column }
	var read collector
	for _, node := range assigned {
		target := node.GetResTarget()
		first := target.GetVal()
		if args := first.GetCoalesceExpr().GetArgs(); len(args) > 0 {
			first = args[0]
		}
		if own(dotted(first.GetColumnRef().GetFields()), target.GetName()) {
			continue
		}
		walk(target.GetVal().ProtoReflect(), func(m proto.Message) bool { read.visit(m); return true })
	}
	facts := read.facts()
	for _, node := range assigned {
		column := node.GetResTarget().GetName()
		if slices.ContainsFunc(facts.Columns, func(name string) bool { return own(name, column) }) && !slices.Contains(columns, column) {
			columns = append(columns, column)
		}
	}
	return columns, facts.Functions
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
