CREATE TABLE pgbackfill.migrations (
    version      integer PRIMARY KEY,
    name         text NOT NULL,
    applied_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    applied_by   text NOT NULL DEFAULT CURRENT_USER,
    tool_version text NOT NULL
);
COMMENT ON TABLE pgbackfill.migrations IS 'pgbackfill: which versions of this schema were applied, when and by whom.';
