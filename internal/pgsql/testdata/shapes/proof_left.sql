-- left
SELECT pg_catalog.count(*)
FROM "public"."users" AS t
WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND (t.seen > ($3::bigint)
);
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "5"
-- rows left
SELECT t."id", t."Co""de"
FROM "public"."users" AS t
WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND (t.seen > ($3::bigint)
)
ORDER BY t."id" USING OPERATOR(pg_catalog.<), t."Co""de" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.<)
LIMIT 10;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "5"
-- outside
SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE o.inside),
       pg_catalog.count(*) FILTER (WHERE NOT o.inside AND (false OR o.only_1 OR o.only_2)), pg_catalog.count(*) FILTER (WHERE NOT o.inside AND o.kept AND NOT (false OR o.only_1 OR o.only_2)),
       pg_catalog.count(*) FILTER (WHERE NOT o.inside AND o.only_1),
       pg_catalog.count(*) FILTER (WHERE NOT o.inside AND o.only_2)
  FROM (SELECT COALESCE((t.seen > ($1::bigint)
), false) AS inside, (pg_catalog.num_nonnulls(t."full_name", t."Odd") OPERATOR(pg_catalog.>) 0) AS kept,
               (pg_catalog.num_nonnulls(t."full_name") OPERATOR(pg_catalog.>) 0) AND NOT (pg_catalog.num_nonnulls(t."display_name") OPERATOR(pg_catalog.>) 0) AS only_1,
               (pg_catalog.num_nonnulls(t."Odd") OPERATOR(pg_catalog.>) 0) AND NOT (false) AS only_2
          FROM "public"."users" AS t
         WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($2::bigint, $3::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL) AS o;
-- $1 = "5"
-- $2 = "41"
-- $3 = "a,b"
