-- proof
SELECT pg_catalog.count(*), pg_catalog.count(*), 0,
       pg_catalog.count(*) FILTER (WHERE t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C")
FROM "public"."users" AS t
WHERE true;
-- wrong rows
SELECT t."id",
       t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C",
       t."display_name"::pg_catalog.text,
       CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text
FROM "public"."users" AS t
WHERE true
  AND (t."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST((initcap(t.full_name) -- as shown
) AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C")
ORDER BY t."id" USING OPERATOR(pg_catalog.<)
LIMIT 10;
