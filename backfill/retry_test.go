package backfill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
)

// What always runs into the statement timeout, between the chunks, is not waited for without an end.
//
// Made to fail: with no bound on the tries it is asked for ever.
func TestWhatIsAlwaysTooSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &engine{plan: &Plan{}, observe: func(Event) {}, changed: make(chan struct{}), orders: Orders{Desired: DesiredRunning}}
		e.paceNow.Store(&Pace{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began, asked := time.Now(), 0
		err := e.patiently(ctx, func(context.Context) error {
			asked++
			return &pgconn.PgError{Code: "57014"}
		})
		if pgerr.Code(err) != "57014" || asked < 5 || time.Since(began) > 5*time.Minute {
			t.Errorf("asked %d times in %s, and then %v", asked, time.Since(began), err)
		}
	})
}

// A place that fails is closed in on by tenths, down to the one row, which is set aside at its second failure; chunks then grow
// again step by step. So one bad row of a chunk costs some tens of tries, and not one for each of the rows it came with.
//
// Made to fail: with one bound that is kept until the chunk that failed first is behind (as it was while the first such row
// stopped the run), 999 tries are of one row.
func TestAttemptsCloseIn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bad  []int
		most int
	}{
		"one":       {[]int{4_637}, 40},
		"neighbour": {[]int{4_637, 4_638, 4_639}, 50},
		"spread":    {[]int{1, 999, 1000, 1001, 7_777, 20_000}, 6 * 40},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const rows, size = 20_000, 1000
			a := newAttempts(Segment{No: 1})
			var aside, sizes []int
			done, tries := 0, 0
			for ; done < rows && tries < 1000; tries++ {
				n := min(size, rows-done)
				if most := a.most(); most > 0 {
					n = min(n, most)
				}
				chunk := Chunk{size: n, RowsSeen: int64(n), Range: KeyRange{Through: Key{fmt.Sprint(done + n)}}, last: done+n == rows}
				holds := slices.ContainsFunc(c.bad, func(bad int) bool { return done < bad && bad <= done+n })
				switch {
				case holds && n > 1:
					a.narrower(chunk)
					continue
				case holds && !a.failedTwice(chunk):
					continue
				case holds:
					aside = append(aside, done+1)
				}
				sizes = append(sizes, n)
				done += n
				a.succeeded(chunk)
			}
			if !slices.Equal(aside, c.bad) {
				t.Errorf("set aside: %v; expected %v", aside, c.bad)
			}
			if more := tries - rows/size; more > c.most {
				t.Errorf("%d tries more than without a bad row; expected at most %d", more, c.most)
			}
			if name == "one" && slices.Min(sizes[len(sizes)-10:]) != size {
				t.Errorf("the last chunks are of %v rows; expected full ones", sizes[len(sizes)-10:])
			}
		})
	}
}

// serve simulates a server that takes so long for so many rows, and returns the sizes of n chunks.
func serve(s *sizer, n int, took func(rows int) time.Duration, changed float64) []int {
	var sizes []int
	for range n {
		rows := s.next()
		sizes = append(sizes, rows)
		s.took(rows, int64(rows), int64(float64(rows)*changed), took(rows))
	}
	return sizes
}

// The servo brings chunks to their target and keeps them there, over a noisy server, and steps up by half at most.
//
// Made to fail: with the growth unbounded the second size is ten times the first; with the median in the place of the 90th
// percentile half of the chunks take longer than the target.
func TestSizerFindsTheTarget(t *testing.T) {
	t.Parallel()
	for _, perRow := range []time.Duration{2 * time.Microsecond, 10 * time.Microsecond, 300 * time.Microsecond, 20 * time.Millisecond} {
		r := rand.New(rand.NewPCG(1, 2))
		s := newSizer(Pace{ChunkTarget: 100 * time.Millisecond, ChunkMaxRows: 50_000}, false)
		var times []time.Duration
		sizes := serve(s, 400, func(rows int) time.Duration {
			times = append(times, time.Duration(float64(rows)*float64(perRow)*(0.8+0.4*r.Float64())))
			return times[len(times)-1]
		}, 1)
		ideal := min(int(100*time.Millisecond/perRow), 50_000)
		for _, n := range sizes[200:] {
			if n < ideal*6/10 || n > ideal*125/100 {
				t.Errorf("at %s a row a chunk has %d rows; expected about %d", perRow, n, ideal)
				break
			}
		}
		over := 0
		for _, d := range times[200:] {
			if d > 100*time.Millisecond {
				over++
			}
		}
		if over > 60 {
			t.Errorf("at %s a row %d of 200 chunks took longer than the target; expected about a tenth of them", perRow, over)
		}
		for i := 1; i < len(sizes); i++ {
			if sizes[i] > sizes[i-1]*16/10+1 {
				t.Errorf("at %s a row the size went from %d to %d in one step", perRow, sizes[i-1], sizes[i])
			}
		}
	}
}

// At first every quick chunk makes the next one larger; once a size was too large it takes two.
//
// Made to fail: with two chunks a size from the beginning, and with one to the end.
func TestSizerGrowsFastUntilItShrank(t *testing.T) {
	t.Parallel()
	s := newSizer(Pace{ChunkTarget: 100 * time.Millisecond, ChunkMaxRows: 50_000}, false)
	quick := func(int) time.Duration { return time.Millisecond }
	if sizes := serve(s, 4, quick, 1); !slices.Equal(sizes, []int{1000, 1500, 2250, 3375}) {
		t.Errorf("the first sizes are %v", sizes)
	}
	s.shrink(s.next())
	if sizes := serve(s, 4, quick, 1); sizes[0] != sizes[1] || sizes[1] >= sizes[2] || sizes[2] != sizes[3] {
		t.Errorf("the sizes after one that was too large are %v", sizes)
	}
}

// One chunk that takes five times the target and more brings the size to a tenth at once.
//
// Made to fail: without the panic, the next chunk is as large.
func TestSizerPanics(t *testing.T) {
	t.Parallel()
	s := newSizer(Pace{ChunkTarget: 100 * time.Millisecond, ChunkMaxRows: 50_000}, false)
	before := s.next()
	s.took(before, int64(before), int64(before), time.Second)
	if got := s.next(); got != before/10 {
		t.Errorf("after a chunk of ten times the target the size went from %d to %d", before, got)
	}
}

// A chunk that costs as much with half of its rows is not made smaller down to a row: what does not depend on the rows is better paid for
// by many of them. Where it does depend on them again the size follows as before.
//
// Made to fail: without lower's second case the size ends at one row.
func TestSizerStopsWhereSmallerIsInVain(t *testing.T) {
	t.Parallel()
	for _, fixed := range []time.Duration{110 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second} {
		s := newSizer(Pace{ChunkTarget: 100 * time.Millisecond, ChunkMaxRows: 50_000}, false)
		r := rand.New(rand.NewPCG(3, 4))
		sizes := serve(s, 400, func(rows int) time.Duration {
			return time.Duration(float64(fixed)*(0.97+0.06*r.Float64())) + time.Duration(rows)*time.Microsecond
		}, 1)
		slices.Sort(sizes)
		if least, middle := sizes[0], sizes[200]; least < 50 || middle < 400 {
			t.Errorf("with %s a chunk the least size is %d and the middle one %d", fixed, least, middle)
		}
		sizes = serve(s, 200, func(rows int) time.Duration { return time.Duration(rows) * time.Millisecond }, 1)
		if last := sizes[199]; last < 60 || last > 120 {
			t.Errorf("the server is well again, and the size is %d", last)
		}
	}
}

// What says nothing about the next chunk does not move the size: the short end of a segment, a chunk of another size.
// Chunks in which next to nothing changed do not make it large.
//
// Made to fail: with short ends counted, the size grows; without the bound on sparse chunks it ends at the maximum.
func TestSizerKnowsWhatIsNoSample(t *testing.T) {
	t.Parallel()
	p := Pace{ChunkTarget: 100 * time.Millisecond, ChunkMaxRows: 50_000}
	s := newSizer(p, false)
	for range 50 {
		s.took(s.next(), 3, 3, time.Millisecond)
		s.took(s.next()/2, int64(s.next()/2), int64(s.next()/2), time.Millisecond)
	}
	if got := s.next(); got != firstChunkRows {
		t.Errorf("the size is %d; expected the first one, %d", got, firstChunkRows)
	}
	serve(s, 50, func(int) time.Duration { return time.Millisecond }, 0.01)
	if got := s.next(); got != sparseChunkRows {
		t.Errorf("after sparse chunks the size is %d; expected %d", got, sparseChunkRows)
	}
	fixed := newSizer(Pace{ChunkTarget: time.Millisecond, ChunkMaxRows: 50_000, ChunkRows: 77}, false)
	if sizes := serve(fixed, 20, func(int) time.Duration { return time.Second }, 1); slices.Min(sizes) != 77 || slices.Max(sizes) != 77 {
		t.Errorf("a fixed size moved: %v", sizes)
	}
}

// A lower maximum, and a statement that was too much for the server, hold at once; no size is below one row.
//
// Made to fail: without the bound below, the size is 0.
func TestSizerLimits(t *testing.T) {
	t.Parallel()
	s := newSizer(Pace{ChunkTarget: 100 * time.Millisecond, ChunkMaxRows: 50_000}, false)
	if s.set(Pace{ChunkTarget: 100 * time.Millisecond, ChunkMaxRows: 300}); s.next() != 300 {
		t.Errorf("the size is %d under a maximum of 300", s.next())
	}
	if s.shrink(300); s.next() != 150 {
		t.Errorf("the size is %d after 300 were too much", s.next())
	}
	if s.shrink(300); s.next() != 150 {
		t.Errorf("the size is %d after an older chunk of 300 was too much", s.next())
	}
	for range 20 {
		s.shrink(s.next())
	}
	if s.next() != 1 {
		t.Errorf("the size is %d; expected 1", s.next())
	}
	sweep := newSizer(Pace{ChunkTarget: time.Millisecond, ChunkMaxRows: 300, ChunkRows: 10}, true)
	if sweep.next() != sweepRows {
		t.Errorf("a sweep looks at %d rows; expected %d", sweep.next(), sweepRows)
	}
	if sweep.shrink(sweepRows); sweep.next() != sweepRows/2 {
		t.Errorf("a sweep looks at %d rows after %d were too much", sweep.next(), sweepRows)
	}
}
