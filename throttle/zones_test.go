package throttle_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pgbackfill/pgbackfill/throttle"
)

// steps takes a reading a second for so long and returns every number of workers that the zones went to, with when.
func steps(z *throttle.Zones, d time.Duration, load func(second int) throttle.Load) (went []int, when []int) {
	last := z.Workers()
	for s := range int(d / time.Second) {
		if n := z.Step(load(s)); n != last {
			went, when, last = append(went, n), append(when, s), n
		}
		time.Sleep(time.Second)
	}
	return went, when
}

func always(u float64) func(int) throttle.Load {
	return func(int) throttle.Load { return throttle.Load{Utilisation: u, Known: true} }
}

// Made to fail: each bound moved by 0.05 fails one of them.
func TestZones(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		utilisation float64
		went        []int // from 8 workers, in three minutes
	}{
		{0, []int{9, 10, 11, 12}},
		{0.38, []int{9, 10, 11, 12}},
		{0.42, nil},
		{0.68, nil},
		{0.72, []int{7, 6, 5, 4, 3, 2, 1}},
		{0.97, []int{7, 6, 5, 4, 3, 2, 1}},
		{1.03, []int{7, 3, 1}},
		{50, []int{7, 3, 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			z := throttle.NewZones(12)
			steps(z, 46*time.Second, always(0.9))
			if steps(z, time.Minute, always(0.55)); z.Workers() != 8 {
				t.Fatalf("four decreases from 12: %d", z.Workers())
			}
			went, _ := steps(z, 3*time.Minute, always(c.utilisation))
			if diff := cmp.Diff(c.went, went); diff != "" {
				t.Errorf("utilisation %v (-want +got):\n%s", c.utilisation, diff)
			}
		})
	}
}

// Made to fail: with `stepped` set at increases only, an increase follows a decrease at once.
func TestZonesStepOnceInFifteenSeconds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		loads := rapid.SliceOfN(rapid.Float64Range(0, 2), 60, 300).Draw(rt, "loads")
		most := rapid.IntRange(1, 40).Draw(rt, "most")
		synctest.Test(t, func(*testing.T) {
			z := throttle.NewZones(most)
			last := most
			went, when := steps(z, time.Duration(len(loads))*time.Second, func(s int) throttle.Load {
				return throttle.Load{Utilisation: loads[s], Known: true}
			})
			for i, n := range went {
				if n < 1 || n > most || n > last+1 || n < last/2 {
					rt.Fatalf("from %d to %d workers", last, n)
				}
				if i > 0 && when[i]-when[i-1] < 15 {
					rt.Fatalf("steps at seconds %v", when)
				}
				last = n
			}
		})
	})
}

// Made to fail: with a weight of 1 for the newest reading, the spike takes half of the workers.
func TestOneSpikeMovesNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		z := throttle.NewZones(8)
		went, _ := steps(z, time.Minute, func(s int) throttle.Load {
			if s == 30 {
				return throttle.Load{Utilisation: 1.4, Known: true}
			}
			return throttle.Load{Utilisation: 0.3, Known: true}
		})
		if len(went) > 0 {
			t.Errorf("it went to %v", went)
		}
	})
}

func TestStaleLoadHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		z := throttle.NewZones(8)
		went, _ := steps(z, time.Minute, func(int) throttle.Load { return throttle.Load{Utilisation: 1.5, Known: true, Stale: true} })
		if len(went) > 0 {
			t.Errorf("it went to %v", went)
		}
	})
}

// Made to fail: a Step that does not look at pinned halves the eight.
func TestPinnedWorkersStay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		z := throttle.NewZones(4)
		z.Pin(8)
		if went, _ := steps(z, time.Minute, always(1.5)); len(went) > 0 || z.Workers() != 8 {
			t.Errorf("it went to %v", went)
		}
		z.Limit(6)
		if z.Workers() != 6 {
			t.Errorf("%d workers", z.Workers())
		}
		if steps(z, 16*time.Second, always(1.5)); z.Workers() != 1 {
			t.Errorf("not pinned any more, and %d workers", z.Workers())
		}
		z.Limit(20)
		if z.Workers() != 1 {
			t.Errorf("a higher limit made it %d workers at once", z.Workers())
		}
	})
}
