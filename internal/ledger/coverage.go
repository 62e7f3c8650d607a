package ledger

import (
	"fmt"
	"slices"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/planted"
)

// Gap is the error of a walk that the ledger does not cover.
func Gap(found, expected string) error {
	return &backfill.Error{
		Found: found, Expected: expected,
		Remedy: "where a segment is open, run the job again; where rows of the ledger are missing, start over with --again",
	}
}

// Covered proves that the segments tile every pass and that each is committed to its end: those of the walk are so many as were planned, one
// of them that of the rows with a NULL in the key where there are such. The error says where the gap is.
// Keys are only ever compared for equality, and by following them from end to start: their
// order is PostgreSQL's business.
func Covered(plannedSegments int, withNulls bool, segments []backfill.SegmentState) error {
	if planted.In(planted.FinishUnproven) {
		return nil
	}
	children := map[int][]backfill.SegmentState{}
	planned, nulls := 0, 0
	for i, s := range segments {
		if s.No != i+1 {
			return Gap(fmt.Sprintf("the segment after number %d is number %d", i, s.No), fmt.Sprintf("number %d", i+1))
		}
		children[s.Parent] = append(children[s.Parent], s)
		if s.Parent == 0 && s.Pass == backfill.PassWalk {
			planned++
			if s.Nulls {
				nulls++
			}
		}
	}
	if planned != plannedSegments {
		return Gap(fmt.Sprintf("the walk has %d segments", planned), fmt.Sprintf("the %d that were planned", plannedSegments))
	}
	if withNulls && nulls != 1 {
		return Gap(fmt.Sprintf("%d segments hold the rows with a NULL in the key", nulls), "the one that was planned")
	}
	for _, s := range segments {
		if err := complete(s, children[s.No], segments); err != nil {
			return err
		}
	}
	return checkPasses(children[0])
}

// complete proves that s is done, or split into two children that take up where it was left.
func complete(s backfill.SegmentState, children, all []backfill.SegmentState) error {
	name := fmt.Sprintf("segment %d of the %s (%s)", s.No, s.Pass, s.Range)
	if s.Nulls {
		name = fmt.Sprintf("segment %d of the %s (the rows with a NULL in the key)", s.No, s.Pass)
	}
	if s.Parent != 0 && (s.Parent > len(all) || all[s.Parent-1].Fence != backfill.FenceSplit || all[s.Parent-1].Pass != s.Pass) {
		return Gap(name+" is a part of segment "+fmt.Sprint(s.Parent)+", which was not split in this pass", "a segment that was")
	}
	switch {
	case s.Done && len(children) == 0:
		return nil
	case s.Done:
		return Gap(fmt.Sprintf("%s is done and has %d parts", name, len(children)), "no part")
	case s.Fence == backfill.FenceSplit:
		return tile(name, s, children)
	case s.Fence != "":
		return Gap(fmt.Sprintf("%s was closed after %s: %s", name, Watermark(s), s.Fence), "it to be done")
	default:
		return Gap(fmt.Sprintf("%s is committed through %s", name, Watermark(s)), "through "+s.Range.Through.String())
	}
}

func tile(name string, s backfill.SegmentState, children []backfill.SegmentState) error {
	if len(children) != 2 {
		return Gap(fmt.Sprintf("%s was split and has %d parts", name, len(children)), "2 parts")
	}
	at := Watermark(s)
	for _, c := range children {
		if !same(c.Range.After, at) {
			return Gap(fmt.Sprintf("%s was split, and its part %d begins after %s", name, c.No, c.Range.After), "after "+at.String())
		}
		at = c.Range.Through
	}
	if !same(at, s.Range.Through) {
		return Gap(fmt.Sprintf("%s was split, and its parts end at %s", name, at), "at "+s.Range.Through.String())
	}
	return nil
}

// checkPasses proves that the planned segments tile each pass: the walk and the tail together
// from the beginning of the table, or of each of its leaves, and the sweep from there again.
func checkPasses(roots []backfill.SegmentState) error {
	walk := map[uint32][]backfill.SegmentState{} // by leaf: each has pages of its own
	sweeps := map[backfill.Pass][]backfill.SegmentState{}
	for _, s := range roots {
		switch {
		case s.Nulls:
		case s.Pass.Sweeps():
			sweeps[s.Pass] = append(sweeps[s.Pass], s)
		default:
			walk[s.Leaf] = append(walk[s.Leaf], s)
		}
	}
	for _, of := range walk {
		if err := follow(of); err != nil {
			return err
		}
	}
	for _, sweep := range sweeps {
		if err := follow(sweep); err != nil {
			return err
		}
	}
	return nil
}

// follow goes from the open beginning to the segment that begins there, from its end to the one
// that begins there, and so on, until none is left. It uses its argument up.
func follow(segments []backfill.SegmentState) error {
	var at backfill.Key
	for len(segments) > 0 {
		next := slices.IndexFunc(segments, func(s backfill.SegmentState) bool { return same(s.Range.After, at) })
		if next < 0 {
			s := segments[0]
			return Gap(fmt.Sprintf("no segment begins after %s, and segment %d of the %s (%s) is left over", at, s.No, s.Pass, s.Range),
				"segments without a gap or an overlap")
		}
		at = segments[next].Range.Through
		segments = slices.Delete(segments, next, next+1)
	}
	return nil
}

// Watermark is the key through which s is committed; where nothing is, where it begins.
func Watermark(s backfill.SegmentState) backfill.Key {
	if s.Seq == 0 {
		return s.Range.After
	}
	return s.Watermark
}
