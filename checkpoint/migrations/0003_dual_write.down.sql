-- A function takes its triggers with it.
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN SELECT p.oid FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
           WHERE n.nspname = 'pgbackfill' AND pg_catalog.starts_with(p.proname::text, 'dual_write_') AND p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype
  LOOP
    EXECUTE pg_catalog.format('DROP FUNCTION %s CASCADE', f);
  END LOOP;
END
$$;
DROP TABLE pgbackfill.dual_write_errors;
DROP TABLE pgbackfill.dual_writes;
