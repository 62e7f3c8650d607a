-- walkers
SELECT COALESCE(pg_catalog.array_agg(c.xid::pg_catalog.xid), '{}')
FROM pgbackfill.chunks AS c
WHERE c.run_id OPERATOR(pg_catalog.=) $1::pg_catalog.int8
  AND c.through IS NULL;
-- $1 = "7"
