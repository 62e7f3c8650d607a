package catalog

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Names are names of functions, operators and types that somebody takes for PostgreSQL's own.
type Names struct{ Functions, Operators, Types []string }

// What is made by initdb has an oid under 16384; what is made later, wherever it is put, has not.
const shadowsSQL = `
WITH seen AS (SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname::text = ANY ($4) OR n.nspname = 'pg_catalog')
SELECT 'function ' || p.oid::regprocedure::text
FROM pg_catalog.pg_proc AS p
WHERE p.proname = ANY ($1::name[]) AND p.oid >= 16384 AND p.pronamespace IN (SELECT oid FROM seen)
UNION ALL
SELECT 'operator ' || o.oid::regoperator::text
FROM pg_catalog.pg_operator AS o
WHERE o.oprname = ANY ($2::name[]) AND o.oid >= 16384 AND o.oprnamespace IN (SELECT oid FROM seen)
UNION ALL
SELECT 'type ' || y.oid::regtype::text
FROM pg_catalog.pg_type AS y
WHERE y.typname = ANY ($3::name[]) AND y.oid >= 16384 AND y.typnamespace IN (SELECT oid FROM seen)
UNION ALL
SELECT 'cast from ' || k.castsource::regtype::text || ' to ' || k.casttarget::regtype::text
FROM pg_catalog.pg_cast AS k
WHERE k.oid >= 16384 AND k.castsource < 16384 AND k.casttarget < 16384
ORDER BY 1`

// ReadShadows lists what somebody has added to the database that could be meant, in the schemas of the search path,
// where one of PostgreSQL's own is expected: functions, operators and types of these names, with whatever
// arguments, and casts between PostgreSQL's own types. Where it is empty, the unqualified names can only mean
// PostgreSQL's own.
func ReadShadows(ctx context.Context, conn *pgx.Conn, names Names, searchPath []string) (list []string, err error) {
	type row struct{ Shadow string }
	err = read(ctx, conn, pin, about("what hides PostgreSQL's own functions", shadowsSQL, func(rows []row) {
		for _, r := range rows {
			list = append(list, r.Shadow)
		}
	}, none(names.Functions), none(names.Operators), none(names.Types), none(searchPath)))
	return list, err
}

// none is an empty list where there is none, which would be NULL.
func none(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
