-- undo: update
WITH done AS (
  UPDATE "public"."Odd ""users" AS t SET
    "id" = t."id"
  FROM "pgbackfill"."undo_7_1" AS u
  WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'u' AND t."id" OPERATOR(pg_catalog.=) u.k1 AND t."Co""de" OPERATOR(pg_catalog.=) u.k2 COLLATE "pg_catalog"."C"
    AND false
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
