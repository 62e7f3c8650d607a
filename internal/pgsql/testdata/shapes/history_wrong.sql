-- wrong rows
WITH pgbackfill_then AS MATERIALIZED (
  SELECT t.tableoid AS pgbackfill_table, t.ctid AS pgbackfill_row, pgbackfill_is.kept AS pgbackfill_kept,
         pgbackfill_is.ours AS pgbackfill_ours, pgbackfill_is.over AS pgbackfill_over,
         t."id",
         t."Co""de",
         CASE WHEN pgbackfill_is.kept THEN CAST(e.o3 AS bigint) ELSE t."seen" END AS "seen",
         CASE WHEN pgbackfill_is.kept AND NOT (ROW(t."note")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST(e.n4 AS character varying(9)))::pg_catalog.record) THEN CAST(e.o4 AS character varying(9)) ELSE t."note" END AS "note",
         t."added",
         t."seen" AS pgbackfill_now_1
  FROM "public"."users" AS t
       LEFT JOIN LATERAL (
         SELECT u.*, u.xmin AS pgbackfill_xmin FROM "pgbackfill"."undo_7_1" AS u
         WHERE u.op OPERATOR(pg_catalog.=) 'u' AND u.k1 OPERATOR(pg_catalog.=) t."id" AND u.k2 OPERATOR(pg_catalog.=) t."Co""de" COLLATE "pg_catalog"."C"
         ORDER BY u.id DESC LIMIT 1) AS e ON true
       CROSS JOIN LATERAL (
         SELECT e.op IS NOT NULL AS kept, COALESCE(t.xmin OPERATOR(pg_catalog.=) e.pgbackfill_xmin, false) AS ours,
                e.op IS NOT NULL AND (t."seen" IS DISTINCT FROM CAST(e.n3 AS bigint)) AS over) AS pgbackfill_is
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
), pgbackfill_judged AS MATERIALIZED (
  SELECT t.*, (t.seen > ($5::bigint)
) IS TRUE AS pgbackfill_inside
  FROM pgbackfill_then AS t
), pgbackfill_scoped AS MATERIALIZED (
  SELECT t.* FROM pgbackfill_judged AS t WHERE t.pgbackfill_inside
), pgbackfill_new AS MATERIALIZED (
  SELECT t.pgbackfill_table, t.pgbackfill_row, t.pgbackfill_over,
         t."id" AS pgbackfill_key_1,
         t."Co""de" AS pgbackfill_key_2,
         t.pgbackfill_now_1 AS pgbackfill_old_1,
         CAST((t.seen + ($5::bigint)
) AS bigint) AS pgbackfill_1
  FROM pgbackfill_scoped AS t
)
SELECT w.*
FROM (
  SELECT new.pgbackfill_key_1,
         new.pgbackfill_key_2,
         pg_catalog.bool_or(new.pgbackfill_old_1 IS DISTINCT FROM CAST(new.pgbackfill_1 AS bigint)),
         pg_catalog.min(new.pgbackfill_old_1::pg_catalog.text COLLATE "pg_catalog"."C"),
         pg_catalog.min(new.pgbackfill_1::pg_catalog.text COLLATE "pg_catalog"."C"),
         pg_catalog.bool_or(new.pgbackfill_over)
  FROM pgbackfill_new AS new
  GROUP BY pgbackfill_table, pgbackfill_row, new.pgbackfill_key_1, new.pgbackfill_key_2
  HAVING pg_catalog.bool_and(new.pgbackfill_old_1 IS DISTINCT FROM CAST(new.pgbackfill_1 AS bigint))
  UNION ALL
  SELECT j."id",
         j."Co""de",
         j.pgbackfill_now_1 IS DISTINCT FROM j."seen",
         j.pgbackfill_now_1::pg_catalog.text COLLATE "pg_catalog"."C",
         j."seen"::pg_catalog.text COLLATE "pg_catalog"."C",
         false
  FROM pgbackfill_judged AS j
  WHERE j.pgbackfill_ours AND NOT j.pgbackfill_inside AND (j.pgbackfill_now_1 IS DISTINCT FROM j."seen")) AS w (pgbackfill_key_1, pgbackfill_key_2, c3, c4, c5, c6)
ORDER BY w."pgbackfill_key_1" USING OPERATOR(pg_catalog.<), w."pgbackfill_key_2" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.<)
LIMIT 10;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "5"
