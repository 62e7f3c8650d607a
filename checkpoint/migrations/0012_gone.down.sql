ALTER TABLE pgbackfill.quarantine DROP COLUMN gone;
