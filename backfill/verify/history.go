package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// repeatable is a check as it can be made: a value that is another one each time it is computed says nothing of what was
// written, neither now nor over the rows as they were. What is left to do it shows all the same.
func repeatable(o Options, c Check) (Check, error) {
	names := o.Plan.Unrepeatable()
	if c.Kind != KindDerived || updated(o.Plan.Job, c) == nil || len(names) == 0 {
		return historic(o, c), nil
	}
	if c.Residual == "" {
		return c, backfill.Inputf(whereIn(o.Plan.Job, c.line), `say in the job file what must hold, as in
      verify:
        none: SELECT t.id FROM my_table t WHERE {{range}} AND …    # rows that must not be there`,
			"nothing to verify by: %s may give another value each time, so that what was written cannot be computed again, and the job has no verify", strings.Join(names, ", "))
	}
	c.Residual += "; " + strings.Join(names, ", ") + " may give another value each time, so that what was written cannot be computed again"
	return c, nil
}

// historic makes a derived check that would be residual one over the rows as they were before the run, where the run kept
// them (undo: capture): then it shows what was done, and not only that nothing is left.
func historic(o Options, c Check) Check {
	job := o.Plan.Job
	if c.Kind != KindDerived && c.Kind != KindRecompute || c.Residual == "" || job.Undo == nil || !job.Undo.Capture {
		return c
	}
	if o.Run != nil && o.Run.Same && o.Run.State != backfill.StateUndone {
		c.history = historyOf(o.Plan, c)
	}
	switch {
	case c.history == nil:
		c.Residual += "; what a run of this very job keeps (undo: capture) would show it, and there is none to look at"
	case o.Run.Earlier > 0:
		c.Residual = fmt.Sprintf("%d earlier runs of this job changed rows, which is not looked at: what this run did is proven, and that nothing is left", o.Run.Earlier)
	default:
		c.Residual = ""
	}
	return c
}

// historyOf is what the run kept for a check; nil is not what it takes.
func historyOf(plan *backfill.Plan, c Check) *pgsql.History {
	w := writes(plan.Job).generated(plan.Table)
	var set []backfill.Assignment
	if update := updated(plan.Job, c); update != nil {
		set = update.Set
	}
	own := ownValues(w, set)
	if c.Kind == KindDerived {
		return plan.History(set, own)
	}
	for _, e := range plan.Job.Transform.Read {
		own = own || w.mentioned(e, !e.Subquery) != ""
	}
	columns := slices.Clone(plan.Job.Transform.Write)
	for _, a := range set {
		columns = append(columns, a.Column)
	}
	return plan.RecomputeHistory(columns, own)
}

// ownValues reports whether a value is computed from columns that are written.
func ownValues(w written, set []backfill.Assignment) bool {
	for _, a := range set {
		if !a.Keeps() && w.mentioned(a.Value, !a.Value.Subquery) != "" {
			return true
		}
	}
	return false
}

// withoutHistory makes a check the one that it is without what the run kept, where the role may not read that.
func (v *verification) withoutHistory(c *checking, err error) error {
	var server *pgconn.PgError
	if c.history == nil || !errors.As(err, &server) || server.Code != "42501" && server.Code != "42P01" {
		return err
	}
	plain := c.Check
	store := plain.history.Capture.Store()
	plain.history = nil
	plain.Residual = fmt.Sprintf("%s; what the run kept would show it, and role %s cannot read it: GRANT USAGE ON SCHEMA pgbackfill, SELECT ON %s",
		residualOf(v.Plan.Job, writes(v.Plan.Job).generated(v.Plan.Table), plain), v.Plan.Server.Role, store)
	proof, err := proofOf(v.Options, plain)
	if err == nil {
		c.Check, c.proof = plain, proof
	}
	return err
}

// historyCounts reads the answer of [pgsql.Change.Proof] over rows as they were.
func historyCounts(rows [][]*string) (counts, error) {
	var c counts
	var met, wrong, outside int64
	err := integers(rows, &c.rows, &met, &c.multiple, &wrong, &c.since, &outside, &c.unjudged)
	c.unmatched, c.different = c.rows-met, wrong+outside
	return c, err
}

// deletedProof is [leftProof] that also holds each row that the run deleted against the scope, as the row was.
type deletedProof struct {
	leftProof
	history *pgsql.History
}

func (d deletedProof) prepare(ctx context.Context, r *reading) error {
	if err := d.leftProof.prepare(ctx, r); err != nil {
		return err
	}
	st, err := d.scope.Gone(pgsql.Part{Reading: true}, d.history)
	if err != nil {
		return err
	}
	_, err = r.prepared(ctx, st)
	return err
}

func (d deletedProof) count(ctx context.Context, r *reading, p pgsql.Part) (counts, error) {
	c, err := d.leftProof.count(ctx, r, p)
	if err != nil {
		return c, err
	}
	st, err := d.scope.Gone(p, d.history)
	if err != nil {
		return c, err
	}
	rows, err := r.ask(ctx, st)
	if err != nil {
		return c, err
	}
	var gone int64
	err = integers(rows, &gone, &c.missing)
	c.rows += gone
	return c, err
}

func (d deletedProof) wrong(ctx context.Context, r *reading, p pgsql.Part, most int, values bool) ([]Mismatch, error) {
	list, err := d.leftProof.wrong(ctx, r, p, most, values)
	if err != nil || len(list) >= most {
		return list, err
	}
	st, err := d.scope.GoneKeys(p, d.history, most-len(list))
	if err != nil {
		return nil, err
	}
	gone, err := extras(ctx, r, st, len(d.scope.Key), false)
	for i := range gone {
		gone[i].Kind, gone[i].Class, gone[i].Confidence = Missing, BackfillWrong, Certain
		gone[i].Evidence = "the run deleted it, and what it kept of the row was not in scope"
	}
	return append(list, gone...), err
}
