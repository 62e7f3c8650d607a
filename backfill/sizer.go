package backfill

import (
	"slices"
	"sync"
	"time"
)

const (
	// firstChunkRows is where the servo starts, before it has measured anything.
	firstChunkRows = 1000
	// sparseChunkRows bounds how far chunks in which little changed may make it grow: they
	// say nothing about the dense ones that may come next.
	sparseChunkRows = 10_000
	// sizerGrowth bounds one step up, sizerPanic is how far over the target one chunk must be
	// for the size to drop to a tenth at once, and sizerSamples how many chunks of one size are
	// looked at together.
	sizerGrowth  = 1.5
	sizerPanic   = 5
	sizerSamples = 10
	// sizerEnough is how many chunks of a size must have been seen before it grows. One is enough
	// until a size was too large: it starts far below what most tables bear.
	sizerEnough = 2
	// sizerHeld is for how many chunks a size is kept that it was in vain to make smaller.
	sizerHeld = 64
)

// sizer finds how many rows a chunk should have, as a servo on time: the 90th percentile
// of recent chunks of the size in use is held at the target. All workers share one.
type sizer struct {
	mu     sync.Mutex
	rows   int
	target time.Duration
	most   int
	fixed  int
	// bound is what most cannot exceed, whatever is set; 0 is nothing.
	bound int
	// sparse is set in a sweep, whose chunks read much and change next to nothing: their size is
	// not measured, and only what fails makes it smaller.
	sparse bool
	// shrunk is set once a size was too large.
	shrunk  bool
	samples []time.Duration
	// higher is the size that it was made smaller from, and how long its chunks took; held is for how many more chunks that one is kept,
	// since half of the rows took as long.
	higher sized
	held   int
}

// sized is how long chunks of a size take.
type sized struct {
	rows int
	took time.Duration
}

func newSizer(p Pace, sparse bool) *sizer {
	s := &sizer{rows: firstChunkRows, sparse: sparse}
	if sparse { // a sweep reads much and writes next to nothing
		s.rows = sweepRows
	}
	s.set(p)
	return s
}

// set takes new limits; the size learned so far stays, within them.
func (s *sizer) set(p Pace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.target, s.most, s.fixed = p.ChunkTarget, max(p.ChunkMaxRows, 1), p.ChunkRows
	if s.bound > 0 {
		s.most = min(s.most, s.bound)
	}
	if s.sparse {
		s.most = sweepRows
	}
	s.rows = min(s.rows, s.most)
}

// next is the size to use now.
func (s *sizer) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fixed > 0 && !s.sparse {
		return s.fixed
	}
	return s.rows
}

// took says that a chunk of a size held so many rows, changed so many of them, and took so
// long, waits for limits and queues not counted.
func (s *sizer) took(size int, seen, changed int64, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fixed > 0 || s.target <= 0 || s.sparse {
		return
	}
	if s.keeps(d) {
		return
	}
	if d > sizerPanic*s.target && size <= s.rows {
		s.lower(size, size/10, d)
		return
	}
	if size != s.rows || seen < int64(size) { // of another size, or the short end of a segment
		return
	}
	s.samples = append(s.samples, d)
	if len(s.samples) > sizerSamples {
		s.samples = s.samples[1:]
	}
	if s.shrunk && len(s.samples) < sizerEnough {
		return
	}
	sorted := slices.Sorted(slices.Values(s.samples))
	p90 := max(sorted[len(sorted)*9/10], time.Microsecond)
	ideal := float64(s.rows) * float64(s.target) / float64(p90)
	want := int(min(ideal, float64(s.rows)*sizerGrowth, float64(s.most)))
	if changed*2 < seen {
		want = min(want, max(s.rows, sparseChunkRows))
	}
	switch {
	case want > s.rows*11/10:
		s.higher = sized{}
		s.resize(want)
	case want < s.rows*9/10:
		s.lower(s.rows, want, p90)
	}
}

// lower makes the size smaller, whose chunks take too long: unless twice as many rows took no longer. What a chunk costs however few its rows
// are, as where its plan reads all of a table that it joins, is not made less by it, and one row at a time would never come to an end.
func (s *sizer) lower(size, want int, took time.Duration) {
	switch {
	case s.higher.rows == 0:
		s.higher = sized{size, took}
	case size <= s.higher.rows/2 && took > s.higher.took*4/5:
		s.held = sizerHeld
		s.resize(s.higher.rows)
		return
	case size <= s.higher.rows/2:
		s.higher = sized{size, took}
	}
	s.resize(want)
}

// keeps reports whether the size is kept though its chunks take too long: for so many chunks, and while they take no longer than they did.
func (s *sizer) keeps(took time.Duration) bool {
	if s.held == 0 {
		return false
	}
	s.held--
	if took > s.higher.took*5/4 {
		s.held = 0
	}
	if s.held == 0 {
		s.higher = sized{}
	}
	return s.held > 0
}

// shrink says that a chunk of a size was too much for the server.
func (s *sizer) shrink(size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if (s.fixed == 0 || s.sparse) && size <= s.rows {
		s.resize(size / 2)
	}
}

func (s *sizer) resize(rows int) {
	s.shrunk = s.shrunk || rows < s.rows
	s.rows = min(max(rows, 1), s.most)
	s.samples = s.samples[:0]
}
