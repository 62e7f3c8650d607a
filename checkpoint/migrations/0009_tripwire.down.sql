-- A function takes its triggers with it.
DO $$
DECLARE
  f regprocedure;
  s regclass;
BEGIN
  FOR f IN SELECT p.oid FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
           WHERE n.nspname = 'pgbackfill' AND pg_catalog.starts_with(p.proname::text, 'tripwire_') AND p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype
  LOOP
    EXECUTE pg_catalog.format('DROP FUNCTION %s CASCADE', f);
  END LOOP;
  FOR s IN SELECT c.oid FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
           WHERE n.nspname = 'pgbackfill' AND c.relkind = 'S' AND pg_catalog.starts_with(c.relname::text, 'tripwire_writes_')
  LOOP
    EXECUTE pg_catalog.format('DROP SEQUENCE %s', s);
  END LOOP;
END
$$;
DROP FUNCTION pgbackfill.note_statement();
DROP TABLE pgbackfill.drift;
DROP TABLE pgbackfill.tripwires;
