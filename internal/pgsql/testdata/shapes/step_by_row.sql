-- link
INSERT INTO d SELECT c.id FROM (
  SELECT t.*
  FROM "public"."users" AS t
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND t.ctid OPERATOR(pg_catalog.=) ANY ($5::pg_catalog.tid[])
  FOR NO KEY UPDATE OF t) AS c;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "{\"(0,1)\",\"(7,3)\"}"
