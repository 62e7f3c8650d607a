DO $$
DECLARE
    role text;
BEGIN
    FOR role IN SELECT a.grantee::pg_catalog.regrole::text FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a
                 WHERE c.oid = 'pgbackfill.undo_left'::pg_catalog.regclass AND a.privilege_type = 'DELETE' AND a.grantee <> 0 AND a.grantee <> c.relowner LOOP
        EXECUTE 'REVOKE DELETE ON pgbackfill.undo_left FROM ' OPERATOR(pg_catalog.||) role;
    END LOOP;
END
$$;
DROP INDEX pgbackfill.undo_left_key, pgbackfill.undo_left_again;
ALTER TABLE pgbackfill.undo_left DROP COLUMN cause;
COMMENT ON TABLE pgbackfill.undo_left IS 'pgbackfill: rows that could not be taken back, because somebody has changed them since.';
