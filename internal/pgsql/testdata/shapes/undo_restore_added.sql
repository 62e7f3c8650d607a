-- undo: delete
WITH done AS (
  DELETE FROM "public"."archive" AS t
  USING "pgbackfill"."undo_7_2" AS u
  WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'i' AND t."id" OPERATOR(pg_catalog.=) u.k1
    AND ROW(t."bio"::text)::record *= ROW(u.n2::text)::record
  RETURNING u.id
), missed AS (
  SELECT u.id FROM "pgbackfill"."undo_7_2" AS u WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'i'
  EXCEPT
  SELECT done.id FROM done
), written AS (
  INSERT INTO pgbackfill.undo_left (run_id, no, id, table_name, key, what, why)
  SELECT $3::int8, 2, u.id, $4::text, ARRAY[u.k1::text], 'insert', 'changed since'
  FROM missed JOIN "pgbackfill"."undo_7_2" AS u ON u.id = missed.id
  WHERE EXISTS (SELECT FROM "public"."archive" AS t WHERE t."id" OPERATOR(pg_catalog.=) u.k1)
  ON CONFLICT ON CONSTRAINT undo_left_pkey DO NOTHING
  RETURNING 1
)
SELECT (SELECT count(*) FROM done), (SELECT count(*) FROM written);
-- $1 = "800"
-- $2 = "900"
-- $3 = "7"
-- $4 = "\"public\".\"archive\""
