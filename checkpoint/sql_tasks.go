package checkpoint

// The statements about what a run does once. beginTask, taskDone and readTask go over a connection of the engine's,
// under a search_path that is the job's, so every name in them is qualified; the others over the store's own.

// beginTask records part $2, number $3 of run $1, and gives a row where it was not recorded before. It waits for another transaction
// that has recorded it and not ended.
const beginTask = `INSERT INTO pgbackfill.tasks (run_id, part, no, relation, found, process)
VALUES ($1::pg_catalog.int8, $2::pg_catalog.text, $3::pg_catalog.int4, $4::pg_catalog.text, $5::pg_catalog.oid, $6::pg_catalog.text)
    ON CONFLICT ON CONSTRAINT tasks_pkey DO NOTHING
RETURNING no`

// taskDone says that a task is done, unless the run is over: one that is being cancelled is waited for.
const taskDone = `WITH run AS (
  SELECT r.id FROM pgbackfill.runs AS r
   WHERE r.id OPERATOR(pg_catalog.=) $1::pg_catalog.int8
     AND NOT (r.state OPERATOR(pg_catalog.=) ANY ('{finished,cancelled,undone}'::pg_catalog.text[]))
     FOR SHARE)
UPDATE pgbackfill.tasks AS t SET done_at = pg_catalog.clock_timestamp()
  FROM run
 WHERE t.run_id OPERATOR(pg_catalog.=) run.id AND t.part OPERATOR(pg_catalog.=) $2::pg_catalog.text AND t.no OPERATOR(pg_catalog.=) $3::pg_catalog.int4
RETURNING t.no`

const readTask = `SELECT t.found, t.done_at IS NOT NULL FROM pgbackfill.tasks AS t
 WHERE t.run_id OPERATOR(pg_catalog.=) $1::pg_catalog.int8 AND t.part OPERATOR(pg_catalog.=) $2::pg_catalog.text AND t.no OPERATOR(pg_catalog.=) $3::pg_catalog.int4`

// updatePlanned writes how the run walks, once that is known. The horizon is of this moment: what was committed before
// it is there for the walk to see.
const updatePlanned = `UPDATE pgbackfill.runs
   SET table_oid = $2::oid, table_name = $3::text, plan = $4::jsonb, fingerprint = $5::jsonb, estimated_rows = $6::bigint,
       horizon = pg_snapshot_xmin(pg_current_snapshot())
 WHERE id = $1::bigint`

// olderHelpers are the helpers of the runs of job $2 before run $1.
const olderHelpers = `SELECT t.run_id, t.no, t.relation FROM pgbackfill.tasks AS t JOIN pgbackfill.runs AS r ON r.id = t.run_id
 WHERE r.job = $2::text AND r.id < $1::bigint AND t.part = 'helper' AND t.dropped_at IS NULL
 ORDER BY t.run_id, t.no`

const helperDropped = `UPDATE pgbackfill.tasks SET dropped_at = clock_timestamp() WHERE run_id = $1::bigint AND part = 'helper' AND no = $2::integer`
