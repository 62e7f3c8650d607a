package checkpoint

// The statements about quarantined rows. Those but readQuarantined and countQuarantined go over a worker's connection,
// under a search_path that is the job's: every name in them is qualified.

// quarantineTurn lets one transaction at a time set rows of run $1 aside, so that each sees how many there are.
const quarantineTurn = `SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgbackfill.quarantine', $1::pg_catalog.int8))`

// openKey is true of the entries of key $2 of run $1 that are not done.
const openKey = `q.run_id OPERATOR(pg_catalog.=) $1::pg_catalog.int8 AND q.resolved_at IS NULL
     AND pg_catalog.hash_array_extended(q.key, 0) OPERATOR(pg_catalog.=) pg_catalog.hash_array_extended($2::pg_catalog.text[] COLLATE "pg_catalog"."C", 0)
     AND q.key OPERATOR(pg_catalog.=) $2::pg_catalog.text[]`

// quarantineRow sets the rows of a key aside; one that is aside already, and was met again by the closing sweep, only
// gets the new error.
const quarantineRow = `WITH again AS (
  UPDATE pgbackfill.quarantine AS q
     SET rows = $5::pg_catalog.int8, step = $6::pg_catalog.text, sqlstate = $7::pg_catalog.text, message = $8::pg_catalog.text,
         detail = $9::pg_catalog.text, attempts = q.attempts OPERATOR(pg_catalog.+) 1, failed_at = pg_catalog.clock_timestamp()
   WHERE ` + openKey + `
  RETURNING 1)
INSERT INTO pgbackfill.quarantine (run_id, segment, seq, key, rows, step, sqlstate, message, detail)
SELECT $1::pg_catalog.int8, $3::pg_catalog.int4, $4::pg_catalog.int4, $2::pg_catalog.text[], $5::pg_catalog.int8,
       $6::pg_catalog.text, $7::pg_catalog.text, $8::pg_catalog.text, $9::pg_catalog.text
 WHERE NOT EXISTS (SELECT FROM again)`

// countQuarantined counts the rows of run $1 that are aside.
const countQuarantined = `SELECT COALESCE(pg_catalog.sum(q.rows), 0)::pg_catalog.int8 FROM pgbackfill.quarantine AS q
 WHERE q.run_id OPERATOR(pg_catalog.=) $1::pg_catalog.int8 AND q.resolved_at IS NULL`

// readQuarantined lists what is aside of run $1 after the entry $2, up to $3 entries, in the order in which it was set aside.
const readQuarantined = `SELECT q.id, q.segment, q.seq, q.key, q.rows, q.step, q.sqlstate, q.message, q.detail, q.attempts, q.at, q.failed_at, q.resolved_at
  FROM pgbackfill.quarantine AS q
 WHERE q.run_id = $1::bigint AND q.resolved_at IS NULL AND q.id > $2::bigint
 ORDER BY q.id
 LIMIT $3::bigint`

// takesWork answers with a row where run $1 may still be added to, and keeps it so until the transaction ends.
const takesWork = `SELECT r.state FROM pgbackfill.runs AS r
 WHERE r.id OPERATOR(pg_catalog.=) $1::pg_catalog.int8 AND NOT (r.state OPERATOR(pg_catalog.=) ANY ('{cancelled,undone}'::pg_catalog.text[]))
   AND NOT EXISTS (SELECT FROM pgbackfill.undos AS u WHERE u.run_id OPERATOR(pg_catalog.=) r.id)
   FOR SHARE OF r`

// resolveQuarantined marks the entries of key $2 of run $1 as done, by $3, but for $4 rows that there are no more.
const resolveQuarantined = `UPDATE pgbackfill.quarantine AS q
   SET resolved_at = pg_catalog.clock_timestamp(), resolved_by = $3::pg_catalog.text, gone = $4::pg_catalog.int8
 WHERE ` + openKey

// failQuarantined writes down that the entries of key $2 of run $1 failed again.
const failQuarantined = `UPDATE pgbackfill.quarantine AS q
   SET step = $3::pg_catalog.text, sqlstate = $4::pg_catalog.text, message = $5::pg_catalog.text, detail = $6::pg_catalog.text,
       attempts = q.attempts OPERATOR(pg_catalog.+) 1, failed_at = pg_catalog.clock_timestamp()
 WHERE ` + openKey
