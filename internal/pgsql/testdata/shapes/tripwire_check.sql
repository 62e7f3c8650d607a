-- check
SELECT FROM "public"."users" AS pgbackfill_row,
LATERAL (SELECT pg_catalog.bool_and(pgbackfill_row."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST(pgbackfill_new.pgbackfill_1 AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C"
        OR ROW(pgbackfill_row."price")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST(pgbackfill_new.pgbackfill_2 AS numeric(8,2)))::pg_catalog.record)
FROM (SELECT CAST((initcap(t.full_name) -- as shown
) AS character varying) AS pgbackfill_1,
       CAST((t.cents / 100.0
) AS numeric) AS pgbackfill_2
FROM (SELECT pgbackfill_row."id" AS "id", pgbackfill_row."display_name" AS "display_name", pgbackfill_row."seen" AS "seen") AS t,
     (SELECT p.user_id, p.code FROM posts p WHERE (p.user_id OPERATOR(pg_catalog.=) pgbackfill_row."id" AND p.code OPERATOR(pg_catalog.=) pgbackfill_row."Co""de" COLLATE "pg_catalog"."C") AND (t.display_name IS NULL AND t.seen > CAST('5' AS bigint)
)) p
WHERE (p.user_id = t.id
)) AS pgbackfill_new) AS pgbackfill_broken,
LATERAL (SELECT (t.display_name IS NULL AND t.seen > CAST('5' AS bigint)
)
FROM (SELECT pgbackfill_row."id" AS "id", pgbackfill_row."display_name" AS "display_name", pgbackfill_row."seen" AS "seen") AS t) AS pgbackfill_scope;
