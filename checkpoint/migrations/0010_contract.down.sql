DROP FUNCTION pgbackfill.assert_ready(text, interval);
DROP FUNCTION pgbackfill.require_ready(text, interval, boolean);
DROP FUNCTION pgbackfill.gate_digest(pgbackfill.gates);
DROP FUNCTION pgbackfill.gate_shape(oid[]);
DROP TABLE pgbackfill.statement_marks, pgbackfill.statement_looks, pgbackfill.waivers, pgbackfill.gates;
DROP FUNCTION pgbackfill.asserted();
