-- read
SELECT r.pgbackfill_1, r.pgbackfill_2, r.pgbackfill_3, pg_catalog.encode(r.pgbackfill_4, 'hex'), r.pgbackfill_5, pg_catalog.to_json(r.pgbackfill_6)
FROM (
  SELECT t.xmin, t."id", t."Co""de", t.ssn
      , lower(t.country) AS country -- folded
      , t.born
      
  FROM "public"."users" AS t
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND (t.seen > ($5::bigint)
)
  ORDER BY t."id" USING OPERATOR(pg_catalog.<), t."Co""de" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.<)) AS r (pgbackfill_1, pgbackfill_2, pgbackfill_3, pgbackfill_4, pgbackfill_5, pgbackfill_6);
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "5"
