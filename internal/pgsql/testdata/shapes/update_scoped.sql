-- update
UPDATE "public"."users" AS t
SET "display_name" = (initcap(t.full_name) -- as shown
),
    "price" = (t.cents / 100.0
),
    "tag" = (lower(t.tag)
)
WHERE t."id" OPERATOR(pg_catalog.>) $1::bigint AND t."id" OPERATOR(pg_catalog.<=) $2::bigint
  AND CASE WHEN (t.full_name ~ '^[a-z]' -- only names
)
           THEN t."display_name" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)
        OR ROW(t."price")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST((t.cents / 100.0
) AS numeric(8,2)))::pg_catalog.record
        OR t."tag" COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((lower(t.tag)
) AS text) COLLATE "pg_catalog"."C"
           ELSE false END;
-- $1 = "41"
-- $2 = "77"
