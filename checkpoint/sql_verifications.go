package checkpoint

// The statements about verifications. They run over the store's own connection, under a search_path of pg_catalog that
// each transaction sets.

// insertVerification begins one; those of the job that nobody is at work on are left alone from here on.
const insertVerification = `WITH left_alone AS (
  UPDATE pgbackfill.verifications SET state = 'abandoned'
   WHERE job = $1::text AND state = 'reading' AND heartbeat_at < clock_timestamp() - interval '10 seconds')
INSERT INTO pgbackfill.verifications
  (job, run_id, spec_hash, checks_hash, table_oid, table_name, started_at, snapshot, ledger_rows, rows_expected,
   server, in_recovery, lsn, role, tool_version, who, process, sample_fraction, asked, functions)
VALUES ($1::text, $2::bigint, $3::text, $4::text, $5::oid, $6::text, $7::timestamptz, $8::pg_snapshot, $9::bigint, $10::bigint,
        $11::text, $12::boolean, $13::pg_lsn, $14::text, $15::text, $16::text, $17::text, $18::double precision, $19::text, pgbackfill.called($20::text[]))
RETURNING id`

// interrupted is the newest verification of job $1 that asks the same ($2) of the same run ($3), to which nothing was added
// since ($4), and that has not ended; and whether nobody has been heard of who is at work on it.
const interrupted = `SELECT v.id, v.process, v.heartbeat_at < clock_timestamp() - interval '10 seconds', v.started_at, COALESCE(v.snapshot::text, '')
  FROM pgbackfill.verifications AS v
 WHERE v.job = $1::text AND v.state = 'reading' AND v.checks_hash = $2::text AND v.run_id IS NOT DISTINCT FROM $3::bigint
   AND v.ledger_rows IS NOT DISTINCT FROM $4::bigint AND v.tool_version = $5::text AND v.voided_at IS NULL AND v.sample_fraction IS NULL
   AND EXISTS (SELECT FROM pgbackfill.verification_segments AS s WHERE s.verification_id = v.id)
 ORDER BY v.id DESC LIMIT 1
   FOR NO KEY UPDATE OF v SKIP LOCKED`

// takeVerification makes verification $1 that of process $2.
const takeVerification = `UPDATE pgbackfill.verifications
   SET process = $2::text, resumed = resumed + 1, resumed_at = clock_timestamp(), heartbeat_at = clock_timestamp()
 WHERE id = $1::bigint`

const insertProgress = `INSERT INTO pgbackfill.verification_segments (verification_id, "check", no, nulls, after, through)
SELECT $1::bigint, s."check", s.no, s.nulls, s.after, s.through
  FROM jsonb_to_recordset($2::jsonb) AS s ("check" integer, no integer, nulls boolean, after text[], through text[])`

const readProgress = `SELECT s."check", s.no, s.nulls, s.after, s.through, s.watermark, s.done, s.counts
  FROM pgbackfill.verification_segments AS s WHERE s.verification_id = $1::bigint ORDER BY s."check", s.no`

// beatVerification says that process $2 is at work on verification $1, or with $3 that it is not any more.
const beatVerification = `UPDATE pgbackfill.verifications
   SET heartbeat_at = CASE WHEN $3::boolean THEN '-infinity' ELSE clock_timestamp() END
 WHERE id = $1::bigint AND state = 'reading' AND process = $2::text`

// saveProgress writes down how far process $2 has read segments for verification $1.
const saveProgress = `UPDATE pgbackfill.verification_segments AS s
   SET watermark = p.watermark, done = p.done, counts = p.counts
  FROM jsonb_to_recordset($3::jsonb) AS p ("check" integer, no integer, watermark text[], done boolean, counts jsonb)
 WHERE s.verification_id = $1::bigint AND s."check" = p."check" AND s.no = p.no
   AND EXISTS (SELECT FROM pgbackfill.verifications AS v WHERE v.id = $1::bigint AND v.process = $2::text)`

const removeProgress = `DELETE FROM pgbackfill.verification_segments WHERE verification_id = $1::bigint`

// endVerification gives verification $1 its verdict, where process $12 is the one that is at work on it.
const endVerification = `UPDATE pgbackfill.verifications
   SET state = 'ended', finished_at = clock_timestamp(), heartbeat_at = clock_timestamp(), verdict = $2::text,
       residual = $3::text[], incomplete = $4::text[], ranges = $5::bigint, rows_checked = $6::bigint,
       ranges_skipped = $7::bigint, skipped = $8::jsonb, checks = $9::jsonb, mismatches = $10::bigint, classes = $11::jsonb,
       blinded = $13::text[] <> '{}', blinded_by = $13::text[], sample_bound = $14::jsonb
 WHERE id = $1::bigint AND state <> 'ended' AND process = $12::text
RETURNING id`

const insertMismatches = `INSERT INTO pgbackfill.mismatches
  (verification_id, no, "check", kind, class, confidence, evidence, key, rows, columns, hashed, expected, actual, version)
SELECT $1::bigint, m.no, m."check", m.kind, m.class, m.confidence, m.evidence, COALESCE(m.key, '{}'), m.rows,
       COALESCE(m.columns, '{}'), $3::boolean, m.expected, m.actual, COALESCE(m.version, '')
  FROM jsonb_to_recordset($2::jsonb) AS m (no integer, "check" text, kind text, class text, confidence text, evidence text,
       key text[], rows bigint, columns text[], expected text[], actual text[], version text)`

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
const readMismatches = `SELECT m.no, m."check", m.kind, m.class, m.confidence, m.evidence, m.key, m.rows, m.columns, m.hashed, m.expected, m.actual, m.version
  FROM pgbackfill.mismatches AS m
 WHERE m.verification_id = $1::bigint AND m.no > $2::integer
 ORDER BY m.no
 LIMIT $3::integer`

const insertRepair = `INSERT INTO pgbackfill.repairs (verification_id, job, who, tool_version) VALUES ($1::bigint, $2::text, $3::text, $4::text) RETURNING id`

// voidVerifications makes every verification of job $1 void, and counts one row more for repair $2, by $3. It is sent in the
// transaction that repairs a row, under the job's search_path.
const voidVerifications = `WITH voided AS (
  UPDATE pgbackfill.verifications AS v SET voided_at = pg_catalog.clock_timestamp(), voided_by = $3::pg_catalog.text
   WHERE v.job OPERATOR(pg_catalog.=) $1::pg_catalog.text AND v.voided_at IS NULL)
UPDATE pgbackfill.repairs AS r SET repaired = r.repaired OPERATOR(pg_catalog.+) 1 WHERE r.id OPERATOR(pg_catalog.=) $2::pg_catalog.int8`

const endRepair = `UPDATE pgbackfill.repairs SET finished_at = clock_timestamp(), skipped = $2::bigint WHERE id = $1::bigint`
