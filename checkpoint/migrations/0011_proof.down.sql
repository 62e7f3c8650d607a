ALTER TABLE pgbackfill.gates DROP COLUMN asked;
ALTER TABLE pgbackfill.verifications DROP COLUMN asked;
