-- A schema with an impostor of everything in pg_catalog that SQL can name: functions, aggregates, operators, types and tables, and
-- of the tables of pgbackfill; of those whose names are in the setting impostors.said, since all of them take seconds. Whoever puts it before pg_catalog on a search_path calls these by every name that has no schema, and
-- each says so in the server's log, which neither a rollback nor a standby nor a read-only transaction prevents.
CREATE SCHEMA impostors;
GRANT USAGE ON SCHEMA impostors TO PUBLIC;
SET check_function_bodies = off;
SET client_min_messages = error;

CREATE FUNCTION impostors.called(what pg_catalog.text) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$ BEGIN RAISE LOG 'impostor of %: %', current_database(), what; RETURN true; END $$;

DO $do$
DECLARE
  made record;
  said CONSTANT text[] := current_setting('impostors.said')::text[];
  statement text;
  strange CONSTANT oid[] := ARRAY(SELECT oid FROM pg_type WHERE typtype = 'p' AND typname NOT IN ('record', 'void', 'anyelement', 'anyarray', 'anynonarray', 'anyenum', 'anyrange', 'anycompatible', 'anycompatiblearray', 'anycompatiblenonarray'));
BEGIN
  FOR made IN
    SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS args, pg_get_function_result(p.oid) AS result, p.oid::regprocedure::text AS name
      FROM pg_proc AS p
     WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.proname = ANY (said) AND NOT p.prorettype = ANY (strange)
       AND NOT COALESCE(p.proallargtypes, p.proargtypes::oid[]) && (strange || 'void'::regtype::oid) AND pg_get_function_result(p.oid) !~ '^TABLE'
  LOOP
    EXECUTE format('CREATE FUNCTION impostors.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', made.proname, made.args, made.result,
                   format('BEGIN PERFORM impostors.called(%L); END', 'function ' || made.name));
  END LOOP;
  -- These take "any", which plpgsql does not.
  FOREACH statement IN ARRAY ARRAY['format', 'concat', 'concat_ws', 'json_build_object', 'jsonb_build_object', 'jsonb_build_array', 'num_nulls'] LOOP
    EXECUTE format('CREATE FUNCTION impostors.%I(VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS %L', statement, format('BEGIN PERFORM impostors.called(%L); END', 'function ' || statement));
  END LOOP;
  FOR made IN
    SELECT a.aggfnoid::oid AS oid, p.proname, p.oid::regprocedure::text AS name, p.pronargs,
           CASE WHEN p.pronargs = 0 THEN '' ELSE replace(oidvectortypes(p.proargtypes), '"any"', 'anyelement') END AS args
      FROM pg_aggregate AS a JOIN pg_proc AS p ON p.oid = a.aggfnoid
     WHERE p.pronamespace = 'pg_catalog'::regnamespace AND a.aggkind = 'n' AND p.proname = ANY (said) AND p.provariadic = 0 AND p.proname !~ '^(json|range)'
  LOOP
    EXECUTE format('CREATE FUNCTION impostors.step_%s(text%s) RETURNS text LANGUAGE plpgsql AS %L', made.oid, ', ' || NULLIF(made.args, ''),
                   format('BEGIN PERFORM impostors.called(%L); RETURN NULL; END', 'aggregate ' || made.name));
    EXECUTE format('CREATE AGGREGATE impostors.%I(%s) (SFUNC = impostors.step_%s, STYPE = text)', made.proname, COALESCE(NULLIF(made.args, ''), '*'), made.oid);
  END LOOP;
  FOR made IN
    SELECT o.oid, o.oprname, o.oprresult::regtype AS result, o.oid::regoperator::text AS name,
           CASE WHEN o.oprleft <> 0 THEN o.oprleft::regtype::text END AS l, o.oprright::regtype::text AS r
      FROM pg_operator AS o
     WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND NOT o.oprleft = ANY (strange) AND NOT o.oprright = ANY (strange) AND NOT o.oprresult = ANY (strange)
  LOOP
    EXECUTE format('CREATE FUNCTION impostors.operator_%s(%s) RETURNS %s LANGUAGE plpgsql AS %L', made.oid, concat_ws(', ', made.l, made.r), made.result,
                   format('BEGIN PERFORM impostors.called(%L); END', 'operator ' || made.name));
    EXECUTE format('CREATE OPERATOR impostors.%s (%s RIGHTARG = %s, FUNCTION = impostors.operator_%s)', made.oprname, 'LEFTARG = ' || made.l || ',', made.r, made.oid);
  END LOOP;
  FOR made IN
    SELECT c.relname, (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.atttypid <> 'anyarray'::regtype) AS columns
      FROM pg_class AS c WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname = ANY (said)
  LOOP
    EXECUTE format('CREATE VIEW impostors.%I AS SELECT %s FROM pg_catalog.%1$I WHERE impostors.called(%3$L)', made.relname, made.columns, 'table ' || made.relname);
  END LOOP;
  FOREACH statement IN ARRAY ARRAY['migrations', 'runs', 'segments', 'chunks', 'events', 'processes', 'quarantine', 'tasks', 'verifications', 'mismatches', 'drift', 'tripwires', 'dual_writes', 'gates', 'waivers', 'undos'] LOOP
    EXECUTE format('CREATE VIEW impostors.%I AS SELECT impostors.called(%L)', statement, 'table ' || statement);
  END LOOP;
  -- Last, since what is above names types.
  FOR made IN SELECT t.typname FROM pg_type AS t WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype = 'b' AND t.typelem = 0 LOOP
    EXECUTE format('CREATE DOMAIN impostors.%I AS pg_catalog.%1$I CHECK (impostors.called(%L))', made.typname, 'type ' || made.typname);
  END LOOP;
END
$do$;
RESET client_min_messages;
RESET check_function_bodies;
