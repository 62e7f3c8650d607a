-- link
INSERT INTO d SELECT c.id FROM (
  SELECT t.*
  FROM "public"."users" AS t
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest($5::bigint[]), pg_catalog.unnest($6::character(5)[])) AS m (pgbackfill_1, pgbackfill_2) WHERE t."id" OPERATOR(pg_catalog.=) m.pgbackfill_1 AND t."Co""de" OPERATOR(pg_catalog.=) m.pgbackfill_2 COLLATE "pg_catalog"."C")
  FOR NO KEY UPDATE OF t) AS c;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "{\"42\",\"43\"}"
-- $6 = "{\"a\",\"b,c\"}"
