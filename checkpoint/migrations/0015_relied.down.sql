CREATE OR REPLACE FUNCTION pgbackfill.require_ready(job text, max_age interval, final boolean, OUT tables regclass[], OUT triggers text[])
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
#variable_conflict use_column
DECLARE
  g pgbackfill.gates;
  problem text;
  detail text;
  remedy text;
  oldest interval;
BEGIN
  SELECT * INTO g FROM pgbackfill.gates AS x WHERE x.job = require_ready.job ORDER BY x.id DESC LIMIT 1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'pgbackfill: job % is not ready: its gate was never asked', require_ready.job USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run: pgbackfill gate FILE';
  END IF;
  -- What it says names rows and statements of the table, and at the end it takes the triggers' record away: for those who may drop the columns.
  IF EXISTS (SELECT FROM pg_class AS c WHERE (c.oid = g.table_oid OR c.oid = ANY (g.relations)) AND NOT pg_has_role(SESSION_USER, c.relowner, 'MEMBER')) THEN
    RAISE EXCEPTION 'pgbackfill: whether job % is ready is for the owner of its tables to ask', require_ready.job USING ERRCODE = 'insufficient_privilege', HINT = 'Let the migration run as that role, or as a member of it.';
  END IF;
  oldest := COALESCE(require_ready.max_age, g.report_max_age);
  SELECT w.why, w.how, w.more INTO problem, remedy, detail FROM (
    SELECT 1, 'its gate refused: ' || COALESCE((SELECT string_agg(format('%s (%s)', c->>'id', c->>'status'), ', ') FROM jsonb_array_elements(g.conditions) AS c WHERE c->>'status' IN ('fail', 'unknown')), 'see it'),
      'look', (SELECT string_agg(DISTINCT format('%s: %s', c->>'id', e), E'\n') FROM jsonb_array_elements(g.conditions) AS c, jsonb_array_elements_text(c->'evidence') AS e WHERE c->>'status' IN ('fail', 'unknown')) WHERE g.verdict <> 'ready'
    UNION ALL SELECT 2, 'its gate was asked by an earlier version of pgbackfill, which did not write down all that it rests on', 'gate', NULL WHERE g.asked = ''
    UNION ALL SELECT 3, 'what its gate said was changed since', 'gate', NULL WHERE g.digest <> pgbackfill.gate_digest(g)
    UNION ALL SELECT 3, format('its gate is %s old, and may be %s', date_trunc('second', clock_timestamp() - g.began_at), oldest), 'gate', NULL WHERE g.began_at < clock_timestamp() - oldest
    UNION ALL SELECT 4, 'a waiver that its gate rests on has ended', 'waive', NULL WHERE g.waived_until < clock_timestamp()
    UNION ALL SELECT 5, format('run %s is not its newest any more, or not finished', g.run_id), 'run', NULL
      WHERE NOT EXISTS (SELECT FROM pgbackfill.runs AS r WHERE r.id = g.run_id AND r.state = 'finished' AND NOT EXISTS (SELECT FROM pgbackfill.runs AS o WHERE o.job = require_ready.job AND o.id > r.id))
    UNION ALL SELECT 5, format('run %s is being taken back', u.run_id), 'run', NULL FROM pgbackfill.undos AS u JOIN pgbackfill.runs AS o ON o.id = u.run_id
      WHERE u.run_id = g.run_id OR o.job = g.job AND (u.ended_at IS NULL OR u.ended_at > g.began_at)
    UNION ALL SELECT 6, 'chunks were written since', 'verify', NULL WHERE g.ledger_rows IS DISTINCT FROM (SELECT count(*) FROM pgbackfill.chunks AS c WHERE c.run_id = g.run_id)
    UNION ALL SELECT 6, format('run %s of job %s changed rows of the table since', o.id, o.job), 'verify', NULL FROM pgbackfill.runs AS o
      WHERE NOT g.watched AND o.table_oid = g.table_oid AND o.job <> g.job AND EXISTS (SELECT FROM pgbackfill.chunks AS c WHERE c.run_id = o.id AND NOT pg_visible_in_snapshot(c.xid, g.snapshot))
    UNION ALL SELECT 7, format('verification %s was made by an earlier version of pgbackfill, which did not write down what it asked', v.id), 'verify', NULL
      FROM pgbackfill.verifications AS v WHERE v.id = g.verification_id AND v.asked = ''
    UNION ALL SELECT 7, format('verification %s asked other checks than those of its gate', v.id), 'verify', NULL FROM pgbackfill.verifications AS v WHERE v.id = g.verification_id AND v.asked <> g.asked AND v.asked <> ''
    UNION ALL SELECT 7, format('verification %s was voided by a repair', v.id), 'verify', NULL FROM pgbackfill.verifications AS v WHERE v.id = g.verification_id AND v.voided_at IS NOT NULL
    UNION ALL SELECT 8, format('verification %s is %s old, and may be %s', v.id, date_trunc('second', clock_timestamp() - v.finished_at), oldest), 'verify', NULL FROM pgbackfill.verifications AS v
      WHERE v.id = g.verification_id AND v.finished_at < clock_timestamp() - oldest
    UNION ALL SELECT 9, format('verification %s, ended after it began, is %s', v.id, COALESCE(v.verdict, v.state)), 'verify', NULL FROM pgbackfill.verifications AS v
      WHERE v.job = require_ready.job AND (v.id > COALESCE(g.verification_id, 0) OR v.finished_at > g.began_at) AND v.state = 'ended' AND v.verdict <> 'proven'
    UNION ALL SELECT 9, format('verification %s found %s wrong rows', v.id, v.mismatches), 'verify', NULL FROM pgbackfill.verifications AS v WHERE v.id = g.verification_id AND v.verdict = 'mismatched'
    UNION ALL SELECT 10, 'rows were taken out of quarantine since', 'verify', NULL WHERE EXISTS (SELECT FROM pgbackfill.quarantine AS q WHERE q.run_id = g.run_id AND (q.resolved_at IS NULL OR q.resolved_at > g.began_at))
    UNION ALL SELECT 11, format('a commit broke the relation at %s: %s of %s by %s (%s): %s', d.at, d.operation, d.key, d.role, d.application, left(d.query, 300)), 'verify', NULL
      FROM pgbackfill.drift AS d WHERE d.job = require_ready.job AND NOT pg_visible_in_snapshot(d.xid, g.snapshot)
    UNION ALL SELECT 11, 'what the tripwire found could not be written to pgbackfill.drift', 'tripwire', NULL FROM pgbackfill.tripwires AS w JOIN pg_class AS c ON c.oid = w.unwritten
      WHERE g.watched AND w.job = require_ready.job AND pg_sequence_last_value(c.oid) > 0
    UNION ALL SELECT 12, format('role %s, with whose rights the tripwire runs, may not write to pgbackfill.drift', p.proowner::regrole), 'tripwire', NULL FROM pgbackfill.tripwires AS w JOIN pg_proc AS p ON p.oid = w.function_oid
      WHERE g.watched AND w.job = require_ready.job AND NOT (has_schema_privilege(p.proowner, 'pgbackfill', 'USAGE') AND has_table_privilege(p.proowner, 'pgbackfill.drift', 'INSERT')
        AND has_table_privilege(p.proowner, 'pgbackfill.drift', 'SELECT'))
    UNION ALL SELECT 12, 'the count of what the tripwire could not write down is gone', 'tripwire', NULL FROM pgbackfill.tripwires AS w
      WHERE g.watched AND w.job = require_ready.job AND w.unwritten IS NOT NULL AND NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = w.unwritten)
    UNION ALL SELECT 12, 'the tripwire was made by an earlier version of pgbackfill, which a setting of the session passes by', 'tripwire', NULL FROM pgbackfill.tripwires AS w
      WHERE g.watched AND w.job = require_ready.job AND (w.unwritten IS NULL OR NOT w.by_transaction)
    UNION ALL SELECT 12, format('the tripwire on %s is switched off, gone, or not the one that was there', t.name), 'tripwire', NULL FROM (
        WITH RECURSIVE tree(oid) AS (SELECT g.table_oid UNION SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.oid),
        wire AS (SELECT w.triggers, w.function_oid, w.function_xmin FROM pgbackfill.tripwires AS w WHERE w.job = require_ready.job AND w.table_oid = g.table_oid)
        SELECT c.oid::regclass::text AS name
          FROM tree JOIN pg_class AS c ON c.oid = tree.oid AND c.relkind IN ('r', 'p') LEFT JOIN wire ON true
         WHERE g.watched AND (wire.function_oid IS NULL OR 2 <> (
                 SELECT count(*) FROM pg_trigger AS x JOIN pg_proc AS p ON p.oid = x.tgfoid
                  WHERE x.tgrelid = c.oid AND x.tgenabled = 'A' AND p.oid = wire.function_oid AND p.xmin::text = wire.function_xmin
                    AND NOT EXISTS (SELECT FROM jsonb_array_elements(wire.triggers) AS e JOIN pg_class AS n ON n.oid = c.oid JOIN pg_namespace AS s ON s.oid = n.relnamespace
                                     WHERE e->>'table' = quote_ident(s.nspname) || '.' || quote_ident(n.relname) AND e->>'trigger' = x.tgname AND (e->>'oid' <> x.oid::text OR e->>'xmin' <> x.xmin::text))))) AS t
    UNION ALL SELECT 13, 'a table, a column, a partition or a trigger was changed or made anew since', 'verify', NULL WHERE g.shape <> pgbackfill.gate_shape(g.relations || g.table_oid)
  ) AS w(no, why, how, more) ORDER BY w.no LIMIT 1;
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION 'pgbackfill: job % is not ready: %', require_ready.job, problem USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = COALESCE(detail, format('Its gate was asked at %s by %s.', g.began_at, g.who)),
      HINT = CASE remedy
        WHEN 'look' THEN 'What is to be done of each, and whether it holds by now, says: pgbackfill gate FILE'
        WHEN 'gate' THEN 'Run: pgbackfill gate FILE'
        WHEN 'waive' THEN 'Run: pgbackfill gate FILE, and where it still needs the waiver: pgbackfill gate FILE --waive ID --why TEXT --until DATE'
        WHEN 'run' THEN 'Run: pgbackfill run FILE, then: pgbackfill verify FILE, then: pgbackfill gate FILE'
        WHEN 'tripwire' THEN 'Run: pgbackfill tripwire install FILE, then: pgbackfill verify FILE, then: pgbackfill gate FILE'
        ELSE 'Run: pgbackfill verify FILE, then: pgbackfill gate FILE' END;
  END IF;
  SELECT array_agg(DISTINCT c.oid::regclass) INTO tables FROM pg_class AS c WHERE c.oid = g.table_oid OR c.oid = ANY (g.relations);
  SELECT array_agg(format('DROP TRIGGER %I ON %s', x.tgname, x.tgrelid::regclass)) INTO triggers
    FROM pg_trigger AS x JOIN pg_proc AS p ON p.oid = x.tgfoid JOIN pg_namespace AS n ON n.oid = p.pronamespace
   WHERE n.nspname = 'pgbackfill' AND x.tgparentid = 0
     AND (p.oid = (SELECT w.function_oid FROM pgbackfill.tripwires AS w WHERE w.job = require_ready.job)
          OR x.tgrelid IN (SELECT t.oid FROM (WITH RECURSIVE tree(oid) AS (SELECT g.table_oid UNION SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.oid) SELECT * FROM tree) AS t)
             AND EXISTS (SELECT FROM pgbackfill.dual_writes AS w, jsonb_array_elements(w.triggers) AS e WHERE w.job = require_ready.job AND e->>'trigger' = x.tgname));
  IF final THEN
    IF EXISTS (SELECT FROM unnest(tables) AS t(table_oid) WHERE NOT EXISTS (
         SELECT FROM pg_locks AS l WHERE l.pid = pg_backend_pid() AND l.granted AND l.mode = 'AccessExclusiveLock' AND l.locktype = 'relation' AND l.relation = t.table_oid)) THEN
      RAISE EXCEPTION 'pgbackfill: require_ready is for assert_ready, which locks the tables first' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    UPDATE pgbackfill.gates AS x SET asserted_at = clock_timestamp() WHERE x.id = g.id;
    DELETE FROM pgbackfill.tripwires AS w WHERE w.job = require_ready.job;
    DELETE FROM pgbackfill.dual_writes AS w WHERE w.job = require_ready.job;
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION pgbackfill.asserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
AS $$
DECLARE
  still text;
BEGIN
  SELECT string_agg(format('%s.%I', a.attrelid::regclass, a.attname), ', ') INTO still
    FROM unnest(NEW.relations, NEW.columns) AS d(relation, name) JOIN pg_attribute AS a ON a.attrelid = d.relation AND a.attname = d.name AND NOT a.attisdropped;
  IF still IS NOT NULL THEN
    RAISE EXCEPTION 'pgbackfill: assert_ready was relied on, and % is still there at the end of its transaction: it proves nothing beyond it', still
      USING ERRCODE = 'no_active_sql_transaction', HINT = 'BEGIN; SELECT pgbackfill.assert_ready(…); ALTER TABLE … DROP COLUMN …; COMMIT';
  END IF;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION pgbackfill.gate_digest(g pgbackfill.gates) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path TO pg_catalog, pg_temp
AS $$ SELECT md5(concat_ws(E'\x1f', g.job, g.run_id, g.spec_hash, g.table_oid, g.relations::text, g.columns::text, g.verdict, g.conditions::text,
                           g.verification_id, g.ledger_rows, g.watched, g.shape, extract(epoch FROM g.waived_until), extract(epoch FROM g.report_max_age), g.snapshot::text, extract(epoch FROM g.began_at),
                           g.asked)) $$;

DROP FUNCTION pgbackfill.called(text[]);
ALTER TABLE pgbackfill.verifications DROP COLUMN functions;
ALTER TABLE pgbackfill.gates DROP COLUMN functions;
ALTER TABLE pgbackfill.gates DROP COLUMN names;
ALTER TABLE pgbackfill.gates DROP COLUMN attributes;

DO $$
DECLARE
    role text;
BEGIN
    FOR role IN SELECT a.grantee::pg_catalog.regrole::text FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a
                 WHERE c.oid = 'pgbackfill.tripwires'::pg_catalog.regclass AND a.privilege_type = 'INSERT' AND a.grantee OPERATOR(pg_catalog.<>) 0 AND a.grantee OPERATOR(pg_catalog.<>) c.relowner LOOP
        EXECUTE 'REVOKE DELETE ON pgbackfill.drift FROM ' OPERATOR(pg_catalog.||) role;
    END LOOP;
END
$$;
