package checkpoint

// The statements about runs and processes. They run over the store's own connection, under
// a search_path of pg_catalog that each transaction sets.

const insertRun = `INSERT INTO pgbackfill.runs
  (job, spec, spec_hash, table_oid, table_name, plan, fingerprint, state, pass, estimated_rows, tool_version, created_by, params, horizon)
VALUES ($1::text, $2::jsonb, $3::text, $4::oid, $5::text, $6::jsonb, $7::jsonb, 'planned', $8::smallint, $9::bigint, $10::text, $11::text, $12::jsonb,
        COALESCE(($6::jsonb #>> '{heap,horizon}')::xid8, pg_snapshot_xmin(pg_current_snapshot())))
    ON CONFLICT (job) WHERE state NOT IN ('finished', 'cancelled', 'undone') DO NOTHING
RETURNING id, created_at`

// newestOther is the newest run of job $1 but for $2; 0 where there is none.
const newestOther = `SELECT COALESCE(max(id), 0) FROM pgbackfill.runs WHERE job = $1::text AND id <> $2::bigint`

// countUndoing counts the runs of job $1 that are being taken back.
const countUndoing = `SELECT count(*) FROM pgbackfill.undos AS u JOIN pgbackfill.runs AS r ON r.id = u.run_id WHERE r.job = $1::text AND u.ended_at IS NULL`

const insertSegment = `INSERT INTO pgbackfill.segments (run_id, no, pass, parent, nulls, after, through, estimated_rows, leaf)
VALUES ($1::bigint, $2::integer, $3::smallint, 0, $4::boolean, $5::text[], $6::text[], $7::bigint, $8::oid)`

// insertChildren adds the two halves of segment $2 of run $1, which $3 (the watermark) and $4 divide; $5 rows are behind the watermark.
const insertChildren = `INSERT INTO pgbackfill.segments (run_id, no, pass, parent, nulls, after, through, estimated_rows, leaf)
SELECT s.run_id, (SELECT max(no) FROM pgbackfill.segments WHERE run_id = $1::bigint) + half, s.pass, s.no, false,
       CASE half WHEN 1 THEN $3::text[] ELSE $4::text[] END,
       CASE half WHEN 1 THEN $4::text[] ELSE s.through END,
       greatest(s.estimated_rows - $5::bigint, 0) / 2, s.leaf
  FROM pgbackfill.segments AS s, generate_series(1, 2) AS half
 WHERE s.run_id = $1::bigint AND s.no = $2::integer
   AND $4::text[] IS DISTINCT FROM s.through
 ORDER BY half`

const lastSegment = `SELECT COALESCE(max(no), 0) FROM pgbackfill.segments WHERE run_id = $1::bigint`

const insertEvent = `INSERT INTO pgbackfill.events (run_id, who, what, detail)
VALUES ($1::bigint, $2::text, $3::text, $4::jsonb)`

const readEvents = `SELECT at, who, what, detail FROM pgbackfill.events WHERE run_id = $1::bigint ORDER BY id`

// lockRun keeps a run's state as it is until the transaction ends. Beats and chunks do not wait for it.
const lockRun = `SELECT r.state, r.reason, r.desired, r.desired_reason, r.pass, r.plan,
       COALESCE((SELECT u.how FROM pgbackfill.undos AS u WHERE u.run_id = r.id AND u.ended_at IS NULL), '')
  FROM pgbackfill.runs AS r WHERE r.id = $1::bigint AND r.created_at = $2::timestamptz FOR NO KEY UPDATE OF r`

// otherLive counts the processes at work on run $1 other than $2.
const otherLive = `SELECT count(*) FROM pgbackfill.processes
 WHERE run_id = $1::bigint AND process <> $2::text AND heartbeat_at > clock_timestamp() - interval '10 seconds'`

const updateState = `UPDATE pgbackfill.runs
   SET state = $2::text, reason = $3::text,
       started_at = CASE WHEN $2::text IN ('planned', 'preparing') THEN started_at ELSE COALESCE(started_at, clock_timestamp()) END
 WHERE id = $1::bigint`

const updatePass = `UPDATE pgbackfill.runs SET pass = $2::smallint WHERE id = $1::bigint`

const updateCancelled = `UPDATE pgbackfill.runs
   SET state = 'cancelled', reason = $2::text, desired = 'cancelled', finished_at = clock_timestamp()
 WHERE id = $1::bigint`

const updateFinished = `UPDATE pgbackfill.runs
   SET state = 'finished', reason = $2::text, finished_at = clock_timestamp(), summary = $3::jsonb
 WHERE id = $1::bigint`

const updateDesired = `UPDATE pgbackfill.runs SET desired = $2::text, desired_reason = $3::text WHERE id = $1::bigint`

// Limits are an object in the object, of which what is not said stays too.
const updateOverrides = `UPDATE pgbackfill.runs
   SET overrides = overrides || $2::jsonb || CASE WHEN $2::jsonb ? 'limits' AND overrides ? 'limits'
       THEN jsonb_build_object('limits', overrides->'limits' || ($2::jsonb->'limits')) ELSE '{}' END
 WHERE id = $1::bigint`

// beat records that process $2 is alive and reads what it should do: one round trip, one HOT update.
const beat = `WITH here AS (
  INSERT INTO pgbackfill.processes AS p
    (run_id, process, host, pid, version, segments, workers, chunk_rows, rows_per_second, waiting)
  SELECT r.id, $2::text, $3::text, $4::integer, $5::text, $6::integer[], $7::integer, $8::integer, $9::double precision, $10::text
    FROM pgbackfill.runs AS r WHERE r.id = $1::bigint AND r.created_at = $11::timestamptz
  ON CONFLICT (run_id, process) DO UPDATE SET heartbeat_at = clock_timestamp(), segments = EXCLUDED.segments,
    workers = EXCLUDED.workers, chunk_rows = EXCLUDED.chunk_rows, rows_per_second = EXCLUDED.rows_per_second, waiting = EXCLUDED.waiting)
SELECT r.state, r.desired, CASE WHEN r.desired = 'running' OR r.desired_reason = '' THEN r.reason ELSE r.desired_reason END, r.pass, r.overrides
  FROM pgbackfill.runs AS r WHERE r.id = $1::bigint AND r.created_at = $11::timestamptz`

// leave takes process $2 off the list and writes down that it left of its own will.
const leave = `WITH gone AS (
  DELETE FROM pgbackfill.processes WHERE run_id = $1::bigint AND process = $2::text RETURNING run_id, process, started_at)
INSERT INTO pgbackfill.events (run_id, who, what, detail)
SELECT gone.run_id, $3::text, 'left', jsonb_build_object('process', gone.process, 'since', gone.started_at) FROM gone`

// undoMark is the last row of the ledger of taking a run back.
const undoMark = `SELECT c.seq, c.low, c.total_restored, c.total_missed FROM pgbackfill.undo_chunks AS c WHERE c.run_id = r.id ORDER BY c.seq DESC LIMIT 1`

// runColumns are a run with its totals, in the order of scanRun. They are read from the last
// ledger row of each segment, never from the ledger as a whole.
const runColumns = `SELECT r.id, r.job, r.spec, r.spec_hash, r.params, r.table_oid, r.table_name, r.plan, r.fingerprint,
       r.state, r.reason, r.desired, r.desired_reason, r.pass, r.overrides, r.estimated_rows, r.tool_version,
       r.created_at, r.created_by, r.started_at, r.finished_at, r.summary,
       t.segments, t.done, t.chunks, t.seen, t.changed, t.swept, t.unmatched, t.multiple, t.busy, t.pass_seen, t.pass_expected,
       (SELECT COALESCE(sum(q.rows), 0)::bigint FROM pgbackfill.quarantine AS q WHERE q.run_id = r.id AND q.resolved_at IS NULL),
       (SELECT COALESCE(sum(q.gone), 0)::bigint FROM pgbackfill.quarantine AS q WHERE q.run_id = r.id AND q.gone > 0),
       EXISTS (SELECT FROM pgbackfill.tasks AS f WHERE f.run_id = r.id AND f.part = 'finish'),
       u.how, u.began_by, u.began_at, u.ended_at, u.kept, b.seq, b.low, b.total_restored, b.total_missed
  FROM pgbackfill.runs AS r
  LEFT JOIN pgbackfill.undos AS u ON u.run_id = r.id
  LEFT JOIN LATERAL (` + undoMark + `) AS b ON true
 CROSS JOIN LATERAL (
       SELECT count(*) FILTER (WHERE m.fence IS DISTINCT FROM 'split') AS segments,
              count(*) FILTER (WHERE ` + isDone + `) AS done,
              COALESCE(sum(m.seq - CASE WHEN m.fence IS NULL THEN 0 ELSE 1 END), 0)::bigint AS chunks,
              COALESCE(sum(m.total_seen) FILTER (WHERE s.pass < 3), 0)::bigint AS seen,
              COALESCE(sum(m.total_changed), 0)::bigint AS changed,
              COALESCE(sum(m.total_changed) FILTER (WHERE s.pass >= 3), 0)::bigint AS swept,
              COALESCE(sum(m.total_unmatched) FILTER (WHERE s.pass < 3), 0)::bigint AS unmatched,
              COALESCE(sum(m.total_multiple) FILTER (WHERE s.pass < 3), 0)::bigint AS multiple,
              COALESCE(extract(epoch FROM sum(m.total_duration)), 0)::double precision AS busy,
              COALESCE(sum(m.total_seen) FILTER (WHERE s.pass = r.pass), 0)::bigint AS pass_seen,
              COALESCE(sum(CASE WHEN m.fence = 'split' OR ` + isDone + ` THEN COALESCE(m.total_seen, 0)
                                ELSE greatest(s.estimated_rows, COALESCE(m.total_seen, 0)) END)
                       FILTER (WHERE s.pass = r.pass), 0)::bigint AS pass_expected
         FROM pgbackfill.segments AS s` + lastRow + `
        WHERE s.run_id = r.id) AS t`

const readRuns = runColumns + `
 ORDER BY r.id`

const readNewest = runColumns + `
 WHERE r.id = (SELECT max(n.id) FROM pgbackfill.runs AS n WHERE n.job = $1::text)`

const readUnfinished = runColumns + `
 WHERE r.job = $1::text AND r.state NOT IN ('finished', 'cancelled', 'undone')`

// readSteered is the run of job $1 that is at work: unfinished, or being taken back from what it kept.
const readSteered = runColumns + `
 WHERE r.job = $1::text AND (r.state NOT IN ('finished', 'cancelled', 'undone') OR u.how = 'capture' AND u.ended_at IS NULL)
 ORDER BY r.id DESC LIMIT 1`

const readProcesses = `SELECT p.run_id, p.process, p.host, p.pid, p.db_user, p.version, p.started_at, p.heartbeat_at, p.segments,
       p.workers, p.chunk_rows, p.rows_per_second, p.waiting, p.heartbeat_at > clock_timestamp() - interval '10 seconds'
  FROM pgbackfill.processes AS p
 WHERE $1::bigint IS NULL OR p.run_id = $1::bigint
 ORDER BY p.run_id, p.started_at`
