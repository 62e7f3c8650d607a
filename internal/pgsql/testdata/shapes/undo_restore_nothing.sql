-- undo: restore
WITH done_1i AS (
  DELETE FROM "public"."Odd ""users" AS t
  USING "pgbackfill"."undo_7_1" AS u
  WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'i' AND t."id" OPERATOR(pg_catalog.=) u.k1 AND t."Co""de" OPERATOR(pg_catalog.=) u.k2 COLLATE "pg_catalog"."C"
    AND ROW(t."N""o"::bigint)::record *= ROW(u.n7::bigint)::record
  RETURNING u.id
), missed_1i AS (
  SELECT u.id FROM "pgbackfill"."undo_7_1" AS u WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'i'
  EXCEPT
  SELECT d.id FROM done_1i AS d
), written_1i AS (
  INSERT INTO pgbackfill.undo_left (run_id, no, id, table_name, key, what, why, cause)
  SELECT $3::int8, 1, u.id, '"public"."Odd ""users"', ARRAY[u.k1::text, u.k2::text], 'insert', CASE WHEN l.cause = 'constraint' THEN 'what the run did to it later is not taken back' ELSE 'changed since' END, COALESCE(l.cause, 'others')
  FROM missed_1i AS m JOIN "pgbackfill"."undo_7_1" AS u ON u.id = m.id
  LEFT JOIN LATERAL (
    SELECT l.cause FROM pgbackfill.undo_left AS l
    WHERE l.run_id = $3::int8 AND l.no = 1 AND hash_array_extended(l.key COLLATE "C", 0) = hash_array_extended(ARRAY[u.k1::text, u.k2::text] COLLATE "C", 0) AND l.key = (ARRAY[u.k1::text, u.k2::text] COLLATE "C") AND l.id > u.id
    ORDER BY l.id LIMIT 1
  ) AS l ON true
  WHERE EXISTS (SELECT FROM "public"."Odd ""users" AS t WHERE t."id" OPERATOR(pg_catalog.=) u.k1 AND t."Co""de" OPERATOR(pg_catalog.=) u.k2 COLLATE "pg_catalog"."C")
  ON CONFLICT ON CONSTRAINT undo_left_pkey DO NOTHING
  RETURNING 1
), done_1u AS (
  UPDATE "public"."Odd ""users" AS t SET
    "id" = t."id"
  FROM "pgbackfill"."undo_7_1" AS u
  WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'u' AND t."id" OPERATOR(pg_catalog.=) u.k1 AND t."Co""de" OPERATOR(pg_catalog.=) u.k2 COLLATE "pg_catalog"."C"
    AND (false
      OR false)
  RETURNING u.id
), missed_1u AS (
  SELECT u.id FROM "pgbackfill"."undo_7_1" AS u WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'u'
  EXCEPT
  SELECT d.id FROM done_1u AS d
), written_1u AS (
  INSERT INTO pgbackfill.undo_left (run_id, no, id, table_name, key, what, why, cause)
  SELECT $3::int8, 1, u.id, '"public"."Odd ""users"', ARRAY[u.k1::text, u.k2::text], 'update', CASE WHEN l.cause = 'constraint' THEN 'what the run did to it later is not taken back' ELSE CASE WHEN EXISTS (SELECT FROM "public"."Odd ""users" AS t WHERE t."id" OPERATOR(pg_catalog.=) u.k1 AND t."Co""de" OPERATOR(pg_catalog.=) u.k2 COLLATE "pg_catalog"."C") THEN 'changed since' ELSE 'deleted since' END END, COALESCE(l.cause, 'others')
  FROM missed_1u AS m JOIN "pgbackfill"."undo_7_1" AS u ON u.id = m.id
  LEFT JOIN LATERAL (
    SELECT l.cause FROM pgbackfill.undo_left AS l
    WHERE l.run_id = $3::int8 AND l.no = 1 AND hash_array_extended(l.key COLLATE "C", 0) = hash_array_extended(ARRAY[u.k1::text, u.k2::text] COLLATE "C", 0) AND l.key = (ARRAY[u.k1::text, u.k2::text] COLLATE "C") AND l.id > u.id
    ORDER BY l.id LIMIT 1
  ) AS l ON true
  ON CONFLICT ON CONSTRAINT undo_left_pkey DO NOTHING
  RETURNING 1
), done_1d AS (
  INSERT INTO "public"."Odd ""users" AS t ("id", "Co""de", "N""o")
  OVERRIDING SYSTEM VALUE
  SELECT u.k1, u.k2, u.o7
  FROM "pgbackfill"."undo_7_1" AS u
  WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'd'
  ORDER BY u.id DESC
  ON CONFLICT DO NOTHING
  RETURNING t."id", t."Co""de"
), missed_1d AS (
  SELECT u.id FROM (SELECT u.k1, u.k2 FROM "pgbackfill"."undo_7_1" AS u WHERE u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'd' EXCEPT SELECT * FROM done_1d) AS m (k1, k2)
  JOIN "pgbackfill"."undo_7_1" AS u ON u.id >= $1::int8 AND u.id < $2::int8 AND u.op = 'd' AND u.k1 OPERATOR(pg_catalog.=) m.k1 AND u.k2 OPERATOR(pg_catalog.=) m.k2 COLLATE "pg_catalog"."C"
), written_1d AS (
  INSERT INTO pgbackfill.undo_left (run_id, no, id, table_name, key, what, why, cause)
  SELECT $3::int8, 1, u.id, '"public"."Odd ""users"', ARRAY[u.k1::text, u.k2::text], 'delete', CASE WHEN l.cause = 'constraint' THEN 'what the run did to it later is not taken back' ELSE 'a row like it is there again' END, COALESCE(l.cause, 'others')
  FROM missed_1d AS m JOIN "pgbackfill"."undo_7_1" AS u ON u.id = m.id
  LEFT JOIN LATERAL (
    SELECT l.cause FROM pgbackfill.undo_left AS l
    WHERE l.run_id = $3::int8 AND l.no = 1 AND hash_array_extended(l.key COLLATE "C", 0) = hash_array_extended(ARRAY[u.k1::text, u.k2::text] COLLATE "C", 0) AND l.key = (ARRAY[u.k1::text, u.k2::text] COLLATE "C") AND l.id > u.id
    ORDER BY l.id LIMIT 1
  ) AS l ON true
  ON CONFLICT ON CONSTRAINT undo_left_pkey DO NOTHING
  RETURNING 1
)
SELECT (SELECT count(*) FROM done_1i)
     + (SELECT count(*) FROM done_1u)
     + (SELECT count(*) FROM done_1d),
       (SELECT count(*) FROM written_1i)
     + (SELECT count(*) FROM written_1u)
     + (SELECT count(*) FROM written_1d);
-- $1 = "800"
-- $2 = "900"
-- $3 = "7"
