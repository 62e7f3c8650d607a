ALTER TABLE pgbackfill.segments DROP COLUMN leaf;
