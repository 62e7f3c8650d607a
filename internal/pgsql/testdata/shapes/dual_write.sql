-- lock
LOCK TABLE "public"."users" IN SHARE ROW EXCLUSIVE MODE;
-- lock
LOCK TABLE "public"."old_users" IN SHARE ROW EXCLUSIVE MODE;
-- function
CREATE OR REPLACE FUNCTION "pgbackfill"."dual_write_users-display-name"() RETURNS pg_catalog.trigger
LANGUAGE plpgsql SECURITY DEFINER
SET "search_path" TO "public", "pg_temp"
SET "TimeZone" TO 'UTC'
SET "DateStyle" TO 'ISO, MDY'
SET "IntervalStyle" TO 'postgres'
SET "extra_float_digits" TO '1'
SET "bytea_output" TO 'hex'
SET "lc_monetary" TO 'C'
SET "row_security" TO 'off'
SET "jit" TO 'off'
SET "work_mem" TO '64MB'
SET "plan_cache_mode" TO 'force_generic_plan'
AS $pgbackfill$
#variable_conflict use_column
DECLARE
  pgbackfill_value record;
  pgbackfill_scope pg_catalog.bool;
  pgbackfill_old record;
  pgbackfill_written record := NEW;
BEGIN
SELECT (t.display_name IS NULL AND t.seen > CAST('5' AS bigint)
)
INTO pgbackfill_scope
FROM (SELECT NEW."id" AS "id", NEW."display_name" AS "display_name", NEW."seen" AS "seen") AS t;
IF pgbackfill_scope IS NOT TRUE AND TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
IF ROW(OLD."display_name", OLD."price")::pg_catalog.record OPERATOR(pg_catalog.*=) ROW(NEW."display_name", NEW."price")::pg_catalog.record THEN
SELECT (t.display_name IS NULL AND t.seen > CAST('5' AS bigint)
)
INTO pgbackfill_scope
FROM (SELECT NEW."id" AS "id", CAST(('none'::character varying
) AS character varying) AS "display_name", NEW."seen" AS "seen") AS t;
IF pgbackfill_scope THEN
SELECT CAST((initcap(t.full_name) -- as shown
) AS character varying) AS pgbackfill_1,
       CAST((t.cents / 100.0
) AS numeric) AS pgbackfill_2
INTO pgbackfill_value
FROM (SELECT OLD."id" AS "id", OLD."display_name" AS "display_name", OLD."seen" AS "seen") AS t,
     (SELECT p.user_id, p.code FROM posts p WHERE (p.user_id OPERATOR(pg_catalog.=) OLD."id" AND p.code OPERATOR(pg_catalog.=) OLD."Co""de" COLLATE "pg_catalog"."C") AND (t.display_name IS NULL AND t.seen > CAST('5' AS bigint)
)) p
WHERE (p.user_id = t.id
);
pgbackfill_scope := FOUND;
IF FOUND THEN
  pgbackfill_old := OLD;
  pgbackfill_old."display_name" := pgbackfill_value.pgbackfill_1;
  pgbackfill_old."price" := pgbackfill_value.pgbackfill_2;
  pgbackfill_scope := ROW(pgbackfill_old."display_name", pgbackfill_old."price")::pg_catalog.record OPERATOR(pg_catalog.*=) ROW(OLD."display_name", OLD."price")::pg_catalog.record;
END IF;
END IF;
END IF;
END IF;
IF pgbackfill_scope IS NOT TRUE THEN
  RETURN NEW;
END IF;
SELECT CAST((initcap(t.full_name) -- as shown
) AS character varying) AS pgbackfill_1,
       CAST((t.cents / 100.0
) AS numeric) AS pgbackfill_2
INTO pgbackfill_value
FROM (SELECT NEW."id" AS "id", NEW."display_name" AS "display_name", NEW."seen" AS "seen") AS t,
     (SELECT p.user_id, p.code FROM posts p WHERE (p.user_id OPERATOR(pg_catalog.=) NEW."id" AND p.code OPERATOR(pg_catalog.=) NEW."Co""de" COLLATE "pg_catalog"."C") AND (t.display_name IS NULL AND t.seen > CAST('5' AS bigint)
)) p
WHERE (p.user_id = t.id
);
IF FOUND THEN
  NEW."display_name" := pgbackfill_value.pgbackfill_1;
  NEW."price" := pgbackfill_value.pgbackfill_2;
END IF;
RETURN NEW;
EXCEPTION
WHEN transaction_rollback THEN
  RAISE;
WHEN OTHERS THEN
  NEW := pgbackfill_written;
  BEGIN
    INSERT INTO pgbackfill.dual_write_errors (job, table_oid, operation, key, sqlstate, message, application, role)
    SELECT 'users-display-name', TG_RELID, TG_OP, ARRAY[NEW."id"::pg_catalog.text, NEW."Co""de"::pg_catalog.text]::pg_catalog.text[], SQLSTATE, SQLERRM, pg_catalog.current_setting('application_name'), SESSION_USER
    WHERE (SELECT pg_catalog.count(*) FROM (SELECT FROM pgbackfill.dual_write_errors AS e WHERE e.job OPERATOR(pg_catalog.=) 'users-display-name' LIMIT 1000) AS kept) OPERATOR(pg_catalog.<) 1000;
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
REVOKE ALL ON FUNCTION "pgbackfill"."dual_write_users-display-name"() FROM PUBLIC;
-- function
COMMENT ON FUNCTION "pgbackfill"."dual_write_users-display-name"() IS 'pgbackfill: the dual write of job users-display-name. Remove it with: pgbackfill dual-write remove';
-- trigger
CREATE OR REPLACE TRIGGER "zzzz_pgbackfill_insert_users-display-name" BEFORE INSERT ON "public"."users"
FOR EACH ROW WHEN ((pg_catalog.current_setting('pgbackfill.job', true) OPERATOR(pg_catalog.=) 'users-display-name' AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text) IS NOT TRUE OR pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 0)
EXECUTE FUNCTION "pgbackfill"."dual_write_users-display-name"();
-- trigger
CREATE OR REPLACE TRIGGER "zzzz_pgbackfill_update_users-display-name" BEFORE UPDATE ON "public"."users"
FOR EACH ROW WHEN (((pg_catalog.current_setting('pgbackfill.job', true) OPERATOR(pg_catalog.=) 'users-display-name' AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text) IS NOT TRUE OR pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 0)
  AND ROW(OLD."id", OLD."display_name", OLD."price", OLD."seen")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(NEW."id", NEW."display_name", NEW."price", NEW."seen")::pg_catalog.record)
EXECUTE FUNCTION "pgbackfill"."dual_write_users-display-name"();
-- trigger
ALTER TABLE "public"."users" ENABLE ALWAYS TRIGGER "zzzz_pgbackfill_insert_users-display-name";
-- trigger
COMMENT ON TRIGGER "zzzz_pgbackfill_insert_users-display-name" ON "public"."users" IS 'pgbackfill: the dual write of job users-display-name. Remove it with: pgbackfill dual-write remove';
-- trigger
ALTER TABLE "public"."users" ENABLE ALWAYS TRIGGER "zzzz_pgbackfill_update_users-display-name";
-- trigger
COMMENT ON TRIGGER "zzzz_pgbackfill_update_users-display-name" ON "public"."users" IS 'pgbackfill: the dual write of job users-display-name. Remove it with: pgbackfill dual-write remove';
-- trigger
CREATE OR REPLACE TRIGGER "zzzz_pgbackfill_insert_users-display-name" BEFORE INSERT ON "public"."old_users"
FOR EACH ROW WHEN ((pg_catalog.current_setting('pgbackfill.job', true) OPERATOR(pg_catalog.=) 'users-display-name' AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text) IS NOT TRUE OR pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 0)
EXECUTE FUNCTION "pgbackfill"."dual_write_users-display-name"();
-- trigger
CREATE OR REPLACE TRIGGER "zzzz_pgbackfill_update_users-display-name" BEFORE UPDATE ON "public"."old_users"
FOR EACH ROW WHEN (((pg_catalog.current_setting('pgbackfill.job', true) OPERATOR(pg_catalog.=) 'users-display-name' AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text) IS NOT TRUE OR pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 0)
  AND ROW(OLD."id", OLD."display_name", OLD."price", OLD."seen")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(NEW."id", NEW."display_name", NEW."price", NEW."seen")::pg_catalog.record)
EXECUTE FUNCTION "pgbackfill"."dual_write_users-display-name"();
-- trigger
ALTER TABLE "public"."old_users" ENABLE ALWAYS TRIGGER "zzzz_pgbackfill_insert_users-display-name";
-- trigger
COMMENT ON TRIGGER "zzzz_pgbackfill_insert_users-display-name" ON "public"."old_users" IS 'pgbackfill: the dual write of job users-display-name. Remove it with: pgbackfill dual-write remove';
-- trigger
ALTER TABLE "public"."old_users" ENABLE ALWAYS TRIGGER "zzzz_pgbackfill_update_users-display-name";
-- trigger
COMMENT ON TRIGGER "zzzz_pgbackfill_update_users-display-name" ON "public"."old_users" IS 'pgbackfill: the dual write of job users-display-name. Remove it with: pgbackfill dual-write remove';
