-- alone
SELECT pg_catalog.count(*), pg_catalog.count(*)
FROM "public"."users" AS t
WHERE (t."Co""de" IS NULL);
