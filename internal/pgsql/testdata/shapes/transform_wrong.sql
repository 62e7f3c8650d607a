-- wrong rows
SELECT t."id",
       t."Co""de",
       t."ssn_encrypted" IS DISTINCT FROM CAST(pgbackfill_out.v1 AS pg_catalog.bytea),
       ROW(t."tags")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST(CAST(pgbackfill_out.v2 AS pg_catalog.text[]) AS pg_catalog.text[]))::pg_catalog.record,
       t."ssn_encrypted"::pg_catalog.text,
       CAST(pgbackfill_out.v1 AS pg_catalog.bytea)::pg_catalog.text,
       t."tags"::pg_catalog.text,
       CAST(CAST(pgbackfill_out.v2 AS pg_catalog.text[]) AS pg_catalog.text[])::pg_catalog.text
FROM "public"."users" AS t, ROWS FROM (pg_catalog.unnest($5::pg_catalog.xid[]), pg_catalog.unnest($6::bigint[]), pg_catalog.unnest($7::character(5)[]), pg_catalog.unnest($8::pg_catalog.bytea[]), pg_catalog.unnest($9::pg_catalog.text[])) AS pgbackfill_out (k0, k1, k2, v1, v2)
WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
  AND t.xmin OPERATOR(pg_catalog.=) pgbackfill_out.k0
  AND t."id" OPERATOR(pg_catalog.=) pgbackfill_out.k1
  AND t."Co""de" OPERATOR(pg_catalog.=) pgbackfill_out.k2 COLLATE "pg_catalog"."C"
  AND (t."ssn_encrypted" IS DISTINCT FROM CAST(pgbackfill_out.v1 AS pg_catalog.bytea)
        OR ROW(t."tags")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST(CAST(pgbackfill_out.v2 AS pg_catalog.text[]) AS pg_catalog.text[]))::pg_catalog.record)
ORDER BY t."id" USING OPERATOR(pg_catalog.<), t."Co""de" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.<)
LIMIT 10;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "{}"
-- $6 = "{}"
-- $7 = "{}"
-- $8 = "{\"5\"}"
-- $9 = "{NULL}"
