ALTER TABLE pgbackfill.undo_chunks DROP COLUMN total_restored, DROP COLUMN total_missed;
ALTER TABLE pgbackfill.undos DROP COLUMN kept;
