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

// ByTrigger reports whether the engine's own trigger writes both the old and the new.
func (j Job) ByTrigger() bool { return j.DualWrite != nil && j.DualWrite.Trigger }

// planDualWrite makes the trigger that the job asks for, and lets the server read what it computes.
func (pl *planning) planDualWrite(ctx context.Context) error {
	job := pl.plan.Job
	if !job.ByTrigger() {
		return nil
	}
	if err := errors.Join(pl.refuseTrigger()...); err != nil {
		return err
	}
	d, err := pl.dualWrite()
	if err != nil {
		return err
	}
	check, err := d.Check()
	if err != nil {
		return Inputf(pl.at(job.DualWrite.Line), "write the job without it, or dual_write: {by: application}", "dual_write: by: trigger: %s", err)
	}
	if _, err := pl.described(ctx, pgsql.SetLocal(slices.Clone(d.Settings)...), check.SQL); err != nil {
		var server *pgconn.PgError
		switch {
		case !errors.As(err, &server) || pgerr.Class(err) == pgerr.Retry:
			return err
		case pl.later("dual_write", err):
			return nil
		}
		return &Error{
			Place: pl.at(job.DualWrite.Line), Found: "dual_write: by: trigger: PostgreSQL refuses what the trigger would compute", Err: describedError{err},
			Remedy: "write it so that it is about one row of t, or dual_write: {by: application}", Kind: ErrInput,
		}
	}
	pl.plan.DualWrite = &d
	return nil
}

// dualWrite is the job's update as a trigger computes it.
func (pl *planning) dualWrite() (pgsql.DualWrite, error) {
	p := pl.plan
	update := p.Job.UpdateStep()
	made, err := pl.sql.step(p, p.Job.Steps[0])
	if err != nil {
		return pgsql.DualWrite{}, err
	}
	change, ok := made.(pgsql.Change)
	if !ok {
		return pgsql.DualWrite{}, fmt.Errorf("the step %s is no update", p.Job.Steps[0].Name)
	}
	d := pgsql.DualWrite{
		Scope: pl.sql.scope, Job: p.Job.Name, Set: change.Set, From: change.From, Join: change.Join,
		WholeRow: p.Job.speaksOfWholeRow(), Children: p.Table.Children, Names: pl.rowNames(),
		Settings: pgsql.DualWriteSettings(p.SearchPath, p.Job.Settings),
	}
	if p.Job.Where != nil {
		read := p.Job.Where.among(p.Table.ColumnNames())
		d.ScopeReadsSet = slices.ContainsFunc(update.Set, func(a Assignment) bool { return slices.Contains(read, a.Column) })
	}
	// The columns that {{range}} stands for are the key's, which the row itself always has.
	mentioned := pl.mentioned()
	for _, c := range p.Table.Columns {
		set := slices.ContainsFunc(update.Set, func(a Assignment) bool { return a.Column == c.Name })
		if slices.Contains(mentioned, c.Name) {
			d.Columns = append(d.Columns, pgsql.RowColumn{Name: c.Name, Type: c.BareType, Default: c.Default})
		}
		if set || slices.Contains(mentioned, c.Name) || pl.ranged() && pl.isKey(c.Name) {
			d.Depends = append(d.Depends, c.Name)
		}
	}
	return d, nil
}

// rowNames are the columns that name a row: those that it is walked by, or, where these are none of its own, the primary key's.
func (pl *planning) rowNames() []string {
	var names []string
	for _, k := range pl.plan.Key {
		if pl.plan.Table.Column(k.Name) != nil {
			names = append(names, k.Name)
		}
	}
	if len(names) > 0 {
		return names
	}
	for _, x := range pl.plan.Table.Indexes {
		for _, c := range x.Columns {
			if x.Primary && !c.Included {
				names = append(names, c.Name)
			}
		}
	}
	return names
}

// among are the columns, of those given, that a fragment may speak of: all of them where it takes t as a whole.
func (e Expr) among(columns []string) []string {
	var list []string
	for _, ref := range e.Columns {
		qualifier, column, dotted := strings.Cut(ref, ".")
		switch {
		case ref == "t" || ref == "t.*" || ref == "*":
			return columns
		case !dotted:
			column = ref
		case qualifier != "t":
			continue
		}
		if slices.Contains(columns, column) && !slices.Contains(list, column) {
			list = append(list, column)
		}
	}
	return list
}

// mentioned are the columns of the walked table that the job's SQL may speak of.
func (pl *planning) mentioned() []string {
	var list []string
	for _, e := range pl.plan.Job.exprs() {
		list = append(list, e.among(pl.plan.Table.ColumnNames())...)
	}
	return list
}

// ranged reports whether a fragment speaks of the chunk's range.
func (pl *planning) ranged() bool {
	return slices.ContainsFunc(pl.plan.Job.exprs(), func(e Expr) bool {
		return slices.ContainsFunc(e.Templates, func(t string) bool { return t == "range" || strings.HasPrefix(t, "range ") })
	})
}

// systemColumns are those that a row gets when it is stored: a BEFORE trigger has none of them.
var systemColumns = []string{"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}

// refuseTrigger says everything at once that keeps a trigger from computing what the job computes.
func (pl *planning) refuseTrigger() []error {
	job, t := pl.plan.Job, &pl.plan.Table
	place := pl.at(job.DualWrite.Line)
	const application = "dual_write: {by: application}, and have the application write both"
	update := job.UpdateStep()
	if update == nil {
		return []error{Inputf(place, application, "dual_write: by: trigger computes the columns of one `update`; this job is another one")}
	}
	var list []error
	refuse := func(place, remedy, format string, args ...any) {
		list = append(list, Inputf(place, remedy, "dual_write: by: trigger: "+format, args...))
	}
	if !job.Idempotent {
		refuse(place, application, "the job is not idempotent, so a value that is written already says nothing of what it is to be")
	}
	for _, f := range pl.functions {
		if f.Volatility == "volatile" {
			refuse(place, "declare it IMMUTABLE or STABLE, if it is; else "+application, "%s is volatile: it gives the trigger another value than the backfill", f.Name)
		}
	}
	for _, p := range job.Params {
		switch {
		case p.Env != "":
			refuse(place, application, "the parameter :%s is a secret, and everybody may read a trigger's function", p.Name)
		case p.SQL != nil:
			refuse(place, "give it a value", "the parameter :%s is another value in each run, and the trigger outlives the run", p.Name)
		}
	}
	mentioned := pl.mentioned()
	for _, c := range t.Columns {
		if c.Generated && slices.Contains(mentioned, c.Name) {
			refuse(place, "write out what it is computed from: "+c.Default, "the column %s is generated by the table after BEFORE triggers have run, or when it is read", c.Name)
		}
	}
	for _, part := range job.parts() {
		for _, ref := range part.Columns {
			qualifier, column, dotted := strings.Cut(ref, ".")
			if slices.Contains(systemColumns, column) && qualifier == "t" || !dotted && slices.Contains(systemColumns, ref) {
				refuse(pl.at(part.Line), application, "%s in %s: a row that is not stored yet has none", ref, part.name)
			}
		}
		for _, template := range part.Templates {
			name, _, _ := strings.Cut(template, " ")
			if rows := name == "range" && t.Column(pl.plan.Key[0].Name) != nil; !rows && name != "scope" {
				refuse(pl.at(part.Line), application, "{{%s}} in %s means nothing to a trigger, which is about one row", template, part.name)
			}
		}
	}
	return list
}
