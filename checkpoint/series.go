package checkpoint

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// readSeries adds up the chunks of run $1 in $2 steps of time, from the first chunk's beginning to the last one's end. It
// reads the run's whole ledger. What sweeps, from pass $3 on, has been walked before.
const readSeries = `WITH chunks AS (
  SELECT c.started_at, c.committed_at, CASE WHEN s.pass < $3::smallint THEN c.rows_seen ELSE 0 END AS rows_seen,
         extract(epoch FROM c.duration)::float8 AS seconds, c.lag
    FROM pgbackfill.chunks AS c
    JOIN pgbackfill.segments AS s ON s.run_id = c.run_id AND s.no = c.segment
   WHERE c.run_id = $1::bigint AND c.fence IS NULL),
span AS (
  SELECT min(started_at) AS first, greatest(extract(epoch FROM max(committed_at) - min(started_at)), 1)::float8 / $2::integer AS step FROM chunks)
SELECT s.first + make_interval(secs => g.i * s.step), s.step, count(c.seconds), COALESCE(sum(c.rows_seen), 0)::bigint,
       COALESCE(percentile_cont(0.5) WITHIN GROUP (ORDER BY c.seconds), 0), COALESCE(max(c.seconds), 0),
       extract(epoch FROM max(c.lag))::float8
  FROM span AS s
 CROSS JOIN generate_series(0, $2::integer - 1) AS g (i)
  LEFT JOIN chunks AS c ON least(floor(extract(epoch FROM c.committed_at - s.first)::float8 / s.step), $2::integer - 1) = g.i
 WHERE s.first IS NOT NULL
 GROUP BY g.i, s.first, s.step
 ORDER BY g.i`

// SeriesPoint is what was committed in one step of time.
type SeriesPoint struct {
	At time.Time
	// Step is how long each is.
	Step time.Duration
	// Chunks were committed in it, and Rows walked by them for the first time. Median and Longest are of the time the chunks took.
	Chunks, Rows    int64
	Median, Longest time.Duration
	// Lag is the worst of any replica that was seen meanwhile; nil where none was.
	Lag *time.Duration
}

// Series is what a run's ledger says of its course, in so many steps of the same length; none where it has no chunk.
func (s *Store) Series(ctx context.Context, run backfill.RunID, steps int) ([]SeriesPoint, error) {
	var list []SeriesPoint
	err := s.transact(ctx, settings, func(t *tx) error {
		list = nil // of a try that failed
		return t.send(step{
			Statement: pgsql.Statement{Name: "series", SQL: readSeries, Args: [][]byte{pgsql.Int(run), pgsql.Int(steps), pgsql.Int(int(backfill.PassSweep))}},
			read: func(rows pgx.Rows) error {
				var p SeriesPoint
				var length, median, longest float64
				var lag *float64
				if err := rows.Scan(&p.At, &length, &p.Chunks, &p.Rows, &median, &longest, &lag); err != nil {
					return err
				}
				p.Step, p.Median, p.Longest = seconds(length), seconds(median), seconds(longest)
				if lag != nil {
					worst := seconds(*lag)
					p.Lag = &worst
				}
				list = append(list, p)
				return nil
			},
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the ledger of run %d: %w", run, translate(err))
	}
	return list, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

const readServer = `SELECT COALESCE(host(inet_server_addr()), 'local socket') || COALESCE(':' || inet_server_port()::text, ''), current_database()::text,
       current_setting('server_version'), CURRENT_USER::text, pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text, clock_timestamp()`

// ServerInfo is the server that a store is on, as it is now.
type ServerInfo struct {
	Address, Database, Version, Role string
	InRecovery                       bool
	// LSN is how far its log is written, or replayed; At is its clock.
	LSN string
	At  time.Time
}

// Server asks the server who it is.
func (s *Store) Server(ctx context.Context) (ServerInfo, error) {
	var i ServerInfo
	err := s.once(ctx, settings, step{Statement: pgsql.Statement{Name: "server", SQL: readServer}, read: func(rows pgx.Rows) error {
		return rows.Scan(&i.Address, &i.Database, &i.Version, &i.Role, &i.InRecovery, &i.LSN, &i.At)
	}})
	if err != nil {
		return i, fmt.Errorf("asking the server who it is: %w", translate(err))
	}
	return i, nil
}
