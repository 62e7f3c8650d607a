package verify

import (
	"context"
	"slices"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// outside is what is asked of the rows that a job's scope leaves out, while the table is read: whether what will be dropped is
// the only copy of what they hold. nil is where there is no such row, or nothing is dropped of the walked table.
type outside struct {
	scope pgsql.Scope
	// dropped are the columns that will go, replaced those that are computed from any of them, and by of each of them.
	dropped, replaced []string
	by                [][]string
	// leave is set where rows leave the scope by being filled: those that hold something in replaced are no surprise.
	leave bool
}

func outsideOf(o Options) (*outside, error) {
	job := o.Plan.Job
	if job.Where == nil || o.Sample > 0 {
		return nil, nil
	}
	var out outside
	var drops []backfill.Dropped
	for _, d := range job.ContractTerms().Drops {
		t := o.Plan.Table
		if d.Table.Name == t.Name && (d.Table.Schema == "" || d.Table.Schema == t.Schema) && slices.ContainsFunc(t.Columns, func(c catalog.Column) bool { return c.Name == d.Column }) {
			drops, out.dropped, out.by = append(drops, d), append(out.dropped, d.Column), append(out.by, job.Replaces([]backfill.Dropped{d}))
		}
	}
	out.replaced = job.Replaces(drops)
	w := written{columns: out.replaced}.generated(o.Plan.Table)
	out.leave = w.mentioned(*job.Where, true) != ""
	var err error
	out.scope, err = o.Plan.Scope()
	return &out, err
}

// count asks it of a part, in the transaction of a check.
func (o *outside) count(ctx context.Context, r *reading, p pgsql.Part, c *counts) error {
	st, err := o.scope.Outside(p, o.dropped, o.by)
	if err != nil {
		return err
	}
	rows, err := r.ask(ctx, st)
	if err != nil {
		return err
	}
	c.only = make([]int64, len(o.dropped))
	into := []*int64{&c.all, &c.inside, &c.alone, &c.beside}
	for i := range c.only {
		into = append(into, &c.only[i])
	}
	err = integers(rows, into...)
	if o.leave {
		c.beside = 0
	}
	return err
}

// asks reports whether it is asked with a check: with the first one that can be read, since the ranges of each tile the table.
func (v *verification) asks(p piece) bool {
	if p.result.Scope == nil {
		return false
	}
	return !p.segment.Nulls || slices.ContainsFunc(v.outside.scope.Key, func(k pgsql.KeyColumn) bool { return k.Nullable })
}

// counting gives the check that it is asked with a place for what is counted.
func (v *verification) counting() {
	i := slices.IndexFunc(v.checks, func(c *checking) bool { return !c.unread })
	if v.outside == nil || i < 0 {
		return
	}
	v.checks[i].result.Scope = &ScopeCounts{
		Dropped: append([]string{}, v.outside.dropped...), Replaced: append([]string{}, v.outside.replaced...), Only: make([]int64, len(v.outside.dropped)),
	}
}
