package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Tripwired reports whether the job asks for a tripwire: one that says who writes both, or what is dropped afterwards, does,
// where it is an update and does not say otherwise.
func (j Job) Tripwired() bool {
	switch {
	case j.UpdateStep() == nil:
		return false
	case j.DualWrite != nil && j.DualWrite.Tripwire != nil:
		return *j.DualWrite.Tripwire
	}
	return j.DualWrite != nil || j.Contract != nil
}

// planTripwire makes the tripwire that the job asks for, and lets the server read what it computes. Where there can be none,
// that is an error only for who has asked for it in words.
func (pl *planning) planTripwire(ctx context.Context) error {
	job := pl.plan.Job
	if !job.Tripwired() && !pl.known.Tripwire {
		return nil
	}
	problems, err := pl.tripwire(ctx)
	if err != nil || len(problems) == 0 {
		return err
	}
	insisted := pl.known.Tripwire || job.DualWrite != nil && job.DualWrite.Tripwire != nil
	if !insisted {
		pl.noTripwire = problems
		return nil
	}
	place := pl.place()
	if job.DualWrite != nil {
		place = pl.at(job.DualWrite.Line)
	}
	var list []error
	for _, p := range problems {
		list = append(list, Inputf(place, "dual_write: {tripwire: false}; verification then tells what held when it passed, and not that it holds", "tripwire: %s", p))
	}
	return errors.Join(list...)
}

// tripwire puts the job's tripwire into the plan, or says why there can be none.
func (pl *planning) tripwire(ctx context.Context) (problems []string, err error) {
	problems = pl.refuseTripwire()
	found, problem := pl.foundBy()
	if problem != "" {
		problems = append(problems, problem)
	}
	if len(problems) > 0 {
		return problems, nil
	}
	values, err := pl.dualWrite()
	if err != nil {
		return nil, err
	}
	w := pgsql.Tripwire{Values: values, Found: found}
	watched := append(pl.readBy(found), values.Depends...)
	for _, c := range pl.plan.Table.Columns {
		if slices.Contains(watched, c.Name) {
			w.Watched = append(w.Watched, c.Name)
		}
	}
	check, err := w.Check()
	if err != nil { // a template that means nothing there
		return []string{err.Error()}, nil //nolint:nilerr // it is a problem of the job, which is told as one
	}
	_, err = pl.described(ctx, pgsql.SetLocal(slices.Clone(values.Settings)...), check.SQL)
	var server *pgconn.PgError
	switch {
	case err == nil:
		pl.plan.Tripwire = &w
	case !errors.As(err, &server) || pgerr.Class(err) == pgerr.Retry:
		return nil, err
	case !pl.later("tripwire", err):
		problems = append(problems, "PostgreSQL refuses what it would compute: "+server.Message)
	}
	return problems, nil
}

// foundBy are the columns by which a trigger finds a row again: those of a unique key without NULLs, or the walked ones
// where an index serves them.
func (pl *planning) foundBy() ([]pgsql.KeyColumn, string) {
	t := &pl.plan.Table
	key, err := t.ResolveKey(nil)
	if err != nil || key.Index == nil || key.Nullable() {
		if key, err = t.ResolveKey(pl.keyColumnNames()); err != nil || key.Index == nil || key.Nullable() {
			return nil, "a commit cannot find its rows again: no index over columns that are NOT NULL serves the table's key"
		}
	}
	var list []pgsql.KeyColumn
	for _, k := range key.Parts {
		list = append(list, pgsql.KeyColumn{
			Name: k.Name, Type: k.Type, Collation: k.Collation,
			Less: k.Less, LessEqual: k.LessEqual, Equal: k.Equal, GreaterEqual: k.GreaterEqual, Greater: k.Greater,
		})
	}
	return list, ""
}

// readBy are the columns by which a row is in one range of a verification or another: those that it is found by and walked by, those
// that would be walked by where the run goes in physical order, and those of which a check says {{range}}. A row that goes from a range
// that is not read yet to one that was is read by nobody, and looked at when it goes.
func (pl *planning) readBy(found []pgsql.KeyColumn) []string {
	names := pl.keyColumnNames()
	for _, k := range found {
		names = append(names, k.Name)
	}
	if key, err := pl.plan.Table.ResolveKey(nil); err == nil {
		for _, k := range key.Parts {
			names = append(names, k.Name)
		}
	}
	for _, check := range pl.plan.Job.Verify {
		for _, e := range []*Expr{check.Expected, check.Actual, check.None} {
			if e == nil {
				continue
			}
			for _, template := range e.Templates {
				of, ranged := strings.CutPrefix(template, "range ")
				for column := range strings.SplitSeq(of, ",") {
					if at := strings.LastIndex(column, "."); ranged && at >= 0 { // else it is an alias, and the key's columns are meant
						names = append(names, strings.ToLower(strings.TrimSpace(column[at+1:])))
					}
				}
			}
		}
	}
	return names
}

func (pl *planning) keyColumnNames() []string {
	var names []string
	for _, k := range pl.plan.Key {
		names = append(names, k.Name)
	}
	return names
}

// refuseTripwire says all that keeps a trigger from telling whether a row is as the job would leave it.
func (pl *planning) refuseTripwire() []string {
	job, t := pl.plan.Job, &pl.plan.Table
	var list []string
	refuse := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if job.UpdateStep() == nil {
		return []string{"it watches that rows hold what one `update` sets, and this job is another one"}
	}
	if job.WalkHelper != "" {
		return []string{"the walked table is the engine's own"}
	}
	if !job.Idempotent {
		refuse("the job is not idempotent, so that nobody can tell what a row is to hold")
	}
	for _, f := range pl.functions {
		if f.Volatility == "volatile" {
			refuse("%s is volatile: it gives another value each time", f.Name)
		}
	}
	for _, p := range job.Params {
		if p.Env != "" {
			refuse("the parameter :%s is a secret, and everybody may read a trigger's function", p.Name)
		}
	}
	watched := append(pl.keyColumnNames(), pl.mentioned()...)
	for _, c := range t.Columns {
		if c.Virtual && slices.Contains(watched, c.Name) {
			refuse("the column %s is computed when it is read, and a trigger's row has none; write out what it is computed from: %s", c.Name, c.Default)
		}
	}
	for _, part := range job.parts() {
		for _, ref := range part.Columns {
			qualifier, column, dotted := strings.Cut(ref, ".")
			if slices.Contains(systemColumns, column) && qualifier == "t" || !dotted && slices.Contains(systemColumns, ref) {
				refuse("%s in %s: a trigger's row has none", ref, part.name)
			}
		}
		for _, template := range part.Templates {
			name, _, _ := strings.Cut(template, " ")
			if rows := name == "range" && len(pl.plan.Key) > 0 && t.Column(pl.plan.Key[0].Name) != nil; !rows && name != "scope" {
				refuse("{{%s}} in %s means nothing to a trigger, which is about one row", template, part.name)
			}
		}
	}
	return list
}
