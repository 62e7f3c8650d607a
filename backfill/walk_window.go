package backfill

import (
	"fmt"
	"math"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// windowChunks is how many chunks a pass over a window is at least made of. The room that a chunk makes is there for the next pass once
// every snapshot is gone that is older than its commit: those of other workers' chunks too. With less than four chunks in between, two
// workers keep each other from it.
const windowChunks = 4

// Striping is how rows are changed in several passes over a window of pages, each pass a part of the rows of every page: the first one sends
// its rows elsewhere, and the others find on their pages the room that it has left, once that is committed and nobody needs to see
// the old rows. Such an update is heap-only: no entry in any index, no other page.
type Striping struct {
	pgsql.Stripes
	// Window is how many pages a window has at most: so many that they stay in memory between two passes.
	Window int64 `json:"window"`
	// Room is which part of the rows is expected to find room on their own page, by a sample of the table.
	Room float64 `json:"room"`
}

// spot is a place in a walk in physical order: so many pages are done, as a whole or, within a window, in one of several passes.
type spot struct {
	// block is the next page.
	block int64
	// pass is which pass over the window is at it, from 1, and of how many there are; 0 is outside of a window.
	pass, of int
	// first and end are the window's first page, and the one after its last.
	first, end int64
}

// spotOf is the place that a key of [spot.key] names; an open end is the beginning.
func spotOf(k Key) spot {
	s := spot{block: blockOf(k)}
	if len(k) == 4 { // we wrote it
		_, _ = fmt.Sscanf(k[1], "%d/%d", &s.pass, &s.of)
		s.first, s.end = blockOf(k[2:]), blockOf(k[3:])
	}
	return s
}

// key names the place in the ledger, each place in one way: the ledger compares keys as they are written. Between pages it is that of
// [blockKey]; within a window the page comes first, then which of how many passes, then the window.
func (s spot) key() Key {
	if s.of == 0 {
		return blockKey(s.block)
	}
	return Key{blockKey(s.block)[0], fmt.Sprintf("%d/%d", s.pass, s.of), blockKey(s.first)[0], blockKey(s.end)[0]}
}

// on is the place so many pages further in a window. Where a pass is done that is the beginning of the next one, and where the last one
// is, the end of the window.
func (s spot) on(pages int64) spot {
	s.block += pages
	switch {
	case s.of == 0 || s.block < s.end:
		return s
	case s.pass == s.of:
		return spot{block: s.end}
	}
	s.block, s.pass = s.first, s.pass+1
	return s
}

// stretch is what lies between two places with no other end of a pass between them: pages, and the pass that is at them; 0 is none.
func stretch(r KeyRange) (from, to int64, pass, of int) {
	a, b := spotOf(r.After), spotOf(r.Through)
	switch {
	case b.of == 0 && a.of == 0:
		return a.block, b.block, 0, 0
	case b.of == 0:
		return a.block, a.end, a.pass, a.of
	case b.block == b.first: // a pass was done
		return a.block, b.end, b.pass - 1, b.of
	}
	return a.block, b.block, b.pass, b.of
}

// pages are those of a chunk of a walk in physical order.
func (h HeapWalk) pages(r KeyRange) pgsql.Part {
	from, to, pass, of := stretch(r)
	part := pgsql.Part{Range: pgsql.Range{Through: blockKey(to)}}
	if from > 0 || r.After != nil {
		part.Range.After = blockKey(from)
	}
	if of > 0 {
		stripes := h.Stripes.Stripes
		stripes.Of = of
		part.Stripe = &pgsql.Stripe{Stripes: stripes, No: pass - 1}
	}
	return part
}

// within is where a chunk of about so many rows ends that begins at a place within a window. All chunks of a pass but the last are
// of the same size, as long as that stays.
func (h HeapWalk) within(s spot, rows int) spot {
	pages := min(h.blocksFor(rows*s.of), ceilDiv(s.end-s.first, windowChunks))
	return s.on(min(pages, s.end-s.block))
}

// opened is the beginning of a window for chunks of about so many rows, at most up to an end.
func (h HeapWalk) opened(s spot, stripes *Striping, end int64, rows int) spot {
	pages := min(windowChunks*h.blocksFor(rows*stripes.Of), max(stripes.Window, windowChunks))
	return spot{block: s.block, pass: 1, of: stripes.Of, first: s.block, end: min(s.block+pages, end)}
}

// bound is how many rows a chunk has at most, so that a pass over a window has enough of them; 0 is no bound.
func (h *HeapWalk) bound() int {
	if h == nil || h.Stripes == nil {
		return 0
	}
	rows := h.RowsPerBlock
	if leaf, ok := h.largest(); ok {
		rows = leaf.RowsPerBlock
	}
	return int(math.Ceil(float64(h.Stripes.Window) / windowChunks * rows / float64(h.Stripes.Of)))
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// planStripes adds the statements of chunks within windows.
func (s statements) planStripes(p *Plan, open, closed pgsql.Range, add func(string, ...pgsql.Statement)) error {
	stripe := &pgsql.Stripe{Stripes: p.Heap.Stripes.Stripes}
	for _, r := range []pgsql.Range{open, closed} {
		if err := s.planChunk(pgsql.Part{Range: r, Stripe: stripe}, "each chunk in stripes", add); err != nil {
			return err
		}
	}
	add("before and after each chunk in stripes, in its transaction: how many rows have found room on their own pages", pgsql.Updates(p.Table.OID))
	add("where they have not: who keeps old rows", pgsql.Holding("1"))
	return nil
}
