ALTER TABLE pgbackfill.quarantine ADD COLUMN gone bigint NOT NULL DEFAULT 0;
CREATE INDEX quarantine_gone ON pgbackfill.quarantine (run_id) WHERE gone > 0;

COMMENT ON COLUMN pgbackfill.quarantine.gone IS 'How many of the rows there were no more when they were tried again: they are quarantined no longer, and nobody has changed them.';
