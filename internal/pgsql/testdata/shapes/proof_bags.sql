-- proof
WITH pgbackfill_both (expected, pgbackfill_1, pgbackfill_2) AS (
  SELECT true, q.pgbackfill_1, CAST(q.pgbackfill_2 AS numeric(8,2)) FROM (
SELECT u.id, u.price FROM (
  SELECT t.*
  FROM "public"."users" AS t
  WHERE t."id" OPERATOR(pg_catalog.>) $1::bigint AND t."id" OPERATOR(pg_catalog.<=) $2::bigint) AS u
) AS q (pgbackfill_1, pgbackfill_2)
  UNION ALL
  SELECT false, q.pgbackfill_1, q.pgbackfill_2 FROM (
SELECT d.id, d.price FROM d WHERE (d."id" OPERATOR(pg_catalog.>) $1::bigint AND d."id" OPERATOR(pg_catalog.<=) $2::bigint)
) AS q (pgbackfill_1, pgbackfill_2)
), pgbackfill_rows AS (
  SELECT ROW(u.pgbackfill_1)::pg_catalog.record AS key, ROW(u.pgbackfill_1, u.pgbackfill_2)::pg_catalog.record AS whole,
         pg_catalog.count(*) FILTER (WHERE u.expected) AS expected, pg_catalog.count(*) FILTER (WHERE NOT u.expected) AS actual
  FROM pgbackfill_both AS u
  GROUP BY 1, 2 ORDER BY 1 USING OPERATOR(pg_catalog.*<), 2 USING OPERATOR(pg_catalog.*<)
), pgbackfill_keys AS (
  SELECT r.key, pg_catalog.sum(r.expected) AS expected, pg_catalog.sum(r.actual) AS actual,
         pg_catalog.sum(GREATEST(r.expected OPERATOR(pg_catalog.-) r.actual, 0)) AS missing,
         pg_catalog.sum(GREATEST(r.actual OPERATOR(pg_catalog.-) r.expected, 0)) AS extra
  FROM pgbackfill_rows AS r
  GROUP BY 1 ORDER BY 1 USING OPERATOR(pg_catalog.*<)
)
SELECT COALESCE(pg_catalog.sum(keys.expected), 0)::pg_catalog.int8, COALESCE(pg_catalog.sum(keys.actual), 0)::pg_catalog.int8,
       COALESCE(pg_catalog.sum(keys.missing OPERATOR(pg_catalog.-) LEAST(keys.missing, keys.extra)), 0)::pg_catalog.int8,
       COALESCE(pg_catalog.sum(keys.extra OPERATOR(pg_catalog.-) LEAST(keys.missing, keys.extra)), 0)::pg_catalog.int8,
       COALESCE(pg_catalog.sum(LEAST(keys.missing, keys.extra)), 0)::pg_catalog.int8
FROM pgbackfill_keys AS keys;
-- $1 = "41"
-- $2 = "77"
-- wrong rows
WITH pgbackfill_both (expected, pgbackfill_1, pgbackfill_2) AS (
  SELECT true, q.pgbackfill_1, CAST(q.pgbackfill_2 AS numeric(8,2)) FROM (
SELECT u.id, u.price FROM (
  SELECT t.*
  FROM "public"."users" AS t
  WHERE t."id" OPERATOR(pg_catalog.>) $1::bigint AND t."id" OPERATOR(pg_catalog.<=) $2::bigint) AS u
) AS q (pgbackfill_1, pgbackfill_2)
  UNION ALL
  SELECT false, q.pgbackfill_1, q.pgbackfill_2 FROM (
SELECT d.id, d.price FROM d WHERE (d."id" OPERATOR(pg_catalog.>) $1::bigint AND d."id" OPERATOR(pg_catalog.<=) $2::bigint)
) AS q (pgbackfill_1, pgbackfill_2)
), pgbackfill_rows AS (
  SELECT ROW(u.pgbackfill_1)::pg_catalog.record AS key, ROW(u.pgbackfill_1, u.pgbackfill_2)::pg_catalog.record AS whole,
         pg_catalog.count(*) FILTER (WHERE u.expected) AS expected, pg_catalog.count(*) FILTER (WHERE NOT u.expected) AS actual,
         pg_catalog.min(u.pgbackfill_1::pg_catalog.text COLLATE "pg_catalog"."C") AS text_1
  FROM pgbackfill_both AS u
  GROUP BY 1, 2 ORDER BY 1 USING OPERATOR(pg_catalog.*<), 2 USING OPERATOR(pg_catalog.*<)
), pgbackfill_keys AS (
  SELECT r.key, pg_catalog.min(r.text_1) AS text_1,
         pg_catalog.sum(GREATEST(r.expected OPERATOR(pg_catalog.-) r.actual, 0)) AS missing,
         pg_catalog.sum(GREATEST(r.actual OPERATOR(pg_catalog.-) r.expected, 0)) AS extra,
         pg_catalog.string_agg(r.whole::pg_catalog.text, ' ') FILTER (WHERE r.expected OPERATOR(pg_catalog.>) r.actual) AS missing_rows,
         pg_catalog.string_agg(r.whole::pg_catalog.text, ' ') FILTER (WHERE r.actual OPERATOR(pg_catalog.>) r.expected) AS extra_rows
  FROM pgbackfill_rows AS r
  GROUP BY 1 ORDER BY 1 USING OPERATOR(pg_catalog.*<)
)
SELECT keys.text_1, keys.missing, keys.extra, keys.missing_rows, keys.extra_rows
FROM pgbackfill_keys AS keys
WHERE keys.missing OPERATOR(pg_catalog.+) keys.extra OPERATOR(pg_catalog.>) 0
ORDER BY keys.key USING OPERATOR(pg_catalog.*<)
LIMIT 10;
-- $1 = "41"
-- $2 = "77"
