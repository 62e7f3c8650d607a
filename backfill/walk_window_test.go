package backfill

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Chunks of any sizes, in and out of windows, from the beginning of a segment or from where another process has left it, come to every page
// of it once as a whole, or once in each pass, the passes of a window in order; and a key says the same when it is read again.
//
// Made to fail: with a window that ends a page early, the page is in no pass; with a divided segment cut within a window, its last pass is.
func TestWindowsCoverEveryPage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := HeapWalk{RowsPerBlock: rapid.Float64Range(1, 60).Draw(t, "rows a page"), Stripes: &Striping{
			Stripes: pgsql.Stripes{Of: rapid.IntRange(2, 4).Draw(t, "stripes"), Columns: []string{"id"}}, Window: rapid.Int64Range(0, 60).Draw(t, "window"),
		}}
		first := rapid.Int64Range(0, 50).Draw(t, "first")
		end := first + rapid.Int64Range(1, 300).Draw(t, "pages")
		h.Blocks = end
		done := map[int64][]int{} // the passes that each page has seen
		var walk func(seg Segment)
		walk = func(seg Segment) {
			for after, n := seg.Range.After, 0; ; n++ {
				if n > 10_000 {
					t.Fatal("the walk does not end")
				}
				if spotOf(after).key().String() != after.String() && after != nil {
					t.Fatalf("%s is read as %s", after, spotOf(after).key())
				}
				rows := rapid.IntRange(1, 500).Draw(t, "rows")
				if rapid.IntRange(0, 30).Draw(t, "split") == 0 {
					if at := h.middle(after, seg, rows); !at.last && !slices.Equal(at.through, after) {
						walk(Segment{Range: KeyRange{After: after, Through: at.through}})
						walk(Segment{Range: KeyRange{After: at.through, Through: seg.Range.Through}})
						return
					}
				}
				next := h.boundary(after, seg, rows, func() bool { return rapid.Bool().Draw(t, "opens") })
				from, to, pass, of := stretch(KeyRange{After: after, Through: next.through})
				if from >= to || of > 0 && of != h.Stripes.Of {
					t.Fatalf("from %s to %s there are pages %d to %d of pass %d of %d", after, next.through, from, to, pass, of)
				}
				for page := from; page < to; page++ {
					done[page] = append(done[page], pass)
				}
				if after = next.through; next.last {
					return
				}
			}
		}
		seg := Segment{Range: KeyRange{Through: blockKey(end)}}
		if first > 0 {
			seg.Range.After = blockKey(first)
		}
		walk(seg)
		every := []int{}
		for pass := range h.Stripes.Of {
			every = append(every, pass+1)
		}
		for page := range end + 5 {
			is, whole := done[page], page < first || page >= end
			if whole && len(is) > 0 || !whole && fmt.Sprint(is) != "[0]" && !slices.Equal(is, every) {
				t.Fatalf("page %d of %d to %d has seen passes %v", page, first, end, is)
			}
		}
	})
}
