-- lock
SELECT pg_catalog.count(*) FROM (
  SELECT FROM "public"."users" AS t
  WHERE t."id" OPERATOR(pg_catalog.>) $1::bigint AND t."id" OPERATOR(pg_catalog.<=) $2::bigint
  ORDER BY t."id" USING OPERATOR(pg_catalog.<)
  FOR NO KEY UPDATE OF t) AS locked;
-- $1 = "41"
-- $2 = "77"
-- update
WITH pgbackfill_scoped AS MATERIALIZED (
  SELECT t.tableoid AS pgbackfill_table, t.ctid AS pgbackfill_row, t.*
  FROM "public"."users" AS t
  WHERE t."id" OPERATOR(pg_catalog.>) $1::bigint AND t."id" OPERATOR(pg_catalog.<=) $2::bigint
  FOR NO KEY UPDATE OF t
), pgbackfill_new AS MATERIALIZED (
  SELECT t.pgbackfill_table, t.pgbackfill_row,
         CAST((initcap(t.full_name) -- as shown
) AS character varying) AS pgbackfill_1
  FROM pgbackfill_scoped AS t
), pgbackfill_changed AS (
  UPDATE "public"."users" AS t
  SET "display_name" = new.pgbackfill_1
  FROM pgbackfill_new AS new
  WHERE t."id" OPERATOR(pg_catalog.>) $1::bigint AND t."id" OPERATOR(pg_catalog.<=) $2::bigint
    AND t.ctid OPERATOR(pg_catalog.=) new.pgbackfill_row
  RETURNING 1
)
SELECT (SELECT pg_catalog.count(*) FROM pgbackfill_scoped),
       pg_catalog.count(*),
       pg_catalog.count(*) FILTER (WHERE met.times OPERATOR(pg_catalog.>) 1),
       (SELECT pg_catalog.count(*) FROM pgbackfill_changed),
       pg_catalog.set_config('pgbackfill.snapshot', pg_catalog.pg_current_snapshot()::pg_catalog.text, true)
FROM (SELECT pg_catalog.count(*) AS times FROM pgbackfill_new GROUP BY pgbackfill_table, pgbackfill_row) AS met;
-- $1 = "41"
-- $2 = "77"
