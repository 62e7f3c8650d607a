package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

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
}

func (c counts) mismatches() int64 { return c.missing + c.extra + c.different }

// proofOf makes a check ready to be asked.
func proofOf(o Options, c Check) (proof, error) {
	plan := o.Plan
	scope, err := plan.Scope()
	if err != nil {
		return nil, err
	}
	if c.ofOthers() {
		scope.Key = slices.Clone(scope.Key)
		for i := range scope.Key {
			scope.Key[i].Nullable = true
		}
	}
	switch c.Kind {
	case KindRecompute:
		return newRecomputeProof(o)
	case KindNone:
		return &noneProof{query: pgsql.Query{Scope: scope, SQL: c.spec.None.SQL}, walk: scope.Walk}, nil
	case KindBags:
		return &bagsProof{check: c, job: plan.Job, bags: pgsql.Bags{Scope: scope, Expected: c.spec.Expected.SQL, Actual: c.spec.Actual.SQL}}, nil
	case KindExpect:
		change, err := plan.Change(c.spec.Expect, nil, nil)
		return &valuesProof{change: change, reads: readsMore(c.spec.Expect, plan)}, err
	}
	update := plan.Job.UpdateStep()
	if update == nil {
		return leftProof{scope: scope}, nil
	}
	change, err := plan.Change(update.Set, update.From, update.Join)
	return &valuesProof{change: change, reads: update.From != nil || readsMore(update.Set, plan)}, err
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

// bagsProof compares two queries.
type bagsProof struct {
	check Check
	job   backfill.Job
	bags  pgsql.Bags
}

func (b *bagsProof) finding() []pgsql.Setting { return joined }

func (b *bagsProof) prepare(ctx context.Context, r *reading) error {
	part := pgsql.Part{Reading: true}
	var fields [2][]pgconn.FieldDescription
	for i, sql := range []string{b.bags.Expected, b.bags.Actual} {
		st, err := pgsql.Query{Scope: b.bags.Scope, SQL: sql}.Statement(part)
		if err != nil {
			return err
		}
		if fields[i], err = r.prepared(ctx, st); err != nil {
			return err
		}
	}
	if err := b.same(names(fields[0]), names(fields[1])); err != nil {
		return err
	}
	b.bags.Casts = make([]string, len(fields[0]))
	for i, actual := range fields[1] {
		if !storedOtherwise(fields[0][i], actual) {
			continue
		}
		name, err := r.ask(ctx, pgsql.TypeName(actual.DataTypeOID, actual.TypeModifier))
		if err != nil {
			return err
		}
		b.bags.Casts[i] = *name[0][0]
	}
	st, err := b.bags.Proof(part)
	if err != nil {
		return err
	}
	_, err = r.prepared(ctx, st)
	return err
}

// storedOtherwise reports whether a value of the first column would be given another precision when it is stored in the
// second. Other types find what they have in common by themselves, or are refused.
func storedOtherwise(expected, actual pgconn.FieldDescription) bool {
	const numericOID, int2OID, int4OID, int8OID = 1700, 21, 23, 20
	if actual.TypeModifier < 0 || expected.TypeModifier == actual.TypeModifier {
		return false
	}
	return expected.DataTypeOID == actual.DataTypeOID ||
		actual.DataTypeOID == numericOID && slices.Contains([]uint32{int2OID, int4OID, int8OID}, expected.DataTypeOID)
}

func names(fields []pgconn.FieldDescription) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.Name
	}
	return list
}

// same refuses queries whose columns are not the same.
func (b *bagsProof) same(expected, actual []string) error {
	place := whereIn(b.job, b.check.line)
	if len(expected) < len(b.bags.Key) {
		return backfill.Inputf(place, "select the key first: it is what says which row is missing",
			"check %s: the queries have %d columns, and the key alone has %d", b.check.Name, len(expected), len(b.bags.Key))
	}
	if fmt.Sprint(expected) != fmt.Sprint(actual) {
		return backfill.Inputf(place, "give both the same columns, in the same order and under the same names (AS)",
			"check %s: the columns of expected are %q, those of actual %q", b.check.Name, expected, actual)
	}
	return nil
}

func (b *bagsProof) count(ctx context.Context, r *reading, p pgsql.Part) (counts, error) {
	var c counts
	if err := walked(ctx, r, b.bags.Walk, p, &c.rows); err != nil {
		return c, err
	}
	st, err := b.bags.Proof(p)
	if err != nil {
		return c, err
	}
	rows, err := r.ask(ctx, st)
	if err != nil {
		return c, err
	}
	return c, integers(rows, &c.expected, &c.actual, &c.missing, &c.extra, &c.different)
}

func (b *bagsProof) wrong(ctx context.Context, r *reading, p pgsql.Part, most int, values bool) ([]Mismatch, error) {
	st, err := b.bags.Wrong(p, most, values)
	if err != nil {
		return nil, err
	}
	rows, err := r.ask(ctx, st)
	if err != nil {
		return nil, err
	}
	keys := len(b.bags.Key)
	list := make([]Mismatch, len(rows))
	for i, row := range rows {
		var missing, extra int64
		if err := integers([][]*string{row[keys : keys+2]}, &missing, &extra); err != nil {
			return nil, err
		}
		m := Mismatch{Kind: Different, Key: row[:keys], Rows: max(missing, extra)}
		switch {
		case extra == 0:
			m.Kind = Missing
		case missing == 0:
			m.Kind = Extra
		}
		if values {
			m.Expected, m.Actual = row[keys+2:keys+3], row[keys+3:keys+4]
		}
		list[i] = m
	}
	return list, nil
}
