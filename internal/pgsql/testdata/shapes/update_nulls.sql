-- update
UPDATE "public"."users" AS t
SET "display_name" = (initcap(t.full_name) -- as shown
)
WHERE (t."Co""de" IS NULL);
