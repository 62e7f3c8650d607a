-- version
SELECT t.xmin
FROM "public"."users" AS t
WHERE t."id" OPERATOR(pg_catalog.=) $1::bigint
FOR NO KEY UPDATE OF t;
-- $1 = "5"
