package backfill

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// RunID numbers the runs of a database.
type RunID int64

// State is where a run is in its life.
type State string

// The states of a run. A run is over in StateFinished, StateCancelled and StateUndone;
// one that is StateFailed goes on when it is run again.
const (
	StatePlanned   State = "planned"
	StatePreparing State = "preparing"
	StateRunning   State = "running"
	StatePausing   State = "pausing"
	StatePaused    State = "paused"
	StateFinishing State = "finishing"
	StateFinished  State = "finished"
	StateFailed    State = "failed"
	StateCancelled State = "cancelled"
	StateUndone    State = "undone"
)

// Over reports whether no chunk will be added to a run in this state.
func (s State) Over() bool {
	return s == StateFinished || s == StateCancelled || s == StateUndone
}

// Desired is what people asked of a run.
type Desired string

// What can be asked of a run.
const (
	DesiredRunning   Desired = "running"
	DesiredPaused    Desired = "paused"
	DesiredCancelled Desired = "cancelled"
)

// Orders is what the database says a process should do now.
type Orders struct {
	State   State
	Desired Desired
	// Reason is who asked for it and why, for people: "paused by ann: replica rebuild".
	Reason string
	// Pass is the pass the run is in.
	Pass Pass
	// Overrides are limits set live; fields at zero were not set.
	Overrides Pace
}

// Beat is what a process tells the others about itself, about once a second.
type Beat struct {
	// Segments are the numbers of the segments its workers hold.
	Segments []int
	// Workers is how many workers it has now, ChunkRows the chunk size they use.
	Workers, ChunkRows int
	// RowsPerSecond is its own pace over the last seconds.
	RowsPerSecond float64
	// Waiting is why it does not write, in one line; "" where it does.
	Waiting string
}

// Ledger is the append-only record of committed chunks. Its rows commit with the data
// and its primary key is the fence: of two that did the same chunk, one is refused.
type Ledger interface {
	// Append is the statement that records c; it is the last of the chunk's own transaction.
	// The server refuses it where c does not follow its predecessor, or was recorded already. It answers with
	// the server's position in its write-ahead log, in bytes.
	Append(c Chunk) pgsql.Statement
	// Refused reports whether err is that refusal, and not a constraint of the user's.
	Refused(err error) bool
	// Mark reads a segment's mark over conn.
	Mark(ctx context.Context, conn *pgx.Conn, segment int) (Mark, error)
}

// Segments is where the segments of a run are kept.
type Segments interface {
	// List returns the segments of a pass, or of every pass where it is 0, with their marks, in the order of their numbers.
	List(ctx context.Context, pass Pass) ([]SegmentState, error)
	// Cuts returns, for each segment of a pass, or of every pass where it is 0, that has chunks, keys at which the ledger's chunks
	// end, about every so many rows, in the segment's order; the last one is its watermark.
	Cuts(ctx context.Context, pass Pass, rows int64) (map[int][]Cut, error)
	// Split closes a segment with a fence row after its watermark and adds two children:
	// (watermark, at] and (at, through]. It returns false, and changes nothing, where the
	// watermark is no longer the one given: the segment has moved on.
	Split(ctx context.Context, s SegmentState, at Key) (bool, error)
	// Advance ends the pass from and adds the segments of the next. It returns false, and
	// changes nothing, where the run is not in that pass any more: another process was first.
	Advance(ctx context.Context, from, to Pass, segments []Segment) (bool, error)
}

// Cut is a key at which a chunk ended, and the rows since the cut before it.
type Cut struct {
	Through Key
	Rows    int64
}

// Control is how the processes of a run and the people around it meet.
type Control interface {
	// Beat records that this process is alive and returns what it should do.
	Beat(ctx context.Context, b Beat) (Orders, error)
	// SetState moves the run to a state, with the reason. Leaving a state that is Over is refused.
	SetState(ctx context.Context, to State, reason string) error
	// Pause asks every process of the run to pause, in the engine's own name.
	Pause(ctx context.Context, reason string) error
	// Finish checks from the ledger alone that the walk is covered without a gap, and ends the
	// run as StateFinished in a commit that waits for the disk. It returns false, and changes
	// nothing, where the run is not in that pass: a failover can take back the beginning of a
	// pass. It returns an error that says where the gap is, and changes nothing, where the walk
	// is not covered.
	Finish(ctx context.Context, pass Pass, s Summary) (bool, error)
	// Leave records that this process is gone.
	Leave(ctx context.Context) error
}

// Throttle says when the next chunk may start. Package throttle has the real one, which can do more: see [Watched],
// [Limited], [Holding] and [Scaling].
type Throttle interface {
	// Wait returns when rows more rows may be walked, or with ctx's error. Any other error ends this process's part in the
	// run, which goes on when it is run again.
	Wait(ctx context.Context, rows int) error
	// SetRate changes the limit, in rows a second over all workers, at once; 0 is none.
	SetRate(rowsPerSecond float64)
}

// Connect makes a new connection to the primary.
type Connect func(ctx context.Context) (*pgx.Conn, error)

// Summary is what a run came to.
type Summary struct {
	Run   RunID  `json:"run"`
	Job   string `json:"job"`
	State State  `json:"state"`
	// Reason says why the run is in this state, where that needs saying.
	Reason string `json:"reason,omitempty"`
	// Chunks, RowsSeen and RowsChanged count the whole run, over all processes.
	Chunks      int64 `json:"chunks"`
	RowsSeen    int64 `json:"rows_seen"`
	RowsChanged int64 `json:"rows_changed"`
	// SweepChanged counts the rows the closing sweep had to change.
	SweepChanged int64 `json:"sweep_changed"`
	// Unmatched and Multiple count rows in scope that the join met not at all, or more than once.
	Unmatched int64 `json:"unmatched"`
	Multiple  int64 `json:"multiple"`
	// Quarantined counts the rows that could not be changed and are aside: where there are any, the run is incomplete,
	// also where it is finished.
	Quarantined int64 `json:"quarantined"`
	// WrittenSince counts the rows that were written after a walk in physical order was done and do not hold their new values: dual
	// writes should have filled them. Other walks do not look at such rows.
	WrittenSince int64 `json:"written_since,omitempty"`
	// Retries counts this process's chunks that had to be tried again.
	Retries int64 `json:"retries"`
	// Yields counts this process's chunks that gave way to somebody who waited for them.
	Yields int64 `json:"yields,omitempty"`
	// ShutFor is for how long the throttle let this process write nothing, Waited which signals that was for, the longest
	// first, and Notices what else it told of them, as that a standby is forgotten.
	ShutFor time.Duration `json:"shut_for,omitempty"`
	Waited  []Waited      `json:"waited,omitempty"`
	Notices []string      `json:"notices,omitempty"`
	// Resumed is set where this process went on with a run, or joined one, and did not begin it.
	Resumed bool `json:"resumed,omitempty"`
	// OwnChunks counts the chunks that this process committed.
	OwnChunks int64 `json:"own_chunks,omitempty"`
	// Walked is set where all that was planned of the walk is done, and not yet all of the run may be.
	Walked bool `json:"walked,omitempty"`
	// Elapsed is this process's time.
	Elapsed time.Duration `json:"elapsed"`
}
