-- undo: leave
INSERT INTO pgbackfill.undo_left (run_id, no, id, table_name, key, what, why)
SELECT $1::int8, 1, u.id, $2::text, ARRAY[u.k1::text, u.k2::text], CASE u.op WHEN 'i' THEN 'insert' WHEN 'u' THEN 'update' ELSE 'delete' END, $4::text
FROM "pgbackfill"."undo_7_1" AS u WHERE u.id = $3::int8
ON CONFLICT ON CONSTRAINT undo_left_pkey DO NOTHING;
-- $1 = "7"
-- $2 = "\"public\".\"Odd \"\"users\""
-- $3 = "850"
-- $4 = "23503: a row refers to it"
