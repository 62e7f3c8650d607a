package throttle

import (
	"sort"
	"sync"
	"time"
)

// position is a place in the write-ahead log, in bytes from its beginning.
type position uint64

// walClock remembers where the primary's log was when, so that a place in the log becomes a moment. Time is this
// process's own and monotonic: no other machine's clock is asked.
type walClock struct {
	mu      sync.Mutex // guards samples
	samples []walSample
}

type walSample struct {
	at  time.Time
	pos position
}

// clockSamples bounds what is remembered; past it the older half loses every second sample.
const clockSamples = 4096

// saw takes a sample: at the moment at, the log was at pos. A place before an earlier one is another server's log, or
// one that was taken back: what is remembered means nothing then.
func (c *walClock) saw(at time.Time, pos position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.samples); n > 0 {
		last := &c.samples[n-1]
		switch {
		case pos < last.pos:
			c.samples = c.samples[:0]
		case at.Before(last.at): // two readers, and this one was slow
			return
		case pos == last.pos:
			last.at = at // nothing was written until now
			return
		}
	}
	c.samples = append(c.samples, walSample{at, pos})
	if len(c.samples) > clockSamples {
		half := len(c.samples) / 2
		kept := c.samples[:0]
		for i, s := range c.samples {
			if i >= half || i%2 == 0 {
				kept = append(kept, s)
			}
		}
		c.samples = kept
	}
}

// reset forgets everything.
func (c *walClock) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.samples = c.samples[:0]
}

// newest is the latest sample; ok is false where there is none.
func (c *walClock) newest() (s walSample, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.samples) == 0 {
		return walSample{}, false
	}
	return c.samples[len(c.samples)-1], true
}

// at is where the log was at a moment, false where that was before the first sample. After the newest sample it is taken to
// be where it was then.
func (c *walClock) at(t time.Time) (position, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.samples)
	if n == 0 || t.Before(c.samples[0].at) {
		return 0, false
	}
	i := sort.Search(n, func(i int) bool { return c.samples[i].at.After(t) }) // the first one after t
	if i == n {
		return c.samples[n-1].pos, true
	}
	a, b := c.samples[i-1], c.samples[i]
	part := float64(t.Sub(a.at)) / float64(b.at.Sub(a.at))
	return a.pos + position(part*float64(b.pos-a.pos)), true
}

// behind is how long before now the primary passed a place in the log, 0 where it has not yet. It is false where that
// was before the first sample: then the time is at least what is returned.
func (c *walClock) behind(pos position, now time.Time) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.samples)
	if n == 0 {
		return 0, false
	}
	if pos >= c.samples[n-1].pos {
		return 0, true
	}
	if pos < c.samples[0].pos {
		return now.Sub(c.samples[0].at), false
	}
	i, j := 0, n-1 // samples[i] is at or before pos, samples[j] after it
	for j-i > 1 {
		if mid := (i + j) / 2; c.samples[mid].pos <= pos {
			i = mid
		} else {
			j = mid
		}
	}
	// Between two samples the log is taken to have grown evenly.
	a, b := c.samples[i], c.samples[j]
	part := float64(pos-a.pos) / float64(b.pos-a.pos)
	return now.Sub(a.at.Add(time.Duration(part * float64(b.at.Sub(a.at))))), true
}
