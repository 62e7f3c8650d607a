package backfill

import (
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Chunk is the part of a segment changed in one transaction: what the ledger records.
type Chunk struct {
	Segment int
	// SegmentThrough is where the segment ends, as the worker knows it: the ledger refuses a chunk of
	// a segment that ends elsewhere. It is nil for the rows with a NULL in the key.
	SegmentThrough Key
	// SegmentPass and SegmentLeaf are those of the segment, as the worker knows it: what it does to a row depends on them.
	SegmentPass Pass
	SegmentLeaf uint32
	// Seq numbers the segment's chunks from 1 without a gap.
	Seq   int
	Range KeyRange
	// RowsSeen is how many rows the range held, in scope or not.
	RowsSeen int64
	// RowsChanged is how many rows each step changed.
	RowsChanged []int64
	// Unmatched and Multiple count the rows in scope that the join met not at all, or more than once.
	Unmatched, Multiple int64
	Started             time.Time
	Duration            time.Duration
	// Quarantined are the rows of it that were set aside, since they cannot be changed.
	Quarantined []QuarantinedRow
	// Attempt is 1 for a chunk that succeeded at once.
	Attempt int
	// Worker names the process and worker.
	Worker string
	// Lag is how far the worst replica was behind when it was last looked at; nil where there is none, or nobody looks.
	Lag *time.Duration

	// size is how many rows were asked for, and last is set where the chunk ends its segment.
	size int
	last bool
	// ahead is how many rows the chunk after it is to have, where these may be read before it is done; 0 is that none are.
	ahead int
	// alone is set where it is the rows with the key Range.Through, and no others: those of a quarantined row.
	alone bool
	// repays is set for a chunk of a sweep that names the rows that it has changed, and repaid are their keys.
	repays bool
	repaid []string
	// stripe is which stripe of its pages it is, from 1; 0 is all rows. updated and hot are how many rows it has written, and how many of these
	// on their own page; now is where transactions were when it began.
	stripe       int
	updated, hot int64
	now          string
	// aside is how many rows of the run are aside with those of this chunk.
	aside int64
}

// keys are those of the chunk, in a segment.
func (c Chunk) keys(seg Segment) pgsql.Range {
	if c.alone && !seg.Nulls {
		return pgsql.Range{At: c.Range.Through}
	}
	return pgsql.Range{After: c.Range.After, Through: c.Range.Through, Nulls: seg.Nulls}
}
