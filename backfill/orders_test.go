package backfill

import (
	"testing"
)

// A worker that is told to work counts as one that works from that moment on: a pause that is heard before it has begun its chunk
// is not said to be reached.
//
// Made to fail: with the count taken down after the decision, as it was, two workers are still counted as waiting.
func TestWhoMayWorkDoesNotWait(t *testing.T) {
	t.Parallel()
	e := &engine{plan: &Plan{Job: Job{Name: "test"}}, changed: make(chan struct{}), active: 2, maxChunks: 1}
	e.paceNow.Store(&Pace{Workers: 2})
	decides := func(was bool, desired Desired, wait bool, parked int, because error) {
		t.Helper()
		e.orders.Desired = desired
		got, _, _, err := e.decide(2, was)
		if got != wait || e.parked != parked || err != because {
			t.Errorf("wait %t with %d parked and %v; expected %t with %d and %v", got, e.parked, err, wait, parked, because)
		}
	}
	decides(false, DesiredRunning, false, 0, nil)
	decides(false, DesiredPaused, true, 1, nil)
	decides(true, DesiredPaused, true, 1, nil) // woken for nothing
	decides(false, DesiredPaused, true, 2, nil)
	decides(true, DesiredRunning, false, 1, nil)
	decides(true, DesiredRunning, false, 0, nil)
	decides(false, DesiredPaused, true, 1, nil)
	e.chunks.Store(1) // there is nothing more to do for it, pause or not
	decides(true, DesiredPaused, false, 0, errEnough)
	e.chunks.Store(0)
	e.paceNow.Store(&Pace{Workers: 1})
	decides(false, DesiredPaused, false, 0, errSurplus)
}
