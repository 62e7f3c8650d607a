package pgparse

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// Statement is one of several, with what the parser saw in it.
type Statement struct {
	Facts
	// Offset and End are where it stands, without its semicolon, comments before it included.
	Offset, End int
	// Plain is set where it is a SELECT, VALUES, INSERT, UPDATE, DELETE, MERGE or CREATE TABLE AS: PostgreSQL takes
	// parameters in no others.
	Plain bool
}

// Script cuts sql into its statements. alone says that each is sent outside of a transaction; else all are one, and what
// PostgreSQL refuses in one is refused. Transaction control, SET of the session and COPY with the client are refused
// either way. Its error is an *[Error].
func Script(sql string, alone bool) ([]Statement, error) {
	f := &fragment{sql: sql, expected: "statements that are run once, with a ; between them", many: true}
	if _, e := f.tokens(); e != nil {
		return nil, e
	}
	text := sql + "\n"
	tree, err := parseTree(text)
	if err != nil {
		return nil, f.parserError(err, text, 0)
	}
	var list []Statement
	for _, raw := range tree.GetStmts() {
		s := Statement{Offset: int(raw.GetStmtLocation()), End: int(raw.GetStmtLocation() + raw.GetStmtLen())}
		if raw.GetStmtLen() == 0 {
			s.End = len(sql)
		}
		s.End = min(s.End, len(sql))
		body := sql[s.Offset:s.End]
		s.Offset += len(body) - len(strings.TrimLeft(body, " \t\r\n\f\v"))
		s.End = s.Offset + len(strings.TrimSpace(body))
		if e := f.once(raw.GetStmt(), s, alone); e != nil {
			return nil, e
		}
		var c collector
		walk(raw.GetStmt().ProtoReflect(), func(m proto.Message) bool { c.visit(m); return true })
		s.Facts, s.Plain = c.facts(), takesParameters(raw.GetStmt())
		list = append(list, s)
	}
	return list, nil
}

func takesParameters(n *pg_query.Node) bool {
	return n.GetSelectStmt() != nil || n.GetInsertStmt() != nil || n.GetUpdateStmt() != nil || n.GetDeleteStmt() != nil ||
		n.GetMergeStmt() != nil || n.GetCreateTableAsStmt() != nil
}

// once refuses a statement that cannot be run as a part of a script.
func (f *fragment) once(root *pg_query.Node, s Statement, alone bool) *Error {
	inside := &fragment{sql: f.sql[s.Offset:s.End]}
	tokens, e := inside.tokens()
	if e != nil {
		return e
	}
	at, what := inside.first(tokens)
	wrong := func(found, remedy string) *Error { return f.wrong(s.Offset+at, found, remedy) }
	switch n := root.GetNode().(type) {
	case *pg_query.Node_TransactionStmt:
		return wrong("the statement "+what, "remove it: the engine begins and commits")
	case *pg_query.Node_VariableSetStmt:
		if !n.VariableSetStmt.GetIsLocal() {
			return wrong("the statement "+what+" of the whole session", "write SET LOCAL, or say it in `settings`")
		}
		if alone {
			return wrong("SET LOCAL outside of a transaction", "say it in `settings`")
		}
	case *pg_query.Node_DiscardStmt, *pg_query.Node_ListenStmt, *pg_query.Node_PrepareStmt, *pg_query.Node_DeclareCursorStmt, *pg_query.Node_FetchStmt:
		return wrong("the statement "+what, "remove it: connections are shared, so nothing may be left in a session")
	case *pg_query.Node_CopyStmt:
		if n.CopyStmt.GetFilename() == "" {
			return wrong("COPY with the client", "there is none: write the rows as an INSERT")
		}
	}
	if why := notInTransaction(root); why != "" && !alone {
		return wrong(why+" in a transaction", "PostgreSQL runs it outside of one: write {sql: …, transaction: false}")
	}
	return nil
}

// notInTransaction names a statement that PostgreSQL refuses in a transaction; "" is none.
func notInTransaction(root *pg_query.Node) string {
	switch n := root.GetNode().(type) {
	case *pg_query.Node_IndexStmt:
		if n.IndexStmt.GetConcurrent() {
			return "CREATE INDEX CONCURRENTLY"
		}
	case *pg_query.Node_DropStmt:
		if n.DropStmt.GetConcurrent() {
			return "DROP INDEX CONCURRENTLY"
		}
	case *pg_query.Node_ReindexStmt:
		for _, p := range n.ReindexStmt.GetParams() {
			if p.GetDefElem().GetDefname() == "concurrently" {
				return "REINDEX CONCURRENTLY"
			}
		}
		if k := n.ReindexStmt.GetKind(); k != pg_query.ReindexObjectType_REINDEX_OBJECT_INDEX && k != pg_query.ReindexObjectType_REINDEX_OBJECT_TABLE {
			return "REINDEX of more than a table"
		}
	case *pg_query.Node_VacuumStmt:
		if n.VacuumStmt.GetIsVacuumcmd() {
			return "VACUUM"
		}
	case *pg_query.Node_ClusterStmt:
		if n.ClusterStmt.GetRelation() == nil {
			return "CLUSTER of all tables"
		}
	case *pg_query.Node_AlterTableStmt:
		for _, c := range n.AlterTableStmt.GetCmds() {
			if c.GetAlterTableCmd().GetDef().GetPartitionCmd().GetConcurrent() {
				return "DETACH PARTITION CONCURRENTLY"
			}
		}
	case *pg_query.Node_CreatedbStmt, *pg_query.Node_DropdbStmt:
		return "CREATE or DROP DATABASE"
	case *pg_query.Node_CreateTableSpaceStmt, *pg_query.Node_DropTableSpaceStmt:
		return "CREATE or DROP TABLESPACE"
	case *pg_query.Node_AlterSystemStmt:
		return "ALTER SYSTEM"
	}
	return ""
}
