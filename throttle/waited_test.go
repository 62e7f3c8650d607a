package throttle_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbackfill/pgbackfill/throttle"
)

// Every worker counts for itself, and a wait counts while it lasts: a gate that is shut for an hour shows as an hour in
// every scrape, not in the first one after it.
//
// Made to fail: with a wait counted at its end, nothing has been waited for after ten seconds.
func TestWaitsAreCountedWhileTheyLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fake{name: "queue", reading: lag(12)}
		off := throttle.Limits{
			Lag: throttle.LagLimits{Max: throttle.Off, MaxBytes: throttle.Off}, Slots: throttle.SlotLimits{MaxBytes: throttle.Off}, ArchiveMaxSegments: throttle.Off,
			YieldAfter: throttle.Off, SnapshotMaxAge: throttle.Off,
		}
		th, err := throttle.New(throttle.Options{Primary: nobody{}, Limits: off, Rate: 10, Signals: []throttle.Signal{s}})
		if err != nil {
			t.Fatal(err)
		}
		defer running(t, th)()
		synctest.Wait()
		ended := make(chan error, 2)
		for range 2 {
			go func() { ended <- th.Wait(t.Context(), 100) }()
		}
		synctest.Wait()
		time.Sleep(10 * time.Second)
		if w := th.Waited(); w != (throttle.Waited{Gate: 20 * time.Second}) {
			t.Errorf("two that wait for 10 s have waited %+v", w)
		}
		s.set(lag(1))
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Fatal(err)
		}
		w := th.Waited()
		if w.Rate < 9*time.Second || w.Replicas != 0 {
			t.Errorf("200 rows at 10 a second: %+v", w)
		}
		time.Sleep(time.Minute)
		if after := th.Waited(); after != w {
			t.Errorf("nobody waits, and it counts on: %+v, before %+v", after, w)
		}
	})
}
