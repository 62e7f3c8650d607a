-- writers
WITH RECURSIVE tree AS (
  SELECT $1::pg_catalog.oid AS relid
  UNION
  SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN tree ON i.inhparent OPERATOR(pg_catalog.=) tree.relid
)
SELECT l.virtualtransaction,
       CASE WHEN l.pid IS NULL THEN 'a prepared transaction'
            ELSE pg_catalog.format('pid %s (%s, since %s)', l.pid, CASE WHEN a.application_name OPERATOR(pg_catalog.<>) '' THEN a.application_name ELSE 'no application_name' END, a.xact_start) END
FROM pg_catalog.pg_locks AS l
JOIN tree ON l.relation OPERATOR(pg_catalog.=) tree.relid
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid OPERATOR(pg_catalog.=) l.pid
WHERE l.locktype OPERATOR(pg_catalog.=) 'relation'
  AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
  AND l.granted
  AND l.mode OPERATOR(pg_catalog.=) ANY ('{RowExclusiveLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'::pg_catalog.text[])
  AND (l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) IS NOT TRUE
GROUP BY l.virtualtransaction, l.pid, a.application_name, a.xact_start
ORDER BY a.xact_start;
-- $1 = "16384"
