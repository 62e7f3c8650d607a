-- boundary
SELECT t."id"
FROM "public"."users" AS t
WHERE t."id" OPERATOR(pg_catalog.<=) $1::bigint
ORDER BY t."id" USING OPERATOR(pg_catalog.<)
OFFSET $2::pg_catalog.int8 LIMIT 1;
-- $1 = "77"
-- $2 = "999"
