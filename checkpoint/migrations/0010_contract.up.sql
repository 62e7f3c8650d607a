CREATE TABLE pgbackfill.gates (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job             text NOT NULL,
    run_id          bigint,
    spec_hash       text NOT NULL,
    table_oid       oid NOT NULL,
    relations       oid[] NOT NULL,
    columns         text[] NOT NULL,
    verdict         text NOT NULL CONSTRAINT gates_verdict CHECK (verdict IN ('ready', 'refused')),
    conditions      jsonb NOT NULL,
    verification_id bigint,
    ledger_rows     bigint,
    watched         boolean NOT NULL,
    shape           text NOT NULL,
    waived_until    timestamptz,
    report_max_age  interval NOT NULL,
    snapshot        pg_snapshot NOT NULL DEFAULT pg_catalog.pg_current_snapshot(),
    began_at        timestamptz NOT NULL,
    at              timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    asserted_at     timestamptz,
    who             text NOT NULL,
    tool_version    text NOT NULL,
    digest          text NOT NULL
);
CREATE INDEX gates_job ON pgbackfill.gates (job, id);

COMMENT ON TABLE pgbackfill.gates IS 'pgbackfill: what each look at whether the contract migration may run came to.';
COMMENT ON COLUMN pgbackfill.gates.relations IS 'The tables of which columns will be dropped, beside those columns.';
COMMENT ON COLUMN pgbackfill.gates.ledger_rows IS 'How many rows the ledger of the run had.';
COMMENT ON COLUMN pgbackfill.gates.watched IS 'Whether a tripwire watches the commits; it must go on to until the migration.';
COMMENT ON COLUMN pgbackfill.gates.shape IS 'What the tables were, from gate_shape: it must be the same when a migration relies on it.';
COMMENT ON COLUMN pgbackfill.gates.waived_until IS 'When the first of the waivers ends that it rests on; NULL where it rests on none.';
COMMENT ON COLUMN pgbackfill.gates.snapshot IS 'As of before its conditions were looked at: drift that is not visible in it came after.';
COMMENT ON COLUMN pgbackfill.gates.asserted_at IS 'When a migration relied on it.';
COMMENT ON COLUMN pgbackfill.gates.digest IS 'MD5 of what it rests on: a row that was changed by accident is not relied on. Who may write here may allow what he likes.';

CREATE FUNCTION pgbackfill.gate_digest(g pgbackfill.gates) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path TO pg_catalog, pg_temp
AS $$ SELECT md5(concat_ws(E'\x1f', g.job, g.run_id, g.spec_hash, g.table_oid, g.relations::text, g.columns::text, g.verdict, g.conditions::text,
                           g.verification_id, g.ledger_rows, g.watched, g.shape, extract(epoch FROM g.waived_until), extract(epoch FROM g.report_max_age), g.snapshot::text, extract(epoch FROM g.began_at))) $$;

-- What a table is, with its partitions: names, columns, triggers and the functions of the engine's own. Whatever is made anew,
-- renamed, exchanged, attached or switched off in between is another one, also where it looks the same.
CREATE FUNCTION pgbackfill.gate_shape(tables oid[]) RETURNS text
LANGUAGE sql STABLE
SET search_path TO pg_catalog, pg_temp
AS $$
WITH RECURSIVE tree(oid) AS (SELECT DISTINCT unnest(tables) UNION SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.oid)
SELECT md5(COALESCE(string_agg(line, E'\n' ORDER BY line COLLATE "C"), '')) FROM (
  SELECT concat_ws(' ', 'table', c.oid, n.nspname, c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity) FROM tree JOIN pg_class AS c ON c.oid = tree.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
  UNION ALL SELECT concat_ws(' ', 'column', a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attisdropped) FROM tree JOIN pg_attribute AS a ON a.attrelid = tree.oid AND a.attnum > 0
  UNION ALL SELECT concat_ws(' ', 'trigger', t.tgrelid, t.oid, t.xmin, t.tgname, t.tgenabled, p.oid, p.xmin) FROM tree JOIN pg_trigger AS t ON t.tgrelid = tree.oid AND NOT t.tgisinternal JOIN pg_proc AS p ON p.oid = t.tgfoid
) AS lines(line)
$$;

CREATE TABLE pgbackfill.waivers (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job       text NOT NULL,
    condition text NOT NULL,
    why       text NOT NULL,
    until     timestamptz NOT NULL,
    who       text NOT NULL,
    role      text NOT NULL DEFAULT SESSION_USER,
    at        timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE INDEX waivers_job ON pgbackfill.waivers (job, condition, id);

COMMENT ON TABLE pgbackfill.waivers IS 'pgbackfill: conditions of the gate that somebody does without, why and until when.';

CREATE TABLE pgbackfill.statement_looks (
    job      text NOT NULL,
    server   text NOT NULL,
    since    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    reset    text NOT NULL,
    evicted  bigint NOT NULL,
    PRIMARY KEY (job, server)
);
CREATE TABLE pgbackfill.statement_marks (
    job        text NOT NULL,
    server     text NOT NULL,
    statement  text NOT NULL,
    kind       text NOT NULL,
    calls      bigint NOT NULL,
    query      text NOT NULL,
    changed_at timestamptz,
    PRIMARY KEY (job, server, statement, kind)
);

COMMENT ON TABLE pgbackfill.statement_looks IS 'pgbackfill: since when the statements of a server have been counted for a job, without a reset of its counters in between.';
COMMENT ON COLUMN pgbackfill.statement_looks.evicted IS 'How often pg_stat_statements had thrown statements out by the last look.';
COMMENT ON TABLE pgbackfill.statement_marks IS 'pgbackfill: statements that name what will be dropped, or may read it without naming it, and how often they had been called by the last look.';
COMMENT ON COLUMN pgbackfill.statement_marks.changed_at IS 'When a look last saw more calls than the one before; NULL is never.';

-- What assert_ready reads, with the rights of the schema's owner: the role of a migration tool need not be able to read the tables.
-- It raises an error unless the newest gate of the job said ready, and nothing has happened since.
CREATE FUNCTION pgbackfill.require_ready(job text, max_age interval, final boolean, OUT tables regclass[], OUT triggers text[])
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
SET row_security TO off
AS $$
#variable_conflict use_column
DECLARE
  g pgbackfill.gates;
  problem text;
  oldest interval;
BEGIN
  SELECT * INTO g FROM pgbackfill.gates AS x WHERE x.job = require_ready.job ORDER BY x.id DESC LIMIT 1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'pgbackfill: job % is not ready: its gate was never asked', require_ready.job USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'pgbackfill gate FILE';
  END IF;
  oldest := COALESCE(require_ready.max_age, g.report_max_age);
  SELECT w.why INTO problem FROM (
    SELECT 1, 'its gate refused: ' || COALESCE((SELECT string_agg(format('%s (%s)', c->>'id', c->>'status'), ', ') FROM jsonb_array_elements(g.conditions) AS c WHERE c->>'status' IN ('fail', 'unknown')), 'see it') WHERE g.verdict <> 'ready'
    UNION ALL SELECT 2, 'what its gate said was changed since' WHERE g.digest <> pgbackfill.gate_digest(g)
    UNION ALL SELECT 3, format('its gate is %s old, and may be %s', date_trunc('second', clock_timestamp() - g.began_at), oldest) WHERE g.began_at < clock_timestamp() - oldest
    UNION ALL SELECT 4, 'a waiver that its gate rests on has ended' WHERE g.waived_until < clock_timestamp()
    UNION ALL SELECT 5, format('run %s is not its newest any more, or not finished', g.run_id)
      WHERE NOT EXISTS (SELECT FROM pgbackfill.runs AS r WHERE r.id = g.run_id AND r.state = 'finished' AND NOT EXISTS (SELECT FROM pgbackfill.runs AS o WHERE o.job = require_ready.job AND o.id > r.id))
    UNION ALL SELECT 5, format('run %s is being taken back', u.run_id) FROM pgbackfill.undos AS u WHERE u.run_id = g.run_id
    UNION ALL SELECT 6, 'chunks were written since' WHERE g.ledger_rows IS DISTINCT FROM (SELECT count(*) FROM pgbackfill.chunks AS c WHERE c.run_id = g.run_id)
    UNION ALL SELECT 6, format('run %s of job %s changed rows of the table since', o.id, o.job) FROM pgbackfill.runs AS o
      WHERE o.table_oid = g.table_oid AND o.job <> g.job AND EXISTS (SELECT FROM pgbackfill.chunks AS c WHERE c.run_id = o.id AND NOT pg_visible_in_snapshot(c.xid, g.snapshot))
    UNION ALL SELECT 7, format('verification %s was voided by a repair', v.id) FROM pgbackfill.verifications AS v WHERE v.id = g.verification_id AND v.voided_at IS NOT NULL
    UNION ALL SELECT 8, format('verification %s is %s old, and may be %s', v.id, date_trunc('second', clock_timestamp() - v.finished_at), oldest) FROM pgbackfill.verifications AS v
      WHERE v.id = g.verification_id AND v.finished_at < clock_timestamp() - oldest
    UNION ALL SELECT 9, format('verification %s, ended after it began, is %s', v.id, COALESCE(v.verdict, v.state)) FROM pgbackfill.verifications AS v
      WHERE v.job = require_ready.job AND (v.id > COALESCE(g.verification_id, 0) OR v.finished_at > g.began_at) AND v.state = 'ended' AND v.verdict <> 'proven'
    UNION ALL SELECT 9, format('verification %s found %s wrong rows', v.id, v.mismatches) FROM pgbackfill.verifications AS v WHERE v.id = g.verification_id AND v.verdict = 'mismatched'
    UNION ALL SELECT 10, 'rows were taken out of quarantine since' WHERE EXISTS (SELECT FROM pgbackfill.quarantine AS q WHERE q.run_id = g.run_id AND (q.resolved_at IS NULL OR q.resolved_at > g.began_at))
    UNION ALL SELECT 11, format('a commit broke the relation at %s: %s of %s by %s (%s): %s', d.at, d.operation, d.key, d.role, d.application, left(d.query, 300))
      FROM pgbackfill.drift AS d WHERE d.job = require_ready.job AND NOT pg_visible_in_snapshot(d.xid, g.snapshot)
    UNION ALL SELECT 12, format('the tripwire on %s is switched off, gone, or not the one that was there', t.name) FROM (
        WITH RECURSIVE tree(oid) AS (SELECT g.table_oid UNION SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.oid),
        wire AS (SELECT w.triggers, w.function_oid, w.function_xmin FROM pgbackfill.tripwires AS w WHERE w.job = require_ready.job AND w.table_oid = g.table_oid)
        SELECT c.oid::regclass::text AS name
          FROM tree JOIN pg_class AS c ON c.oid = tree.oid AND c.relkind IN ('r', 'p') LEFT JOIN wire ON true
         WHERE g.watched AND (wire.function_oid IS NULL OR 2 <> (
                 SELECT count(*) FROM pg_trigger AS x JOIN pg_proc AS p ON p.oid = x.tgfoid
                  WHERE x.tgrelid = c.oid AND x.tgenabled = 'A' AND p.oid = wire.function_oid AND p.xmin::text = wire.function_xmin
                    AND NOT EXISTS (SELECT FROM jsonb_array_elements(wire.triggers) AS e JOIN pg_class AS n ON n.oid = c.oid JOIN pg_namespace AS s ON s.oid = n.relnamespace
                                     WHERE e->>'table' = quote_ident(s.nspname) || '.' || quote_ident(n.relname) AND e->>'trigger' = x.tgname AND (e->>'oid' <> x.oid::text OR e->>'xmin' <> x.xmin::text))))) AS t
    UNION ALL SELECT 13, 'a table, a column, a partition or a trigger was changed or made anew since' WHERE g.shape <> pgbackfill.gate_shape(g.relations || g.table_oid)
  ) AS w(no, why) ORDER BY w.no LIMIT 1;
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION 'pgbackfill: job % is not ready: %', require_ready.job, problem USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'look again with: pgbackfill verify FILE, then pgbackfill gate FILE';
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

CREATE FUNCTION pgbackfill.assert_ready(job text, max_age interval DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path TO pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
  ready record;
  statement text;
  said text;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'pgbackfill: assert_ready needs a transaction in READ COMMITTED, and this one is in %: it would not see what was committed while it waited for the lock',
      upper(current_setting('transaction_isolation')) USING ERRCODE = 'invalid_transaction_state', HINT = 'BEGIN ISOLATION LEVEL READ COMMITTED';
  END IF;
  -- A transaction that began with this very message, which holds nothing else, ends with it: the lock would hold for nothing.
  said := regexp_replace(regexp_replace(current_query(), '--[^\n]*', '', 'g'), '/\*.*?\*/', '', 'g');
  IF transaction_timestamp() = statement_timestamp() AND said !~ ';\s*\S' THEN
    RAISE EXCEPTION 'pgbackfill: assert_ready outside of a transaction block proves nothing: its lock ends with the statement'
      USING ERRCODE = 'no_active_sql_transaction', HINT = 'BEGIN; SELECT pgbackfill.assert_ready(…); ALTER TABLE … DROP COLUMN …; COMMIT';
  END IF;
  IF pg_is_in_recovery() THEN
    RAISE EXCEPTION 'pgbackfill: assert_ready on a standby' USING ERRCODE = 'read_only_sql_transaction';
  END IF;
  SELECT * INTO ready FROM pgbackfill.require_ready(job, max_age, false);
  IF current_setting('lock_timeout') IN ('0', '0ms') THEN
    PERFORM set_config('lock_timeout', '5s', true);
  END IF;
  -- Whoever is writing now is waited for, and whoever comes waits for us: what the checks after this see stays so.
  FOR i IN 1 .. cardinality(ready.tables) LOOP
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', ready.tables[i]);
  END LOOP;
  SELECT * INTO ready FROM pgbackfill.require_ready(job, max_age, true);
  FOREACH statement IN ARRAY COALESCE(ready.triggers, '{}') LOOP
    EXECUTE statement;
  END LOOP;
END
$$;

COMMENT ON FUNCTION pgbackfill.assert_ready(text, interval) IS 'pgbackfill: the first line of a contract migration. It locks the tables, raises an error unless the job''s gate said that it is ready and nothing has happened since, and removes the engine''s triggers.';
COMMENT ON FUNCTION pgbackfill.require_ready(text, interval, boolean) IS 'pgbackfill: what assert_ready reads.';
COMMENT ON FUNCTION pgbackfill.gate_digest(pgbackfill.gates) IS 'pgbackfill: the digest of what a gate''s verdict rests on.';

-- What relied on a gate must have dropped what the gate was asked about by the time it commits. A migration outside of a
-- transaction, whose lock would be gone before its next statement, is undone by this, whichever protocol it came by.
CREATE FUNCTION pgbackfill.asserted() RETURNS trigger
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
CREATE CONSTRAINT TRIGGER asserted AFTER UPDATE OF asserted_at ON pgbackfill.gates DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.asserted_at IS NOT NULL) EXECUTE FUNCTION pgbackfill.asserted();
COMMENT ON FUNCTION pgbackfill.asserted() IS 'pgbackfill: a transaction that relied on a gate has dropped what it was asked about, or is undone.';
COMMENT ON FUNCTION pgbackfill.gate_shape(oid[]) IS 'pgbackfill: what tables are, so that nothing is taken for another that looks the same.';
