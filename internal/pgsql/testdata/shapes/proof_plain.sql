-- proof
SELECT pg_catalog.count(*), pg_catalog.count(*), 0,
       pg_catalog.count(*) FILTER (WHERE t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C"
        OR ROW(t."price")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST((t.cents / 100.0
) AS numeric(8,2)))::pg_catalog.record
        OR t."seen" IS DISTINCT FROM CAST((t.seen + 1
) AS bigint))
FROM "public"."users" AS t
WHERE t."id" OPERATOR(pg_catalog.>) $1::bigint AND t."id" OPERATOR(pg_catalog.<=) $2::bigint
    AND (t.full_name ~ '^[a-z]' -- only names
);
-- $1 = "41"
-- $2 = "77"
-- wrong rows
SELECT t."id",
       t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C",
       ROW(t."price")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST((t.cents / 100.0
) AS numeric(8,2)))::pg_catalog.record,
       t."seen" IS DISTINCT FROM CAST((t.seen + 1
) AS bigint)
FROM "public"."users" AS t
WHERE t."id" OPERATOR(pg_catalog.>) $1::bigint AND t."id" OPERATOR(pg_catalog.<=) $2::bigint
  AND (CASE WHEN (t.full_name ~ '^[a-z]' -- only names
)
           THEN t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C"
        OR ROW(t."price")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST((t.cents / 100.0
) AS numeric(8,2)))::pg_catalog.record
        OR t."seen" IS DISTINCT FROM CAST((t.seen + 1
) AS bigint)
           ELSE false END)
ORDER BY t."id" USING OPERATOR(pg_catalog.<)
LIMIT 10;
-- $1 = "41"
-- $2 = "77"
