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
