-- undo: delete
WITH done AS (
  DELETE FROM "public"."Odd ""users" AS t
  USING "pgbackfill"."undo_7_1" AS u
  WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'i' AND t."id" OPERATOR(pg_catalog.=) u.k1 AND t."Co""de" OPERATOR(pg_catalog.=) u.k2 COLLATE "pg_catalog"."C"
    AND ROW(t."display_name"::character varying)::record *= ROW(u.n3::character varying)::record
    AND ROW(t."doc"::json)::record *= ROW(u.n4::json)::record
    AND ROW(t."N""o"::bigint)::record *= ROW(u.n7::bigint)::record
  RETURNING u.id
), missed AS (
  SELECT u.id FROM "pgbackfill"."undo_7_1" AS u WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'i'
  EXCEPT
  SELECT done.id FROM done
), written AS (
  INSERT INTO pgbackfill.undo_left (run_id, no, id, table_name, key, what, why)
  SELECT $3::int8, 1, u.id, $4::text, ARRAY[u.k1::text, u.k2::text], 'insert', 'changed since'
  FROM missed JOIN "pgbackfill"."undo_7_1" AS u ON u.id = missed.id
  WHERE EXISTS (SELECT FROM "public"."Odd ""users" AS t WHERE t."id" OPERATOR(pg_catalog.=) u.k1 AND t."Co""de" OPERATOR(pg_catalog.=) u.k2 COLLATE "pg_catalog"."C")
  ON CONFLICT ON CONSTRAINT undo_left_pkey DO NOTHING
  RETURNING 1
)
SELECT (SELECT count(*) FROM done), (SELECT count(*) FROM written);
-- $1 = "800"
-- $2 = "900"
-- $3 = "7"
-- $4 = "\"public\".\"Odd \"\"users\""
-- undo: update
WITH done AS (
  UPDATE "public"."Odd ""users" AS t SET
    "display_name" = CASE WHEN ROW(u.o3::character varying)::record *= ROW(u.n3::character varying)::record THEN t."display_name" ELSE u.o3 END,
    "doc" = CASE WHEN ROW(u.o4::json)::record *= ROW(u.n4::json)::record THEN t."doc" ELSE u.o4 END
  FROM "pgbackfill"."undo_7_1" AS u
  WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'u' AND t."id" OPERATOR(pg_catalog.=) u.k1 AND t."Co""de" OPERATOR(pg_catalog.=) u.k2 COLLATE "pg_catalog"."C"
    AND (ROW(t."display_name"::character varying)::record *= ROW(u.n3::character varying)::record OR ROW(u.o3::character varying)::record *= ROW(u.n3::character varying)::record)
    AND (ROW(t."doc"::json)::record *= ROW(u.n4::json)::record OR ROW(u.o4::json)::record *= ROW(u.n4::json)::record)
  RETURNING u.id
), missed AS (
  SELECT u.id FROM "pgbackfill"."undo_7_1" AS u WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'u'
  EXCEPT
  SELECT done.id FROM done
), written AS (
  INSERT INTO pgbackfill.undo_left (run_id, no, id, table_name, key, what, why)
  SELECT $3::int8, 1, u.id, $4::text, ARRAY[u.k1::text, u.k2::text], 'update', CASE WHEN EXISTS (SELECT FROM "public"."Odd ""users" AS t WHERE t."id" OPERATOR(pg_catalog.=) u.k1 AND t."Co""de" OPERATOR(pg_catalog.=) u.k2 COLLATE "pg_catalog"."C") THEN 'changed since' ELSE 'deleted since' END
  FROM missed JOIN "pgbackfill"."undo_7_1" AS u ON u.id = missed.id
  ON CONFLICT ON CONSTRAINT undo_left_pkey DO NOTHING
  RETURNING 1
)
SELECT (SELECT count(*) FROM done), (SELECT count(*) FROM written);
-- $1 = "800"
-- $2 = "900"
-- $3 = "7"
-- $4 = "\"public\".\"Odd \"\"users\""
-- undo: insert
WITH inserted AS (
  INSERT INTO "public"."Odd ""users" AS t ("id", "Co""de", "display_name", "doc", "N""o")
  OVERRIDING SYSTEM VALUE
  SELECT u.k1, u.k2, u.o3, u.o4, u.o7
  FROM "pgbackfill"."undo_7_1" AS u
  WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'd'
  ORDER BY u.id DESC
  ON CONFLICT DO NOTHING
  RETURNING t."id", t."Co""de"
), missed AS (
  SELECT u.id FROM (SELECT u.k1, u.k2 FROM "pgbackfill"."undo_7_1" AS u WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'd' EXCEPT SELECT * FROM inserted) AS m (k1, k2)
  JOIN "pgbackfill"."undo_7_1" AS u ON u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'd' AND u.k1 OPERATOR(pg_catalog.=) m.k1 AND u.k2 OPERATOR(pg_catalog.=) m.k2 COLLATE "pg_catalog"."C"
), written AS (
  INSERT INTO pgbackfill.undo_left (run_id, no, id, table_name, key, what, why)
  SELECT $3::int8, 1, u.id, $4::text, ARRAY[u.k1::text, u.k2::text], 'delete', 'a row like it is there again'
  FROM missed JOIN "pgbackfill"."undo_7_1" AS u ON u.id = missed.id
  ON CONFLICT ON CONSTRAINT undo_left_pkey DO NOTHING
  RETURNING 1
)
SELECT (SELECT count(*) FROM inserted), (SELECT count(*) FROM written);
-- $1 = "800"
-- $2 = "900"
-- $3 = "7"
-- $4 = "\"public\".\"Odd \"\"users\""
