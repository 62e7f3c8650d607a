-- query
SELECT pg_catalog.count(*)
FROM (
SELECT c.id FROM (
  SELECT t.*
  FROM "public"."users" AS t
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND (t.seen > ($5::bigint)
)) AS c WHERE c.seen > ($5::bigint) -- none
) AS pgbackfill_query;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "5"
-- query rows
SELECT pgbackfill_query.*
FROM (
SELECT c.id FROM (
  SELECT t.*
  FROM "public"."users" AS t
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND (t.seen > ($5::bigint)
)) AS c WHERE c.seen > ($5::bigint) -- none
) AS pgbackfill_query
LIMIT 10;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "5"
