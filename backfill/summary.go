package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// summary adds up the run from the ledger.
func (e *engine) summary(ctx context.Context, err error) Summary {
	s, adding := e.totals(ctx)
	if err = errors.Join(err, adding); err != nil {
		s.Reason = err.Error()
	}
	s.Yields = e.yields.Load()
	e.diary.sum(&s, time.Now())
	return s
}

func (e *engine) totals(ctx context.Context) (Summary, error) {
	s := Summary{Run: e.run, Job: e.plan.Job.Name, State: e.ordersNow().State, Retries: e.retries.Load(), WrittenSince: e.writtenSince.Load()}
	for pass := PassWalk; pass <= max(PassSweep, e.ordersNow().Pass); pass++ {
		list, err := e.segments.List(ctx, pass)
		if err != nil {
			return s, fmt.Errorf("adding up the ledger: %w", err)
		}
		for _, seg := range list {
			s.add(seg)
		}
		if pass == PassWalk {
			s.Walked = len(list) > 0 && !slices.ContainsFunc(list, func(seg SegmentState) bool { return !seg.Done && seg.Fence != FenceSplit })
		}
	}
	var err error
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
