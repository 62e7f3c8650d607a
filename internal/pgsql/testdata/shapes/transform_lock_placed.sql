-- lock
SELECT t.xmin, t.ctid, t.tableoid, pg_catalog.pg_relation_filenode(t.tableoid)
FROM "public"."users" AS t
WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
ORDER BY t."id" USING OPERATOR(pg_catalog.<), t."Co""de" COLLATE "pg_catalog"."C" USING OPERATOR(pg_catalog.<)
FOR NO KEY UPDATE OF t;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
