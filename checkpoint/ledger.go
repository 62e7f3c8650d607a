package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/ledger"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Fences: why a segment was closed before its end.
const (
	fenceSplit      = backfill.FenceSplit
	fenceCancelled  = "cancelled"
	fenceSuperseded = "superseded"
	fenceUndone     = "undone"
)

// Append is the statement that records c. The server refuses it, see [Run.Refused], where c
// does not begin where the chunk before it ended, where its segment is closed, or is not the one
// it was taken for, and where its number is taken: see [ledger.Takes].
func (r *Run) Append(c backfill.Chunk) pgsql.Statement { return r.ledgerRow(c, "") }

func (r *Run) ledgerRow(c backfill.Chunk, fence string) pgsql.Statement {
	var changed int64
	for _, n := range c.RowsChanged {
		changed += n
	}
	var why []byte
	if fence != "" {
		why = pgsql.Text(fence)
	}
	var lag []byte
	if c.Lag != nil {
		lag = durationParam(*c.Lag)
	}
	return pgsql.Statement{Name: "ledger", SQL: appendChunk, Args: [][]byte{
		pgsql.Int(r.id), pgsql.Int(c.Segment), pgsql.Int(c.Seq), why,
		keyParam(c.Range.After), keyParam(c.Range.Through),
		pgsql.Int(c.RowsSeen), intsParam(c.RowsChanged), pgsql.Int(changed),
		pgsql.Int(c.Unmatched), pgsql.Int(c.Multiple),
		timeParam(c.Started), durationParam(c.Duration), pgsql.Int(c.Attempt), pgsql.Text(c.Worker),
		keyParam(c.SegmentThrough), lag, timeParam(r.created), pgsql.Int(c.SegmentPass), pgsql.Int(int64(c.SegmentLeaf)),
	}}
}

// Refused reports whether err is the ledger's own refusal of a chunk. A job's step can violate
// constraints of the same names on tables of its own: schema, table and constraint must be ours.
func (r *Run) Refused(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) &&
		refusal.SchemaName == "pgbackfill" && refusal.TableName == "chunks" &&
		(refusal.ConstraintName == "chunks_pkey" || refusal.ConstraintName == "chunk_follows_its_predecessor")
}

// Mark reads a segment's mark over conn: from the segment's last ledger row, however many it has.
// The error is a [backfill.ErrNotFound] where the run has no such segment.
func (r *Run) Mark(ctx context.Context, conn *pgx.Conn, segment int) (backfill.Mark, error) {
	var mark backfill.Mark
	found := false
	err := send(ctx, conn, step{
		Statement: pgsql.Statement{Name: "mark", SQL: readMark, Args: [][]byte{pgsql.Int(r.id), pgsql.Int(segment)}},
		read: func(rows pgx.Rows) error {
			found = true
			return rows.Scan(markFields(&mark)...)
		},
	})
	if err != nil {
		return backfill.Mark{}, fmt.Errorf("reading the mark of segment %d of run %d: %w", segment, r.id, translate(err))
	}
	if !found {
		return backfill.Mark{}, &backfill.Error{
			Place: fmt.Sprintf("run %d", r.id), Found: fmt.Sprintf("it has no segment %d", segment),
			Remedy: "see what is left of it with: pgbackfill status", Kind: backfill.ErrNotFound,
		}
	}
	return mark, nil
}

// markFields are where markColumns go.
func markFields(m *backfill.Mark) []any {
	return []any{&m.Seq, (*[]string)(&m.Watermark), &m.Fence, &m.Done, &m.RowsSeen, &m.RowsChanged, &m.Unmatched, &m.Multiple}
}

// fenceRow is the ledger row that closes s after its mark.
func (r *Run) fenceRow(s backfill.SegmentState, fence string) pgsql.Statement {
	at := ledger.Watermark(s)
	return r.ledgerRow(backfill.Chunk{
		Segment: s.No, SegmentThrough: s.Range.Through, SegmentPass: s.Pass, SegmentLeaf: s.Leaf, Seq: s.Seq + 1, Range: backfill.KeyRange{After: at, Through: at},
		Started: time.Now(), Attempt: 1, Worker: r.store.process,
	}, fence)
}

// LedgerRows counts the rows in the ledger of a run, fences among them: where there are as many as a verification saw
// before it began, no chunk has come since.
func (s *Store) LedgerRows(ctx context.Context, run backfill.RunID) (int64, error) {
	var n int64
	if err := s.once(ctx, settings, step{Statement: pgsql.LedgerRows(run), read: one(&n)}); err != nil {
		return 0, fmt.Errorf("reading the ledger of run %d: %w", run, translate(err))
	}
	return n, nil
}

// LedgerRowsOn is [Store.LedgerRows] on a connection: to a standby, which shows what it has replayed.
func LedgerRowsOn(ctx context.Context, conn *pgx.Conn, run backfill.RunID) (int64, error) {
	var n int64
	err := send(ctx, conn, step{Statement: pgsql.LedgerRows(run), read: one(&n)})
	return n, err
}
