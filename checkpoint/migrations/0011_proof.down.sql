ALTER TABLE pgbackfill.gates DROP COLUMN asked;
ALTER TABLE pgbackfill.verifications DROP COLUMN asked;
DROP INDEX pgbackfill.drift_xid;
DROP FUNCTION pgbackfill.record_drift(text, oid, text, text[], text, text, bigint);
