-- lock
LOCK TABLE "public"."users" IN SHARE ROW EXCLUSIVE MODE;
-- lock
LOCK TABLE "public"."old_users" IN SHARE ROW EXCLUSIVE MODE;
-- sequence
CREATE SEQUENCE IF NOT EXISTS "pgbackfill"."tripwire_writes_users-display-name";
-- sequence
ALTER SEQUENCE "pgbackfill"."tripwire_writes_users-display-name" RESTART;
-- sequence
GRANT SELECT ON SEQUENCE "pgbackfill"."tripwire_writes_users-display-name" TO PUBLIC;
-- sequence
CREATE SEQUENCE IF NOT EXISTS "pgbackfill"."tripwire_unwritten_users-display-name";
-- sequence
ALTER SEQUENCE "pgbackfill"."tripwire_unwritten_users-display-name" RESTART;
-- sequence
GRANT SELECT ON SEQUENCE "pgbackfill"."tripwire_unwritten_users-display-name" TO PUBLIC;
-- function
CREATE OR REPLACE FUNCTION "pgbackfill"."tripwire_users-display-name"() RETURNS pg_catalog.trigger
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
  pgbackfill_broken pg_catalog.bool := false;
  pgbackfill_writes pg_catalog.int8;
  pgbackfill_state pg_catalog.text;
  pgbackfill_message pg_catalog.text;
  pgbackfill_scope pg_catalog.bool;
BEGIN
IF pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off' THEN
  pgbackfill_writes := pg_catalog.nextval('"pgbackfill"."tripwire_writes_users-display-name"'::pg_catalog.regclass);
END IF;
PERFORM FROM "public"."users" AS pgbackfill_row
WHERE pgbackfill_row."id" OPERATOR(pg_catalog.=) NEW."id"
  AND pgbackfill_row."Co""de" OPERATOR(pg_catalog.=) NEW."Co""de" COLLATE "pg_catalog"."C"
  AND ROW(pgbackfill_row."id", pgbackfill_row."Co""de", pgbackfill_row."display_name", pgbackfill_row."price", pgbackfill_row."seen")::pg_catalog.record OPERATOR(pg_catalog.*=) ROW(NEW."id", NEW."Co""de", NEW."display_name", NEW."price", NEW."seen")::pg_catalog.record;
IF NOT FOUND THEN
  RETURN NULL;
END IF;
SELECT (t.display_name IS NULL AND t.seen > CAST('5' AS bigint)
)
INTO pgbackfill_scope
FROM (SELECT NEW."id" AS "id", NEW."display_name" AS "display_name", NEW."seen" AS "seen") AS t;
IF pgbackfill_scope IS NOT TRUE THEN
  RETURN NULL;
END IF;
SELECT pg_catalog.bool_and(NEW."display_name"::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM CAST(pgbackfill_new.pgbackfill_1 AS character varying)::pg_catalog.text COLLATE "pg_catalog"."C"
        OR ROW(NEW."price")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST(pgbackfill_new.pgbackfill_2 AS numeric(8,2)))::pg_catalog.record)
INTO pgbackfill_broken
FROM (SELECT CAST((initcap(t.full_name) -- as shown
) AS character varying) AS pgbackfill_1,
       CAST((t.cents / 100.0
) AS numeric) AS pgbackfill_2
FROM (SELECT NEW."id" AS "id", NEW."display_name" AS "display_name", NEW."seen" AS "seen") AS t,
     (SELECT p.user_id, p.code FROM posts p WHERE (p.user_id OPERATOR(pg_catalog.=) NEW."id" AND p.code OPERATOR(pg_catalog.=) NEW."Co""de" COLLATE "pg_catalog"."C") AND (t.display_name IS NULL AND t.seen > CAST('5' AS bigint)
)) p
WHERE (p.user_id = t.id
)) AS pgbackfill_new;
IF pgbackfill_broken IS NOT TRUE THEN
  RETURN NULL;
END IF;
PERFORM pgbackfill.record_drift('users-display-name', TG_RELID, TG_OP, ARRAY[NEW."id"::pg_catalog.text, NEW."Co""de"::pg_catalog.text]::pg_catalog.text[], pgbackfill_state, pgbackfill_message, pgbackfill_writes);
RETURN NULL;
EXCEPTION
WHEN transaction_rollback THEN
  RAISE;
WHEN OTHERS THEN
  pgbackfill_state := SQLSTATE;
  pgbackfill_message := SQLERRM;
BEGIN
PERFORM pgbackfill.record_drift('users-display-name', TG_RELID, TG_OP, ARRAY[NEW."id"::pg_catalog.text, NEW."Co""de"::pg_catalog.text]::pg_catalog.text[], pgbackfill_state, pgbackfill_message, pgbackfill_writes);
EXCEPTION
WHEN transaction_rollback THEN
  RAISE;
WHEN OTHERS THEN
  IF pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'on' THEN
    IF pgbackfill_broken THEN
      RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction', MESSAGE = 'pgbackfill: this transaction wrote a row without the values of job users-display-name, and is READ ONLY since, so that this cannot be recorded',
        HINT = 'Leave it READ WRITE until it is committed, or write what the job computes.';
    END IF;
    RAISE WARNING USING MESSAGE = 'pgbackfill: this transaction wrote a row of which the tripwire of job users-display-name could not tell whether it holds its values, and is READ ONLY since, so that this cannot be recorded (SQLSTATE ' OPERATOR(pg_catalog.||) pgbackfill_state OPERATOR(pg_catalog.||) ')';
    RETURN NULL;
  END IF;
  BEGIN
    PERFORM pg_catalog.nextval('"pgbackfill"."tripwire_unwritten_users-display-name"'::pg_catalog.regclass);
  EXCEPTION
  WHEN OTHERS THEN
    NULL;
  END;
END;
RETURN NULL;
END
$pgbackfill$;
-- function
REVOKE ALL ON FUNCTION "pgbackfill"."tripwire_users-display-name"() FROM PUBLIC;
-- function
COMMENT ON FUNCTION "pgbackfill"."tripwire_users-display-name"() IS 'pgbackfill: the tripwire of job users-display-name. Remove it with: pgbackfill tripwire remove';
-- trigger
CREATE CONSTRAINT TRIGGER "pgbackfill_tripwire_insert_users-display-name" AFTER INSERT ON "public"."users" DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN ((pg_catalog.current_setting('pgbackfill.job', true) OPERATOR(pg_catalog.=) 'users-display-name' AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text) IS NOT TRUE
  AND pgbackfill.note_statement())
EXECUTE FUNCTION "pgbackfill"."tripwire_users-display-name"();
-- trigger
CREATE CONSTRAINT TRIGGER "pgbackfill_tripwire_update_users-display-name" AFTER UPDATE ON "public"."users" DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN ((pg_catalog.current_setting('pgbackfill.job', true) OPERATOR(pg_catalog.=) 'users-display-name' AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text) IS NOT TRUE
  AND ROW(OLD."id", OLD."Co""de", OLD."display_name", OLD."price", OLD."seen")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(NEW."id", NEW."Co""de", NEW."display_name", NEW."price", NEW."seen")::pg_catalog.record
  AND pgbackfill.note_statement())
EXECUTE FUNCTION "pgbackfill"."tripwire_users-display-name"();
-- trigger
ALTER TABLE "public"."users" ENABLE ALWAYS TRIGGER "pgbackfill_tripwire_insert_users-display-name";
-- trigger
COMMENT ON TRIGGER "pgbackfill_tripwire_insert_users-display-name" ON "public"."users" IS 'pgbackfill: the tripwire of job users-display-name. Remove it with: pgbackfill tripwire remove';
-- trigger
ALTER TABLE "public"."users" ENABLE ALWAYS TRIGGER "pgbackfill_tripwire_update_users-display-name";
-- trigger
COMMENT ON TRIGGER "pgbackfill_tripwire_update_users-display-name" ON "public"."users" IS 'pgbackfill: the tripwire of job users-display-name. Remove it with: pgbackfill tripwire remove';
-- trigger
CREATE CONSTRAINT TRIGGER "pgbackfill_tripwire_insert_users-display-name" AFTER INSERT ON "public"."old_users" DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN ((pg_catalog.current_setting('pgbackfill.job', true) OPERATOR(pg_catalog.=) 'users-display-name' AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text) IS NOT TRUE
  AND pgbackfill.note_statement())
EXECUTE FUNCTION "pgbackfill"."tripwire_users-display-name"();
-- trigger
CREATE CONSTRAINT TRIGGER "pgbackfill_tripwire_update_users-display-name" AFTER UPDATE ON "public"."old_users" DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN ((pg_catalog.current_setting('pgbackfill.job', true) OPERATOR(pg_catalog.=) 'users-display-name' AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text) IS NOT TRUE
  AND ROW(OLD."id", OLD."Co""de", OLD."display_name", OLD."price", OLD."seen")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(NEW."id", NEW."Co""de", NEW."display_name", NEW."price", NEW."seen")::pg_catalog.record
  AND pgbackfill.note_statement())
EXECUTE FUNCTION "pgbackfill"."tripwire_users-display-name"();
-- trigger
ALTER TABLE "public"."old_users" ENABLE ALWAYS TRIGGER "pgbackfill_tripwire_insert_users-display-name";
-- trigger
COMMENT ON TRIGGER "pgbackfill_tripwire_insert_users-display-name" ON "public"."old_users" IS 'pgbackfill: the tripwire of job users-display-name. Remove it with: pgbackfill tripwire remove';
-- trigger
ALTER TABLE "public"."old_users" ENABLE ALWAYS TRIGGER "pgbackfill_tripwire_update_users-display-name";
-- trigger
COMMENT ON TRIGGER "pgbackfill_tripwire_update_users-display-name" ON "public"."old_users" IS 'pgbackfill: the tripwire of job users-display-name. Remove it with: pgbackfill tripwire remove';
