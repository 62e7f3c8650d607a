package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// summary adds up the run from the ledger.
func (e *engine) summary(ctx context.Context, err error) Summary {
	var s Summary
	if e.finished != nil && err == nil { // it was added up when the run was finished, since when nothing is added
		s = *e.finished
		s.State = e.ordersNow().State
	} else {
		var adding error
		if s, adding = e.totals(ctx); adding != nil {
			err = errors.Join(err, adding)
		}
		if err != nil {
			s.Reason = err.Error()
		}
	}
	s.Yields = e.yields.Load()
	e.diary.sum(&s, time.Now())
	return s
}

func (e *engine) totals(ctx context.Context) (Summary, error) {
	s := Summary{Run: e.run, Job: e.plan.Job.Name, State: e.ordersNow().State, Retries: e.retries.Load(), WrittenSince: e.writtenSince.Load()}
	list, err := e.segments.List(ctx, 0)
	if err != nil {
		return s, fmt.Errorf("adding up the ledger: %w", err)
	}
	walked, open := false, false
	for _, seg := range list {
		s.add(seg)
		if seg.Pass == PassWalk {
			walked, open = true, open || !seg.Done && seg.Fence != FenceSplit
		}
	}
	s.Walked = walked && !open
	s.Quarantined, err = e.aside(ctx)
	return s, err
}

func (s *Summary) add(seg SegmentState) {
	s.Chunks += int64(seg.Seq)
	if seg.Fence != "" {
		s.Chunks--
	}
	s.RowsChanged += seg.RowsChanged
	if seg.Pass.Sweeps() {
		s.SweepChanged += seg.RowsChanged
	} else { // the sweep meets the same rows once more
		s.RowsSeen += seg.RowsSeen
		s.Unmatched += seg.Unmatched
		s.Multiple += seg.Multiple
	}
}
