ALTER TABLE pgbackfill.gates DROP COLUMN asked;
ALTER TABLE pgbackfill.verifications DROP COLUMN asked;
DROP INDEX pgbackfill.drift_xid;
DROP FUNCTION pgbackfill.record_drift(text, oid, text, text[], text, text, bigint);
ALTER TABLE pgbackfill.tripwires DROP COLUMN unwritten;
DO $$
DECLARE
  s regclass;
BEGIN
  FOR s IN SELECT c.oid FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
           WHERE n.nspname = 'pgbackfill' AND c.relkind = 'S' AND pg_catalog.starts_with(c.relname::text, 'tripwire_unwritten_')
  LOOP
    EXECUTE pg_catalog.format('DROP SEQUENCE %s', s);
  END LOOP;
END
$$;
