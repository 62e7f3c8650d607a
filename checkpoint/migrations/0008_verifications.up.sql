-- What the step saw is what tells a row that it left alone from one that was written behind it. Chunks from before
-- this version have none.
ALTER TABLE pgbackfill.chunks ADD COLUMN snapshot pg_snapshot, ADD COLUMN lag interval;
COMMENT ON COLUMN pgbackfill.chunks.snapshot IS 'What the last step that changed rows of the walked table saw, taken inside of its own statement; NULL where that is not known.';
COMMENT ON COLUMN pgbackfill.chunks.lag IS 'How far the worst replica was behind when it was last looked at; NULL where there is none, or nobody looks.';

CREATE TABLE pgbackfill.verifications (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job             text NOT NULL,
    run_id          bigint REFERENCES pgbackfill.runs ON DELETE CASCADE,
    spec_hash       text NOT NULL,
    checks_hash     text NOT NULL,
    table_oid       oid NOT NULL,
    table_name      text NOT NULL,
    state           text NOT NULL DEFAULT 'reading' CONSTRAINT verifications_state CHECK (state IN ('reading', 'ended', 'abandoned')),
    verdict         text CONSTRAINT verifications_verdict CHECK (verdict IN ('proven', 'mismatched', 'incomplete')),
    residual        text[] NOT NULL DEFAULT '{}',
    incomplete      text[] NOT NULL DEFAULT '{}',
    started_at      timestamptz NOT NULL,
    resumed_at      timestamptz,
    resumed         integer NOT NULL DEFAULT 0,
    heartbeat_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished_at     timestamptz,
    snapshot        pg_snapshot,
    ledger_rows     bigint,
    ranges          bigint NOT NULL DEFAULT 0,
    rows_expected   bigint NOT NULL,
    rows_checked    bigint NOT NULL DEFAULT 0,
    ranges_skipped  bigint NOT NULL DEFAULT 0,
    skipped         jsonb NOT NULL DEFAULT '[]',
    checks          jsonb NOT NULL DEFAULT '[]',
    mismatches      bigint NOT NULL DEFAULT 0,
    classes         jsonb NOT NULL DEFAULT '{}',
    sample_fraction double precision CONSTRAINT verifications_sample CHECK (sample_fraction > 0 AND sample_fraction < 1),
    sample_bound    jsonb,
    server          text NOT NULL,
    in_recovery     boolean NOT NULL,
    lsn             pg_lsn,
    role            text NOT NULL,
    blinded         boolean NOT NULL DEFAULT false,
    blinded_by      text[] NOT NULL DEFAULT '{}',
    voided_at       timestamptz,
    voided_by       text,
    tool_version    text NOT NULL,
    who             text NOT NULL,
    process         text NOT NULL,
    CONSTRAINT verifications_ended CHECK ((state = 'ended') = (verdict IS NOT NULL) AND (state = 'ended') = (finished_at IS NOT NULL))
);
CREATE INDEX verifications_job ON pgbackfill.verifications (job, id);

COMMENT ON TABLE pgbackfill.verifications IS 'pgbackfill: one row per verification of a job: what was read, where, by whom, and what it came to.';
COMMENT ON COLUMN pgbackfill.verifications.run_id IS 'The newest run of the job when it began; NULL where none was known.';
COMMENT ON COLUMN pgbackfill.verifications.spec_hash IS 'SHA-256 of the spec that was verified, as that of runs.';
COMMENT ON COLUMN pgbackfill.verifications.checks_hash IS 'SHA-256 of what the checks ask, and of what of the table: only the same is gone on with.';
COMMENT ON COLUMN pgbackfill.verifications.state IS 'reading is at work or was interrupted; ended has a verdict; abandoned was interrupted and begun anew.';
COMMENT ON COLUMN pgbackfill.verifications.residual IS 'Why it shows only what is left to do; none is a full proof.';
COMMENT ON COLUMN pgbackfill.verifications.incomplete IS 'What is missing from a full answer.';
COMMENT ON COLUMN pgbackfill.verifications.started_at IS 'Before the first row was read, by the server''s clock; of one that was interrupted and gone on with, the first time.';
COMMENT ON COLUMN pgbackfill.verifications.resumed IS 'How often it was gone on with after it was interrupted.';
COMMENT ON COLUMN pgbackfill.verifications.heartbeat_at IS 'When its process was last heard of, while it reads.';
COMMENT ON COLUMN pgbackfill.verifications.snapshot IS 'What was visible before the first row was read; NULL on a standby, whose snapshots do not name the transactions that are open.';
COMMENT ON COLUMN pgbackfill.verifications.ledger_rows IS 'How many rows the ledger of the run had, as of the same moment: it began after the last chunk where that is how many there are. NULL where the ledger could not be read.';
COMMENT ON COLUMN pgbackfill.verifications.rows_expected IS 'How many rows the table was estimated to have.';
COMMENT ON COLUMN pgbackfill.verifications.rows_checked IS 'Of the check that saw the most of them.';
COMMENT ON COLUMN pgbackfill.verifications.ranges_skipped IS 'How many ranges could not be checked; skipped names the first of them and why.';
COMMENT ON COLUMN pgbackfill.verifications.checks IS 'What each check came to.';
COMMENT ON COLUMN pgbackfill.verifications.mismatches IS 'How many rows are not as they should be: all of them, however many are in the table of mismatches.';
COMMENT ON COLUMN pgbackfill.verifications.classes IS 'Those that were looked at closer, by class; the others count as unknown.';
COMMENT ON COLUMN pgbackfill.verifications.sample_fraction IS 'The part of the table that was read; NULL is all of it.';
COMMENT ON COLUMN pgbackfill.verifications.sample_bound IS 'Of a sample: with which confidence at most how many rows are wrong.';
COMMENT ON COLUMN pgbackfill.verifications.server IS 'Where it read: address, port and database.';
COMMENT ON COLUMN pgbackfill.verifications.lsn IS 'How far the log was written, or on a standby replayed, before the first row was read.';
COMMENT ON COLUMN pgbackfill.verifications.blinded IS 'Whether row security, or a column that it may not read, kept rows or values from the role; blinded_by says which.';
COMMENT ON COLUMN pgbackfill.verifications.voided_at IS 'When a repair changed rows: it is no proof any more, whatever its verdict.';

-- How far each segment was read, so that one that was interrupted can be gone on with.
CREATE TABLE pgbackfill.verification_segments (
    verification_id bigint NOT NULL REFERENCES pgbackfill.verifications ON DELETE CASCADE,
    "check"         integer NOT NULL,
    no              integer NOT NULL,
    nulls           boolean NOT NULL,
    after           text[] COLLATE "C",
    through         text[] COLLATE "C",
    watermark       text[] COLLATE "C",
    done            boolean NOT NULL DEFAULT false,
    counts          jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (verification_id, "check", no)
) WITH (fillfactor = 50);

COMMENT ON TABLE pgbackfill.verification_segments IS 'pgbackfill: how far a verification has read, until it has ended. A segment with a mismatch keeps no watermark: it is read again.';
COMMENT ON COLUMN pgbackfill.verification_segments.watermark IS 'The key through which it was read and nothing was found to be wrong.';
COMMENT ON COLUMN pgbackfill.verification_segments.counts IS 'What was counted up to the watermark.';

CREATE TABLE pgbackfill.mismatches (
    verification_id bigint NOT NULL REFERENCES pgbackfill.verifications ON DELETE CASCADE,
    no              integer NOT NULL,
    "check"         text NOT NULL,
    kind            text NOT NULL CONSTRAINT mismatches_kind CHECK (kind IN ('missing', 'extra', 'different')),
    class           text NOT NULL CONSTRAINT mismatches_class CHECK (class IN
                    ('never_backfilled', 'backfill_wrong', 'dual_write_missed', 'dual_write_wrong', 'missing', 'extra', 'unknown')),
    confidence      text NOT NULL CONSTRAINT mismatches_confidence CHECK (confidence IN ('certain', 'likely', 'none')),
    evidence        text NOT NULL,
    key             text[] COLLATE "C" NOT NULL,
    rows            bigint NOT NULL,
    columns         text[] NOT NULL DEFAULT '{}',
    hashed          boolean NOT NULL,
    expected        text[],
    actual          text[],
    version         text NOT NULL DEFAULT '',
    PRIMARY KEY (verification_id, no)
);

COMMENT ON TABLE pgbackfill.mismatches IS 'pgbackfill: rows that a verification found not to be as they should: a bounded number of them, the first ones.';
COMMENT ON COLUMN pgbackfill.mismatches.class IS 'What is likely to have happened to the row.';
COMMENT ON COLUMN pgbackfill.mismatches.confidence IS 'missing and extra are certain; what the ledger and the visibility of the row say is likely; unknown has none.';
COMMENT ON COLUMN pgbackfill.mismatches.key IS 'Names the row; as text.';
COMMENT ON COLUMN pgbackfill.mismatches.hashed IS 'Whether expected and actual are hashes: two that are equal within a verification were equal values, and no more can be told from them.';

COMMENT ON COLUMN pgbackfill.mismatches.version IS 'The transaction that wrote the row as it was found: a repair leaves alone what somebody has written again.';

CREATE TABLE pgbackfill.repairs (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    verification_id bigint NOT NULL REFERENCES pgbackfill.verifications ON DELETE CASCADE,
    job             text NOT NULL,
    started_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished_at     timestamptz,
    repaired        bigint NOT NULL DEFAULT 0,
    skipped         bigint NOT NULL DEFAULT 0,
    who             text NOT NULL,
    tool_version    text NOT NULL
);

COMMENT ON TABLE pgbackfill.repairs IS 'pgbackfill: who repaired the rows that a verification named, and when. It is no verification: a new one is needed.';
COMMENT ON COLUMN pgbackfill.repairs.skipped IS 'Rows that had changed since, or could not be repaired.';
