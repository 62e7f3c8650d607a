-- begin
BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
-- replicas
SELECT pg_catalog.pg_is_in_recovery(),
       CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0') END,
       EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()),
       pg_catalog.current_setting('cluster_name'),
       CURRENT_USER,
       pg_catalog.pg_has_role(CURRENT_USER, 'pg_read_all_stats', 'USAGE'),
       r.pid, r.application_name, r.client_addr::pg_catalog.text, r.state,
       pg_catalog.pg_wal_lsn_diff(r.replay_lsn, '0/0'),
       EXTRACT(epoch FROM r.replay_lag),
       EXTRACT(epoch FROM r.reply_time),
       EXISTS (SELECT FROM pg_catalog.pg_replication_slots AS s
               WHERE s.active_pid OPERATOR(pg_catalog.=) r.pid AND s.slot_type OPERATOR(pg_catalog.=) 'logical'),
       CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_flush_lsn(), '0/0') END
FROM (SELECT) AS primary_server LEFT JOIN pg_catalog.pg_stat_replication AS r ON true
ORDER BY r.application_name, r.client_addr, r.pid;
-- aurora
SELECT pg_catalog.to_regprocedure('pg_catalog.aurora_replica_status()') IS NOT NULL;
-- aurora replicas
SELECT s.server_id, s.replica_lag_in_msec OPERATOR(pg_catalog./) 1000.0
FROM pg_catalog.aurora_replica_status() AS s
WHERE s.session_id OPERATOR(pg_catalog.<>) 'MASTER_SESSION_ID'
ORDER BY s.server_id;
-- standby
SELECT pg_catalog.pg_is_in_recovery(),
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_replay_lsn(), '0/0'),
       EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time());
-- position
SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0');
-- slots
SELECT s.slot_name, s.slot_type, s.active, s.wal_status,
       CASE WHEN s.restart_lsn IS NOT NULL THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn) END
FROM pg_catalog.pg_replication_slots AS s
ORDER BY s.slot_name;
-- archiver
SELECT pg_catalog.current_setting('archive_mode') OPERATOR(pg_catalog.<>) 'off',
       pg_catalog.has_function_privilege('pg_catalog.pg_ls_archive_statusdir()', 'EXECUTE'),
       a.last_archived_wal,
       pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()),
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')),
       CASE WHEN a.last_failed_time OPERATOR(pg_catalog.>) COALESCE(a.last_archived_time, '-infinity') THEN a.last_failed_wal END,
       CURRENT_USER
FROM pg_catalog.pg_stat_archiver AS a;
-- archive
SELECT pg_catalog.count(*)
FROM pg_catalog.pg_ls_archive_statusdir() AS f
WHERE f.name OPERATOR(pg_catalog.~~) '%.ready';
-- waiting
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_lock_status() AS l
  WHERE NOT l.granted
    AND l.waitstart OPERATOR(pg_catalog.<=) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $1::pg_catalog.float8)));
-- $1 = "0.1"
-- blocked
WITH waiting AS MATERIALIZED (
  SELECT l.pid, pg_catalog.min(l.waitstart) AS since
  FROM pg_catalog.pg_locks AS l WHERE NOT l.granted GROUP BY l.pid)
SELECT EXTRACT(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) w.since),
       w.pid, COALESCE(a.application_name, ''), b.pid, b.application_name
FROM waiting AS w
JOIN pg_catalog.pg_stat_activity AS a ON a.pid OPERATOR(pg_catalog.=) w.pid
CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) AS by(pid)
JOIN pg_catalog.pg_stat_activity AS b ON b.pid OPERATOR(pg_catalog.=) by.pid
WHERE w.since OPERATOR(pg_catalog.<=) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $1::pg_catalog.float8))
  AND NOT COALESCE(pg_catalog.starts_with(a.application_name, 'pgbackfill '), false)
  AND pg_catalog.starts_with(b.application_name, 'pgbackfill ')
ORDER BY w.since, w.pid, b.pid;
-- $1 = "0.1"
-- snapshots
SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity AS h
        WHERE h.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() AND h.state IS NULL AND h.backend_type IS NULL
          AND NOT pg_catalog.pg_has_role(CURRENT_USER, 'pg_read_all_stats', 'USAGE')),
       CURRENT_USER, oldest.seconds, oldest.who
FROM (SELECT) AS one LEFT JOIN LATERAL (
  SELECT EXTRACT(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) a.xact_start) AS seconds,
         pg_catalog.format('pid %s of %s, %s', a.pid, a.usename, a.state) AS who
  FROM pg_catalog.pg_stat_activity AS a
  WHERE a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
    AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
    AND a.xact_start IS NOT NULL AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
    AND a.backend_type OPERATOR(pg_catalog.<>) 'autovacuum worker'
    AND NOT COALESCE(pg_catalog.starts_with(a.application_name, 'pgbackfill '), false)
  UNION ALL
  SELECT EXTRACT(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.prepared),
         pg_catalog.format('prepared transaction %s of %s', p.gid, p.owner)
  FROM pg_catalog.pg_prepared_xacts AS p
  WHERE p.database OPERATOR(pg_catalog.=) pg_catalog.current_database()
  ORDER BY 1 DESC LIMIT 1) AS oldest ON true;
-- wraparound
WITH RECURSIVE tree(oid) AS (
  SELECT $1::pg_catalog.oid
  UNION
  SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) tree.oid),
family AS (
  SELECT c.oid FROM tree JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) tree.oid
  UNION
  SELECT c.reltoastrelid FROM tree JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) tree.oid)
SELECT c.relname, pg_catalog.age(c.relfrozenxid), o.oldest, l.pid
FROM family
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) family.oid
CROSS JOIN LATERAL (
  SELECT LEAST(pg_catalog.current_setting('autovacuum_freeze_max_age')::pg_catalog.int8, (
           SELECT p.option_value::pg_catalog.int8 FROM pg_catalog.pg_options_to_table(c.reloptions) AS p
           WHERE p.option_name OPERATOR(pg_catalog.=) 'autovacuum_freeze_max_age')) AS oldest,
         LEAST(pg_catalog.current_setting('autovacuum_multixact_freeze_max_age')::pg_catalog.int8, (
           SELECT p.option_value::pg_catalog.int8 FROM pg_catalog.pg_options_to_table(c.reloptions) AS p
           WHERE p.option_name OPERATOR(pg_catalog.=) 'autovacuum_multixact_freeze_max_age')) AS oldest_multi) AS o
JOIN pg_catalog.pg_locks AS l ON l.relation OPERATOR(pg_catalog.=) c.oid AND l.granted
  AND l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.mode OPERATOR(pg_catalog.=) 'ShareUpdateExclusiveLock'
  AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid OPERATOR(pg_catalog.=) l.pid
WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,m,t}'::pg_catalog."char"[])
  AND (pg_catalog.age(c.relfrozenxid) OPERATOR(pg_catalog.>=) o.oldest OR pg_catalog.mxid_age(c.relminmxid) OPERATOR(pg_catalog.>=) o.oldest_multi)
  AND NOT COALESCE(pg_catalog.starts_with(a.application_name, 'pgbackfill '), false)
ORDER BY 2 DESC, 1;
-- $1 = "16384"
-- dead rows
WITH RECURSIVE tree(oid) AS (
  SELECT $1::pg_catalog.oid
  UNION
  SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) tree.oid),
family AS (
  SELECT c.oid FROM tree JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) tree.oid
  UNION
  SELECT c.reltoastrelid FROM tree JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) tree.oid)
SELECT COALESCE(pg_catalog.sum(pg_catalog.pg_stat_get_dead_tuples(tree.oid)), 0),
       COALESCE(pg_catalog.sum(GREATEST(pg_catalog.pg_stat_get_live_tuples(tree.oid), c.reltuples)) FILTER (WHERE c.relkind OPERATOR(pg_catalog.=) 'r'), 0)
FROM tree JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) tree.oid;
-- $1 = "16384"
-- sessions
SELECT pg_catalog.count(*) FILTER (WHERE a.state OPERATOR(pg_catalog.=) 'active' AND a.backend_type OPERATOR(pg_catalog.=) 'client backend'
         AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() AND NOT COALESCE(pg_catalog.starts_with(a.application_name, 'pgbackfill '), false)),
       pg_catalog.count(*) FILTER (WHERE a.state IS NULL AND a.backend_type IS NULL AND a.datname IS NOT NULL
         AND NOT pg_catalog.pg_has_role(CURRENT_USER, 'pg_read_all_stats', 'USAGE')),
       CURRENT_USER
FROM pg_catalog.pg_stat_activity AS a;
