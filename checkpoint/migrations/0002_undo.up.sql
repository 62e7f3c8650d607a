ALTER TABLE pgbackfill.chunks DROP CONSTRAINT chunks_fence;
ALTER TABLE pgbackfill.chunks ADD CONSTRAINT chunks_fence CHECK (fence IN ('split', 'cancelled', 'superseded', 'undone'));

CREATE TABLE pgbackfill.undos (
    run_id   bigint PRIMARY KEY REFERENCES pgbackfill.runs ON DELETE CASCADE,
    how      text NOT NULL CONSTRAINT undos_how CHECK (how IN ('set', 'capture')),
    began_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    began_by text NOT NULL,
    ended_at timestamptz
);

COMMENT ON TABLE pgbackfill.undos IS 'pgbackfill: the runs that are taken back, or were.';
COMMENT ON COLUMN pgbackfill.undos.how IS 'set: by a run of its own, which assigns; capture: from what was kept in pgbackfill.undo_<run>_<number>.';

CREATE TABLE pgbackfill.undo_tables (
    run_id       bigint NOT NULL REFERENCES pgbackfill.runs ON DELETE CASCADE,
    no           integer NOT NULL,
    table_oid    oid NOT NULL,
    table_name   text NOT NULL,
    shape        jsonb NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    removed_at   timestamptz,
    PRIMARY KEY (run_id, no)
);

COMMENT ON TABLE pgbackfill.undo_tables IS 'pgbackfill: the tables whose rows a run keeps as they were before it changed them, each in pgbackfill.undo_<run>_<no>.';
COMMENT ON COLUMN pgbackfill.undo_tables.shape IS 'Which columns are kept, and how rows are found again.';
COMMENT ON COLUMN pgbackfill.undo_tables.removed_at IS 'When its triggers were removed; what they kept stays until the run is discarded.';

CREATE TABLE pgbackfill.undo_chunks (
    run_id   bigint NOT NULL REFERENCES pgbackfill.runs ON DELETE CASCADE,
    seq      integer NOT NULL,
    below    bigint NOT NULL,
    low      bigint NOT NULL,
    follows  boolean NOT NULL CONSTRAINT undo_chunk_follows_its_predecessor CHECK (follows),
    restored bigint NOT NULL,
    missed   bigint NOT NULL,
    at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    worker   text NOT NULL,
    CONSTRAINT undo_chunks_pkey PRIMARY KEY (run_id, seq)
);

COMMENT ON TABLE pgbackfill.undo_chunks IS 'pgbackfill: the ledger of taking back. One row per committed chunk, written in the transaction that restored its rows.';
COMMENT ON COLUMN pgbackfill.undo_chunks.below IS 'The chunk took back what was kept under the numbers below this one, down to and with "low".';
COMMENT ON COLUMN pgbackfill.undo_chunks.missed IS 'Rows that were left as they are; pgbackfill.undo_left has them.';

CREATE TABLE pgbackfill.undo_left (
    run_id     bigint NOT NULL REFERENCES pgbackfill.runs ON DELETE CASCADE,
    no         integer NOT NULL,
    id         bigint NOT NULL,
    table_name text NOT NULL,
    key        text[] NOT NULL,
    what       text NOT NULL,
    why        text NOT NULL,
    at         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (run_id, no, id)
);

COMMENT ON TABLE pgbackfill.undo_left IS 'pgbackfill: rows that could not be taken back, because somebody has changed them since.';
COMMENT ON COLUMN pgbackfill.undo_left.no IS 'With run_id and id names the row of pgbackfill.undo_<run>_<no> that has what was there before.';
