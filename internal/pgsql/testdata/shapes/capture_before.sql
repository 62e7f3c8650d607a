-- before
SELECT t."id", t."Co""de", CASE WHEN e.op IS NULL THEN t."display_name" ELSE e.o3::character varying(40) END AS "display_name", CASE WHEN e.op IS NULL THEN t."doc" ELSE e.o4::pg_catalog.json END AS "doc", CASE WHEN e.op IS NULL THEN t."twice" ELSE e.o6::bigint END AS "twice", CASE WHEN e.op OPERATOR(pg_catalog.=) 'd' THEN e.o7::bigint ELSE t."N""o" END AS "N""o"
  FROM "public"."Odd ""users" AS t
  LEFT JOIN LATERAL (SELECT u.* FROM "pgbackfill"."undo_7_1" AS u WHERE u.k1 OPERATOR(pg_catalog.=) t."id" AND u.k2 OPERATOR(pg_catalog.=) t."Co""de" COLLATE "pg_catalog"."C" ORDER BY u.id LIMIT 1) AS e ON true
  WHERE ROW(t."id", t."Co""de") OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(t."id", t."Co""de") OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND t."Co""de" IS NOT NULL AND (e.op IS NULL OR e.op OPERATOR(pg_catalog.<>) 'i')
  UNION ALL
  SELECT d.k1 AS "id", d.k2 AS "Co""de", e.o3::character varying(40) AS "display_name", e.o4::pg_catalog.json AS "doc", e.o6::bigint AS "twice", CASE WHEN e.op OPERATOR(pg_catalog.=) 'd' THEN e.o7::bigint ELSE d.o7::bigint END AS "N""o"
  FROM (SELECT DISTINCT ON (u.k1, u.k2) u.* FROM "pgbackfill"."undo_7_1" AS u WHERE u.op OPERATOR(pg_catalog.=) 'd' AND ROW(u.k1, u.k2) OPERATOR(pg_catalog.>) ROW($1::bigint, $2::character(5) COLLATE "pg_catalog"."C") AND ROW(u.k1, u.k2) OPERATOR(pg_catalog.<=) ROW($3::bigint, $4::character(5) COLLATE "pg_catalog"."C") AND u.k2 IS NOT NULL ORDER BY u.k1, u.k2, u.id DESC) AS d
  LEFT JOIN LATERAL (SELECT u.* FROM "pgbackfill"."undo_7_1" AS u WHERE u.k1 OPERATOR(pg_catalog.=) d.k1 AND u.k2 OPERATOR(pg_catalog.=) d.k2 COLLATE "pg_catalog"."C" ORDER BY u.id LIMIT 1) AS e ON true
  WHERE e.op OPERATOR(pg_catalog.<>) 'i' AND NOT EXISTS (SELECT FROM "public"."Odd ""users" AS t WHERE t."id" OPERATOR(pg_catalog.=) d.k1 AND t."Co""de" OPERATOR(pg_catalog.=) d.k2 COLLATE "pg_catalog"."C");
-- $1 = "41"
-- $2 = "a,b"
-- $3 = "77"
-- $4 = ""
-- before
SELECT t."id", t."Co""de", CASE WHEN e.op IS NULL THEN t."display_name" ELSE e.o3::character varying(40) END AS "display_name", CASE WHEN e.op IS NULL THEN t."doc" ELSE e.o4::pg_catalog.json END AS "doc", CASE WHEN e.op IS NULL THEN t."twice" ELSE e.o6::bigint END AS "twice", CASE WHEN e.op OPERATOR(pg_catalog.=) 'd' THEN e.o7::bigint ELSE t."N""o" END AS "N""o"
  FROM "public"."Odd ""users" AS t
  LEFT JOIN LATERAL (SELECT u.* FROM "pgbackfill"."undo_7_1" AS u WHERE u.k1 OPERATOR(pg_catalog.=) t."id" AND u.k2 OPERATOR(pg_catalog.=) t."Co""de" COLLATE "pg_catalog"."C" ORDER BY u.id LIMIT 1) AS e ON true
  WHERE t."Co""de" IS NOT NULL AND (e.op IS NULL OR e.op OPERATOR(pg_catalog.<>) 'i')
  UNION ALL
  SELECT d.k1 AS "id", d.k2 AS "Co""de", e.o3::character varying(40) AS "display_name", e.o4::pg_catalog.json AS "doc", e.o6::bigint AS "twice", CASE WHEN e.op OPERATOR(pg_catalog.=) 'd' THEN e.o7::bigint ELSE d.o7::bigint END AS "N""o"
  FROM (SELECT DISTINCT ON (u.k1, u.k2) u.* FROM "pgbackfill"."undo_7_1" AS u WHERE u.op OPERATOR(pg_catalog.=) 'd' AND u.k2 IS NOT NULL ORDER BY u.k1, u.k2, u.id DESC) AS d
  LEFT JOIN LATERAL (SELECT u.* FROM "pgbackfill"."undo_7_1" AS u WHERE u.k1 OPERATOR(pg_catalog.=) d.k1 AND u.k2 OPERATOR(pg_catalog.=) d.k2 COLLATE "pg_catalog"."C" ORDER BY u.id LIMIT 1) AS e ON true
  WHERE e.op OPERATOR(pg_catalog.<>) 'i' AND NOT EXISTS (SELECT FROM "public"."Odd ""users" AS t WHERE t."id" OPERATOR(pg_catalog.=) d.k1 AND t."Co""de" OPERATOR(pg_catalog.=) d.k2 COLLATE "pg_catalog"."C");
