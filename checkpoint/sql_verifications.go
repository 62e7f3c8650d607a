package checkpoint

// The statements about verifications. They run over the store's own connection, under a search_path of pg_catalog that
// each transaction sets.

// insertVerification begins one; those of the job that nobody is at work on are left alone from here on.
const insertVerification = `WITH left_alone AS (
  UPDATE pgbackfill.verifications SET state = 'abandoned'
   WHERE job = $1::text AND state = 'reading' AND heartbeat_at < clock_timestamp() - interval '10 seconds')
INSERT INTO pgbackfill.verifications
  (job, run_id, spec_hash, checks_hash, table_oid, table_name, started_at, snapshot, ledger_rows, rows_expected,
   server, in_recovery, lsn, role, tool_version, who, process)
VALUES ($1::text, $2::bigint, $3::text, $4::text, $5::oid, $6::text, $7::timestamptz, $8::pg_snapshot, $9::bigint, $10::bigint,
        $11::text, $12::boolean, $13::pg_lsn, $14::text, $15::text, $16::text, $17::text)
RETURNING id`

// endVerification gives verification $1 its verdict.
const endVerification = `UPDATE pgbackfill.verifications
   SET state = 'ended', finished_at = clock_timestamp(), heartbeat_at = clock_timestamp(), verdict = $2::text,
       residual = $3::text[], incomplete = $4::text[], ranges = $5::bigint, rows_checked = $6::bigint,
       ranges_skipped = $7::bigint, skipped = $8::jsonb, checks = $9::jsonb, mismatches = $10::bigint, classes = $11::jsonb
 WHERE id = $1::bigint`

const insertMismatches = `INSERT INTO pgbackfill.mismatches
  (verification_id, no, "check", kind, class, confidence, evidence, key, rows, columns, hashed, expected, actual)
SELECT $1::bigint, m.no, m."check", m.kind, m.class, m.confidence, m.evidence, COALESCE(m.key, '{}'), m.rows,
       COALESCE(m.columns, '{}'), $3::boolean, m.expected, m.actual
  FROM jsonb_to_recordset($2::jsonb) AS m (no integer, "check" text, kind text, class text, confidence text, evidence text,
       key text[], rows bigint, columns text[], expected text[], actual text[])`

const verificationColumns = `v.id, v.job, COALESCE(v.run_id, 0), v.spec_hash, v.state, COALESCE(v.verdict, ''), v.residual, v.incomplete,
       v.started_at, v.resumed_at, v.resumed, v.finished_at, COALESCE(v.snapshot::text, ''), v.ledger_rows, v.ranges, v.rows_expected,
       v.rows_checked, v.ranges_skipped, v.skipped, v.checks, v.mismatches, v.classes, v.sample_fraction, v.sample_bound, v.server,
       v.in_recovery, COALESCE(v.lsn::text, ''), v.role, v.blinded, v.blinded_by, v.voided_at, COALESCE(v.voided_by, ''),
       v.tool_version, v.who`

// readVerifications lists the verifications of job $1, the oldest first; newestVerification is the newest.
const (
	readVerifications  = `SELECT ` + verificationColumns + ` FROM pgbackfill.verifications AS v WHERE v.job = $1::text ORDER BY v.id`
	newestVerification = `SELECT ` + verificationColumns + ` FROM pgbackfill.verifications AS v WHERE v.job = $1::text ORDER BY v.id DESC LIMIT 1`
)

// readMismatches lists the rows that verification $1 named, after the number $2, up to $3.
const readMismatches = `SELECT m.no, m."check", m.kind, m.class, m.confidence, m.evidence, m.key, m.rows, m.columns, m.hashed, m.expected, m.actual
  FROM pgbackfill.mismatches AS m
 WHERE m.verification_id = $1::bigint AND m.no > $2::integer
 ORDER BY m.no
 LIMIT $3::integer`
