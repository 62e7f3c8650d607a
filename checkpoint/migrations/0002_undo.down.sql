-- What runs keep, and the triggers that keep it, which go with their functions.
DO $$
DECLARE
    made record;
BEGIN
    FOR made IN SELECT p.oid::pg_catalog.regprocedure AS name FROM pg_catalog.pg_proc AS p
                 WHERE p.pronamespace = 'pgbackfill'::pg_catalog.regnamespace AND p.proname ~ '^undo_[0-9]+_[0-9]+_(insert|update|delete)$' LOOP
        EXECUTE pg_catalog.format('DROP FUNCTION %s CASCADE', made.name);
    END LOOP;
    FOR made IN SELECT c.relname AS name FROM pg_catalog.pg_class AS c
                 WHERE c.relnamespace = 'pgbackfill'::pg_catalog.regnamespace AND c.relkind = 'r' AND c.relname ~ '^undo_[0-9]+_[0-9]+$' LOOP
        EXECUTE pg_catalog.format('DROP TABLE pgbackfill.%I', made.name);
    END LOOP;
    FOR made IN SELECT c.relname AS name FROM pg_catalog.pg_class AS c
                 WHERE c.relnamespace = 'pgbackfill'::pg_catalog.regnamespace AND c.relkind = 'S' AND c.relname ~ '^undo_[0-9]+_id$' LOOP
        EXECUTE pg_catalog.format('DROP SEQUENCE pgbackfill.%I', made.name);
    END LOOP;
END
$$;
DROP TABLE pgbackfill.undo_left;
DROP TABLE pgbackfill.undo_chunks;
DROP TABLE pgbackfill.undo_tables;
DROP TABLE pgbackfill.undos;
DELETE FROM pgbackfill.chunks WHERE fence = 'undone';
ALTER TABLE pgbackfill.chunks DROP CONSTRAINT chunks_fence;
ALTER TABLE pgbackfill.chunks ADD CONSTRAINT chunks_fence CHECK (fence IN ('split', 'cancelled', 'superseded'));
