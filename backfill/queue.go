package backfill

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// queuePoll is how often a worker with nothing to do looks whether there is something.
	queuePoll = 300 * time.Millisecond
	// stalledAfter is how long another process may be silent on a segment before a worker with
	// nothing else to do takes it over. It is about speed alone: the ledger keeps two that work
	// the same segment apart.
	stalledAfter = 2 * time.Second
	// splitChunks is how many chunks a straggler must still have to be worth dividing, and
	// splitRows bounds how far ahead its middle is looked for.
	splitChunks = 8
	splitRows   = 1_000_000
)

// errPassDone says that every segment of the pass is closed.
var errPassDone = errors.New("the pass is done")

// queue is this process's view of a pass's segments.
type queue struct {
	pass Pass
	mu   sync.Mutex
	list []SegmentState
	// holder is the worker that has a segment, by number.
	holder map[int]int
	// moved is when a segment's last ledger row was seen to change.
	moved map[int]time.Time
	// whole holds the segments that could not be divided, with the mark they had then.
	whole map[int]int
	// reach bounds how far ahead a segment's middle is looked for: it is half as far each time that
	// the segment moved on meanwhile, for who commits a chunk every tenth of a second cannot be
	// overtaken by a search that takes longer.
	reach map[int]int
	// next is the reading of the segments that whoever asks now waits for; reading is held by who reads.
	next    *listing
	reading sync.Mutex
	// freed is closed, and made anew, when a worker gives a segment back: others may have waited for it.
	freed chan struct{}
}

func newQueue(pass Pass, list []SegmentState) *queue {
	q := &queue{pass: pass, list: list, holder: map[int]int{}, moved: map[int]time.Time{}, whole: map[int]int{}, reach: map[int]int{}, freed: make(chan struct{})}
	for _, s := range list {
		q.moved[s.No] = time.Now()
	}
	return q
}

// states are the segments as far as is known; nil is none.
func (q *queue) states() []SegmentState {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.list)
}

// over reports whether it is known here, without a look at the ledger, that every segment is closed and its parts are as well. A crash may
// have taken some of that back: whoever ends the pass has the ledger prove it.
func (q *queue) over() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	parts := map[int]int{}
	for _, s := range q.list {
		parts[s.Parent]++
	}
	return len(q.list) > 0 && !slices.ContainsFunc(q.list, func(s SegmentState) bool {
		return !s.Done && (s.Fence != FenceSplit || parts[s.No] == 0)
	})
}

// take gives the worker a segment: the first that nobody has; where there is none, a part of
// the longest that somebody has; else it waits.
func (w *worker) take(ctx context.Context) (SegmentState, error) {
	try := newAttempts(Segment{})
	for fresh := false; ; {
		if err := w.mayWork(ctx, w.id); err != nil {
			return SegmentState{}, err
		}
		seg, open, freed := w.pick()
		switch {
		case seg != nil:
			return *seg, nil
		case w.queue.over():
			return SegmentState{}, errPassDone
		case !fresh:
			if err := w.refresh(ctx); err != nil {
				if err = w.passing(ctx, try, err); err != nil {
					return SegmentState{}, err
				}
				continue
			}
			fresh = true
		case !open:
			return SegmentState{}, errPassDone
		default:
			fresh = false
			if w.split(ctx) {
				continue
			}
			select { // others may finish one too
			case <-ctx.Done():
			case <-freed:
			case <-time.After(queuePoll / 2):
			}
		}
	}
}

// pick finds a segment to work on and notes that this worker has it. open is whether any
// segment of the pass is not closed, and freed is closed when a worker of this process next gives one back.
func (w *worker) pick() (seg *SegmentState, open bool, freed <-chan struct{}) {
	q := w.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.list {
		s := &q.list[i]
		if s.Closed() {
			continue
		}
		open = true
		if q.holder[s.No] != 0 {
			continue
		}
		if s.Owner != "" && time.Since(q.moved[s.No]) < stalledAfter {
			continue
		}
		q.holder[s.No] = w.id
		found := *s
		return &found, true, nil
	}
	return nil, open, q.freed
}

// listing is a reading of the segments that is not begun yet, for all who wait for it.
type listing struct {
	done chan struct{}
	err  error
}

// refresh reads the segments again: others split and finish them too. Workers that ask at once have one answer, which is of a time after each
// of them has asked: there is one way to the ledger, and they would wait for each other.
func (e *engine) refresh(ctx context.Context) error {
	q := e.queue
	q.mu.Lock()
	next := q.next
	if next != nil {
		q.mu.Unlock()
		select {
		case <-next.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if errors.Is(next.err, context.Canceled) { // of the one who read
			return e.refresh(ctx)
		}
		return next.err
	}
	next = &listing{done: make(chan struct{})}
	q.next = next
	q.mu.Unlock()
	next.err = e.list(ctx)
	close(next.done)
	return next.err
}

// list reads the segments, for all who have asked until it begins.
func (e *engine) list(ctx context.Context) error {
	q := e.queue
	q.reading.Lock() // by whoever reads now
	defer q.reading.Unlock()
	q.mu.Lock()
	q.next = nil
	q.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, graceMost)
	defer cancel()
	list, err := e.segments.List(ctx, q.pass)
	if err != nil {
		return err
	}
	q.mu.Lock()
	before := map[int]Mark{}
	for _, s := range q.list {
		before[s.No] = s.Mark
	}
	for _, s := range list {
		if old, known := before[s.No]; !known || old.Seq != s.Seq || q.moved[s.No].IsZero() {
			q.moved[s.No] = time.Now()
		}
	}
	q.list = slices.Clone(list) // the workers write their progress into it
	q.mu.Unlock()
	e.synced(list)
	return nil
}

// stillPlanned reports whether the run still has the segment as it was given to a worker.
func (e *engine) stillPlanned(ctx context.Context, seg Segment) (bool, error) {
	if err := e.refresh(ctx); err != nil {
		return false, err
	}
	q := e.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	return stillThere(q.list, seg), nil
}

// synced tells the observers what the ledger says of the pass, whoever did it.
func (e *engine) synced(list []SegmentState) {
	var s Synced
	for _, seg := range list {
		s.RowsSeen += seg.RowsSeen
		s.RowsChanged += seg.RowsChanged
	}
	s.Pass = e.queue.pass
	e.observe(s)
}

// progressed notes how far a segment is.
func (e *engine) progressed(no int, mark Mark) {
	q := e.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.list {
		if q.list[i].No == no {
			q.list[i].Mark = mark
		}
	}
}

// release gives a segment back, as far as it is. One that another process works on is left
// to it until it stalls.
func (e *engine) release(no int, mark Mark, err error) {
	if mark.Seq > 0 || mark.Closed() {
		e.progressed(no, mark)
	}
	q := e.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.holder, no)
	close(q.freed)
	q.freed = make(chan struct{})
	if errors.Is(err, errContested) {
		q.moved[no] = time.Now()
		for i := range q.list {
			if q.list[i].No == no {
				q.list[i].Owner = "another process"
			}
		}
	}
}

// held are the numbers of the segments this process works on.
func (e *engine) held() []int {
	q := e.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	held := make([]int, 0, len(q.holder))
	for no := range q.holder {
		held = append(held, no)
	}
	return held
}

// split divides the segment with most left to do at the middle of what is left, so that no
// worker idles at the end. It reports whether there is something new to take.
func (w *worker) split(ctx context.Context) bool {
	seg, rows := w.straggler()
	if rows == 0 {
		return false
	}
	if w.conn == nil || w.conn.IsClosed() {
		if err := w.reconnect(ctx); err != nil {
			return false
		}
	}
	after := seg.Watermark
	if seg.Seq == 0 {
		after = seg.Range.After
	}
	middle, err := w.middle(ctx, seg.Segment, after, rows)
	if err != nil || middle.last {
		w.cannotSplit(seg)
		return false
	}
	at := middle.through
	done, err := w.segments.Split(ctx, seg, at)
	if err == nil && !done {
		w.outrun(seg, rows)
	}
	if err != nil || !done { // look again
		return false
	}
	w.observe(SegmentSplit{Segment: seg.Segment, At: at})
	return true
}

// straggler is the open segment with most rows to go, and how far ahead its middle is; 0
// where none is worth dividing.
func (w *worker) straggler() (SegmentState, int) {
	q := w.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	var longest SegmentState
	var most int64
	for _, s := range q.list {
		left := s.EstimatedRows - s.RowsSeen
		if at, tried := q.whole[s.No]; s.Closed() || s.Nulls || tried && at == s.Seq {
			continue
		}
		if left > most {
			longest, most = s, left
		}
	}
	if most < int64(splitChunks*w.sizer().next()) {
		return SegmentState{}, 0
	}
	rows := int(min(most/2, splitRows))
	if reach, bounded := q.reach[longest.No]; bounded {
		rows = min(rows, reach)
	}
	return longest, rows
}

// outrun notes that a segment moved on while its middle was looked for so many rows ahead: a nearer
// place, down to that of the next few chunks, is found sooner.
func (w *worker) outrun(s SegmentState, rows int) {
	nearest := splitChunks / 2 * w.sizer().next()
	q := w.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reach[s.No] = max(rows/2, nearest)
}

func (w *worker) cannotSplit(s SegmentState) {
	q := w.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	q.whole[s.No] = s.Seq
}
