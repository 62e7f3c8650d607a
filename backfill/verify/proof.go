package verify

import (
	"context"
	"slices"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// proof is a check that can be asked.
type proof interface {
	// prepare lets the server read the check's SQL; what it refuses is the job's mistake.
	prepare(ctx context.Context, r *reading) error
	// finding are the settings by which its rows are found.
	finding() []pgsql.Setting
	// count compares the rows of a part.
	count(ctx context.Context, r *reading, p pgsql.Part) (counts, error)
	// wrong names up to most of the rows that count found to be wrong, in the same transaction.
	wrong(ctx context.Context, r *reading, p pgsql.Part, most int, values bool) ([]Mismatch, error)
}

// counts are what one part came to.
type counts struct {
	rows, expected, actual, unmatched, multiple, missing, extra, different int64
	// since are those among different that others have changed since the run, unjudged rows that it wrote and that
	// others have taken out of scope.
	since, unjudged int64
	// hot are rows that did not stand still while they were compared with another database.
	hot int64
	// all are the rows of the part and inside those in the job's scope; alone and beside are of the others, see
	// [pgsql.Scope.Outside]. They are counted with one check.
	all, inside, alone, beside int64
	// only is alone for each of the columns that will be dropped.
	only []int64
}

func (c counts) mismatches() int64 { return c.missing + c.extra + c.different }

// proofOf makes a check ready to be asked.
func proofOf(o Options, c Check) (proof, error) {
	plan := o.Plan
	scope, err := plan.Scope()
	if err != nil {
		return nil, err
	}
	if c.usesBefore() && scope.Before == nil {
		return nil, backfill.Inputf(whereIn(plan.Job, c.line), "say undo: capture, run the job by key, and verify that run",
			"check %s: {{before}} is what a run has kept, and there is none that has", c.Name)
	}
	if c.ofOthers() {
		scope.Key = slices.Clone(scope.Key)
		for i := range scope.Key {
			scope.Key[i].Nullable = true
		}
	}
	switch c.Kind {
	case KindRecompute:
		return newRecomputeProof(o, c.history)
	case KindDistant:
		return newDistantProof(o, c, scope)
	case KindNone:
		return &noneProof{query: pgsql.Query{Scope: scope, SQL: c.spec.None.SQL}, walk: scope.Walk}, nil
	case KindBags:
		return &bagsProof{check: c, job: plan.Job, bags: pgsql.Bags{Scope: scope, Expected: c.spec.Expected.SQL, Actual: c.spec.Actual.SQL}}, nil
	case KindExpect:
		change, err := plan.Change(c.spec.Expect, nil, nil)
		return &valuesProof{change: change, reads: readsMore(c.spec.Expect, plan)}, err
	}
	update := plan.Job.UpdateStep()
	switch left := (leftProof{scope: scope}); {
	case update == nil && c.history != nil:
		return deletedProof{left, c.history}, nil
	case update == nil:
		return left, nil
	}
	change, err := plan.Change(update.Set, update.From, update.Join)
	change.History = c.history
	return &valuesProof{change: change, reads: c.history != nil || update.From != nil || readsMore(update.Set, plan)}, err
}

// readsMore reports whether expressions, or the job's own scope, may read more than the row itself.
func readsMore(set []backfill.Assignment, plan *backfill.Plan) bool {
	for _, a := range set {
		if a.Value.Subquery {
			return true
		}
	}
	return plan.LockFirst || plan.Job.Where != nil && plan.Job.Where.Subquery
}

// Rows are found by the index, whatever stale statistics say; other tables by theirs, and not by reading them from
// their beginning for every range: see the settings that the engine's chunks run under.
var (
	byKey  = []pgsql.Setting{{Name: "enable_seqscan", Value: "off"}}
	joined = []pgsql.Setting{{Name: "enable_mergejoin", Value: "off"}, {Name: "random_page_cost", Value: "1.1"}}
)

// valuesProof holds the rows in scope against the values that they should have.
type valuesProof struct {
	change pgsql.Change
	// reads is set where more than the row itself is read.
	reads bool
}

func (v *valuesProof) finding() []pgsql.Setting {
	if v.reads {
		return joined
	}
	return byKey
}

func (v *valuesProof) prepare(ctx context.Context, r *reading) error {
	// The plain assignment refuses a type that does not fit, where a cast would be content.
	for _, build := range []func(pgsql.Part) (pgsql.Statement, error){v.change.Check, v.change.Proof} {
		st, err := build(pgsql.Part{Reading: true})
		if err != nil {
			return err
		}
		if _, err := r.prepared(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

func (v *valuesProof) count(ctx context.Context, r *reading, p pgsql.Part) (counts, error) {
	st, err := v.change.Proof(p)
	if err != nil {
		return counts{}, err
	}
	rows, err := r.ask(ctx, st)
	if err != nil {
		return counts{}, err
	}
	if v.change.History != nil {
		return historyCounts(rows)
	}
	return joinedCounts(rows)
}

// joinedCounts reads the answer of [pgsql.Change.Proof].
func joinedCounts(rows [][]*string) (counts, error) {
	var c counts
	var met int64
	err := integers(rows, &c.rows, &met, &c.multiple, &c.different)
	c.unmatched = c.rows - met
	return c, err
}

func (v *valuesProof) wrong(ctx context.Context, r *reading, p pgsql.Part, most int, values bool) ([]Mismatch, error) {
	st, err := v.change.Wrong(p, most, values)
	if err != nil {
		return nil, err
	}
	rows, err := r.ask(ctx, st)
	if err != nil {
		return nil, err
	}
	return differing(rows, len(v.change.Key), v.change.Set, values), nil
}

// differing are rows that hold other values than they should, as [pgsql.Change.Wrong] answers them.
func differing(rows [][]*string, keys int, set []pgsql.SetColumn, values bool) []Mismatch {
	list := make([]Mismatch, len(rows))
	for i, row := range rows {
		m := Mismatch{Kind: Different, Key: row[:keys], Rows: 1}
		for j, s := range set {
			if differs := row[keys+j]; differs == nil || *differs != "t" {
				continue
			}
			m.Columns = append(m.Columns, s.Name)
			if values {
				at := keys + len(set) + 2*j
				m.Actual, m.Expected = append(m.Actual, row[at]), append(m.Expected, row[at+1])
			}
		}
		said := keys + len(set)
		if values {
			said += 2 * len(set)
		}
		m.Since = len(row) > said && row[said] != nil && *row[said] == "t"
		list[i] = m
	}
	return list
}

// leftProof finds the rows that are still in scope of a deletion.
type leftProof struct{ scope pgsql.Scope }

func (l leftProof) finding() []pgsql.Setting { return joined }

func (l leftProof) prepare(ctx context.Context, r *reading) error {
	st, err := l.scope.Left(pgsql.Part{Reading: true})
	if err != nil {
		return err
	}
	_, err = r.prepared(ctx, st)
	return err
}

func (l leftProof) count(ctx context.Context, r *reading, p pgsql.Part) (counts, error) {
	var c counts
	if err := walked(ctx, r, l.scope.Walk, p, &c.rows); err != nil {
		return c, err
	}
	st, err := l.scope.Left(p)
	if err != nil {
		return c, err
	}
	rows, err := r.ask(ctx, st)
	if err != nil {
		return c, err
	}
	return c, integers(rows, &c.extra)
}

func (l leftProof) wrong(ctx context.Context, r *reading, p pgsql.Part, most int, _ bool) ([]Mismatch, error) {
	st, err := l.scope.LeftKeys(p, most)
	if err != nil {
		return nil, err
	}
	return extras(ctx, r, st, len(l.scope.Key), false)
}

// noneProof is a query of the job's that must return no row.
type noneProof struct {
	query pgsql.Query
	walk  pgsql.Walk
}

func (n *noneProof) finding() []pgsql.Setting { return joined }

func (n *noneProof) prepare(ctx context.Context, r *reading) error {
	st, err := n.query.Statement(pgsql.Part{Reading: true})
	if err != nil {
		return err
	}
	_, err = r.prepared(ctx, st)
	return err
}

func (n *noneProof) count(ctx context.Context, r *reading, p pgsql.Part) (counts, error) {
	var c counts
	if err := walked(ctx, r, n.walk, p, &c.rows); err != nil {
		return c, err
	}
	st, err := n.query.Count(p)
	if err != nil {
		return c, err
	}
	rows, err := r.ask(ctx, st)
	if err != nil {
		return c, err
	}
	return c, integers(rows, &c.extra)
}

func (n *noneProof) wrong(ctx context.Context, r *reading, p pgsql.Part, most int, values bool) ([]Mismatch, error) {
	st, err := n.query.First(p, most)
	if err != nil {
		return nil, err
	}
	return extras(ctx, r, st, len(n.walk.Key), values)
}

// extras reads rows that should not be there, whose first columns say which they are.
func extras(ctx context.Context, r *reading, st pgsql.Statement, keys int, values bool) ([]Mismatch, error) {
	rows, err := r.ask(ctx, st)
	if err != nil {
		return nil, err
	}
	list := make([]Mismatch, len(rows))
	for i, row := range rows {
		list[i] = Mismatch{Kind: Extra, Key: row[:min(keys, len(row))], Rows: 1}
		if values {
			list[i].Actual = row
		}
	}
	return list, nil
}

// walked counts the walked table's rows of a part, for a check that is not about these rows alone.
func walked(ctx context.Context, r *reading, w pgsql.Walk, p pgsql.Part, n *int64) error {
	rows, err := r.ask(ctx, w.Count(p.Range))
	if err != nil {
		return err
	}
	return integers(rows, n)
}
