-- lock
SELECT pg_catalog.count(*) FROM (
  SELECT FROM "public"."users" AS t
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND (t.display_name IS NULL
)
  ORDER BY t."id" USING OPERATOR(pg_catalog.<), t."Co""de" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.<)
  FOR NO KEY UPDATE OF t) AS locked;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- update
WITH pgbackfill_scoped AS MATERIALIZED (
  SELECT t.tableoid AS pgbackfill_table, t.ctid AS pgbackfill_row, t.*
  FROM "public"."users" AS t
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND (t.display_name IS NULL
)
  FOR NO KEY UPDATE OF t
), pgbackfill_new AS MATERIALIZED (
  SELECT pgbackfill_one.pgbackfill_table, pgbackfill_one.pgbackfill_row,
         CAST((to_jsonb(t)
) AS pg_catalog.jsonb) AS pgbackfill_1
  FROM pgbackfill_scoped AS pgbackfill_one
       CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[ROW(pgbackfill_one."id", pgbackfill_one."Co""de", pgbackfill_one."doc")::"public"."users"]) AS t,
       (SELECT p.user_id, p.code FROM posts p WHERE (ROW(p.user_id, p.code) OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(p.user_id, p.code) OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND p.code IS NOT NULL) AND (t.display_name IS NULL
)) p
  WHERE (p.user_id = t.id
)
), pgbackfill_changed AS (
  UPDATE "public"."users" AS t
  SET "doc" = new.pgbackfill_1
  FROM pgbackfill_new AS new
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND t.ctid OPERATOR(pg_catalog.=) new.pgbackfill_row
    AND t.tableoid OPERATOR(pg_catalog.=) new.pgbackfill_table
    AND (ROW(t."doc")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST(new.pgbackfill_1 AS pg_catalog.jsonb))::pg_catalog.record)
  RETURNING 1
)
SELECT (SELECT pg_catalog.count(*) FROM pgbackfill_scoped),
       pg_catalog.count(*),
       pg_catalog.count(*) FILTER (WHERE met.times OPERATOR(pg_catalog.>) 1),
       (SELECT pg_catalog.count(*) FROM pgbackfill_changed),
       pg_catalog.set_config('pgbackfill.snapshot', pg_catalog.pg_current_snapshot()::pg_catalog.text, true)
FROM (SELECT pg_catalog.count(*) AS times FROM pgbackfill_new GROUP BY pgbackfill_table, pgbackfill_row) AS met;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
