package backfill_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/ledger"
)

// world is what is in the model database: what was committed, as far as no crash has taken it back.
type world struct {
	runs []simRun
	rows []simRow
}

// simRun is a run; its number is its place among the runs, from 1, so that numbers are given again.
type simRun struct {
	// created is when it was made; no two runs have it alike.
	created  int
	state    backfill.State
	pass     backfill.Pass
	undoing  bool
	nulls    bool
	planned  int
	segments []simSegment
}

type simSegment struct {
	backfill.Segment
	ledger []simLedgerRow
}

type simLedgerRow struct {
	seq   int
	fence string
	rng   backfill.KeyRange
	// by is the run that its worker believed to be in.
	by int
}

// simRow is a row of the table; key is "" for the one with a NULL in its key.
type simRow struct {
	leaf uint32
	key  string
	by   []simChange
}

// simChange says which chunk has changed a row, as its worker saw it.
type simChange struct{ run, segment, seq int }

func stamp(created int) time.Time { return time.Unix(int64(created), 0) }

func (w *world) clone() *world {
	c := &world{runs: slices.Clone(w.runs), rows: slices.Clone(w.rows)}
	for i := range c.runs {
		c.runs[i].segments = slices.Clone(c.runs[i].segments)
		for j := range c.runs[i].segments {
			c.runs[i].segments[j].ledger = slices.Clone(c.runs[i].segments[j].ledger)
		}
	}
	for i := range c.rows {
		c.rows[i].by = slices.Clone(c.rows[i].by)
	}
	return c
}

// run is the run of a number, which was made then; nil is none. created 0 is whenever.
func (w *world) run(id, created int) *simRun {
	if id < 1 || id > len(w.runs) || created != 0 && w.runs[id-1].created != created {
		return nil
	}
	return &w.runs[id-1]
}

func (w *world) segment(run, no int) *simSegment {
	r := w.run(run, 0)
	if r == nil || no < 1 || no > len(r.segments) {
		return nil
	}
	return &r.segments[no-1]
}

// greatest is the greatest key of a leaf; nil where it has no row.
func (w *world) greatest(leaf uint32) backfill.Key {
	var last backfill.Key
	for _, row := range w.rows {
		if row.leaf == leaf && row.key != "" && (last == nil || row.key > last[0]) {
			last = backfill.Key{row.key}
		}
	}
	return last
}

func (s *simSegment) mark() backfill.Mark {
	if len(s.ledger) == 0 {
		return backfill.Mark{}
	}
	last := s.ledger[len(s.ledger)-1]
	m := backfill.Mark{Seq: last.seq, Watermark: last.rng.Through, Fence: last.fence}
	m.Done = last.fence == "" && (s.Nulls || slices.Equal(last.rng.Through, s.Range.Through))
	return m
}

func (s *simSegment) state() backfill.SegmentState {
	return backfill.SegmentState{Segment: s.Segment, Mark: s.mark()}
}

// list are the segments of a pass, of all passes where it is 0.
func (r *simRun) list(pass backfill.Pass) []backfill.SegmentState {
	list := make([]backfill.SegmentState, 0, len(r.segments))
	for i := range r.segments {
		if pass == 0 || r.segments[i].Pass == pass {
			list = append(list, r.segments[i].state())
		}
	}
	return list
}

func (r *simRun) open(pass backfill.Pass) []backfill.SegmentState {
	return slices.DeleteFunc(r.list(pass), func(s backfill.SegmentState) bool { return s.Closed() })
}

// standing is what the ledger's rule looks at.
func (w *world) standing(run, segment, seq int) ledger.Standing {
	at := ledger.Standing{SameTable: true}
	if r := w.run(run, 0); r != nil {
		at.Created = stamp(r.created)
	}
	s := w.segment(run, segment)
	if s == nil {
		return at
	}
	at.Segment = &s.Segment
	for i := range s.ledger {
		switch row := &s.ledger[i]; row.seq {
		case seq - 1:
			at.Before, at.Fence = &row.rng, row.fence
		case seq:
			at.Taken = true
		}
	}
	return at
}

// holds reports whether a row is one of those of a chunk, or a segment.
func (row *simRow) in(seg backfill.Segment, rng backfill.KeyRange) bool {
	switch {
	case row.leaf != seg.Leaf, (row.key == "") != seg.Nulls:
		return false
	case seg.Nulls:
		return true
	}
	return (rng.After == nil || row.key > rng.After[0]) && row.key <= rng.Through[0]
}

// broken says what in the world is not as the product promises; "" is that all is.
func (w *world) broken() string {
	for id := range w.runs {
		r := &w.runs[id]
		if r.state == backfill.StateCancelled || r.undoing {
			if open := r.open(0); len(open) > 0 {
				return fmt.Sprintf("segment %d of run %d is open, and the run is over", open[0].No, id+1)
			}
		}
		for i := range r.segments {
			if why := r.segments[i].broken(r); why != "" {
				return fmt.Sprintf("segment %d of run %d: %s", i+1, id+1, why)
			}
		}
		if why := w.unequal(r); why != "" {
			return fmt.Sprintf("run %d: %s", id+1, why)
		}
	}
	for _, row := range w.rows {
		for _, c := range row.by {
			if !slices.ContainsFunc(w.runs, func(r simRun) bool { return r.created == c.run }) {
				return fmt.Sprintf("row %s is changed by a run that is not there", row.key)
			}
		}
	}
	return ""
}

// broken says what is wrong with a segment's ledger: a gap, a row behind a fence or the end, a segment that was split and goes on.
func (s *simSegment) broken(r *simRun) string {
	at := s.Range.After
	for i, row := range s.ledger {
		switch {
		case row.seq != i+1:
			return fmt.Sprintf("row %d of the ledger is number %d", i+1, row.seq)
		case row.by != r.created:
			return fmt.Sprintf("row %d of the ledger is another run's", row.seq)
		case !slices.Equal(row.rng.After, at):
			return fmt.Sprintf("row %d of the ledger begins after %s; expected %s", row.seq, row.rng.After, at)
		case i > 0 && s.ledger[i-1].fence != "":
			return fmt.Sprintf("row %d of the ledger comes after a fence", row.seq)
		case i > 0 && (s.Nulls || slices.Equal(at, s.Range.Through)):
			return fmt.Sprintf("row %d of the ledger comes after the end", row.seq)
		}
		at = row.rng.Through
	}
	if s.mark().Fence != backfill.FenceSplit && slices.ContainsFunc(r.segments, func(c simSegment) bool { return c.Parent == s.No }) {
		return "it has parts and was not closed"
	}
	return ""
}

// unequal says where the rows are not what the ledger of the run says: each row of a chunk is changed by that chunk, once, and no other is;
// and of a run that is finished all are.
func (w *world) unequal(r *simRun) string {
	for i := range w.rows {
		row := &w.rows[i]
		var chunks []simChange
		beyond := true // it came above the walk
		for j := range r.segments {
			s := &r.segments[j]
			if s.Pass.Sweeps() {
				continue
			}
			beyond = beyond && !row.in(s.Segment, s.Range)
			for _, l := range s.ledger {
				if l.fence == "" && row.in(s.Segment, l.rng) {
					chunks = append(chunks, simChange{r.created, s.No, l.seq})
				}
			}
		}
		var changes []simChange
		for _, c := range row.by {
			if c.run == r.created {
				changes = append(changes, c)
			}
		}
		switch {
		case !slices.Equal(chunks, changes):
			return fmt.Sprintf("row %q of leaf %d is in chunks %v and changed by %v (run, segment, seq)", row.key, row.leaf, chunks, changes)
		case len(chunks) > 1:
			return fmt.Sprintf("row %q of leaf %d is changed twice: %v", row.key, row.leaf, chunks)
		case r.state == backfill.StateFinished && len(chunks) == 0 && !beyond:
			return fmt.Sprintf("row %q of leaf %d is not done, and the run is finished", row.key, row.leaf)
		}
	}
	return ""
}
