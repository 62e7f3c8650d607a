-- lock
LOCK TABLE "public"."users" IN ACCESS EXCLUSIVE MODE;
-- drop
DROP TRIGGER IF EXISTS "pgbackfill_tripwire_insert_long-long-long-long-long-lo_07146060" ON "public"."users";
-- drop
DROP TRIGGER IF EXISTS "pgbackfill_tripwire_update_long-long-long-long-long-lo_07146060" ON "public"."users";
-- sequence
CREATE SEQUENCE IF NOT EXISTS "pgbackfill"."tripwire_writes_long-long-long-long-long-long-long-lon_07146060";
-- sequence
ALTER SEQUENCE "pgbackfill"."tripwire_writes_long-long-long-long-long-long-long-lon_07146060" RESTART;
-- sequence
GRANT SELECT ON SEQUENCE "pgbackfill"."tripwire_writes_long-long-long-long-long-long-long-lon_07146060" TO PUBLIC;
-- sequence
CREATE SEQUENCE IF NOT EXISTS "pgbackfill"."tripwire_unwritten_long-long-long-long-long-long-long-_07146060";
-- sequence
ALTER SEQUENCE "pgbackfill"."tripwire_unwritten_long-long-long-long-long-long-long-_07146060" RESTART;
-- sequence
GRANT SELECT ON SEQUENCE "pgbackfill"."tripwire_unwritten_long-long-long-long-long-long-long-_07146060" TO PUBLIC;
-- function
CREATE OR REPLACE FUNCTION "pgbackfill"."tripwire_long-long-long-long-long-long-long-long-long-_07146060"() RETURNS pg_catalog.trigger
LANGUAGE plpgsql SECURITY DEFINER
AS $pgbackfill$
#variable_conflict use_column
DECLARE
  pgbackfill_broken pg_catalog.bool := false;
  pgbackfill_writes pg_catalog.int8;
  pgbackfill_state pg_catalog.text;
  pgbackfill_message pg_catalog.text;
BEGIN
IF pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off' THEN
  pgbackfill_writes := pg_catalog.nextval('"pgbackfill"."tripwire_writes_long-long-long-long-long-long-long-lon_07146060"'::pg_catalog.regclass);
END IF;
PERFORM FROM "public"."users" AS pgbackfill_row
WHERE pgbackfill_row."id" OPERATOR(pg_catalog.=) NEW."id"
  AND pgbackfill_row."Co""de" OPERATOR(pg_catalog.=) NEW."Co""de" COLLATE "pg_catalog"."C"
  AND ROW(pgbackfill_row."id", pgbackfill_row."Co""de", pgbackfill_row."display_name", pgbackfill_row."price", pgbackfill_row."seen")::pg_catalog.record OPERATOR(pg_catalog.*=) ROW(NEW."id", NEW."Co""de", NEW."display_name", NEW."price", NEW."seen")::pg_catalog.record;
IF NOT FOUND THEN
  RETURN NULL;
END IF;
SELECT pg_catalog.bool_and(ROW(NEW."doc")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(CAST(pgbackfill_new.pgbackfill_1 AS pg_catalog.jsonb))::pg_catalog.record)
INTO pgbackfill_broken
FROM (SELECT CAST((to_jsonb(t)
) AS pg_catalog.jsonb) AS pgbackfill_1
FROM pg_catalog.unnest(ARRAY[ROW(NEW."id", NEW."doc")::"public"."users"]) AS t) AS pgbackfill_new;
IF pgbackfill_broken IS NOT TRUE THEN
  RETURN NULL;
END IF;
PERFORM pgbackfill.record_drift('long-long-long-long-long-long-long-long-long-long-long-long-', TG_RELID, TG_OP, ARRAY[NEW."id"::pg_catalog.text, NEW."Co""de"::pg_catalog.text]::pg_catalog.text[], pgbackfill_state, pgbackfill_message, pgbackfill_writes);
RETURN NULL;
EXCEPTION
WHEN transaction_rollback THEN
  RAISE;
WHEN OTHERS THEN
  pgbackfill_state := SQLSTATE;
  pgbackfill_message := SQLERRM;
BEGIN
PERFORM pgbackfill.record_drift('long-long-long-long-long-long-long-long-long-long-long-long-', TG_RELID, TG_OP, ARRAY[NEW."id"::pg_catalog.text, NEW."Co""de"::pg_catalog.text]::pg_catalog.text[], pgbackfill_state, pgbackfill_message, pgbackfill_writes);
EXCEPTION
WHEN transaction_rollback THEN
  RAISE;
WHEN OTHERS THEN
  IF pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'on' THEN
    IF pgbackfill_broken THEN
      RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction', MESSAGE = 'pgbackfill: this transaction wrote a row without the values of job long-long-long-long-long-long-long-long-long-long-long-long-, and is READ ONLY since, so that this cannot be recorded',
        HINT = 'Leave it READ WRITE until it is committed, or write what the job computes.';
    END IF;
    RAISE WARNING USING MESSAGE = 'pgbackfill: this transaction wrote a row of which the tripwire of job long-long-long-long-long-long-long-long-long-long-long-long- could not tell whether it holds its values, and is READ ONLY since, so that this cannot be recorded (SQLSTATE ' OPERATOR(pg_catalog.||) pgbackfill_state OPERATOR(pg_catalog.||) ')';
    RETURN NULL;
  END IF;
  BEGIN
    PERFORM pg_catalog.nextval('"pgbackfill"."tripwire_unwritten_long-long-long-long-long-long-long-_07146060"'::pg_catalog.regclass);
  EXCEPTION
  WHEN OTHERS THEN
    NULL;
  END;
END;
RETURN NULL;
END
$pgbackfill$;
-- function
REVOKE ALL ON FUNCTION "pgbackfill"."tripwire_long-long-long-long-long-long-long-long-long-_07146060"() FROM PUBLIC;
-- function
COMMENT ON FUNCTION "pgbackfill"."tripwire_long-long-long-long-long-long-long-long-long-_07146060"() IS 'pgbackfill: the tripwire of job long-long-long-long-long-long-long-long-long-long-long-long-. Remove it with: pgbackfill tripwire remove';
-- trigger
CREATE CONSTRAINT TRIGGER "pgbackfill_tripwire_insert_long-long-long-long-long-lo_07146060" AFTER INSERT ON "public"."users" DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN ((pg_catalog.current_setting('pgbackfill.job', true) OPERATOR(pg_catalog.=) 'long-long-long-long-long-long-long-long-long-long-long-long-' AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text) IS NOT TRUE
  AND pgbackfill.note_statement())
EXECUTE FUNCTION "pgbackfill"."tripwire_long-long-long-long-long-long-long-long-long-_07146060"();
-- trigger
CREATE CONSTRAINT TRIGGER "pgbackfill_tripwire_update_long-long-long-long-long-lo_07146060" AFTER UPDATE ON "public"."users" DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN ((pg_catalog.current_setting('pgbackfill.job', true) OPERATOR(pg_catalog.=) 'long-long-long-long-long-long-long-long-long-long-long-long-' AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text) IS NOT TRUE
  AND ROW(OLD."id", OLD."Co""de", OLD."display_name", OLD."price", OLD."seen")::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(NEW."id", NEW."Co""de", NEW."display_name", NEW."price", NEW."seen")::pg_catalog.record
  AND pgbackfill.note_statement())
EXECUTE FUNCTION "pgbackfill"."tripwire_long-long-long-long-long-long-long-long-long-_07146060"();
-- trigger
ALTER TABLE "public"."users" ENABLE ALWAYS TRIGGER "pgbackfill_tripwire_insert_long-long-long-long-long-lo_07146060";
-- trigger
COMMENT ON TRIGGER "pgbackfill_tripwire_insert_long-long-long-long-long-lo_07146060" ON "public"."users" IS 'pgbackfill: the tripwire of job long-long-long-long-long-long-long-long-long-long-long-long-. Remove it with: pgbackfill tripwire remove';
-- trigger
ALTER TABLE "public"."users" ENABLE ALWAYS TRIGGER "pgbackfill_tripwire_update_long-long-long-long-long-lo_07146060";
-- trigger
COMMENT ON TRIGGER "pgbackfill_tripwire_update_long-long-long-long-long-lo_07146060" ON "public"."users" IS 'pgbackfill: the tripwire of job long-long-long-long-long-long-long-long-long-long-long-long-. Remove it with: pgbackfill tripwire remove';
