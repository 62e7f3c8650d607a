package pgsql

// UnfinishedRuns asks which runs of other jobs than the given ones walk a table, its partitions or what it is a partition of, and are not over:
// each one's number, job, state and what the job does.
func UnfinishedRuns(table uint32, jobs []string) Statement {
	return Statement{
		Name: "runs of other jobs",
		SQL: `SELECT r.id, r.job, r.state, r.spec
FROM pgbackfill.runs AS r
WHERE r.state OPERATOR(pg_catalog.<>) ALL ('{finished,cancelled,undone}'::pg_catalog.text[])
  AND r.job OPERATOR(pg_catalog.<>) ALL ($2::pg_catalog.text[])
  AND (r.table_oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid
       OR r.table_oid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT relid::pg_catalog.oid FROM pg_catalog.pg_partition_ancestors($1::pg_catalog.oid::pg_catalog.regclass)))
       OR r.table_oid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree($1::pg_catalog.oid::pg_catalog.regclass))))
ORDER BY r.id`,
		Args: [][]byte{Int(int64(table)), TextArray(append([]string{}, jobs...))},
	}
}
