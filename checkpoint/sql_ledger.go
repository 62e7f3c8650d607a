package checkpoint

import (
	"github.com/pgbackfill/pgbackfill/internal/ledger"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// The statements about the ledger. appendChunk and readMark go over a worker's connection,
// under a search_path that is the job's, so every name in them is qualified, operators and
// types included. IS NOT DISTINCT FROM is not in them: it takes its = from the search_path
// and cannot be told another. The others go over the store's own connection.

// appendChunk writes a chunk, or a fence where $4 says why, and proves with "follows" that the ledger may take it: [ledger.Follows]. Totals
// are the predecessor's and its own. What the chunk's step saw comes from the transaction.
var appendChunk = `INSERT INTO pgbackfill.chunks
  (run_id, segment, seq, fence, after, through, follows, rows_seen, rows_changed, unmatched, multiple,
   total_seen, total_changed, total_unmatched, total_multiple, total_duration, started_at, duration, attempt, worker, snapshot, lag)
SELECT n.run_id, n.segment, n.seq, n.fence, n.after, n.through,
       ` + ledger.Follows() + `,
       n.rows_seen, n.rows_changed, n.unmatched, n.multiple,
       COALESCE(p.total_seen, 0) OPERATOR(pg_catalog.+) n.rows_seen,
       COALESCE(p.total_changed, 0) OPERATOR(pg_catalog.+) n.changed,
       COALESCE(p.total_unmatched, 0) OPERATOR(pg_catalog.+) n.unmatched,
       COALESCE(p.total_multiple, 0) OPERATOR(pg_catalog.+) n.multiple,
       COALESCE(p.total_duration, '0'::pg_catalog.interval) OPERATOR(pg_catalog.+) n.duration,
       n.started_at, n.duration, n.attempt, n.worker, ` + pgsql.Seen + `, n.lag
  FROM (SELECT $1::pg_catalog.int8 AS run_id, $2::pg_catalog.int4 AS segment, $3::pg_catalog.int4 AS seq,
               $4::pg_catalog.text AS fence, $5::pg_catalog.text[] AS after, $6::pg_catalog.text[] AS through,
               $7::pg_catalog.int8 AS rows_seen, $8::pg_catalog.int8[] AS rows_changed, $9::pg_catalog.int8 AS changed,
               $10::pg_catalog.int8 AS unmatched, $11::pg_catalog.int8 AS multiple,
               $12::pg_catalog.timestamptz AS started_at, $13::pg_catalog.interval AS duration,
               $14::pg_catalog.int4 AS attempt, $15::pg_catalog.text AS worker,
               $16::pg_catalog.text[] AS segment_through, $17::pg_catalog.interval AS lag,
               $18::pg_catalog.timestamptz AS created_at, $19::pg_catalog.int2 AS segment_pass,
               $20::pg_catalog.oid AS segment_leaf) AS n
  LEFT JOIN pgbackfill.runs AS r ON r.id OPERATOR(pg_catalog.=) n.run_id
  LEFT JOIN pgbackfill.segments AS s
         ON s.run_id OPERATOR(pg_catalog.=) n.run_id AND s.no OPERATOR(pg_catalog.=) n.segment
  LEFT JOIN pgbackfill.chunks AS p
         ON p.run_id OPERATOR(pg_catalog.=) n.run_id AND p.segment OPERATOR(pg_catalog.=) n.segment
        AND p.seq OPERATOR(pg_catalog.=) (n.seq OPERATOR(pg_catalog.-) 1)
RETURNING lsn OPERATOR(pg_catalog.-) '0/0'::pg_catalog.pg_lsn`

// readIdentity says of run $1, made at $2, whether it is that one, and whether its table is: until the job's finish, which may put another in its place.
const readIdentity = `SELECT r.created_at = $2::timestamptz,
       ` + ledger.SameTable + ` OR EXISTS (SELECT FROM pgbackfill.tasks AS f WHERE f.run_id = r.id AND f.part = 'finish'), r.table_name, r.table_oid FROM pgbackfill.runs AS r WHERE r.id = $1::bigint`

// lastRow joins m, the last ledger row of segment s: one descent of the primary key, however long the ledger is.
const lastRow = `
  LEFT JOIN LATERAL (
       SELECT c.seq, c.through, c.fence, c.total_seen, c.total_changed, c.total_unmatched, c.total_multiple, c.total_duration
         FROM pgbackfill.chunks AS c
        WHERE c.run_id OPERATOR(pg_catalog.=) s.run_id AND c.segment OPERATOR(pg_catalog.=) s.no
        ORDER BY c.seq DESC LIMIT 1) AS m ON true`

// isDone says of segment s with last row m that its whole range is committed.
const isDone = `COALESCE(m.seq IS NOT NULL AND m.fence IS NULL
           AND (s.nulls OR m.through OPERATOR(pg_catalog.=) s.through), false)`

// markColumns are a segment's mark, in the order of scanMark.
const markColumns = `COALESCE(m.seq, 0), m.through, COALESCE(m.fence, ''), ` + isDone + `,
       COALESCE(m.total_seen, 0), COALESCE(m.total_changed, 0), COALESCE(m.total_unmatched, 0), COALESCE(m.total_multiple, 0)`

const readMark = `SELECT ` + markColumns + `
  FROM pgbackfill.segments AS s` + lastRow + `
 WHERE s.run_id OPERATOR(pg_catalog.=) $1::pg_catalog.int8 AND s.no OPERATOR(pg_catalog.=) $2::pg_catalog.int4`

// segmentColumns are a segment with its mark and its owner, in the order of scanSegment.
const segmentColumns = `s.no, s.pass, s.parent, s.leaf, s.nulls, s.after, s.through, s.estimated_rows,
       ` + markColumns

// listSegments reads the segments of pass $2, of all passes where it is NULL. $3 is the process that asks.
const listSegments = `SELECT ` + segmentColumns + `, COALESCE(o.process, '')
  FROM pgbackfill.segments AS s` + lastRow + `
  LEFT JOIN LATERAL (
       SELECT p.process FROM pgbackfill.processes AS p
        WHERE p.run_id = s.run_id AND s.no = ANY (p.segments) AND p.process <> $3::text
          AND p.heartbeat_at > clock_timestamp() - interval '10 seconds'
        ORDER BY p.heartbeat_at DESC LIMIT 1) AS o ON true
 WHERE s.run_id = $1::bigint AND ($2::smallint IS NULL OR s.pass = $2::smallint)
 ORDER BY s.no`

// fenceOpen closes every open segment of run $1 with a fence. A segment whose next seq somebody
// took in the meantime is left for another round; one whose next seq is in a transaction that
// is still open is waited for.
const fenceOpen = `INSERT INTO pgbackfill.chunks
  (run_id, segment, seq, fence, after, through, follows, rows_seen, rows_changed, unmatched, multiple,
   total_seen, total_changed, total_unmatched, total_multiple, total_duration, started_at, duration, attempt, worker)
SELECT s.run_id, s.no, COALESCE(m.seq, 0) + 1, $2::text,
       CASE WHEN m.seq IS NULL THEN s.after ELSE m.through END,
       CASE WHEN m.seq IS NULL THEN s.after ELSE m.through END,
       true, 0, '{}', 0, 0,
       COALESCE(m.total_seen, 0), COALESCE(m.total_changed, 0), COALESCE(m.total_unmatched, 0),
       COALESCE(m.total_multiple, 0), COALESCE(m.total_duration, '0'), clock_timestamp(), '0', 1, $3::text
  FROM pgbackfill.segments AS s` + lastRow + `
 WHERE s.run_id = $1::bigint AND m.fence IS NULL AND NOT ` + isDone + `
 ORDER BY s.no
    ON CONFLICT (run_id, segment, seq) DO NOTHING`

// openSegments lists those of run $1 that are neither done nor fenced, of pass $2 or of all where it is NULL.
const openSegments = `SELECT ` + segmentColumns + `, ''
  FROM pgbackfill.segments AS s` + lastRow + `
 WHERE s.run_id = $1::bigint AND ($2::smallint IS NULL OR s.pass = $2::smallint)
   AND m.fence IS NULL AND NOT ` + isDone + `
 ORDER BY s.no`

// brokenChain finds the first ledger row of run $1 that is not where it should be. It reads the run's whole ledger.
const brokenChain = `SELECT b.segment, b.seq, b.after, b.expected, b.wrong
  FROM (SELECT l.segment, l.seq, l.after, CASE WHEN l.previous IS NULL THEN l.segment_after ELSE l.ended END AS expected,
               CASE
                 WHEN l.unplanned THEN 'belongs to a segment that the run does not have'
                 WHEN l.seq <> COALESCE(l.previous, 0) + 1 THEN 'comes right after row ' || COALESCE(l.previous, 0)
                 WHEN l.previous IS NULL AND l.after IS DISTINCT FROM l.segment_after THEN 'does not begin where its segment begins'
                 WHEN l.previous IS NULL THEN NULL
                 WHEN l.fenced IS NOT NULL THEN 'comes after the fence that closed its segment'
                 WHEN l.nulls OR l.ended IS NOT DISTINCT FROM l.segment_through THEN 'comes after the end of its segment'
                 WHEN l.after IS DISTINCT FROM l.ended THEN 'does not begin where the row before it ended'
               END AS wrong
          FROM (SELECT c.segment, c.seq, c.after, s.no IS NULL AS unplanned, s.nulls,
                       s.after AS segment_after, s.through AS segment_through,
                       lag(c.seq) OVER w AS previous, lag(c.through) OVER w AS ended, lag(c.fence) OVER w AS fenced
                  FROM pgbackfill.chunks AS c
                  LEFT JOIN pgbackfill.segments AS s ON s.run_id = c.run_id AND s.no = c.segment
                 WHERE c.run_id = $1::bigint
                WINDOW w AS (PARTITION BY c.segment ORDER BY c.seq)) AS l) AS b
 WHERE b.wrong IS NOT NULL
 ORDER BY b.segment, b.seq
 LIMIT 1`

// holders lists who holds a ledger row that is not yet committed, the oldest first.
const holders = `SELECT a.pid, COALESCE(a.application_name, ''), COALESCE(a.client_addr::text, 'local'), COALESCE(a.state, 'unknown'),
       COALESCE(date_trunc('second', clock_timestamp() - a.xact_start)::text, 'unknown time')
  FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
 WHERE l.locktype = 'relation' AND l.relation = 'pgbackfill.chunks'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.pid <> pg_backend_pid()
 ORDER BY a.xact_start NULLS LAST`
