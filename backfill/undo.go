package backfill

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// UndoAll is above the number of everything that was kept: where taking back begins.
const UndoAll = math.MaxInt64

// StateUndoing is what a run is said to be in while it is taken back. It is not stored: the run itself is over.
const StateUndoing State = "undoing"

// UndoMark is how far a run is taken back.
type UndoMark struct {
	// Seq is the last chunk's number, 0 where there is none, and Low what was kept under the least number that is
	// taken back; all above it are as well.
	Seq int   `json:"chunks"`
	Low int64 `json:"-"`
	// Kept is the greatest number under which a version of a row was kept. Of the numbers up to it those are missing
	// of chunks that were rolled back.
	Kept int64 `json:"kept"`
	// Restored and Missed count the rows that were put back and those that were left as they are.
	Restored int64 `json:"restored"`
	Missed   int64 `json:"left"`
}

// Passed is how many of the numbers up to Kept are behind the undo.
func (m UndoMark) Passed() int64 { return max(m.Kept-m.Low+1, 0) }

// UndoChunk is the part of what was kept that one transaction takes back: numbers from Low on and below Below.
type UndoChunk struct {
	Seq              int
	Below, Low       int64
	Restored, Missed int64
}

// UndoLedger is the record of what was taken back. Its rows commit with the data, and of two processes
// that did the same chunk one is refused, as in [Ledger].
type UndoLedger interface {
	// UndoMark reads how far the run is taken back.
	UndoMark(ctx context.Context) (UndoMark, error)
	// AppendUndo is the statement that records c, the last of the chunk's own transaction. It answers with the server's
	// position in its write-ahead log, in bytes.
	AppendUndo(c UndoChunk) pgsql.Statement
	// UndoRefused reports whether err is the refusal of AppendUndo.
	UndoRefused(err error) bool
}

// UndoControl is how the processes that take a run back and the people around them meet: the part of [Control] that is
// not about the state of a run, which is over.
type UndoControl interface {
	// Beat records that this process is alive and returns what it should do.
	Beat(ctx context.Context, b Beat) (Orders, error)
	// FinishUndo ends the run as undone, and is an error where there is more to take back. Doing so again is none.
	FinishUndo(ctx context.Context, reason string) error
	// Leave records that this process is gone.
	Leave(ctx context.Context) error
}

// UndoOptions are what taking back is made of. All are required but where it says otherwise.
type UndoOptions struct {
	Run RunID
	Job string
	// Process names this process among those of the run, and Who the person behind it.
	Process, Who string
	// Joined is set where others are taking the run back now.
	Joined bool
	// Tables are what the run kept. All segments of the run must be closed, so that nothing is added.
	Tables   []pgsql.Capture
	Pace     Pace
	Connect  Connect
	Ledger   UndoLedger
	Control  UndoControl
	Throttle Throttle
	// Blocked says who waits for locks of the chunk: it is cancelled, and tried again smaller. Notices are what else the
	// throttle tells, for the run's record. Nil is nobody, and nothing.
	Blocked <-chan Blocked
	Notices <-chan string
	// Observer is told what happens: a chunk is one of segment 1, its RowsSeen are the numbers that it passed; nil is nobody.
	Observer Observer
	// Clamp lowers a pace to what the operator allows; nil allows all.
	Clamp func(Pace) Pace
	// Abort, when done, cancels the chunk that has begun; nil is never.
	Abort context.Context
	// MaxChunks ends the work after so many chunks; 0 is no limit.
	MaxChunks int64
}

// undoer takes a run back, from the last row that was kept to the first. It is one worker: versions of a row, and rows
// that depend on each other, are taken back in the order opposite to that in which they were written.
type undoer struct {
	UndoOptions
	*worker
	mark UndoMark
	// narrow bounds the next chunk after one that was too much; 0 is no bound.
	narrow int
	// whole is set once a part could only go back with all that its transaction did. again is set when all was come to and rows that a
	// constraint did not let go back are tried again: those above this number, and gained says whether any was put back in this pass.
	whole, again, gained bool
	above                int64
}

// TakeBack takes back what a run has done, from what it kept (undo: capture): in the order from last to first, chunk by
// chunk, each with its record in one transaction. A row is put back where it still holds what the run wrote; one
// that somebody has changed since is left and written down. It returns how far it is, and nil when all is taken
// back and the run is undone. It is paused, resumed and set like a run. When ctx is cancelled the begun chunk finishes,
// and the error is [ErrInterrupted]; it goes on where it was left when it is called again, by any number of processes.
func TakeBack(ctx context.Context, o UndoOptions) (UndoMark, error) {
	u, started := newUndoer(o), time.Now()
	defer u.close(ctx)
	defer u.heeding(ctx, o.Blocked, o.Notices)()
	err := u.begin(ctx)
	resumed := u.mark.Seq > 0
	if err == nil {
		err = u.attended(ctx, u.all)
	}
	if err == nil {
		err = u.steadily(ctx, func(ctx context.Context) error { return o.Control.FinishUndo(ctx, "by "+o.Who) })
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceMost)
	defer cancel()
	u.writeDown(last, true)
	s := Summary{Run: o.Run, Job: o.Job, State: StateUndoing, Resumed: resumed || o.Joined, Retries: u.retries.Load()}
	switch {
	case err == nil:
		s.State = StateUndone
		u.observe(StateChanged{From: StateUndoing, To: StateUndone})
	case u.aborted():
		err = u.interrupted("stopped at once: the chunk that had begun was cancelled and rolled back; what is taken back stays so")
	case ctx.Err() != nil, errors.Is(err, errEnough):
		err = u.interrupted("stopped between two chunks; what is taken back stays so")
	}
	if leaving := o.Control.Leave(last); leaving != nil && err == nil {
		err = fmt.Errorf("leaving the run: %w", leaving)
	}
	if err != nil {
		s.Reason = err.Error()
	}
	s.Chunks, s.RowsSeen, s.RowsChanged, s.OwnChunks = int64(u.mark.Seq), u.mark.Restored+u.mark.Missed, u.mark.Restored, u.chunks.Load()
	s.Elapsed, s.Yields = time.Since(started), u.yields.Load()
	u.diary.sum(&s, time.Now())
	u.observe(RunEnded{Summary: s, Err: err})
	return u.mark, err
}

func newUndoer(o UndoOptions) *undoer {
	e := &engine{
		plan: &Plan{Job: Job{Name: o.Job}, Pace: o.Pace}, run: o.Run, process: o.Process, connect: o.Connect,
		control: &undoControl{UndoControl: o.Control, state: StateUndoing}, throttle: o.Throttle, abort: o.Abort,
		maxChunks: o.MaxChunks, undoing: true, changed: make(chan struct{}), queue: newQueue(0, nil), progress: NewProgress(nil),
	}
	e.observe = Tee(e.progress.Observe, o.Observer)
	e.clamp = func(p Pace) Pace {
		if o.Clamp != nil {
			p = o.Clamp(p)
		}
		p.Workers = 1 // whatever was said: see undoer
		return p
	}
	if e.abort == nil {
		e.abort = context.Background()
	}
	e.setPace(o.Pace, false)
	e.sizerNow.Store(e.newSizer(false))
	return &undoer{UndoOptions: o, worker: &worker{engine: e, id: 1}}
}

// undoControl is the control of a process that takes a run back. The states it goes through are its own.
type undoControl struct {
	UndoControl
	mu    sync.Mutex
	state State
}

// Beat passes on the orders but for those that were given to the run: that it is over.
func (c *undoControl) Beat(ctx context.Context, b Beat) (Orders, error) {
	orders, err := c.UndoControl.Beat(ctx, b)
	c.mu.Lock()
	defer c.mu.Unlock()
	orders.State, orders.Pass = c.state, PassWalk
	if orders.Desired != DesiredPaused {
		orders.Desired, orders.Reason = DesiredRunning, ""
	}
	return orders, err
}

func (c *undoControl) SetState(_ context.Context, to State, _ string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = to
	return nil
}

// Record passes on what is to be recorded, where that is done at all.
func (c *undoControl) Record(ctx context.Context, what, reason string) error {
	if recording, ok := c.UndoControl.(Recording); ok {
		return recording.Record(ctx, what, reason)
	}
	return nil
}

func (c *undoControl) Pause(context.Context, string) error { return nil }

func (c *undoControl) Finish(context.Context, Pass, Summary) (bool, error) { return false, nil }

// begin says that this process is here, hears what to do, and finds out how far the run is taken back.
func (u *undoer) begin(ctx context.Context) error {
	err := u.beat(ctx)
	if err == nil {
		u.mark, err = u.Ledger.UndoMark(ctx)
	}
	if err != nil {
		return err
	}
	u.observe(RunStarted{
		Run: u.run, Job: u.Job, Process: u.process, Resumed: u.mark.Seq > 0, Joined: u.Joined, Undo: true,
		EstimatedRows: u.mark.Kept, RowsSeen: u.mark.Passed(), RowsChanged: u.mark.Restored,
	})
	u.observe(SegmentStarted{Worker: u.id, Segment: Segment{No: 1, Pass: PassWalk}, Mark: Mark{Seq: u.mark.Seq}})
	return nil
}

// all takes chunk after chunk back.
func (u *undoer) all(ctx context.Context) error {
	u.count(&u.active, 1)
	defer u.count(&u.active, -1)
	known, try := false, newAttempts(Segment{})
	for {
		if err := u.mayWork(ctx, u.id); err != nil {
			return err
		}
		var done bool
		err := u.ready(ctx, &known)
		if err == nil {
			if let, err := u.ration(ctx, u.rows()); err != nil {
				return err
			} else if !let {
				continue
			}
			done, err = u.chunk(try.number)
		}
		var yielded *yieldedError
		switch {
		case done:
			return nil
		case err == nil:
			try.number, try.timeouts, try.yields, u.narrow = 1, 0, 0, 0
			continue
		case errors.As(err, &yielded) && !u.aborted():
			// No narrower than it can be: what was kept is taken back in order, and this is next.
			size := u.rows()
			u.narrow = max(size/10, 1)
			u.sizer().shrink(size)
			if err := u.givesWay(ctx, Chunk{Segment: 1, Seq: u.mark.Seq + 1, Attempt: try.number}, try, yielded.to); err != nil {
				return err
			}
			continue
		case errors.Is(err, errRefused), errors.Is(err, errNotCommitted):
			known = false
			continue
		case u.aborted():
			return err
		}
		known = false // the answer to a commit may have been lost
		u.retries.Add(1)
		u.observe(ChunkFailed{Worker: u.id, Chunk: Chunk{Segment: 1, Seq: u.mark.Seq + 1, Attempt: try.number}, Err: err, Retry: true})
		if pgerr.Class(err) == pgerr.Shrink && u.rows() > 1 {
			u.narrow = max(u.rows()/10, 1)
			continue
		}
		if err = u.passing(ctx, try, err); err != nil && ctx.Err() == nil {
			return &Error{
				Place: u.place(), Found: "it cannot be taken back any further", Err: describedError{err},
				Remedy: "mend what stands in the way, then undo again: it goes on here",
			}
		} else if err != nil {
			return err
		}
	}
}

// ready makes sure that there is a connection and that the mark is what the ledger says.
func (u *undoer) ready(ctx context.Context, known *bool) error {
	if u.conn == nil || u.conn.IsClosed() {
		*known = false
		if err := u.reconnect(ctx); err != nil {
			return err
		}
	}
	if *known {
		return nil
	}
	mark, err := u.Ledger.UndoMark(ctx)
	if err == nil {
		u.mark, *known = mark, true
		u.above, u.gained = 0, false
		u.observe(Synced{Pass: PassWalk, RowsSeen: mark.Passed(), RowsChanged: mark.Restored})
	}
	return err
}
