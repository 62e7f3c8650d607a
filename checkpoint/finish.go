package checkpoint

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Finish ends the run as finished, after it has proven from the ledger alone that the walk is
// covered: every segment's rows form a chain from its start to its end, and the segments of
// every pass tile its range without a gap or an overlap. Its commit waits for the disk and so
// for every chunk's before it, also those that were committed asynchronously. It returns an
// error that says where the gap is, and changes nothing, where the walk is not covered.
// Finishing a finished run is no error: of several processes each may be the last.
func (r *Run) Finish(ctx context.Context, summary backfill.Summary) error {
	summary.State = backfill.StateFinished
	text, err := jsonParam(summary)
	if err != nil {
		return err
	}
	detail, err := jsonParam(map[string]any{"process": r.store.process, "reason": summary.Reason})
	if err != nil {
		return err
	}
	err = r.store.transact(ctx, durableSettings, func(t *tx) error {
		row, err := r.lock(t)
		if err != nil {
			return err
		}
		if row.state == backfill.StateFinished {
			return nil
		}
		if row.state.Over() {
			return r.over(row)
		}
		if err := r.covered(t, row); err != nil {
			return err
		}
		return t.send(
			step{Statement: pgsql.Statement{Name: "finished", SQL: updateFinished, Args: [][]byte{pgsql.Int(r.id), pgsql.Text(summary.Reason), text}}},
			step{Statement: r.event("finished", detail)})
	})
	if err != nil {
		return r.failed("finishing", err)
	}
	return nil
}

func (r *Run) covered(t *tx, row runRow) error {
	var segments []backfill.SegmentState
	var broken error
	err := t.send(r.listing(nil, &segments), step{
		Statement: pgsql.Statement{Name: "broken chain", SQL: brokenChain, Args: [][]byte{pgsql.Int(r.id)}},
		read: func(rows pgx.Rows) error {
			var segment, seq int
			var after, expected []string
			var wrong string
			if err := rows.Scan(&segment, &seq, &after, &expected, &wrong); err != nil {
				return err
			}
			broken = gap(fmt.Sprintf("row %d of segment %d in pgbackfill.chunks %s: it begins after %s", seq, segment, wrong, backfill.Key(after)),
				"after "+backfill.Key(expected).String())
			return nil
		},
	})
	if err == nil {
		err = broken
	}
	if err == nil {
		err = checkCoverage(row.walk, segments)
	}
	return err
}
