-- Rows are added with the chunk that they belong to and marked when they are done, never deleted.
CREATE TABLE pgbackfill.quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      bigint NOT NULL,
    segment     integer NOT NULL,
    seq         integer NOT NULL,
    key         text[] COLLATE "C" NOT NULL,
    rows        bigint NOT NULL,
    step        text NOT NULL,
    sqlstate    text NOT NULL,
    message     text NOT NULL,
    detail      text NOT NULL,
    attempts    integer NOT NULL DEFAULT 1,
    at          timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    failed_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    resolved_at timestamptz,
    resolved_by text
);
-- By a hash, since a key may be longer than an index takes.
CREATE INDEX quarantine_open ON pgbackfill.quarantine (run_id, pg_catalog.hash_array_extended(key, 0))
    WHERE resolved_at IS NULL;

COMMENT ON TABLE pgbackfill.quarantine IS 'pgbackfill: the keys whose rows could not be changed, and why. Written in the transaction of their chunk: they are behind the run, and not done until resolved_at.';
COMMENT ON COLUMN pgbackfill.quarantine.seq IS 'The chunk, in the ledger, that the rows belong to.';
COMMENT ON COLUMN pgbackfill.quarantine.key IS 'The key, as text; empty for the rows with a NULL in the key.';
COMMENT ON COLUMN pgbackfill.quarantine.rows IS 'How many rows had the key.';
COMMENT ON COLUMN pgbackfill.quarantine.step IS 'What failed.';
COMMENT ON COLUMN pgbackfill.quarantine.detail IS 'What the server said besides; it may show the row.';
COMMENT ON COLUMN pgbackfill.quarantine.attempts IS 'How often it was set aside, or tried again in vain.';
COMMENT ON COLUMN pgbackfill.quarantine.resolved_at IS 'When the rows were done after all, by retry-quarantined.';
