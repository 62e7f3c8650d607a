-- Rows that a constraint did not let go back are tried again once the others are back.
ALTER TABLE pgbackfill.undo_left ADD COLUMN cause text NOT NULL DEFAULT 'others' CONSTRAINT undo_left_cause CHECK (cause IN ('others', 'constraint'));
UPDATE pgbackfill.undo_left SET cause = 'constraint' WHERE why NOT IN ('changed since', 'deleted since', 'a row like it is there again');
CREATE INDEX undo_left_again ON pgbackfill.undo_left (run_id, id) WHERE cause = 'constraint';
CREATE INDEX undo_left_key ON pgbackfill.undo_left (run_id, no, pg_catalog.hash_array_extended(key COLLATE "C", 0));

COMMENT ON TABLE pgbackfill.undo_left IS 'pgbackfill: rows that could not be taken back, because somebody has changed them since, or a constraint does not let them.';
COMMENT ON COLUMN pgbackfill.undo_left.cause IS 'others: somebody has changed the row since; constraint: a constraint does not let it, or what the run did to the row later, go back.';

-- Whoever may list such rows may take them off the list.
DO $$
DECLARE
    role text;
BEGIN
    FOR role IN SELECT a.grantee::pg_catalog.regrole::text FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a
                 WHERE c.oid = 'pgbackfill.undo_left'::pg_catalog.regclass AND a.privilege_type = 'INSERT' AND a.grantee <> 0 AND a.grantee <> c.relowner LOOP
        EXECUTE 'GRANT DELETE ON pgbackfill.undo_left TO ' OPERATOR(pg_catalog.||) role;
    END LOOP;
END
$$;
