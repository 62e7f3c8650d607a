package backfill

import (
	"context"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgparse"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// typeNames are the names in pg_type of the types that [pgparse.NullsOf] reasons about, by their oids, which are the
// same on every server.
var typeNames = map[uint32]string{
	16: "bool", 17: "bytea", 20: "int8", 21: "int2", 23: "int4", 25: "text", 700: "float4", 701: "float8", 1042: "bpchar",
	1043: "varchar", 1082: "date", 1114: "timestamp", 1184: "timestamptz", 1186: "interval", 1700: "numeric", 2950: "uuid",
}

// typeName is the name of a column's type; "" where it is a domain, or not one of those.
func typeName(c *catalog.Column) string {
	if c == nil || c.TypeOID != c.BaseType {
		return ""
	}
	return typeNames[c.TypeOID]
}

// assigned is an expression and the column that it is assigned to.
type assigned struct{ column, sql string }

// proveNulls finds the assignments of which it can be told from the row's columns whether they make a NULL, so that
// the guard of a column that is filled for the first time need not evaluate them as well. Nothing is proved of a change
// that locks first: its guard compares values that were computed once.
func (pl *planning) proveNulls(ctx context.Context) error {
	p := pl.plan
	// In a database that does not know its encoding, what turns letters may fail for bytes that are none.
	if p.LockFirst || p.Server.Encoding == "SQL_ASCII" {
		return nil
	}
	column := func(name string) string { return typeName(p.Table.Column(name)) }
	var used catalog.Names
	proven := map[assigned]*pgsql.Nulls{}
	for _, a := range p.Job.Assignments() {
		n, ok := pgparse.NullsOf(a.Value.SQL, column(a.Column), column)
		if !ok || n.Calls == 0 { // what costs nothing may be evaluated twice
			continue
		}
		proven[assigned{a.Column, a.Value.SQL}] = &pgsql.Nulls{Columns: n.Columns}
		used.Functions = append(used.Functions, n.Functions...)
		used.Operators = append(used.Operators, n.Operators...)
		used.Types = append(used.Types, n.Types...)
	}
	if len(proven) == 0 {
		return nil
	}
	shadows, err := catalog.ReadShadows(ctx, pl.conn, used, p.Server.SearchPath)
	if err != nil || len(shadows) > 0 {
		return err
	}
	p.nulls = proven
	return nil
}
