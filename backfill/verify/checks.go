package verify

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Kind is what a check does.
type Kind string

// The kinds of check.
const (
	// KindDerived is what follows from the job's own update or deletion.
	KindDerived Kind = "derived"
	// KindExpect compares columns of the walked table with expressions over the same row.
	KindExpect Kind = "expect"
	// KindBags compares two queries.
	KindBags Kind = "expected and actual"
	// KindDistant compares a query in another database with one here.
	KindDistant Kind = "expected elsewhere"
	// KindNone is a query that must return no row.
	KindNone Kind = "none"
	// KindRecompute runs the job's transform again and compares what comes back with what is stored.
	KindRecompute Kind = "recompute"
)

// Check is one proof that a job asks for, or the one that follows from its step.
type Check struct {
	Name string
	Kind Kind
	// Residual says why the check shows only what is left to do; "" is a full proof.
	Residual string

	spec backfill.Check
	line int
	// history is what the run kept of the rows, for a proof over them as they were; nil is as they are.
	history *pgsql.History
}

// Checks are those of a job. The error is a [backfill.ErrInput] where there is none, since nothing would be proven,
// or one that this version cannot carry out.
func Checks(job backfill.Job) ([]Check, error) {
	if len(job.Verify) == 0 {
		return derived(job)
	}
	var list []Check
	for i, spec := range job.Verify {
		c := Check{Name: spec.Name, spec: spec, line: spec.Line}
		switch {
		case spec.Recompute:
			if err := backfill.RecomputeRefused(job, spec.Line); err != nil {
				return nil, err
			}
			c.Kind = KindRecompute
		case spec.In != "":
			c.Kind = KindDistant
		case spec.Expected != nil:
			c.Kind = KindBags
		case spec.None != nil:
			c.Kind = KindNone
		default:
			c.Kind = KindExpect
		}
		if c.Name == "" {
			c.Name = string(c.Kind)
			if len(job.Verify) > 1 {
				c.Name = fmt.Sprintf("%s #%d", c.Kind, i+1)
			}
		}
		c.Residual = residual(job, c)
		list = append(list, c)
	}
	return list, nil
}

// derived is the check that follows from a job's one step.
func derived(job backfill.Job) ([]Check, error) {
	const remedy = `say in the job file what must hold, as in
      verify:
        none: SELECT t.id FROM my_table t WHERE {{range}} AND …    # rows that must not be there
    or the values of each row, expect: {column: expression}, or two queries, expected: and actual:`
	update, deletes := job.UpdateStep(), len(job.Steps) == 1 && job.Transform == nil && job.Steps[0].Delete
	switch {
	case !job.Idempotent:
		return nil, backfill.Inputf(whereIn(job, 0), remedy+"\n    (prepare can write down the old values first)",
			"nothing to verify by: the job is not idempotent, so its result does not show in the rows alone, and it has no verify")
	case update == nil && !deletes:
		also := ""
		if job.Transform != nil && backfill.RecomputeRefused(job, 0) == nil {
			also = "\n    or verify: {recompute: true}, which runs the transform again and compares, where it gives the same for the same row each time"
		}
		return nil, backfill.Inputf(whereIn(job, 0), remedy+also,
			"nothing to verify by: what must hold follows only from a job that is one update or one delete, and the job has no verify")
	}
	c := Check{Name: "derived", Kind: KindDerived}
	c.Residual = residual(job, c)
	return []Check{c}, nil
}

// whereIn is a place in the job file.
func whereIn(job backfill.Job, line int) string {
	switch {
	case job.Origin == "":
		return "job " + job.Name
	case line > 0:
		return fmt.Sprintf("%s:%d", job.Origin, line)
	}
	return job.Origin
}

// residual says why a check that looks at the rows in scope does not see what was done: rows leave the scope by being
// filled, or what they should hold is computed from what they were filled with.
func residual(job backfill.Job, c Check) string { return residualOf(job, writes(job), c) }

// residualOf is residual where more is known of what the job writes.
func residualOf(job backfill.Job, w written, c Check) string {
	left := func(part, column string) string {
		return fmt.Sprintf("`%s` speaks of %s, which the job writes: rows leave the scope by being filled, so this shows that none is left, and not that what was written is right", part, column)
	}
	speaks := c.Kind == KindDerived || c.Kind == KindExpect || c.Kind == KindRecompute || c.usesScope()
	if job.Where != nil && speaks {
		if w.all {
			return "rows leave the scope by being deleted: this shows that none is left, and not that only the right ones are gone"
		}
		if column := w.mentioned(*job.Where, true); column != "" {
			return left("where", column)
		}
	}
	set := c.spec.Expect
	if c.Kind == KindRecompute {
		for _, e := range job.Transform.Read {
			if column := w.mentioned(e, !e.Subquery); column != "" {
				return fmt.Sprintf("the transform reads %s, which the job writes: this shows that doing it again would change nothing, and not that what was written is right", column)
			}
		}
	}
	if update := updated(job, c); update != nil {
		set = update.Set
		if update.Join != nil {
			if column := w.mentioned(*update.Join, true); column != "" {
				return left("join", column)
			}
			if column := w.mentioned(*update.From, false); column != "" {
				return left("from", column)
			}
		}
	}
	for _, a := range set {
		if a.Keeps() {
			continue
		}
		if column := w.mentioned(a.Value, !a.Value.Subquery); column != "" {
			return fmt.Sprintf("the value of %s is computed from %s, which the job writes: this shows that doing it again would change nothing, and not that what was written is right", a.Column, column)
		}
	}
	return ""
}

// updated is the update that a check is derived from; nil is none.
func updated(job backfill.Job, c Check) *backfill.Update {
	switch {
	case c.Kind == KindDerived:
		return job.UpdateStep()
	case c.Kind == KindRecompute && len(job.Steps) > 0:
		return job.Steps[0].Update
	}
	return nil
}

// usesScope reports whether what a check's own queries expect is limited to the rows that are in scope now. Where it is not, as
// where {{before}} or a helper says what must be there, it does not matter to which rows `actual` is limited.
func (c Check) usesScope() bool {
	exprs := []*backfill.Expr{c.spec.Expected, c.spec.None}
	if c.usesBefore() {
		exprs = exprs[:1]
	}
	for _, e := range exprs {
		if e != nil && slices.ContainsFunc(e.Templates, func(t string) bool { return t == "scope" || t == "chunk" || t == "chunk nolock" }) {
			return true
		}
	}
	return false
}

// usesBefore reports whether a check's own SQL speaks of the rows as they were.
func (c Check) usesBefore() bool {
	exprs := []*backfill.Expr{c.spec.Expected, c.spec.Actual, c.spec.None}
	for i := range c.spec.Expect {
		exprs = append(exprs, &c.spec.Expect[i].Value)
	}
	return slices.ContainsFunc(exprs, func(e *backfill.Expr) bool { return e != nil && slices.Contains(e.Templates, "before") })
}

// ofOthers reports whether a check's own queries speak of ranges of other columns than the walked key's. These may be NULL
// where the key may not, and rows with a NULL there are in no range of keys.
func (c Check) ofOthers() bool {
	for _, e := range []*backfill.Expr{c.spec.Expected, c.spec.Actual, c.spec.None} {
		if e != nil && slices.ContainsFunc(e.Templates, func(t string) bool { return strings.HasPrefix(t, "range ") }) {
			return true
		}
	}
	return false
}

// written are the columns of the walked table that a job writes; all is set where it deletes rows.
type written struct {
	columns []string
	all     bool
}

func writes(job backfill.Job) written {
	var w written
	for _, step := range job.Steps {
		switch {
		case step.Update != nil:
			for _, a := range step.Update.Set {
				if !a.Keeps() {
					w.columns = append(w.columns, a.Column)
				}
			}
		case step.Delete:
			w.all = true
		case step.SQL != nil && step.SQL.Target.Name == job.Table.Name && (step.SQL.Target.Schema == "" || job.Table.Schema == "" || step.SQL.Target.Schema == job.Table.Schema):
			w.columns = append(w.columns, step.SQL.Written...)
			w.all = w.all || step.SQL.Kind == "delete" || step.SQL.Kind == "merge" && len(step.SQL.Written) == 0
		}
	}
	if job.Transform != nil {
		w.columns = append(w.columns, job.Transform.Write...)
	}
	return w
}

// generated adds the columns that a table computes from those that are written: who speaks of them speaks of these.
func (w written) generated(t catalog.Table) written {
	w.columns = slices.Clone(w.columns)
	for _, c := range t.Columns {
		follows := func(name string) bool {
			quoted := pgsql.Ident(name)
			return strings.Contains(c.Default, quoted) || regexp.MustCompile(`(^|\W)`+regexp.QuoteMeta(name)+`(\W|$)`).MatchString(c.Default)
		}
		if c.Generated && slices.ContainsFunc(w.columns, follows) {
			w.columns = append(w.columns, c.Name)
		}
	}
	return w
}

// mentioned is a written column of the walked table that a fragment speaks of; "" is none. bare says that a name without a
// table is one of the walked table.
func (w written) mentioned(e backfill.Expr, bare bool) string {
	for _, ref := range e.Columns {
		parts := strings.Split(ref, ".")
		column := parts[len(parts)-1]
		ours := parts[0] == "t" || bare && len(parts) == 1
		switch {
		case !ours || len(w.columns) == 0:
		case ref == "t" || column == "*":
			return w.columns[0] + " (all of the row)"
		case slices.Contains(w.columns, column):
			return column
		}
	}
	return ""
}
