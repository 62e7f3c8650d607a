package checkpoint

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/ledger"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Finish ends the run as finished, after it has proven from the ledger alone that the walk is
// covered: every segment's rows form a chain from its start to its end, and the segments of
// every pass tile its range without a gap or an overlap. Its commit waits for the disk and so
// for every chunk's before it, also those that were committed asynchronously. It returns an
// error that says where the gap is, and changes nothing, where the walk is not covered.
// Finishing a finished run is no error: of several processes each may be the last.
//
// pass is the last pass, as the caller knows it. Finish returns false, and changes nothing, where
// the run is in another one: a crash or a failover can take back an Advance that was acknowledged,
// and what is left of the ledger is then covered and not all there is to do.
func (r *Run) Finish(ctx context.Context, pass backfill.Pass, summary backfill.Summary) (bool, error) {
	summary.State = backfill.StateFinished
	text, err := jsonParam(summary)
	if err != nil {
		return false, err
	}
	detail, err := jsonParam(map[string]any{"process": r.store.process, "reason": summary.Reason})
	if err != nil {
		return false, err
	}
	finished := false
	err = r.store.transact(ctx, durableSettings, func(t *tx) error {
		finished = false
		proof := r.proof()
		row, err := r.lockAnd(t, proof.steps()...)
		if err != nil {
			return err
		}
		if row.state == backfill.StateFinished {
			finished = true
			return nil
		}
		if row.state.Over() {
			return r.over(row)
		}
		if row.pass != pass {
			return nil
		}
		if err := proof.covers(row.walk); err != nil {
			return err
		}
		finished = true
		return t.end(
			step{Statement: pgsql.Statement{Name: "finished", SQL: updateFinished, Args: [][]byte{pgsql.Int(r.id), pgsql.Text(summary.Reason), text}}},
			step{Statement: r.event("finished", detail)})
	})
	if err != nil {
		return false, r.failed("finishing", err)
	}
	return finished, nil
}

// proof is what the ledger says of a run's walk.
type proof struct {
	run      *Run
	segments []backfill.SegmentState
	// broken is the first row of the ledger that is not where it should be; nil is none.
	broken error
}

func (r *Run) proof() *proof { return &proof{run: r} }

// steps read it. They come after the run is locked: what no chunk is added to any more.
func (p *proof) steps() []step {
	return []step{p.run.listing(nil, &p.segments), {
		Statement: pgsql.Statement{Name: "broken chain", SQL: brokenChain, Args: [][]byte{pgsql.Int(p.run.id)}},
		read: func(rows pgx.Rows) error {
			var segment, seq int
			var after, expected []string
			var wrong string
			if err := rows.Scan(&segment, &seq, &after, &expected, &wrong); err != nil {
				return err
			}
			p.broken = ledger.Gap(fmt.Sprintf("row %d of segment %d in pgbackfill.chunks %s: it begins after %s", seq, segment, wrong, backfill.Key(after)),
				"after "+backfill.Key(expected).String())
			return nil
		},
	}}
}

// covers is an error where the ledger does not cover a walk.
func (p *proof) covers(walk Walk) error {
	if p.broken != nil {
		return p.broken
	}
	return ledger.Covered(walk.Segments, walk.Nulls, p.segments)
}
