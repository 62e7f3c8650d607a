-- check
UPDATE "public"."users" AS t
SET "display_name" = (initcap(t.full_name) -- as shown
),
    "price" = (t.cents / 100.0
)
FROM (SELECT p.user_id, p.code FROM posts p WHERE (p.code IS NOT NULL) AND (t.display_name IS NULL
)) p
WHERE true
  AND (t.display_name IS NULL
)
  AND (p.user_id = t.id
);
