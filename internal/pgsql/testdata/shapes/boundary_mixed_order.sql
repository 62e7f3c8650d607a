-- boundary
SELECT t."id", t."path"
FROM "public"."users" AS t
WHERE t."id" OPERATOR(pg_catalog.>=) $1::bigint AND (t."id" OPERATOR(pg_catalog.>) $1::bigint OR (t."id" OPERATOR(pg_catalog.=) $1::bigint AND t."path" OPERATOR(pg_catalog.~>~) $2::pg_catalog.text COLLATE "pg_catalog"."default")) AND t."id" OPERATOR(pg_catalog.<=) $3::bigint AND (t."id" OPERATOR(pg_catalog.<) $3::bigint OR (t."id" OPERATOR(pg_catalog.=) $3::bigint AND t."path" OPERATOR(pg_catalog.~<=~) $4::pg_catalog.text COLLATE "pg_catalog"."default"))
ORDER BY t."id" USING OPERATOR(pg_catalog.<), t."path" COLLATE "pg_catalog"."default" USING OPERATOR(pg_catalog.~<~)
OFFSET $5::pg_catalog.int8 LIMIT 1;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "999"
