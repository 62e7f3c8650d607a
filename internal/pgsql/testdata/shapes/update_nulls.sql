-- update
UPDATE "public"."users" AS t
SET "display_name" = (initcap(t.full_name) -- as shown
)
WHERE (t."Co""de" IS NULL)
  AND (SELECT pg_catalog.set_config('pgbackfill.snapshot', pg_catalog.pg_current_snapshot()::pg_catalog.text, true)) IS NOT NULL;
