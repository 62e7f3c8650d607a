-- walkers
SELECT COALESCE(pg_catalog.array_agg(c.xid::pg_catalog.xid), '{}')
FROM pgbackfill.chunks AS c
WHERE c.run_id OPERATOR(pg_catalog.=) $5::pg_catalog.int8
  AND ROW(c.through[1]::bigint, c.through[2]::character(5) COLLATE "pg_catalog"."C") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(c.through[1]::bigint, c.through[2]::character(5) COLLATE "pg_catalog"."C") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND c.through[2]::character(5) COLLATE "pg_catalog"."C" IS NOT NULL;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "7"
