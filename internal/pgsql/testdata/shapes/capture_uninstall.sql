-- undo: remove
DROP FUNCTION IF EXISTS "pgbackfill"."undo_7_1_insert"() CASCADE;
-- undo: remove
DROP FUNCTION IF EXISTS "pgbackfill"."undo_7_1_update"() CASCADE;
-- undo: remove
DROP FUNCTION IF EXISTS "pgbackfill"."undo_7_1_delete"() CASCADE;
-- undo: remove
DROP FUNCTION IF EXISTS "pgbackfill"."undo_7_2_insert"() CASCADE;
