package throttle

import (
	"sync"
	"time"
)

// Waited is for how long chunks have been kept waiting, by what kept them. Every worker counts for itself: two that wait
// for a second have waited two. The wait that is under way is in it.
type Waited struct {
	// Gate is the time before a shut gate, Replicas what the pace that holds the replicas' lag took, and Rate what the limit
	// of rows a second took.
	Gate, Replicas, Rate time.Duration
}

// stage is one of the things that a chunk waits for, in the order of [Waited]'s fields.
type stage int

const (
	atGate stage = iota
	forReplicas
	forRate
	stages
)

// waits adds up how long workers wait at each stage. The zero value is ready.
type waits struct {
	mu    sync.Mutex // guards what is below
	at    time.Time  // up to when total counts
	now   [stages]int
	total [stages]time.Duration
}

// begin counts one more who waits; what it returns ends that.
func (w *waits) begin(s stage) (end func()) {
	w.add(s, 1)
	return func() { w.add(s, -1) }
}

func (w *waits) add(s stage, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	w.now[s] += n
}

// advance counts what has passed. The caller holds mu.
func (w *waits) advance() {
	now := time.Now()
	for s, n := range w.now {
		w.total[s] += time.Duration(n) * now.Sub(w.at)
	}
	w.at = now
}

func (w *waits) waited() Waited {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	return Waited{Gate: w.total[atGate], Replicas: w.total[forReplicas], Rate: w.total[forRate]}
}
