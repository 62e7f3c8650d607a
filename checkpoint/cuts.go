package checkpoint

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// readCuts reads the chunks of pass $2, or of every pass where it is NULL, with which a segment's rows pass a multiple of $3, and each segment's last.
const readCuts = `SELECT l.segment, l.through, l.total_seen
  FROM (SELECT c.segment, c.seq, c.through, c.rows_seen, c.total_seen,
               lead(c.seq) OVER (PARTITION BY c.segment ORDER BY c.seq) IS NULL AS last
          FROM pgbackfill.segments AS s
          JOIN pgbackfill.chunks AS c ON c.run_id = s.run_id AND c.segment = s.no
         WHERE s.run_id = $1::bigint AND ($2::smallint IS NULL OR s.pass = $2::smallint) AND NOT s.nulls AND c.fence IS NULL) AS l
 WHERE l.last OR l.total_seen / $3::bigint > (l.total_seen - l.rows_seen) / $3::bigint
 ORDER BY l.segment, l.seq`

// Cuts returns, for each segment of a pass, or of every pass where it is 0, that has chunks, keys at which its chunks end: where
// its rows pass a multiple of rows, and its watermark at the end. It reads the ledger of them.
// The segment of the rows with a NULL in the key has none.
func (r *Run) Cuts(ctx context.Context, pass backfill.Pass, rows int64) (map[int][]backfill.Cut, error) {
	var cuts map[int][]backfill.Cut
	err := r.store.transact(ctx, durableSettings, func(t *tx) error {
		cuts = map[int][]backfill.Cut{}
		seen := map[int]int64{} // rows up to a segment's last cut
		return t.end(step{
			Statement: pgsql.Statement{Name: "cuts", SQL: readCuts, Args: [][]byte{pgsql.Int(r.id), passParam(pass), pgsql.Int(max(rows, 1))}},
			read: func(row pgx.Rows) error {
				var segment int
				var through []string
				var total int64
				if err := row.Scan(&segment, &through, &total); err != nil {
					return err
				}
				cuts[segment] = append(cuts[segment], backfill.Cut{Through: through, Rows: total - seen[segment]})
				seen[segment] = total
				return nil
			},
		})
	})
	if err != nil {
		return nil, r.failed("reading where its chunks end", err)
	}
	return cuts, nil
}
