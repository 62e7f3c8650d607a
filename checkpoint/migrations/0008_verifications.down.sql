DROP TABLE pgbackfill.repairs, pgbackfill.mismatches, pgbackfill.verification_segments, pgbackfill.verifications;
ALTER TABLE pgbackfill.chunks DROP COLUMN snapshot, DROP COLUMN lag;
