package checkpoint

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Keep are the statements that set the rows of c.Quarantined aside in c's transaction. The last one answers with how many
// rows of the run are aside then.
func (r *Run) Keep(c backfill.Chunk) []pgsql.Statement {
	list := []pgsql.Statement{{Name: "quarantine turn", SQL: quarantineTurn, Args: [][]byte{pgsql.Int(r.id)}}}
	for _, q := range c.Quarantined {
		list = append(list, pgsql.Statement{Name: "quarantine", SQL: quarantineRow, Args: [][]byte{
			pgsql.Int(r.id), entryKey(q.Key), pgsql.Int(c.Segment), pgsql.Int(c.Seq), pgsql.Int(q.Rows),
			pgsql.Text(q.Step), pgsql.Text(q.SQLState), pgsql.Text(q.Message), pgsql.Text(q.Detail),
		}})
	}
	return append(list, r.counting())
}

func (r *Run) counting() pgsql.Statement {
	return pgsql.Statement{Name: "quarantined", SQL: countQuarantined, Args: [][]byte{pgsql.Int(r.id)}}
}

// entryKey is a key as the quarantine has it: the rows with a NULL in the key have none.
func entryKey(k backfill.Key) []byte { return pgsql.TextArray(append([]string{}, k...)) }

// Aside counts the rows of the run that are quarantined and not done since.
func (r *Run) Aside(ctx context.Context) (int64, error) {
	var n int64
	if err := r.store.once(ctx, settings, step{Statement: r.counting(), read: one(&n)}); err != nil {
		return 0, r.failed("counting its quarantined rows", err)
	}
	return n, nil
}

// Waiting lists what is quarantined of the run and not done since, after the entry with that ID, up to most entries,
// in the order in which it was set aside.
func (r *Run) Waiting(ctx context.Context, after int64, most int) ([]backfill.QuarantinedRow, error) {
	list, err := r.store.quarantined(ctx, r.id, after, most)
	if err != nil {
		return nil, r.failed("listing its quarantined rows", err)
	}
	return list, nil
}

// Unchanged are the keys whose rows are quarantined, each a range of its own.
func (r *Run) Unchanged(ctx context.Context) ([]pgsql.Range, error) {
	list, err := r.Waiting(ctx, 0, math.MaxInt32)
	if err != nil {
		return nil, err
	}
	keys := make([]pgsql.Range, len(list))
	for i, q := range list {
		keys[i] = pgsql.Range{At: q.Key, Nulls: q.Key == nil}
	}
	return keys, nil
}

// Open answers with a row where the run may still be added to: it is neither cancelled nor undone, and does not become so
// before the transaction ends.
func (r *Run) Open() pgsql.Statement {
	return pgsql.Statement{Name: "run", SQL: takesWork, Args: [][]byte{pgsql.Int(r.id)}}
}

// Resolve marks the rows of q as done, but for so many that are gone; it is the last statement of the transaction that does
// them, and touches nothing where somebody else has done them.
func (r *Run) Resolve(q backfill.QuarantinedRow, gone int64) pgsql.Statement {
	return pgsql.Statement{Name: "resolve", SQL: resolveQuarantined, Args: [][]byte{pgsql.Int(r.id), entryKey(q.Key), pgsql.Text(r.store.who), pgsql.Int(gone)}}
}

// FailedAgain writes down that the rows of q were tried again in vain, with the error that q has.
func (r *Run) FailedAgain(q backfill.QuarantinedRow) pgsql.Statement {
	return pgsql.Statement{Name: "failed again", SQL: failQuarantined, Args: [][]byte{
		pgsql.Int(r.id), entryKey(q.Key), pgsql.Text(q.Step), pgsql.Text(q.SQLState), pgsql.Text(q.Message), pgsql.Text(q.Detail),
	}}
}

// Retried writes down what came of trying the quarantined rows again, in a commit that waits for the disk, and so for
// every commit before it.
func (r *Run) Retried(ctx context.Context, what backfill.Retried) error {
	detail, err := jsonParam(what)
	if err == nil {
		err = r.store.once(ctx, durableSettings, step{Statement: r.event("quarantined rows tried again", detail)})
	}
	if err != nil {
		return r.failed("recording what was tried again", err)
	}
	return nil
}

// Quarantined lists the rows of a run that could not be changed and are not done since, the oldest first: up to most
// entries, one a key. How many rows there are in all is in [Totals].
func (s *Store) Quarantined(ctx context.Context, run backfill.RunID, most int) ([]backfill.QuarantinedRow, error) {
	list, err := s.quarantined(ctx, run, 0, most)
	if err != nil {
		return nil, fmt.Errorf("reading the quarantined rows of run %d: %w", run, translate(err))
	}
	return list, nil
}

func (s *Store) quarantined(ctx context.Context, run backfill.RunID, after int64, most int) ([]backfill.QuarantinedRow, error) {
	var list []backfill.QuarantinedRow
	err := s.transact(ctx, settings, func(t *tx) error {
		list = nil
		return t.send(step{
			Statement: pgsql.Statement{Name: "quarantined rows", SQL: readQuarantined, Args: [][]byte{pgsql.Int(run), pgsql.Int(after), pgsql.Int(most)}},
			read: func(rows pgx.Rows) error {
				var q backfill.QuarantinedRow
				err := rows.Scan(&q.ID, &q.Segment, &q.Seq, (*[]string)(&q.Key), &q.Rows, &q.Step, &q.SQLState, &q.Message, &q.Detail,
					&q.Attempts, &q.At, &q.FailedAt, &q.ResolvedAt)
				if len(q.Key) == 0 {
					q.Key = nil
				}
				list = append(list, q)
				return err
			},
		})
	})
	return list, err
}
