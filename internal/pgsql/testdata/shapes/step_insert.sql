-- link
INSERT INTO d SELECT c.id, ($1::pg_catalog.text)::text FROM (
  SELECT t.*
  FROM "public"."users" AS t
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($2::bigint, $3::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($4::bigint, $5::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND (t.seen > ($6::bigint)
)
  FOR NO KEY UPDATE OF t) AS c ON CONFLICT DO NOTHING;
-- $1 = ""
-- $2 = "41"
-- $3 = "a,b"
-- $4 = "77"
-- $5 = ""
-- $6 = "5"
