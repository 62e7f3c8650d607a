package verify

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// recomputeProof runs the job's transform again over the rows in scope and compares what comes back with what they hold. A
// part is read, computed and compared in one snapshot, which is held for no longer than timeouts.transform allows.
type recomputeProof struct {
	recompute *backfill.Recompute
	history   *pgsql.History
	keys      int
	reads     bool
	// asked is set once some rows with other values were computed twice, unstable where that gave two results.
	asked, unstable atomic.Bool
}

func newRecomputeProof(o Options, history *pgsql.History) (*recomputeProof, error) {
	r, err := backfill.NewRecompute(backfill.Options{Plan: o.Plan, Programs: o.Programs, Transforms: o.Transforms, Observer: o.Observer}, history)
	if err != nil {
		return nil, err
	}
	reads := history != nil || o.Plan.LockFirst || o.Plan.Job.Where != nil && o.Plan.Job.Where.Subquery
	for _, e := range o.Plan.Job.Transform.Read {
		reads = reads || e.Subquery
	}
	return &recomputeProof{recompute: r, history: history, keys: len(o.Plan.Key), reads: reads}, nil
}

func (p *recomputeProof) finding() []pgsql.Setting {
	if p.reads {
		return joined
	}
	return byKey
}

func (p *recomputeProof) prepare(ctx context.Context, r *reading) error {
	st, err := p.recompute.Prepared()
	if err != nil {
		return err
	}
	_, err = r.prepared(ctx, st)
	return err
}

// fitting bounds how many rows a part has, at first and later.
func (p *recomputeProof) fitting(rows int, first bool) int {
	if first {
		rows = min(rows, p.recompute.Least())
	}
	return p.recompute.Fitting(rows)
}

func (p *recomputeProof) count(ctx context.Context, r *reading, part pgsql.Part) (counts, error) {
	var c counts
	computed, err := r.session.computer(p.recompute).Compute(ctx, r.conn, part, r.divisible)
	if err != nil {
		return c, err
	}
	r.computed = computed
	st, joined, err := computed.Proof()
	if err != nil {
		return c, err
	}
	rows, err := r.ask(ctx, st)
	if err != nil {
		return c, err
	}
	switch {
	case p.history != nil:
		c, err = historyCounts(rows)
	case joined:
		c, err = joinedCounts(rows)
	default:
		err = integers(rows, &c.rows, &c.different)
	}
	if err != nil {
		return c, err
	}
	if c.rows != int64(computed.Rows()) {
		return c, fmt.Errorf("%d of %d rows were found again in the snapshot that they were read in", c.rows, computed.Rows())
	}
	return c, nil
}

func (p *recomputeProof) wrong(ctx context.Context, r *reading, _ pgsql.Part, most int, values bool) ([]Mismatch, error) {
	st, err := r.computed.Wrong(most, values)
	if err != nil {
		return nil, err
	}
	rows, err := r.ask(ctx, st)
	if err != nil {
		return nil, err
	}
	if !p.asked.Swap(true) {
		if same, err := r.computed.Same(ctx); err == nil && !same {
			p.unstable.Store(true)
		}
	}
	return differing(rows, p.keys, p.recompute.Columns(), values), nil
}

// note says what may be behind values that are not the same.
func (p *recomputeProof) note(name string) string {
	if p.unstable.Load() {
		return name + ": the transform gives other values for the same row each time, as encryption with a random nonce does: computing again proves nothing of such a job; say in verify what must hold, as expect or none"
	}
	return name + ": the transform gives other values now than are stored; it may be another version of it, or read what has changed since (the time of day, a key)"
}
