-- read
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
)
SELECT r.pgbackfill_1, r.pgbackfill_2, r.pgbackfill_3, pg_catalog.encode(r.pgbackfill_4, 'hex'), r.pgbackfill_5, pg_catalog.to_json(r.pgbackfill_6)
FROM (
  SELECT NULL, t."id", t."Co""de", t.ssn
      , lower(t.country) AS country -- folded
      , t.born
      
  FROM pgbackfill_scoped AS t
  ORDER BY t."id" USING OPERATOR(pg_catalog.<), t."Co""de" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.<)) AS r (pgbackfill_1, pgbackfill_2, pgbackfill_3, pgbackfill_4, pgbackfill_5, pgbackfill_6);
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "5"
