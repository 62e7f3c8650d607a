-- count
SELECT pg_catalog.count(*)
FROM "public"."users" AS t
WHERE t."id" OPERATOR(pg_catalog.=) $1::bigint AND t."Co""de" OPERATOR(pg_catalog.=) $2::character(5) COLLATE "pg_catalog"."C";
-- $1 = "77"
-- $2 = ""
