-- undo: leave
INSERT INTO pgbackfill.undo_left (run_id, no, id, table_name, key, what, why, cause)
SELECT $1::int8, 1, u.id, $2::text, ARRAY[u.k1::text, u.k2::text], CASE u.op WHEN 'i' THEN 'insert' WHEN 'u' THEN 'update' ELSE 'delete' END, $4::text, 'constraint'
FROM "pgbackfill"."undo_7_1" AS u WHERE u.id = $3::int8
ON CONFLICT ON CONSTRAINT undo_left_pkey DO NOTHING;
-- $1 = "7"
-- $2 = "\"public\".\"Odd \"\"users\""
-- $3 = "850"
-- $4 = "23503: a row refers to it"
-- undo: left
SELECT l.id FROM pgbackfill.undo_left AS l JOIN pgbackfill.undos AS b ON b.run_id = l.run_id AND b.ended_at IS NULL
WHERE l.run_id = $1::int8 AND l.cause = 'constraint' AND l.id > $2::int8
  AND NOT EXISTS (SELECT FROM pgbackfill.undo_left AS o WHERE o.run_id = $1::int8 AND o.no = l.no AND hash_array_extended(o.key COLLATE "C", 0) = hash_array_extended(l.key COLLATE "C", 0) AND o.key = (l.key COLLATE "C") AND o.id > l.id)
ORDER BY l.id LIMIT $3::int8;
-- $1 = "7"
-- $2 = "850"
-- $3 = "100"
-- undo: unlist
DELETE FROM pgbackfill.undo_left AS l WHERE l.run_id = $1::int8 AND l.id = ANY ($2::int8[]);
-- $1 = "7"
-- $2 = "{851,852}"
-- undo: listed
SELECT count(*) FROM pgbackfill.undo_left AS l WHERE l.run_id = $1::int8 AND l.cause = 'constraint' AND l.id = ANY ($2::int8[]);
-- $1 = "7"
-- $2 = "{851,852}"
