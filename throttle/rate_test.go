package throttle_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/pgbackfill/pgbackfill/throttle"
)

func newRate(t interface{ Fatal(...any) }, limit float64) *throttle.Rate {
	r, err := throttle.NewRate(limit)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// pass is one chunk let through.
type pass struct {
	at     time.Time
	worker int
	rows   int
}

// drive lets workers take chunks for so long and returns what was let through, in order.
func drive(r *throttle.Rate, workers int, rows func(worker, n int) int, d time.Duration) []pass {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var mu sync.Mutex
	var list []pass
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for n := 0; ; n++ {
				take := rows(w, n)
				if r.Wait(ctx, take) != nil {
					return
				}
				mu.Lock()
				list = append(list, pass{time.Now(), w, take})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return list
}

func TestNeverAboveTheLimitOverAnyWindowPlusOneChunk(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.Float64Range(50, 50_000).Draw(rt, "rows per second")
		workers := rapid.IntRange(1, 8).Draw(rt, "workers")
		// Some 200 chunks fit in: every pair of them is a window below.
		sizes := rapid.SliceOfN(rapid.IntRange(max(1, int(limit/4)), int(limit*4)), 1, 10).Draw(rt, "chunk sizes")
		largest := 0
		for _, s := range sizes {
			largest = max(largest, s)
		}
		synctest.Test(t, func(*testing.T) {
			passes := drive(newRate(rt, limit), workers,
				func(w, n int) int { return sizes[(w+n)%len(sizes)] }, time.Minute)
			for i := range passes {
				sum := 0
				for _, p := range passes[i:] {
					sum += p.rows
					allowed := limit*p.at.Sub(passes[i].at).Seconds() + float64(largest)
					if float64(sum) > allowed+1 {
						rt.Fatalf("%d rows in %v; at most %.0f are allowed", sum, p.at.Sub(passes[i].at), allowed)
					}
				}
			}
		})
	})
}

func TestReachesTheLimitWithChunksOfAnySize(t *testing.T) {
	t.Parallel()
	for _, rows := range []int{1, 100, 10_000} {
		synctest.Test(t, func(t *testing.T) {
			sum := 0
			for _, p := range drive(newRate(t, 1000), 4, func(int, int) int { return rows }, 100*time.Second) {
				sum += p.rows
			}
			if sum < 99_000 || sum > 100_000+rows {
				t.Errorf("chunks of %d: %d rows in 100 s at 1000 rows/s", rows, sum)
			}
		})
	}
}

func TestFirstChunkStartsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if err := newRate(t, 1).Wait(t.Context(), 50_000); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("waited %v", d)
		}
	})
}

func TestZeroIsNoLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, begin := newRate(t, 0), time.Now()
		for range 1000 {
			if err := r.Wait(t.Context(), 1_000_000); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("waited %v", d)
		}
	})
}

func TestChangeAppliesAtOnceAlsoToThoseWhoWait(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		to      float64
		atLeast time.Duration
		atMost  time.Duration
	}{
		{"faster", 1000, 10 * time.Second, 11 * time.Second},
		{"slower", 10, 900 * time.Second, 1000 * time.Second},
		{"none", 0, 10 * time.Second, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, begin := newRate(t, 100), time.Now()
				done := make(chan time.Duration)
				if err := r.Wait(t.Context(), 10_000); err != nil {
					t.Fatal(err)
				}
				go func() {
					_ = r.Wait(t.Context(), 10_000) // due 100 s after the first
					done <- time.Since(begin)
				}()
				time.Sleep(10 * time.Second)
				r.SetRate(c.to)
				if c.name == "faster" { // 1000 rows are paid for already, 9000 more take 9 s
					c.atLeast, c.atMost = 18*time.Second, 20*time.Second
				}
				if got := <-done; got < c.atLeast || got > c.atMost {
					t.Errorf("let through after %v; expected %v to %v", got, c.atLeast, c.atMost)
				}
			})
		})
	}
}

func TestEndedContextReturnsAtOnceAndTakesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, begin := newRate(t, 100), time.Now()
		if err := r.Wait(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 3 { // one waits for its time, two for their turn
			wg.Go(func() {
				if err := r.Wait(ctx, 1000); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Wait returned %v", err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(begin); d != time.Second {
			t.Errorf("returned after %v", d)
		}
		if err := r.Wait(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin).Round(time.Millisecond); d != 10*time.Second {
			t.Errorf("the next chunk started after %v: those that left had taken rows", d)
		}
	})
}

func TestEndedContextIsRefusedWithoutALimit(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newRate(t, 0).Wait(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait returned %v", err)
	}
}

func TestWorkersShareFairly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		share := make([]int, 8)
		for _, p := range drive(newRate(t, 10_000), len(share), func(int, int) int { return 500 }, 100*time.Second) {
			share[p.worker]++
		}
		for w, n := range share { // 2000 chunks over 8 workers
			if n < 245 || n > 255 {
				t.Errorf("worker %d got %d chunks of %v", w, n, share)
			}
		}
	})
}

func TestNumbersThatAreNoLimit(t *testing.T) {
	t.Parallel()
	for _, bad := range []float64{-1, math.NaN(), math.Inf(1), math.Inf(-1)} {
		if _, err := throttle.NewRate(bad); err == nil {
			t.Errorf("NewRate(%v) was accepted", bad)
		}
		r := newRate(t, 0)
		r.SetRate(bad)
		if err := r.Wait(t.Context(), 1); err == nil {
			t.Errorf("SetRate(%v) let rows through", bad)
		}
		r.SetRate(100)
		if err := r.Wait(t.Context(), 1); err != nil {
			t.Errorf("after SetRate(100): %v", err)
		}
	}
}
