-- boundary
SELECT t."id"
FROM "public"."users" AS t
WHERE t."id" OPERATOR(pg_catalog.>) $1::bigint AND t."id" OPERATOR(pg_catalog.<=) $2::bigint
ORDER BY t."id" USING OPERATOR(pg_catalog.<)
OFFSET $3::pg_catalog.int8 LIMIT 1;
-- $1 = "41"
-- $2 = "77"
-- $3 = "999"
