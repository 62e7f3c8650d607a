-- link
SELECT c.id FROM (
  SELECT t.*
  FROM "public"."users" AS t
  WHERE t."Co""de" IS NOT NULL
    AND (t.seen > ($1::bigint)
)) AS c;
-- $1 = "5"
