-- link
INSERT INTO d SELECT c.id FROM (
  SELECT t.*
  FROM "public"."users" AS t
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL
    AND CASE WHEN t.xmin OPERATOR(pg_catalog.=) ANY ($6::pg_catalog.xid[]) THEN false
            ELSE pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) (
         SELECT CASE WHEN pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8
                          OPERATOR(pg_catalog.-) r.horizon::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.<) 2000000000
                     THEN pg_catalog.age(r.horizon::pg_catalog.xid) ELSE 2147483647 END
         FROM pgbackfill.runs AS r WHERE r.id OPERATOR(pg_catalog.=) $5::pg_catalog.int8) END
       AND (t.seen > ($7::bigint)
)
  FOR NO KEY UPDATE OF t) AS c;
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- $5 = "7"
-- $6 = "{101,102}"
-- $7 = "5"
