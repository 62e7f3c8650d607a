-- gone
WITH pgbackfill_gone AS MATERIALIZED (
  SELECT u.k1 AS "id", u.k2 AS "Co""de", CAST(u.o3 AS bigint) AS "seen", CAST(u.o4 AS character varying(9)) AS "note", NULL AS "added"
  FROM "pgbackfill"."undo_7_1" AS u
  WHERE u.op OPERATOR(pg_catalog.=) 'd' AND ROW(u.k1, u.k2) OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(u.k1, u.k2) OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND u.k2 IS NOT NULL
    AND NOT EXISTS (SELECT FROM "public"."users" AS t WHERE t."id" OPERATOR(pg_catalog.=) u.k1 AND t."Co""de" OPERATOR(pg_catalog.=) u.k2 COLLATE "pg_catalog"."C")
), pgbackfill_judged AS MATERIALIZED (
  SELECT t.*, (t.seen > ($5::bigint)
) IS TRUE AS pgbackfill_inside
  FROM pgbackfill_gone AS t
)
SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE NOT j.pgbackfill_inside)
FROM pgbackfill_judged AS j;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "5"
