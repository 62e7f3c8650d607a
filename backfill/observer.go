package backfill

import "time"

// Observer is told what happens. The engine itself does not log: the log, the metrics,
// the progress display and the tests' transcript are all observers, and faults are
// injected through one. Calls come from many goroutines at once and must return quickly.
type Observer func(Event)

// Tee tells every observer, in order. Nil observers are left out.
func Tee(observers ...Observer) Observer {
	var list []Observer
	for _, o := range observers {
		if o != nil {
			list = append(list, o)
		}
	}
	return func(e Event) {
		for _, o := range list {
			o(e)
		}
	}
}

// Event is one of the types below.
type Event interface{ event() }

type (
	// RunStarted begins a process's part in a run.
	RunStarted struct {
		Run     RunID
		Job     string
		Process string
		// Resumed is set where the run had begun before; Joined where others are at work on it now.
		Resumed, Joined bool
		// Undo is set where the run is not worked on but taken back; its rows are then the versions that it kept.
		Undo bool
		// EstimatedRows and RowsSeen are the planner's guess and what is walked already.
		EstimatedRows, RowsSeen, RowsChanged int64
		// Quarantined counts the rows that are aside already.
		Quarantined int64
	}
	// PassStarted begins a pass.
	PassStarted struct {
		Pass     Pass
		Segments int
	}
	// Synced is what the ledger says of a pass at this moment, over all processes.
	Synced struct {
		Pass                  Pass
		RowsSeen, RowsChanged int64
	}
	// SegmentStarted and SegmentEnded bracket a worker's work on a segment.
	SegmentStarted struct {
		Worker  int
		Segment Segment
		Mark    Mark
	}
	// SegmentEnded says how the segment was left: Mark.Done, Mark.Fence, or neither where work stopped.
	SegmentEnded struct {
		Worker  int
		Segment Segment
		Mark    Mark
	}
	// SegmentSplit says that a straggler was divided.
	SegmentSplit struct {
		Segment Segment
		At      Key
	}
	// ChunkChanged comes when a chunk's statements have run and its commit has not been sent.
	ChunkChanged struct {
		Worker int
		Chunk  Chunk
	}
	// ChunkCommitted comes when a chunk is known to be committed.
	ChunkCommitted struct {
		Worker int
		Chunk  Chunk
		Pass   Pass
		// NextRows is the size the servo has chosen for the chunks to come.
		NextRows int
	}
	// Quarantined says that rows which cannot be changed are aside; it follows the ChunkCommitted of their chunk.
	Quarantined struct {
		Worker int
		Row    QuarantinedRow
		// Aside counts all rows of the run that are aside then, over all processes.
		Aside int64
	}
	// RowsGone says that so many of the quarantined rows that were tried again are there no more; it follows the ChunkCommitted of those that are.
	RowsGone struct {
		Worker int
		Row    QuarantinedRow
		Rows   int64
	}
	// ChunkFailed comes when a chunk was rolled back, or its fate is unknown. Retry is what follows.
	ChunkFailed struct {
		Worker  int
		Chunk   Chunk
		Err     error
		Retry   bool
		Backoff time.Duration
	}
	// Yielded comes when a chunk was cancelled and rolled back since somebody waited for its locks: To says who.
	Yielded struct {
		Worker  int
		Chunk   Chunk
		To      string
		Backoff time.Duration
	}
	// Scaled says that the throttle wants another number of workers.
	Scaled struct {
		Workers int
		Why     string
	}
	// ProgramSaid is a line that a transform's program wrote to its standard error, cut where it is long.
	ProgramSaid struct {
		Worker int
		Line   string
	}
	// PartitionGone says that the rest of a segment is left out, since the table that it is in is no partition of the walked one any more.
	// Table is the name that it had, quoted.
	PartitionGone struct {
		Worker  int
		Segment Segment
		Table   string
	}
	// RoomChanged says that the rows of a walk in stripes find no room on their own pages, and why, so that whole pages are changed; or,
	// with Enough, that they do again.
	RoomChanged struct {
		Worker int
		Enough bool
		Why    string
	}
	// Waiting says why nothing is written; Reason "" ends the wait.
	Waiting struct {
		// Worker is 0 where the whole process waits.
		Worker int
		Reason string
		// Still is set where it waits for the same as before, and only numbers in Reason are newer.
		Still bool
	}
	// Reconnected says that a worker has a new connection, and how long it was without.
	Reconnected struct {
		Worker int
		After  time.Duration
	}
	// StateChanged says that the run is in a new state.
	StateChanged struct {
		From, To State
		Reason   string
	}
	// LimitsChanged says that the pace was changed from outside.
	LimitsChanged struct{ Pace Pace }
	// RunEnded ends a process's part in a run.
	RunEnded struct {
		Summary Summary
		Err     error
	}
)

func (RunStarted) event()     {}
func (PassStarted) event()    {}
func (Synced) event()         {}
func (PartitionGone) event()  {}
func (SegmentStarted) event() {}
func (SegmentEnded) event()   {}
func (SegmentSplit) event()   {}
func (ChunkChanged) event()   {}
func (ChunkCommitted) event() {}
func (Quarantined) event()    {}
func (RowsGone) event()       {}
func (ChunkFailed) event()    {}
func (Yielded) event()        {}
func (Scaled) event()         {}
func (ProgramSaid) event()    {}
func (RoomChanged) event()    {}
func (Waiting) event()        {}
func (Reconnected) event()    {}
func (StateChanged) event()   {}
func (LimitsChanged) event()  {}
func (RunEnded) event()       {}
