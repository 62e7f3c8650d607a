CREATE TABLE pgbackfill.runs (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job            text NOT NULL,
    spec           jsonb NOT NULL,
    spec_hash      text NOT NULL,
    params         jsonb NOT NULL DEFAULT '{}',
    table_oid      oid NOT NULL,
    table_name     text NOT NULL,
    plan           jsonb NOT NULL,
    fingerprint    jsonb NOT NULL,
    state          text NOT NULL CONSTRAINT runs_state CHECK (state IN
                   ('planned', 'preparing', 'running', 'pausing', 'paused',
                    'finishing', 'finished', 'failed', 'cancelled', 'undone')),
    reason         text NOT NULL DEFAULT '',
    desired        text NOT NULL DEFAULT 'running' CONSTRAINT runs_desired CHECK (desired IN
                   ('running', 'paused', 'cancelled')),
    desired_reason text NOT NULL DEFAULT '',
    pass           smallint NOT NULL DEFAULT 1,
    overrides      jsonb NOT NULL DEFAULT '{}',
    estimated_rows bigint NOT NULL,
    horizon        xid8 NOT NULL DEFAULT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()),
    tool_version   text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    created_by     text NOT NULL,
    started_at     timestamptz,
    finished_at    timestamptz,
    summary        jsonb
) WITH (fillfactor = 70);

-- Two processes that start the same job at once make one run: the second one joins it.
CREATE UNIQUE INDEX runs_one_unfinished_a_job ON pgbackfill.runs (job)
    WHERE state NOT IN ('finished', 'cancelled', 'undone');
CREATE INDEX runs_job ON pgbackfill.runs (job, id);

COMMENT ON TABLE pgbackfill.runs IS 'pgbackfill: one row per execution of a job, from its creation to its end, over any number of processes.';
COMMENT ON COLUMN pgbackfill.runs.spec IS 'What the job does; its pace and its prose are not part of it.';
COMMENT ON COLUMN pgbackfill.runs.spec_hash IS 'SHA-256 of the spec. A run is resumed only by the same spec.';
COMMENT ON COLUMN pgbackfill.runs.plan IS 'How the table is walked: what a later process needs in order to go on as the first one planned.';
COMMENT ON COLUMN pgbackfill.runs.fingerprint IS 'What the table must still look like when the run is resumed.';
COMMENT ON COLUMN pgbackfill.runs.desired IS 'What people asked for; the processes follow within about a second.';
COMMENT ON COLUMN pgbackfill.runs.pass IS '1 is the walk, 2 the tail above its upper bound, 3 the closing sweep.';
COMMENT ON COLUMN pgbackfill.runs.horizon IS 'The oldest transaction that was open when the run was created: every row written by an earlier one was there for the walk to see. The closing sweep looks at the others.';
COMMENT ON COLUMN pgbackfill.runs.overrides IS 'Limits set while the run goes on; durations are nanoseconds.';

CREATE TABLE pgbackfill.segments (
    run_id         bigint NOT NULL REFERENCES pgbackfill.runs ON DELETE CASCADE,
    no             integer NOT NULL,
    pass           smallint NOT NULL,
    parent         integer NOT NULL DEFAULT 0,
    nulls          boolean NOT NULL DEFAULT false,
    after          text[] COLLATE "C",
    through        text[] COLLATE "C",
    estimated_rows bigint NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (run_id, no),
    -- A segment that is written has an end, or nobody could tell when it is done.
    CONSTRAINT segments_end CHECK (nulls = (through IS NULL))
);

COMMENT ON TABLE pgbackfill.segments IS 'pgbackfill: the ranges of keys that a run is cut into. Never changed; a split closes a segment in the ledger and adds two.';
COMMENT ON COLUMN pgbackfill.segments.parent IS 'The segment this one was split from; 0 is none.';
COMMENT ON COLUMN pgbackfill.segments.nulls IS 'The one segment of the rows with a NULL in the key; it has no bounds.';
COMMENT ON COLUMN pgbackfill.segments.after IS 'The key, as text, after which the segment begins; NULL is the beginning of the table.';
COMMENT ON COLUMN pgbackfill.segments.through IS 'The last key of the segment, as text.';

-- No foreign keys here: a row is written with every chunk, and the insert itself proves that the
-- row belongs where it is. Rows are only ever added, so the table does not bloat.
CREATE TABLE pgbackfill.chunks (
    run_id          bigint NOT NULL,
    segment         integer NOT NULL,
    seq             integer NOT NULL,
    fence           text CONSTRAINT chunks_fence CHECK (fence IN ('split', 'cancelled', 'superseded')),
    after           text[] COLLATE "C",
    through         text[] COLLATE "C",
    follows         boolean NOT NULL CONSTRAINT chunk_follows_its_predecessor CHECK (follows),
    rows_seen       bigint NOT NULL,
    rows_changed    bigint[] NOT NULL,
    unmatched       bigint NOT NULL,
    multiple        bigint NOT NULL,
    total_seen      bigint NOT NULL,
    total_changed   bigint NOT NULL,
    total_unmatched bigint NOT NULL,
    total_multiple  bigint NOT NULL,
    total_duration  interval NOT NULL,
    xid             xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    lsn             pg_lsn NOT NULL DEFAULT pg_catalog.pg_current_wal_insert_lsn(),
    started_at      timestamptz NOT NULL,
    committed_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    duration        interval NOT NULL,
    attempt         integer NOT NULL,
    worker          text NOT NULL,
    CONSTRAINT chunks_pkey PRIMARY KEY (run_id, segment, seq)
);

COMMENT ON TABLE pgbackfill.chunks IS 'pgbackfill: the ledger. One row per committed chunk, written in the transaction that changed its rows: what is here was done, what is not was not.';
COMMENT ON COLUMN pgbackfill.chunks.seq IS 'Numbers a segment''s chunks from 1 without a gap. The primary key is what keeps two processes from doing the same chunk.';
COMMENT ON COLUMN pgbackfill.chunks.fence IS 'Why the segment was closed here; NULL for a chunk. A fence holds no rows and nothing follows it.';
COMMENT ON COLUMN pgbackfill.chunks.after IS 'The chunk holds the keys above this one, up to and with "through".';
COMMENT ON COLUMN pgbackfill.chunks.follows IS 'Computed by the insert: the chunk begins where the one before ended, in a segment that is still open.';
COMMENT ON COLUMN pgbackfill.chunks.rows_changed IS 'The rows that each step changed.';
COMMENT ON COLUMN pgbackfill.chunks.unmatched IS 'Rows in scope that the join did not meet.';
COMMENT ON COLUMN pgbackfill.chunks.multiple IS 'Rows in scope that the join met more than once.';
COMMENT ON COLUMN pgbackfill.chunks.total_seen IS 'The segment''s rows up to here, so that nobody has to add up the ledger; so are the other totals.';
COMMENT ON COLUMN pgbackfill.chunks.total_duration IS 'Time spent in the segment''s chunks up to here; waits and pauses between chunks are not in it.';
COMMENT ON COLUMN pgbackfill.chunks.lsn IS 'Where the write-ahead log was when this row was written, just before the commit.';
COMMENT ON COLUMN pgbackfill.chunks.committed_at IS 'The server''s clock when this row was written, just before the commit.';

CREATE TABLE pgbackfill.processes (
    run_id          bigint NOT NULL REFERENCES pgbackfill.runs ON DELETE CASCADE,
    process         text NOT NULL,
    host            text NOT NULL,
    pid             integer NOT NULL,
    db_user         text NOT NULL DEFAULT CURRENT_USER,
    version         text NOT NULL,
    started_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    heartbeat_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    segments        integer[] NOT NULL,
    workers         integer NOT NULL,
    chunk_rows      integer NOT NULL,
    rows_per_second double precision NOT NULL,
    waiting         text NOT NULL,
    PRIMARY KEY (run_id, process)
) WITH (fillfactor = 20);

COMMENT ON TABLE pgbackfill.processes IS 'pgbackfill: the processes that work on a run. It tells people who is there; nothing depends on it for safety.';
COMMENT ON COLUMN pgbackfill.processes.heartbeat_at IS 'Written about once a second, by the server''s clock. A process that has been silent for 10 seconds counts as gone.';
COMMENT ON COLUMN pgbackfill.processes.segments IS 'The segments its workers hold.';
COMMENT ON COLUMN pgbackfill.processes.waiting IS 'Why it does not write; empty where it does.';

CREATE TABLE pgbackfill.events (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES pgbackfill.runs ON DELETE CASCADE,
    at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    who    text NOT NULL,
    what   text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX events_run ON pgbackfill.events (run_id, id);

COMMENT ON TABLE pgbackfill.events IS 'pgbackfill: what happened to a run: who did what and when.';
