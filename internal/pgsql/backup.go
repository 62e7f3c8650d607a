package pgsql

import "fmt"

// BackupAge asks the job's own query when the last backup was made. Its answer has a row for each that the query has, at
// most two: the time as text, NULL where there is none, and how many seconds ago that is.
func BackupAge(query string) Statement {
	return Statement{Name: "backup", SQL: fmt.Sprintf(`SELECT pg_catalog.to_char(q.at, 'YYYY-MM-DD HH24:MI:SS TZ'), pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) q.at))::pg_catalog.int8
FROM (SELECT pgbackfill_query.at::pg_catalog.timestamptz AS at FROM (%s
) AS pgbackfill_query(at) LIMIT 2) AS q`, query)}
}
