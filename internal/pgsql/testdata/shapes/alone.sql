-- alone
SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE t."id" OPERATOR(pg_catalog.=) $5::bigint AND t."Co""de" OPERATOR(pg_catalog.=) $6::character(5) COLLATE "pg_catalog"."C")
FROM "public"."users" AS t
WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "77"
-- $6 = ""
