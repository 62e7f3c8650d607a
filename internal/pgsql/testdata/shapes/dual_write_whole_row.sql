-- lock
LOCK TABLE "public"."users" IN SHARE ROW EXCLUSIVE MODE;
-- function
CREATE OR REPLACE FUNCTION "pgbackfill"."dual_write_long-long-long-long-long-long-long-long-lon_07146060"() RETURNS pg_catalog.trigger
LANGUAGE plpgsql SECURITY DEFINER
AS $pgbackfill$
#variable_conflict use_column
DECLARE
  pgbackfill_value record;
BEGIN
SELECT CAST((to_jsonb(t)
) AS pg_catalog.jsonb) AS pgbackfill_1
INTO pgbackfill_value
FROM pg_catalog.unnest(ARRAY[ROW(NEW."id", NEW."doc")::"public"."users"]) AS t;
IF FOUND THEN
  NEW."doc" := pgbackfill_value.pgbackfill_1;
END IF;
RETURN NEW;
EXCEPTION
WHEN transaction_rollback THEN
  RAISE;
WHEN OTHERS THEN
  BEGIN
    INSERT INTO pgbackfill.dual_write_errors (job, table_oid, operation, key, sqlstate, message, application, role)
    SELECT 'long-long-long-long-long-long-long-long-long-long-long-long-', TG_RELID, TG_OP, ARRAY[NEW."id"::pg_catalog.text]::pg_catalog.text[], SQLSTATE, SQLERRM, pg_catalog.current_setting('application_name'), SESSION_USER
    WHERE (SELECT pg_catalog.count(*) FROM (SELECT FROM pgbackfill.dual_write_errors AS e WHERE e.job OPERATOR(pg_catalog.=) 'long-long-long-long-long-long-long-long-long-long-long-long-' LIMIT 1000) AS kept) OPERATOR(pg_catalog.<) 1000;
  EXCEPTION
  WHEN transaction_rollback THEN
    RAISE;
  WHEN OTHERS THEN
    NULL;
  END;
  RETURN NEW;
END
$pgbackfill$;
-- function
REVOKE ALL ON FUNCTION "pgbackfill"."dual_write_long-long-long-long-long-long-long-long-lon_07146060"() FROM PUBLIC;
-- function
COMMENT ON FUNCTION "pgbackfill"."dual_write_long-long-long-long-long-long-long-long-lon_07146060"() IS 'pgbackfill: the dual write of job long-long-long-long-long-long-long-long-long-long-long-long-. Remove it with: pgbackfill dual-write remove';
-- trigger
CREATE OR REPLACE TRIGGER "zzzz_pgbackfill_insert_long-long-long-long-long-long-l_07146060" BEFORE INSERT ON "public"."users"
FOR EACH ROW WHEN ((pg_catalog.current_setting('pgbackfill.job', true) OPERATOR(pg_catalog.=) 'long-long-long-long-long-long-long-long-long-long-long-long-' AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text) IS NOT TRUE OR pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 0)
EXECUTE FUNCTION "pgbackfill"."dual_write_long-long-long-long-long-long-long-long-lon_07146060"();
-- trigger
CREATE OR REPLACE TRIGGER "zzzz_pgbackfill_update_long-long-long-long-long-long-l_07146060" BEFORE UPDATE ON "public"."users"
FOR EACH ROW WHEN (((pg_catalog.current_setting('pgbackfill.job', true) OPERATOR(pg_catalog.=) 'long-long-long-long-long-long-long-long-long-long-long-long-' AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text) IS NOT TRUE OR pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 0)
  AND ROW(OLD."id", OLD."doc")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(NEW."id", NEW."doc")::pg_catalog.record)
EXECUTE FUNCTION "pgbackfill"."dual_write_long-long-long-long-long-long-long-long-lon_07146060"();
-- trigger
ALTER TABLE "public"."users" ENABLE ALWAYS TRIGGER "zzzz_pgbackfill_insert_long-long-long-long-long-long-l_07146060";
-- trigger
COMMENT ON TRIGGER "zzzz_pgbackfill_insert_long-long-long-long-long-long-l_07146060" ON "public"."users" IS 'pgbackfill: the dual write of job long-long-long-long-long-long-long-long-long-long-long-long-. Remove it with: pgbackfill dual-write remove';
-- trigger
ALTER TABLE "public"."users" ENABLE ALWAYS TRIGGER "zzzz_pgbackfill_update_long-long-long-long-long-long-l_07146060";
-- trigger
COMMENT ON TRIGGER "zzzz_pgbackfill_update_long-long-long-long-long-long-l_07146060" ON "public"."users" IS 'pgbackfill: the dual write of job long-long-long-long-long-long-long-long-long-long-long-long-. Remove it with: pgbackfill dual-write remove';
