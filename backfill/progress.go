package backfill

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Progress is an observer that adds up what happens: how far a run is, how fast it goes and
// what it waits for. The live display, the progress lines and status show the same numbers
// because they all come from here or from [Fraction] and [ETA].
type Progress struct {
	now func() time.Time

	mu sync.Mutex
	// at is what does not depend on the clock; Snapshot fills in the rest of a copy.
	at ProgressSnapshot
	// seen counts the rows walked, by pass, over all processes as far as they are known.
	seen map[Pass]int64
	// wanted is how many workers there should be; 0 is not known.
	wanted int
	// task is when the task at hand was begun.
	task    time.Time
	workers map[int]*WorkerProgress
	pace    pacemeter
}

// ProgressSnapshot is how far a run is at one moment.
type ProgressSnapshot struct {
	Run    RunID
	Job    string
	State  State
	Reason string
	// Pass is the pass the run is in; RowsSeen, EstimatedRows and Fraction are that pass's,
	// where the walk and its tail count as one.
	Pass          Pass
	RowsSeen      int64
	EstimatedRows int64
	// Fraction is from 0 to 1, and 1 only when the run is finished.
	Fraction float64
	// RowsChanged counts the rows changed in all passes, Chunks this process's chunks, and
	// Retries those of its chunks that have to be tried again.
	RowsChanged, Chunks, Retries int64
	// Yields counts the chunks that were cancelled since somebody waited for them.
	Yields int64
	// Quarantined counts the rows that are aside since they cannot be changed, as far as this process knows.
	Quarantined int64
	// RowsPerSecond is this process's pace over its last seconds at work; 0 where it is not known yet.
	RowsPerSecond float64
	// ETA is how long the pass will take from now without a pause; negative is unknown.
	ETA time.Duration
	// Elapsed is the time since the process began, Active that without the waits of the whole process.
	Elapsed, Active time.Duration
	// ChunkRows is the size of the chunks to come; 0 where none is chosen yet.
	ChunkRows int
	// Waiting is why the whole process writes nothing; "" where it works.
	Waiting string
	// Task is what is being done once, before the first chunk or after the last one: "prepare", "helper dupes"; "" is nothing. TaskFor is
	// for how long.
	Task    string
	TaskFor time.Duration
	// Workers are in the order of their numbers; Busy is how many of them hold a segment.
	Workers []WorkerProgress
	Busy    int
	// Ended is set when this process's part in the run is over.
	Ended bool
}

// WorkerProgress is what one worker does.
type WorkerProgress struct {
	Worker int
	// Segment is the number of the segment it holds; 0 is none.
	Segment int
	// Seq, Rows and Took are of its last committed chunk in the segment; Seq 0 is none yet.
	Seq  int
	Rows int64
	Took time.Duration
	// Waiting is what it waits for, and Since when; "" where it works.
	Waiting string
	Since   time.Time
	// Trouble is why its current chunk has to be tried again; "" where it has not failed.
	Trouble string
}

// The time over which rows are counted: short to show what happens now, long to say when it
// will be over.
const (
	paceNow  = 10 * time.Second
	paceLong = 60 * time.Second
)

// NewProgress makes a progress that reads the clock by now; nil is time.Now.
func NewProgress(now func() time.Time) *Progress {
	if now == nil {
		now = time.Now
	}
	return &Progress{
		now: now, seen: map[Pass]int64{}, workers: map[int]*WorkerProgress{},
		at: ProgressSnapshot{State: StatePlanned, Pass: PassWalk},
	}
}

// Fraction is how much of the estimate is done, from 0 to 1. An estimate is a guess, so that
// 1 is only returned where the run is finished, and 0 where there is no estimate.
func Fraction(seen, estimated int64, finished bool) float64 {
	switch {
	case finished:
		return 1
	case seen <= 0 || estimated <= 0:
		return 0
	}
	return min(float64(seen)/float64(estimated), 0.999)
}

// ETA is how long the rest of the estimate takes at a pace; negative where nobody can know.
func ETA(seen, estimated int64, rowsPerSecond float64) time.Duration {
	if rowsPerSecond <= 0 || estimated <= seen {
		return -1
	}
	seconds := float64(estimated-seen) / rowsPerSecond
	const longest = 10 * 365 * 24 * time.Hour
	if seconds > longest.Seconds() {
		return -1
	}
	return time.Duration(seconds * float64(time.Second))
}

// Observe takes an event in; it is an [Observer].
func (p *Progress) Observe(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.pace.advance(now)
	switch e := e.(type) {
	case RunStarted:
		p.at.Run, p.at.Job, p.at.State = e.Run, e.Job, StateRunning
		if e.Undo {
			p.at.State = StateUndoing
		}
		p.at.EstimatedRows, p.at.RowsChanged = e.EstimatedRows, e.RowsChanged
		p.at.Quarantined = e.Quarantined
		p.seen[PassWalk] = e.RowsSeen
		p.pace.start(now)
	case TaskStarted:
		p.at.Task, p.task = e.Name, now
	case TaskDone:
		p.at.Task = ""
	case Replanned:
		p.at.EstimatedRows = e.EstimatedRows
	case PassStarted:
		p.at.Task = "" // another process may have done what this one began
		if e.Pass.Sweeps() && !p.at.Pass.Sweeps() {
			p.pace.forget() // a sweep reads and hardly writes: its pace is another
		}
		p.at.Pass = e.Pass
	case Synced:
		p.seen[e.Pass] = e.RowsSeen
	case SegmentStarted:
		p.workers[e.Worker] = &WorkerProgress{Worker: e.Worker, Segment: e.Segment.No, Seq: e.Mark.Seq}
	case SegmentEnded:
		p.workers[e.Worker] = &WorkerProgress{Worker: e.Worker}
	case ChunkCommitted:
		p.committed(e)
	case Quarantined:
		p.at.Quarantined = e.Aside
	case ChunkFailed:
		if e.Retry {
			p.at.Retries++
		}
		p.worker(e.Worker).Trouble = fmt.Sprintf("attempt %d: %s", e.Chunk.Attempt, firstLine(e.Err))
	case Waiting:
		p.waiting(e, now)
	case StateChanged:
		p.at.State, p.at.Reason = e.To, e.Reason
	case Yielded:
		p.at.Yields++
		p.worker(e.Worker).Trouble = "gave way to " + e.To
	case Scaled:
		p.wanted = e.Workers
	case LimitsChanged:
		p.wanted = e.Pace.Workers
	case RunEnded:
		p.at.Task = ""
		p.at.Ended, p.at.State, p.at.Reason = true, e.Summary.State, e.Summary.Reason
	}
	p.pace.run(!p.idle())
}

func (p *Progress) committed(e ChunkCommitted) {
	p.at.Chunks++
	p.at.ChunkRows = e.NextRows
	p.seen[e.Pass] += e.Chunk.RowsSeen
	for _, n := range e.Chunk.RowsChanged {
		p.at.RowsChanged += n
	}
	p.pace.add(e.Chunk.RowsSeen)
	w := p.worker(e.Worker)
	w.Segment, w.Seq, w.Rows, w.Took = e.Chunk.Segment, e.Chunk.Seq, e.Chunk.RowsSeen, e.Chunk.Duration
	w.Trouble, w.Waiting = "", ""
}

func (p *Progress) waiting(e Waiting, now time.Time) {
	if e.Worker == 0 {
		p.at.Waiting = e.Reason
		return
	}
	w := p.worker(e.Worker)
	if w.Waiting == "" {
		w.Since = now
	}
	w.Waiting = e.Reason
}

func (p *Progress) worker(id int) *WorkerProgress {
	if p.workers[id] == nil {
		p.workers[id] = &WorkerProgress{Worker: id}
	}
	return p.workers[id]
}

// idle reports whether nothing can be written now: such time counts neither for the pace nor
// for the ETA. Waiting for the rate limit is not idle, it is the pace.
func (p *Progress) idle() bool {
	if p.at.Ended || p.at.Waiting != "" || p.at.State == StatePaused {
		return true
	}
	waits := 0
	for _, w := range p.workers {
		if w.Segment != 0 && w.Waiting == "" {
			return false
		}
		if w.Waiting != "" {
			waits++
		}
	}
	return waits > 0
}

// Snapshot is how far the run is now.
func (p *Progress) Snapshot() ProgressSnapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.pace.advance(now)
	s := p.at
	if s.Task != "" {
		s.TaskFor = now.Sub(p.task)
	}
	walked := p.seen[PassWalk] + p.seen[PassTail]
	s.RowsSeen = walked
	if s.Pass.Sweeps() {
		s.EstimatedRows = max(walked, 1)
		s.RowsSeen = min(p.seen[s.Pass], s.EstimatedRows) // what is looked at twice is no progress
	}
	s.Fraction = Fraction(s.RowsSeen, s.EstimatedRows, s.State == StateFinished || s.State == StateUndone)
	s.RowsPerSecond = p.pace.rate(paceNow)
	s.ETA = ETA(s.RowsSeen, s.EstimatedRows, p.pace.rate(paceLong))
	s.Elapsed, s.Active = p.pace.elapsed(now), p.pace.active
	for _, w := range slices.SortedFunc(maps.Values(p.workers), func(a, b *WorkerProgress) int { return cmp.Compare(a.Worker, b.Worker) }) {
		switch {
		case w.Segment != 0:
			s.Busy++
		case p.wanted > 0 && w.Worker > p.wanted:
			continue // taken away
		}
		s.Workers = append(s.Workers, *w)
	}
	return s
}

// Stopped reports whether the run is paused: it has no pace then, and nobody knows when it will
// be over.
func (s ProgressSnapshot) Stopped() bool { return s.State == StatePaused }

// Why is why rows are not being written, in one line: the wait of the whole process, or that
// of its workers where none of them is at work. It is "" where something is being written.
func (s ProgressSnapshot) Why() string {
	if s.Waiting != "" {
		return s.Waiting
	}
	why := ""
	for _, w := range s.Workers {
		switch {
		case w.Waiting == "" && w.Segment != 0:
			return ""
		case w.Waiting == "":
		case why == "":
			why = w.Waiting
		}
	}
	return why
}

// Doing is what is done once at the moment, and for how long; "" where nothing is, or it waits for something else.
func (s ProgressSnapshot) Doing() string {
	if s.Task == "" || s.Waiting != "" && s.Waiting != s.Task {
		return ""
	}
	return fmt.Sprintf("%s, for %s", s.Task, s.TaskFor.Truncate(time.Second))
}

// firstLine is the first line of an error's text.
func firstLine(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
