-- proof
SELECT pg_catalog.count(*),
       pg_catalog.count(*) FILTER (WHERE t."ssn_encrypted" IS DISTINCT FROM CAST(pgbackfill_out.v1 AS pg_catalog.bytea)
        OR ROW(t."tags")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST(CAST(pgbackfill_out.v2 AS pg_catalog.text[]) AS pg_catalog.text[]))::pg_catalog.record)
FROM "public"."users" AS t, ROWS FROM (pg_catalog.unnest($5::pg_catalog.xid[]), pg_catalog.unnest($6::bigint[]), pg_catalog.unnest($7::character(5)[]), pg_catalog.unnest($8::pg_catalog.bytea[]), pg_catalog.unnest($9::pg_catalog.text[])) AS pgbackfill_out (k0, k1, k2, v1, v2)
WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
  AND t.xmin OPERATOR(pg_catalog.=) pgbackfill_out.k0
  AND t."id" OPERATOR(pg_catalog.=) pgbackfill_out.k1
  AND t."Co""de" OPERATOR(pg_catalog.=) pgbackfill_out.k2 COLLATE "pg_catalog"."C";
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "{}"
-- $6 = "{}"
-- $7 = "{}"
-- $8 = "{\"5\"}"
-- $9 = "{NULL}"
