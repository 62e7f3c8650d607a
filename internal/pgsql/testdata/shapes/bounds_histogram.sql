-- bounds
WITH source AS (
  SELECT unnest(s.histogram_bounds::text::character(5)[]) AS "Co""de"
  FROM pg_catalog.pg_stats AS s
  WHERE s.schemaname = $2::text AND s.tablename = $3::text AND s.attname = $4::text AND s.inherited = false
), ranked AS (
  SELECT s.*, row_number() OVER (ORDER BY s."Co""de" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.<)) AS pgbackfill_place, count(*) OVER () AS pgbackfill_count FROM source AS s
), picked AS (
  SELECT * FROM ranked
  WHERE pgbackfill_place * $1::int8 / pgbackfill_count <> (pgbackfill_place - 1) * $1::int8 / pgbackfill_count
    AND pgbackfill_place < pgbackfill_count
), bounds AS (
  SELECT "Co""de", pgbackfill_place, pgbackfill_count FROM (
    SELECT k."Co""de", p.pgbackfill_place, p.pgbackfill_count
    FROM picked AS p CROSS JOIN LATERAL (
      SELECT t."Co""de" FROM "public"."users" AS t WHERE t."Co""de" OPERATOR(pg_catalog.<=) p."Co""de" COLLATE "pg_catalog"."C" AND t."Co""de" IS NOT NULL ORDER BY t."Co""de" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.>) LIMIT 1) AS k) AS probed
  UNION ALL
  SELECT greatest.*, pgbackfill_total, pgbackfill_total FROM (SELECT t."Co""de" FROM "public"."users" AS t WHERE t."Co""de" IS NOT NULL ORDER BY t."Co""de" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.>) LIMIT 1) AS greatest, (SELECT count(*) AS pgbackfill_total FROM ranked) AS total
), numbered AS (
  SELECT b.*, dense_rank() OVER (ORDER BY b."Co""de" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.<)) AS pgbackfill_number FROM bounds AS b
)
SELECT DISTINCT ON (pgbackfill_number) "Co""de", pgbackfill_place, pgbackfill_count
FROM numbered
ORDER BY pgbackfill_number, pgbackfill_place DESC;
-- $1 = "16"
-- $2 = "public"
-- $3 = "users"
-- $4 = "Co\"de"
