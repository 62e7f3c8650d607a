package backfill

import "time"

// Chunk is the part of a segment changed in one transaction: what the ledger records.
type Chunk struct {
	Segment int
	// SegmentThrough is where the segment ends, as the worker knows it: the ledger refuses a chunk of
	// a segment that ends elsewhere. It is nil for the rows with a NULL in the key.
	SegmentThrough Key
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
	// Attempt is 1 for a chunk that succeeded at once.
	Attempt int
	// Worker names the process and worker.
	Worker string

	// size is how many rows were asked for, and last is set where the chunk ends its segment.
	size int
	last bool
}
