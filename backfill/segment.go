package backfill

// Pass is one going-over of the table. A run moves through its passes in order and
// a later pass begins when every segment of the one before is complete.
type Pass int

const (
	// PassWalk covers the key space up to the greatest key at planning, and the rows with a NULL in the key.
	PassWalk Pass = 1
	// PassTail covers the rows above it, up to the greatest key when PassWalk was complete.
	PassTail Pass = 2
	// PassSweep goes over everything once more for rows that committed behind the walk.
	PassSweep Pass = 3
)

func (p Pass) String() string {
	switch {
	case p == PassWalk:
		return "walk"
	case p == PassTail:
		return "tail"
	case p.Sweeps():
		return "sweep"
	}
	return "none"
}

// Sweeps reports whether the pass is the closing sweep. A heap walk may need several, one after the other.
func (p Pass) Sweeps() bool { return p >= PassSweep }

// Segment is a KeyRange worked by one worker at a time: the unit of parallelism.
// It is immutable once planned; a split closes it and adds two children.
type Segment struct {
	// No numbers the segments of a run from 1.
	No   int  `json:"no"`
	Pass Pass `json:"pass"`
	// Parent is the segment this one was split from; 0 is none.
	Parent int `json:"parent,omitempty"`
	// Leaf is the table, by its oid, that the pages of Range are in, where a partitioned one is walked in physical order; 0 is the walked
	// table itself.
	Leaf uint32 `json:"leaf,omitempty"`
	// Nulls marks the one segment that holds the rows with a NULL in the key; its Range is open and means nothing.
	Nulls bool     `json:"nulls,omitempty"`
	Range KeyRange `json:"range"`
	// EstimatedRows is the planner's guess, in scope or not.
	EstimatedRows int64 `json:"estimated_rows"`
}

// FenceSplit is the fence of a segment whose rest others were made of.
const FenceSplit = "split"

// Mark is how far a segment is, as its last ledger row says.
type Mark struct {
	// Seq is the last ledger row's number; 0 where there is none.
	Seq int
	// Watermark is the key through which the segment is committed without a gap;
	// nil where nothing is, and it is the segment's After then.
	Watermark Key
	// Fence is why the segment was closed before its end: [FenceSplit], "cancelled", "superseded", "undone"; "" where it was not.
	Fence string
	// Done is set when the segment's whole range is committed.
	Done bool
	// RowsSeen and RowsChanged are the segment's totals so far.
	RowsSeen, RowsChanged int64
	// Unmatched and Multiple are the totals of the chunks'.
	Unmatched, Multiple int64
}

// Closed reports whether no chunk can be added to the segment any more.
func (m Mark) Closed() bool { return m.Done || m.Fence != "" }

// SegmentState is a segment with its mark.
type SegmentState struct {
	Segment
	Mark
	// Owner is the live process that says it works on the segment; "" where none does.
	// It says whom to leave alone and is never trusted for safety.
	Owner string
}
