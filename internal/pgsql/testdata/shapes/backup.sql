-- backup
SELECT pg_catalog.to_char(q.at, 'YYYY-MM-DD HH24:MI:SS TZ'), pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) q.at))::pg_catalog.int8
FROM (SELECT pgbackfill_query.at::pg_catalog.timestamptz AS at FROM (SELECT max(at) FROM ops.backups -- the last
) AS pgbackfill_query(at) LIMIT 2) AS q;
