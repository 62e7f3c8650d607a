package backfill

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// HeapWalk is what a walk in physical order knows of the table's pages, as it was planned.
type HeapWalk struct {
	// Blocks is how many pages the table had: the walk's end.
	Blocks int64 `json:"blocks"`
	// RowsPerBlock is about how many rows a page holds, at least one.
	RowsPerBlock float64 `json:"rows_per_block"`
	// Filenode names the file that the pages are in. Another one means that the table was rewritten, and its rows
	// have moved without being written.
	Filenode uint32 `json:"filenode"`
	// Leaves are the tables of a partitioned one, which are walked one by one; Blocks is then the most that one of them has, RowsPerBlock
	// what one page of each holds together, and Filenode 0.
	Leaves []Leaf `json:"leaves,omitempty"`
	// Identity are the columns of a unique key by which a row is known again wherever it lies; none is where there is no such key.
	Identity []string `json:"identity,omitempty"`
	// Stripes is how the rows of a page are changed in several passes; nil is all of them at once.
	Stripes *Striping `json:"stripes,omitempty"`
	// Horizon is the oldest transaction that was open before the pages were counted: what older ones wrote lies in
	// the pages of the walk.
	Horizon string `json:"horizon"`
}

// tidColumn is the place of a row, as a key of one column: pages are ranges of it, from (n,0), which no row has.
// PostgreSQL reads such a range of pages and no others, in their order.
var tidColumn = pgsql.KeyColumn{
	Name: "ctid", Type: "pg_catalog.tid",
	Less: "pg_catalog.<", LessEqual: "pg_catalog.<=", Equal: "pg_catalog.=", GreaterEqual: "pg_catalog.>=", Greater: "pg_catalog.>",
}

// blockKey is the end of the pages before a block.
func blockKey(block int64) Key { return Key{fmt.Sprintf("(%d,0)", block)} }

// blockOf is the block that a key of [blockKey] names; an open end is 0.
func blockOf(k Key) int64 {
	if len(k) == 0 {
		return 0
	}
	number, _, _ := strings.Cut(strings.TrimPrefix(k[0], "("), ",")
	n, _ := strconv.ParseInt(number, 10, 64) // we wrote it
	return n
}

// Next is where so many rows after a place end, or end itself with true where that is no further; a nil end is that of
// the table.
func (h HeapWalk) Next(after, end Key, rows int) (through Key, last bool) {
	block, most := blockOf(after)+h.blocksFor(rows), h.Blocks
	if end != nil {
		most = blockOf(end)
	}
	if block >= most {
		return end, true
	}
	return blockKey(block), false
}

// blocksFor is how many pages hold so many rows: at least one, and no fewer rows than that, for a chunk with less than was
// asked for says nothing about how long so many rows take.
func (h HeapWalk) blocksFor(rows int) int64 {
	return max(1, int64(math.Ceil(float64(rows)/max(h.RowsPerBlock, 1))))
}

// rows is about how many rows the table had.
func (h HeapWalk) rows() int { return int(float64(h.Blocks) * h.RowsPerBlock) }

// rowsIn is about how many rows the pages of a range hold, those of its stripe where it is one.
func (h HeapWalk) rowsIn(r KeyRange) int64 {
	from, to, _, of := stretch(r)
	return int64(math.Round(float64(to-from) * h.RowsPerBlock / float64(max(of, 1))))
}

// boundary is where a chunk of about so many rows ends: known without a question to the server. Where it does not begin in a window, and
// there may be windows, opens says whether it begins one.
func (h HeapWalk) boundary(after Key, seg Segment, rows int, opens func() bool) *boundary {
	stripes := h.Stripes
	h = h.of(seg)
	at, end := spotOf(after), blockOf(seg.Range.Through)
	if at.of == 0 && stripes != nil && !seg.Pass.Sweeps() && opens() {
		at = h.opened(at, stripes, end, rows)
	}
	if at.of > 0 {
		at = h.within(at, rows)
	} else {
		at.block = min(at.block+h.blocksFor(rows), end)
	}
	if at.of == 0 && at.block == end {
		return &boundary{size: rows, through: seg.Range.Through, last: true}
	}
	return &boundary{size: rows, through: at.key()}
}

// middle is a place about so many rows on, where a segment can be divided: outside of the window that it is in.
func (h HeapWalk) middle(after Key, seg Segment, rows int) *boundary {
	at := spotOf(after)
	b := h.boundary(blockKey(at.block), seg, rows, func() bool { return false })
	if at.of > 0 && blockOf(b.through) < at.end {
		b.through, b.last = blockKey(at.end), at.end == blockOf(seg.Range.Through)
	}
	return b
}

// segments cuts pages into n segments of the same size, numbered from first.
func (h HeapWalk) segments(pass Pass, blocks int64, n, first int) []Segment {
	n = int(max(1, min(int64(n), blocks)))
	var list []Segment
	var after Key
	for i := range n {
		through := blockKey(blocks * int64(i+1) / int64(n))
		s := Segment{No: first + i, Pass: pass, Range: KeyRange{After: after, Through: through}}
		s.EstimatedRows = max(1, h.rowsIn(s.Range))
		list, after = append(list, s), through
	}
	return list
}
