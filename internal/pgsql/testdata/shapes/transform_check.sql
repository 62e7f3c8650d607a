-- check
SELECT t."id",
       t."Co""de",
       t.ssn
      ,
       lower(t.country) AS country -- folded
      ,
       t.born
      
FROM "public"."users" AS t
WHERE true
  AND (t.seen > ($1::bigint)
);
-- $1 = "5"
