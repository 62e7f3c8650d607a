CREATE TABLE pgbackfill.tasks (
    run_id     bigint NOT NULL REFERENCES pgbackfill.runs ON DELETE CASCADE,
    part       text NOT NULL CONSTRAINT tasks_part CHECK (part IN ('prepare', 'helper', 'finish')),
    no         integer NOT NULL,
    relation   text NOT NULL DEFAULT '',
    found      oid NOT NULL DEFAULT 0,
    process    text NOT NULL,
    began_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    done_at    timestamptz,
    dropped_at timestamptz,
    CONSTRAINT tasks_pkey PRIMARY KEY (run_id, part, no)
);

COMMENT ON TABLE pgbackfill.tasks IS 'pgbackfill: what a run does once: prepare, its helpers, finish. A row commits with what was done, so that it is done once; what cannot be in a transaction is recorded before and after.';
COMMENT ON COLUMN pgbackfill.tasks.no IS 'A script in one transaction is number 1; statements that are sent alone and helpers are counted from 1.';
COMMENT ON COLUMN pgbackfill.tasks.relation IS 'The table of a helper, in this schema.';
COMMENT ON COLUMN pgbackfill.tasks.found IS 'The index of the name that a statement builds alone which was there before; 0 is none.';
COMMENT ON COLUMN pgbackfill.tasks.done_at IS 'NULL where a statement that is sent alone was begun and is not known to be done.';
COMMENT ON COLUMN pgbackfill.tasks.dropped_at IS 'When a helper was dropped because a new run of its job had begun.';
