-- missed
SELECT pg_catalog.count(*) FILTER (WHERE pgbackfill_written AND NOT pgbackfill_since),
       pg_catalog.count(*) FILTER (WHERE pgbackfill_written AND pgbackfill_since),
       pg_catalog.count(*) FILTER (WHERE NOT pgbackfill_written)
FROM (
  SELECT t.*,
         false AS pgbackfill_since,
         true AS pgbackfill_written
  FROM "public"."users" AS t
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND (t.seen > ($5::bigint)
)) AS t
WHERE true;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "5"
