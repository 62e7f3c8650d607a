-- stale
SELECT pg_catalog.count(*)
FROM "public"."users" AS t
WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
  AND t.xmin OPERATOR(pg_catalog.<>) COALESCE(pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.xid, '0'::pg_catalog.xid)
  AND NOT EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest($5::pg_catalog.xid[]), pg_catalog.unnest($6::pg_catalog.tid[]), pg_catalog.unnest($7::pg_catalog.oid[]), pg_catalog.unnest($8::pg_catalog.oid[])) AS pgbackfill_out (k0, k1, k2, k3) WHERE t.xmin OPERATOR(pg_catalog.=) pgbackfill_out.k0
  AND t.ctid OPERATOR(pg_catalog.=) pgbackfill_out.k1
  AND t.tableoid OPERATOR(pg_catalog.=) pgbackfill_out.k2
  AND pg_catalog.pg_relation_filenode(t.tableoid) OPERATOR(pg_catalog.=) pgbackfill_out.k3);
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "{}"
-- $6 = "{}"
-- $7 = "{}"
-- $8 = "{}"
