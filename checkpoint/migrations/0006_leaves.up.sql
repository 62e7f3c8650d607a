ALTER TABLE pgbackfill.segments ADD COLUMN leaf oid NOT NULL DEFAULT 0;

COMMENT ON COLUMN pgbackfill.segments.leaf IS 'The partition that the pages of the segment are in, where a partitioned table is walked in physical order; 0 is the walked table itself.';
