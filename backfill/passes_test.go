package backfill

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// walked builds what a walk over the keys 1 to n has left in the ledger: segments that were split again and again, and
// where their chunks ended.
type walked struct {
	rand *rand.Rand
	list []SegmentState
	cuts map[int][]Cut
}

func (w *walked) segment(parent, after, through int) int {
	no := len(w.list) + 1
	s := SegmentState{Segment: Segment{No: no, Pass: PassWalk, Parent: parent, Range: KeyRange{Through: at(through)}}}
	if after > 0 {
		s.Range.After = at(after)
	}
	w.list = append(w.list, s)
	return no
}

func at(n int) Key { return Key{strconv.Itoa(n)} }

// work does part of a segment and splits it, or all of it; a split gives numbers to both parts before they are worked.
func (w *walked) work(no, after, through, depth int) {
	if depth == 0 || through-after < 4 || w.rand.IntN(3) == 0 {
		w.chunks(no, after, through)
		return
	}
	mark := after + w.rand.IntN((through-after)/2) // may be where it begins: split before the first chunk
	w.chunks(no, after, mark)
	middle := mark + 1 + w.rand.IntN(through-mark-1)
	first, second := w.segment(no, mark, middle), w.segment(no, middle, through)
	parts := []func(){func() { w.work(first, mark, middle, depth-1) }, func() { w.work(second, middle, through, depth-1) }}
	for _, i := range w.rand.Perm(2) {
		parts[i]()
	}
}

func (w *walked) chunks(no, after, through int) {
	for after < through {
		end := min(after+1+w.rand.IntN(through-after), through)
		w.cuts[no] = append(w.cuts[no], Cut{Through: at(end), Rows: int64(end-after) * (sweepRows / 10)})
		after = end
	}
}

// The sweep's segments tile all that was walked, in the order of the keys, however often its segments were split and in
// whatever order the parts were worked, and each but the last has about sweepRows rows.
//
// Made to fail: with the cuts taken in the order of the segments' numbers, the segments go back and forth.
func TestSweepTilesTheWalk(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		w := &walked{rand: rand.New(rand.NewPCG(seed, 0)), cuts: map[int][]Cut{}}
		n := 20 + w.rand.IntN(200)
		nulls := w.rand.IntN(2) == 0
		if nulls {
			w.list = append(w.list, SegmentState{Segment: Segment{No: 1, Pass: PassWalk, Nulls: true}})
		}
		middle := n/3 + w.rand.IntN(n/3)
		for _, s := range [][3]int{{w.segment(0, 0, middle), 0, middle}, {w.segment(0, middle, n), middle, n}} {
			w.work(s[0], s[1], s[2], 4)
		}
		if err := checkSweep(sweepSegments(w.list, w.cuts, 1), len(w.list), n, nulls); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func checkSweep(swept []Segment, last, n int, nulls bool) error {
	end, rows := Key(nil), int64(0)
	for i, s := range swept {
		if s.No != last+1+i || s.Pass != PassSweep {
			return fmt.Errorf("segment %d has the number %d and the pass %s", i, s.No, s.Pass)
		}
		if s.Nulls {
			if !nulls {
				return fmt.Errorf("a segment for rows with a NULL in the key, of which there was none")
			}
			nulls = false
			continue
		}
		if diff := cmp.Diff(end, s.Range.After); diff != "" {
			return fmt.Errorf("segment %d does not begin where the one before ended: %s", i, diff)
		}
		if s.EstimatedRows < sweepRows && i < len(swept)-1 {
			return fmt.Errorf("segment %d has %d rows", i, s.EstimatedRows)
		}
		end = s.Range.Through
		rows += s.EstimatedRows
	}
	if nulls {
		return fmt.Errorf("no segment for the rows with a NULL in the key")
	}
	if diff := cmp.Diff(at(n), end); diff != "" || rows != int64(n)*(sweepRows/10) {
		return fmt.Errorf("the last segment ends elsewhere than the walk, or rows are missing (%d): %s", rows, diff)
	}
	return nil
}

// A table that is not large is swept by all workers: each finds two parts, none of them a crumb.
//
// Made to fail: with parts of sweepRows whatever the number of workers, three of four had nothing to do.
func TestSweepLeavesNobodyIdle(t *testing.T) {
	t.Parallel()
	var cuts []Cut
	for n := range 100 {
		cuts = append(cuts, Cut{Through: at((n + 1) * 1000), Rows: 1000})
	}
	list := []SegmentState{{Segment: Segment{No: 1, Pass: PassWalk, Range: KeyRange{Through: at(100_000)}}}}
	swept := sweepSegments(list, map[int][]Cut{1: cuts}, 4)
	if len(swept) < 8 || len(swept) > 9 {
		t.Fatalf("%d segments for 4 workers, want two for each", len(swept))
	}
	end := Key(nil)
	for _, s := range swept {
		if diff := cmp.Diff(end, s.Range.After); diff != "" {
			t.Errorf("segment %d does not begin where the one before ended: %s", s.No, diff)
		}
		end = s.Range.Through
	}
	if diff := cmp.Diff(at(100_000), end); diff != "" {
		t.Errorf("the last segment ends elsewhere than the walk: %s", diff)
	}
}

// Nothing walked is nothing to sweep.
func TestSweepOfNothing(t *testing.T) {
	t.Parallel()
	if swept := sweepSegments(nil, nil, 2); len(swept) != 0 {
		t.Errorf("segments: %v", swept)
	}
}
