CREATE TABLE pgbackfill.dual_writes (
    job            text PRIMARY KEY,
    table_oid      oid NOT NULL,
    table_name     text NOT NULL,
    spec_hash      text NOT NULL,
    statements     text NOT NULL,
    written        text[] NOT NULL,
    depends        text[] NOT NULL,
    elsewhere      boolean NOT NULL,
    version        integer NOT NULL DEFAULT 1,
    definition     text NOT NULL,
    triggers       jsonb NOT NULL,
    installed_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    installed_by   text NOT NULL,
    installed_role text NOT NULL DEFAULT CURRENT_USER,
    tool_version   text NOT NULL
);

COMMENT ON TABLE pgbackfill.dual_writes IS 'pgbackfill: the triggers that compute a job''s columns when the application writes a row.';
COMMENT ON COLUMN pgbackfill.dual_writes.spec_hash IS 'SHA-256 of the job that the trigger is of.';
COMMENT ON COLUMN pgbackfill.dual_writes.statements IS 'SHA-256 of the statements that made it: where the job asks for others, it is replaced.';
COMMENT ON COLUMN pgbackfill.dual_writes.written IS 'The columns that it computes.';
COMMENT ON COLUMN pgbackfill.dual_writes.depends IS 'The columns whose change makes it compute them again.';
COMMENT ON COLUMN pgbackfill.dual_writes.elsewhere IS 'A value comes from other tables too: what changes there later the trigger does not see.';
COMMENT ON COLUMN pgbackfill.dual_writes.version IS 'How many times it was made.';
COMMENT ON COLUMN pgbackfill.dual_writes.definition IS 'What the server said of the function and its two triggers when they were made, as hashes: where it says something else now, somebody changed them.';
COMMENT ON COLUMN pgbackfill.dual_writes.triggers IS 'The triggers on each table, partitions included, with the oid and xmin they had: another xmin means that one was switched off or changed meanwhile.';

CREATE TABLE pgbackfill.dual_write_errors (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job         text NOT NULL,
    table_oid   oid NOT NULL,
    operation   text NOT NULL,
    key         text[] COLLATE "C",
    sqlstate    text NOT NULL,
    message     text NOT NULL,
    application text,
    role        text NOT NULL,
    at          timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE INDEX dual_write_errors_job ON pgbackfill.dual_write_errors (job, id);

COMMENT ON TABLE pgbackfill.dual_write_errors IS 'pgbackfill: rows that a dual-write trigger could not compute; they were written as the application wrote them. Bounded: the first 1000 of a job.';
COMMENT ON COLUMN pgbackfill.dual_write_errors.key IS 'The key of the row, in text form.';
