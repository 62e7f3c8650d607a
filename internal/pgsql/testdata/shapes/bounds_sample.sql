-- bounds
WITH source AS (
  SELECT t."id", t."Co""de"
  FROM "public"."users" AS t TABLESAMPLE SYSTEM (2.5) REPEATABLE (0)
  WHERE t."Co""de" IS NOT NULL
), ranked AS (
  SELECT s.*, row_number() OVER (ORDER BY s."id" USING OPERATOR(pg_catalog.<), s."Co""de" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.<)) AS pgbackfill_place, count(*) OVER () AS pgbackfill_count FROM source AS s
), picked AS (
  SELECT * FROM ranked
  WHERE pgbackfill_place * $1::int8 / pgbackfill_count <> (pgbackfill_place - 1) * $1::int8 / pgbackfill_count
    AND pgbackfill_place < pgbackfill_count
), bounds AS (
  SELECT "id", "Co""de", pgbackfill_place, pgbackfill_count FROM picked
  UNION ALL
  SELECT greatest.*, pgbackfill_total, pgbackfill_total FROM (SELECT t."id", t."Co""de" FROM "public"."users" AS t WHERE t."Co""de" IS NOT NULL ORDER BY t."id" USING OPERATOR(pg_catalog.>), t."Co""de" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.>) LIMIT 1) AS greatest, (SELECT count(*) AS pgbackfill_total FROM ranked) AS total
), numbered AS (
  SELECT b.*, dense_rank() OVER (ORDER BY b."id" USING OPERATOR(pg_catalog.<), b."Co""de" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.<)) AS pgbackfill_number FROM bounds AS b
)
SELECT DISTINCT ON (pgbackfill_number) "id", "Co""de", pgbackfill_place, pgbackfill_count
FROM numbered
ORDER BY pgbackfill_number, pgbackfill_place DESC;
-- $1 = "16"
