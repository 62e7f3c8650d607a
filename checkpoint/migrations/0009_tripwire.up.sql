CREATE TABLE pgbackfill.tripwires (
    job            text PRIMARY KEY,
    table_oid      oid NOT NULL,
    table_name     text NOT NULL,
    spec_hash      text NOT NULL,
    statements     text NOT NULL,
    watched        text[] NOT NULL,
    elsewhere      boolean NOT NULL,
    residual       boolean NOT NULL,
    version        integer NOT NULL DEFAULT 1,
    definition     text NOT NULL,
    triggers       jsonb NOT NULL,
    function_oid   oid NOT NULL,
    function_xmin  text NOT NULL,
    xid            xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    installed_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    installed_by   text NOT NULL,
    installed_role text NOT NULL DEFAULT CURRENT_USER,
    tool_version   text NOT NULL
);

COMMENT ON TABLE pgbackfill.tripwires IS 'pgbackfill: the deferred triggers that record each commit that breaks what a job has set up.';
COMMENT ON COLUMN pgbackfill.tripwires.spec_hash IS 'SHA-256 of the job that the tripwire is of.';
COMMENT ON COLUMN pgbackfill.tripwires.statements IS 'SHA-256 of the statements that made it: where the job asks for others, it is replaced.';
COMMENT ON COLUMN pgbackfill.tripwires.watched IS 'The columns whose change makes it look at a row.';
COMMENT ON COLUMN pgbackfill.tripwires.elsewhere IS 'A value comes from other tables too: what changes there it does not see.';
COMMENT ON COLUMN pgbackfill.tripwires.residual IS 'The job''s scope mentions what it writes: only rows that are left to be filled are seen.';
COMMENT ON COLUMN pgbackfill.tripwires.definition IS 'What the server said of the function and the triggers when they were made, as hashes.';
COMMENT ON COLUMN pgbackfill.tripwires.triggers IS 'The triggers of each table, partitions included, with the oid and xmin they had: another one means that a trigger was switched off, changed or made anew meanwhile.';
COMMENT ON COLUMN pgbackfill.tripwires.xid IS 'The transaction that made it: what a snapshot sees it in was written under it.';

-- Called by the triggers of tripwires as whoever writes. It has no settings of its own, which would cost more than all it does.
CREATE FUNCTION pgbackfill.note_statement() RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
  IF pg_catalog.current_setting('pgbackfill.noted_at', true) OPERATOR(pg_catalog.=) pg_catalog.statement_timestamp()::pg_catalog.text THEN
    RETURN true; -- this one is noted, for another of its rows
  END IF;
  PERFORM pg_catalog.set_config('pgbackfill.noted_at', pg_catalog.statement_timestamp()::pg_catalog.text, true),
          pg_catalog.set_config('pgbackfill.noted', pg_catalog."left"(pg_catalog.concat(pg_catalog.current_setting('pgbackfill.noted', true),
            pg_catalog."left"(pg_catalog.current_query(), 1000), ';' OPERATOR(pg_catalog.||) pg_catalog.chr(10)), 4000), true);
  RETURN true;
END
$$;

-- Whoever writes calls it, also where new functions are for nobody by default.
GRANT EXECUTE ON FUNCTION pgbackfill.note_statement() TO PUBLIC;

COMMENT ON FUNCTION pgbackfill.note_statement() IS 'pgbackfill: keeps the statement that writes what is watched for the end of its transaction. It is always true.';

CREATE TABLE pgbackfill.drift (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job         text NOT NULL,
    table_oid   oid NOT NULL,
    operation   text NOT NULL,
    key         text[] COLLATE "C",
    sqlstate    text,
    message     text,
    application text,
    role        text NOT NULL,
    client      inet,
    query       text,
    writes      bigint,
    xid         xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    at          timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE INDEX drift_job ON pgbackfill.drift (job, at);

COMMENT ON TABLE pgbackfill.drift IS 'pgbackfill: commits that left a row without the values that its job gives it, and who made them. At most 100 rows of a job a minute.';
COMMENT ON COLUMN pgbackfill.drift.key IS 'The key of the row, in text form.';
COMMENT ON COLUMN pgbackfill.drift.sqlstate IS 'Where the tripwire could not tell: the error that kept it from it. NULL where the row is broken.';
COMMENT ON COLUMN pgbackfill.drift.query IS 'The statements of the transaction that wrote what is watched, the first 4000 letters of them.';
COMMENT ON COLUMN pgbackfill.drift.writes IS 'How many writes the tripwire had looked at by then.';
