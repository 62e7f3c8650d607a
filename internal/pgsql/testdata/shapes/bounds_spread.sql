-- bounds
WITH source AS (
  SELECT pg_catalog.floor(e.least + (e.greatest - e.least) * i / 16)::bigint AS "id"
  FROM (SELECT (SELECT t."id"::pg_catalog.numeric FROM "public"."users" AS t WHERE true ORDER BY t."id" USING OPERATOR(pg_catalog.<) LIMIT 1) AS least, (SELECT t."id"::pg_catalog.numeric FROM "public"."users" AS t WHERE true ORDER BY t."id" USING OPERATOR(pg_catalog.>) LIMIT 1) AS greatest) AS e, pg_catalog.generate_series(1, 16) AS i
), ranked AS (
  SELECT s.*, row_number() OVER (ORDER BY s."id" USING OPERATOR(pg_catalog.<)) AS pgbackfill_place, count(*) OVER () AS pgbackfill_count FROM source AS s
), picked AS (
  SELECT * FROM ranked
  WHERE pgbackfill_place * $1::int8 / pgbackfill_count <> (pgbackfill_place - 1) * $1::int8 / pgbackfill_count
    AND pgbackfill_place < pgbackfill_count
), bounds AS (
  SELECT "id", pgbackfill_place, pgbackfill_count FROM (
    SELECT k."id", p.pgbackfill_place, p.pgbackfill_count
    FROM picked AS p CROSS JOIN LATERAL (
      SELECT t."id" FROM "public"."users" AS t WHERE t."id" OPERATOR(pg_catalog.<=) p."id" AND true ORDER BY t."id" USING OPERATOR(pg_catalog.>) LIMIT 1) AS k) AS probed
  UNION ALL
  SELECT greatest.*, pgbackfill_total, pgbackfill_total FROM (SELECT t."id" FROM "public"."users" AS t WHERE true ORDER BY t."id" USING OPERATOR(pg_catalog.>) LIMIT 1) AS greatest, (SELECT count(*) AS pgbackfill_total FROM ranked) AS total
), numbered AS (
  SELECT b.*, dense_rank() OVER (ORDER BY b."id" USING OPERATOR(pg_catalog.<)) AS pgbackfill_number FROM bounds AS b
)
SELECT DISTINCT ON (pgbackfill_number) "id", pgbackfill_place, pgbackfill_count
FROM numbered
ORDER BY pgbackfill_number, pgbackfill_place DESC;
-- $1 = "16"
