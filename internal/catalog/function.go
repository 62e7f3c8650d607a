package catalog

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Function is a function that an expression may call.
type Function struct {
	// Name is qualified, with the types of its arguments.
	Name string
	// BuiltIn is set for those of pg_catalog.
	BuiltIn bool
	// Volatility is "immutable", "stable" or "volatile".
	Volatility string
	// Hash identifies the definition; "" for those that are built in, or written in C.
	Hash string
}

const functionsSQL = `
SELECT quote_ident(n.nspname) || '.' || quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')',
       n.nspname = 'pg_catalog',
       CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END,
       CASE WHEN n.nspname = 'pg_catalog' OR l.lanname IN ('c', 'internal') OR p.prokind = 'a' THEN ''
            ELSE md5(pg_get_functiondef(p.oid)) END
FROM pg_catalog.pg_proc AS p
     JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
     JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
WHERE p.proname::text = ANY ($1) AND p.prokind IN ('f', 'w', 'a')
  AND (n.nspname::text = ANY ($2) OR n.nspname = 'pg_catalog' OR position(lower(n.nspname) IN lower($3)) > 0)
ORDER BY 1`

// ReadFunctions reads the functions that sql may mean by the names: every overload, in pg_catalog, in the schemas of the
// search path and in those that sql mentions. A name without a schema cannot be told from another of the same name,
// so there may be some that are not called.
func ReadFunctions(ctx context.Context, conn *pgx.Conn, names, searchPath []string, sql string) (list []Function, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	err = read(ctx, conn, pin, about("the functions", functionsSQL, func(rows []Function) { list = rows }, names, searchPath, sql))
	return list, err
}
