-- proof
WITH pgbackfill_scoped AS MATERIALIZED (
  SELECT t.tableoid AS pgbackfill_table, t.ctid AS pgbackfill_row, t.*
  FROM "public"."users" AS t
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND (t.display_name IS NULL
)
), pgbackfill_new AS MATERIALIZED (
  SELECT pgbackfill_one.pgbackfill_table, pgbackfill_one.pgbackfill_row,
         pgbackfill_one."id" AS pgbackfill_key_1,
         pgbackfill_one."Co""de" AS pgbackfill_key_2,
         pgbackfill_one."doc" AS pgbackfill_old_1,
         CAST((to_jsonb(t)
) AS pg_catalog.jsonb) AS pgbackfill_1
  FROM pgbackfill_scoped AS pgbackfill_one
       CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[ROW(pgbackfill_one."id", pgbackfill_one."Co""de", pgbackfill_one."doc")::"public"."users"]) AS t,
       (SELECT p.user_id, p.code FROM posts p WHERE (ROW(p.user_id, p.code) OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(p.user_id, p.code) OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND p.code IS NOT NULL) AND (t.display_name IS NULL
)) p
  WHERE (p.user_id = t.id
)
)
SELECT (SELECT pg_catalog.count(*) FROM pgbackfill_scoped),
       pg_catalog.count(*),
       pg_catalog.count(*) FILTER (WHERE met.times OPERATOR(pg_catalog.>) 1),
       pg_catalog.count(*) FILTER (WHERE met.wrong)
FROM (
  SELECT pg_catalog.count(*) AS times, pg_catalog.bool_and(ROW(new.pgbackfill_old_1)::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST(new.pgbackfill_1 AS pg_catalog.jsonb))::pg_catalog.record) AS wrong
  FROM pgbackfill_new AS new GROUP BY pgbackfill_table, pgbackfill_row) AS met;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- wrong rows
WITH pgbackfill_scoped AS MATERIALIZED (
  SELECT t.tableoid AS pgbackfill_table, t.ctid AS pgbackfill_row, t.*
  FROM "public"."users" AS t
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND (t.display_name IS NULL
)
), pgbackfill_new AS MATERIALIZED (
  SELECT pgbackfill_one.pgbackfill_table, pgbackfill_one.pgbackfill_row,
         pgbackfill_one."id" AS pgbackfill_key_1,
         pgbackfill_one."Co""de" AS pgbackfill_key_2,
         pgbackfill_one."doc" AS pgbackfill_old_1,
         CAST((to_jsonb(t)
) AS pg_catalog.jsonb) AS pgbackfill_1
  FROM pgbackfill_scoped AS pgbackfill_one
       CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[ROW(pgbackfill_one."id", pgbackfill_one."Co""de", pgbackfill_one."doc")::"public"."users"]) AS t,
       (SELECT p.user_id, p.code FROM posts p WHERE (ROW(p.user_id, p.code) OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(p.user_id, p.code) OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND p.code IS NOT NULL) AND (t.display_name IS NULL
)) p
  WHERE (p.user_id = t.id
)
)
SELECT new.pgbackfill_key_1,
       new.pgbackfill_key_2,
       pg_catalog.bool_or(ROW(new.pgbackfill_old_1)::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST(new.pgbackfill_1 AS pg_catalog.jsonb))::pg_catalog.record)
FROM pgbackfill_new AS new
GROUP BY pgbackfill_table, pgbackfill_row, new.pgbackfill_key_1, new.pgbackfill_key_2
HAVING pg_catalog.bool_and(ROW(new.pgbackfill_old_1)::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST(new.pgbackfill_1 AS pg_catalog.jsonb))::pg_catalog.record)
ORDER BY new."pgbackfill_key_1" USING OPERATOR(pg_catalog.<), new."pgbackfill_key_2" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.<)
LIMIT 10;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
