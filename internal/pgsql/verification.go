package pgsql

// Standpoint asks where a verification reads, by whom and as of when: the server's clock, the role, the server with its
// database, whether it is a standby, how far its log is, and what is visible. A standby's snapshots do not name the
// transactions that are open, so that there is none to be had there.
var Standpoint = Statement{Name: "standpoint", SQL: `SELECT pg_catalog.to_char(pg_catalog.clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       CURRENT_USER::pg_catalog.text,
       COALESCE(pg_catalog.host(pg_catalog.inet_server_addr()), 'local socket') || COALESCE(':' || pg_catalog.inet_server_port()::pg_catalog.text, '')
         || '/' || pg_catalog.current_database()::pg_catalog.text,
       pg_catalog.pg_is_in_recovery(),
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END,
       CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_snapshot() END`}

// LedgerRows counts the rows that the ledger has of a run, fences among them, from the last one of each segment. The
// ledger only grows: where the count is the same, nothing was added.
func LedgerRows[T ~int64](run T) Statement {
	return Statement{Name: "ledger rows", SQL: `SELECT COALESCE(pg_catalog.sum(m.seq), 0)::pg_catalog.int8
  FROM pgbackfill.segments AS s
  LEFT JOIN LATERAL (
       SELECT c.seq FROM pgbackfill.chunks AS c
        WHERE c.run_id OPERATOR(pg_catalog.=) s.run_id AND c.segment OPERATOR(pg_catalog.=) s.no
        ORDER BY c.seq DESC LIMIT 1) AS m ON true
 WHERE s.run_id OPERATOR(pg_catalog.=) $1::pg_catalog.int8`, Args: [][]byte{Int(run)}}
}
