-- undo: numbers
CREATE SEQUENCE "pgbackfill"."undo_7_id";
-- undo: table
CREATE TABLE "pgbackfill"."undo_7_1" (
  id pg_catalog.int8 PRIMARY KEY DEFAULT pg_catalog.nextval('"pgbackfill"."undo_7_id"'),
  op pg_catalog."char" NOT NULL,
  k1 bigint,
  k2 character(5) COLLATE "pg_catalog"."C",
  o3 character varying COLLATE pg_catalog."C",
  n3 character varying COLLATE pg_catalog."C",
  o4 json,
  n4 json,
  o6 bigint,
  o7 bigint,
  n7 bigint
);
-- undo: index
CREATE INDEX ON "pgbackfill"."undo_7_1" (k1, k2, id);
-- undo: function
CREATE FUNCTION "pgbackfill"."undo_7_1_insert"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'BEGIN
  INSERT INTO "pgbackfill"."undo_7_1" (op, k1, k2, n3, n4, n7)
  SELECT ''i'', n."id", n."Co""de", n."display_name", n."doc", n."N""o"
  FROM pgbackfill_new AS n;
  RETURN NULL;
END';
-- undo: function
REVOKE ALL ON FUNCTION "pgbackfill"."undo_7_1_insert"() FROM PUBLIC;
-- undo: trigger
CREATE TRIGGER "pgbackfill_undo_7_insert" AFTER INSERT ON "public"."Odd ""users" REFERENCING NEW TABLE AS pgbackfill_new FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('pgbackfill.run', true) OPERATOR(pg_catalog.=) '7'
    AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text)
  EXECUTE FUNCTION "pgbackfill"."undo_7_1_insert"();
-- undo: trigger
ALTER TABLE "public"."Odd ""users" ENABLE ALWAYS TRIGGER "pgbackfill_undo_7_insert";
-- undo: function
CREATE FUNCTION "pgbackfill"."undo_7_1_update"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'DECLARE
  kept pg_catalog.int8;
BEGIN
  INSERT INTO "pgbackfill"."undo_7_1" (op, k1, k2, o3, n3, o4, n4, o6)
  SELECT ''u'', o."id", o."Co""de", o."display_name", n."display_name", o."doc", n."doc", o."twice"
  FROM pgbackfill_old AS o
  JOIN pgbackfill_new AS n ON n."id" OPERATOR(pg_catalog.=) o."id" AND n."Co""de" OPERATOR(pg_catalog.=) o."Co""de" COLLATE "pg_catalog"."C";
  GET DIAGNOSTICS kept = ROW_COUNT;
  IF kept <> (SELECT pg_catalog.count(*) FROM pgbackfill_old) THEN
    RAISE EXCEPTION ''pgbackfill keeps what was there for undo, and cannot follow rows of % whose key is changed'', ''"public"."Odd ""users"'';
  END IF;
  RETURN NULL;
END';
-- undo: function
REVOKE ALL ON FUNCTION "pgbackfill"."undo_7_1_update"() FROM PUBLIC;
-- undo: trigger
CREATE TRIGGER "pgbackfill_undo_7_update" AFTER UPDATE ON "public"."Odd ""users" REFERENCING OLD TABLE AS pgbackfill_old NEW TABLE AS pgbackfill_new FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('pgbackfill.run', true) OPERATOR(pg_catalog.=) '7'
    AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text)
  EXECUTE FUNCTION "pgbackfill"."undo_7_1_update"();
-- undo: trigger
ALTER TABLE "public"."Odd ""users" ENABLE ALWAYS TRIGGER "pgbackfill_undo_7_update";
-- undo: function
CREATE FUNCTION "pgbackfill"."undo_7_1_delete"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'BEGIN
  INSERT INTO "pgbackfill"."undo_7_1" (op, k1, k2, o3, o4, o6, o7)
  SELECT ''d'', o."id", o."Co""de", o."display_name", o."doc", o."twice", o."N""o"
  FROM pgbackfill_old AS o;
  RETURN NULL;
END';
-- undo: function
REVOKE ALL ON FUNCTION "pgbackfill"."undo_7_1_delete"() FROM PUBLIC;
-- undo: trigger
CREATE TRIGGER "pgbackfill_undo_7_delete" AFTER DELETE ON "public"."Odd ""users" REFERENCING OLD TABLE AS pgbackfill_old FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('pgbackfill.run', true) OPERATOR(pg_catalog.=) '7'
    AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text)
  EXECUTE FUNCTION "pgbackfill"."undo_7_1_delete"();
-- undo: trigger
ALTER TABLE "public"."Odd ""users" ENABLE ALWAYS TRIGGER "pgbackfill_undo_7_delete";
-- undo: table
CREATE TABLE "pgbackfill"."undo_7_2" (
  id pg_catalog.int8 PRIMARY KEY DEFAULT pg_catalog.nextval('"pgbackfill"."undo_7_id"'),
  op pg_catalog."char" NOT NULL,
  k1 bigint,
  o2 text,
  n2 text
);
-- undo: index
CREATE INDEX ON "pgbackfill"."undo_7_2" (k1, id);
-- undo: function
CREATE FUNCTION "pgbackfill"."undo_7_2_insert"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'BEGIN
  INSERT INTO "pgbackfill"."undo_7_2" (op, k1, n2)
  SELECT ''i'', n."id", n."bio"
  FROM pgbackfill_new AS n;
  RETURN NULL;
END';
-- undo: function
REVOKE ALL ON FUNCTION "pgbackfill"."undo_7_2_insert"() FROM PUBLIC;
-- undo: trigger
CREATE TRIGGER "pgbackfill_undo_7_insert" AFTER INSERT ON "public"."archive" REFERENCING NEW TABLE AS pgbackfill_new FOR EACH STATEMENT
  WHEN (pg_catalog.current_setting('pgbackfill.run', true) OPERATOR(pg_catalog.=) '7'
    AND pg_catalog.current_setting('pgbackfill.xid', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text)
  EXECUTE FUNCTION "pgbackfill"."undo_7_2_insert"();
-- undo: trigger
ALTER TABLE "public"."archive" ENABLE ALWAYS TRIGGER "pgbackfill_undo_7_insert";
