-- update
UPDATE "public"."users" AS t
SET "display_name" = (initcap(t.full_name) -- as shown
)
WHERE t."id" OPERATOR(pg_catalog.>) $1::bigint AND t."id" OPERATOR(pg_catalog.<=) $2::bigint;
-- $1 = "41"
-- $2 = "77"
