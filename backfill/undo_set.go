package backfill

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// UndoJob is the job that takes a run back by `undo: {set: …}`: the assignments, over the rows that chunks of the
// run were committed for, but for those that are aside, walked by the run's key. Rows that came above them later are left alone.
//
// Of these rows it means those in undo.where; where there is none those in the job's own scope, if that is still the
// same rows: if it mentions no column that the job writes and reads nothing but the row. Else it is every row that
// was walked, and [Undo.WholeWalk] says so beforehand. It is not idempotent, like its inverse, so that each
// row is assigned once, and there is no sweep over what applications write meanwhile. No key says that the run was walked in
// physical order: rows have moved since, so that no range tells which it came to, and all in scope are meant.
// A {{helper x}} of undo is the table that the run built. The error is one of a template that cannot be read.
func (j Job) UndoJob(run RunID, key []pgsql.KeyColumn, covered, aside []pgsql.Range) (Job, error) {
	where := "(true)"
	if len(key) > 0 {
		where = "(" + pgsql.Covered(key, covered) + ")"
	}
	if len(aside) > 0 {
		where += "\nAND NOT (" + pgsql.Covered(key, aside) + ")"
	}
	said := j.Undo.Where
	if said == nil && j.scopeHolds() {
		said = j.Where
	}
	if said != nil {
		of, err := j.ofRun(run, *said)
		if err != nil {
			return Job{}, err
		}
		where += "\nAND (" + of.SQL + "\n)"
	}
	scope := Expr{SQL: where}
	for _, e := range []*Expr{j.Where, j.Undo.Where} {
		if e != nil { // more than are mentioned does no harm
			scope.Functions, scope.Columns = append(scope.Functions, e.Functions...), append(scope.Columns, e.Columns...)
			scope.Params, scope.Templates = append(scope.Params, e.Params...), append(scope.Templates, e.Templates...)
			scope.Subquery = scope.Subquery || e.Subquery
		}
	}
	undo := Job{
		Name: UndoName(j.Name, run), Undoes: j.Name, Table: j.Table, Where: &scope,
		Description: fmt.Sprintf("Takes run %d of %s back.", run, j.Name),
		Steps:       []Step{{Name: "undo", Update: &Update{SkipUnchanged: true}}},
		Params:      j.Params, Settings: j.Settings, Pace: j.Pace, Origin: j.Origin,
		Undo: &Undo{None: takesBack},
	}
	for _, a := range j.Undo.Set {
		of, err := j.ofRun(run, a.Value)
		if err != nil {
			return Job{}, err
		}
		undo.Steps[0].Update.Set = append(undo.Steps[0].Update.Set, Assignment{Column: a.Column, Value: of})
	}
	for _, k := range key {
		undo.Key = append(undo.Key, k.Name)
	}
	return undo, nil
}

// ofRun is a fragment of undo with the run's own helpers and scope in it.
func (j Job) ofRun(run RunID, e Expr) (Expr, error) {
	scope := ""
	if j.Where != nil {
		scope = j.Where.SQL
	}
	var err error
	if e.SQL, err = pgsql.OfRun(e.SQL, fmt.Sprint(int64(run)), scope); err != nil {
		return e, Inputf(j.at(e.Line), "see the templates in the manual", "undo: %v", err)
	}
	if slices.Contains(e.Templates, "scope") && j.Where != nil {
		e.Params, e.Functions, e.Columns = slices.Concat(e.Params, j.Where.Params), slices.Concat(e.Functions, j.Where.Functions), slices.Concat(e.Columns, j.Where.Columns)
		e.Subquery = e.Subquery || j.Where.Subquery
	}
	e.Templates = slices.DeleteFunc(slices.Clone(e.Templates), func(name string) bool { return name == "scope" || strings.HasPrefix(name, "helper ") })
	return e, nil
}

// takesBack is what stands in the place of undo in a job that is made by [Job.UndoJob].
const takesBack = "it takes another run back"

// TakesBack reports whether it is a job that [Job.UndoJob] made: its runs are gone on with by undo.
func (j Job) TakesBack() bool {
	return j.Undo != nil && j.Undo.None == takesBack && strings.Contains(j.Name, "-undo-")
}

// owner is the job whose triggers leave alone what is written: its own, or that of the job that is taken back.
func (j Job) owner() string {
	if j.Undoes != "" {
		return j.Undoes
	}
	return j.Name
}

// UndoName is the name of the job that takes a run of another one back: that of its run, as status has it.
func UndoName(job string, run RunID) string {
	suffix := fmt.Sprintf("-undo-%d", run)
	return job[:min(len(job), 63-len(suffix))] + suffix
}

// scopeHolds reports whether the job's scope holds after the run for the rows that it held for before.
func (j Job) scopeHolds() bool {
	w := j.Where
	return w == nil || !w.Subquery && len(w.Templates) == 0 && !w.mentions(j.writtenColumns())
}

// writtenColumns are the columns of the walked table that the job is known to write.
func (j Job) writtenColumns() []string {
	var names []string
	for _, a := range j.Assignments() {
		names = append(names, a.Column)
	}
	for _, step := range j.Steps {
		if step.SQL != nil && step.SQL.Target == j.Table {
			names = append(names, step.SQL.Written...)
		}
	}
	if j.Transform != nil {
		names = append(names, j.Transform.Write...)
	}
	return names
}

// mentions reports whether the expression speaks of one of the columns, or of the row as a whole.
func (e Expr) mentions(columns []string) bool {
	return slices.ContainsFunc(e.Columns, func(ref string) bool {
		name := ref[strings.LastIndexByte(ref, '.')+1:]
		return name == "t" || name == "*" || slices.Contains(columns, name)
	})
}

// WholeWalk reports whether taking the job back by undo.set assigns every row that was walked, because its scope does
// not tell any more which rows it changed.
func (j Job) WholeWalk() bool {
	return j.Undo != nil && len(j.Undo.Set) > 0 && j.Undo.Where == nil && !j.scopeHolds()
}

// undoWholeWalk is about undo.set of a job whose scope does not hold afterwards.
func (pl *planning) undoWholeWalk() *noticed {
	if !pl.plan.Job.WholeWalk() {
		return nil
	}
	return &noticed{
		"undo.set would assign every row that was walked, those too that were outside of the scope",
		"where: mentions what the job writes, or more than the row: " + pl.plan.Job.Where.SQL,
		"say which rows are meant, as in  undo: {set: {…}, where: …}; or keep what was there: undo: capture; or undo with --accept undo-whole-walk",
	}
}

// undoOverwrites is about the job that takes a run back by undo.set.
func (pl *planning) undoOverwrites() *noticed {
	if !pl.plan.Job.TakesBack() {
		return nil
	}
	return &noticed{
		"what others have written into these columns since is taken back too: nothing tells it from what the run wrote",
		"undo.set assigns " + some(pl.plan.Job.writtenColumns()) + " in every row that is meant",
		"where the application writes these columns meanwhile, say in  undo: {set: {…}, where: …}  which rows it must not touch; only undo: capture, said before the run, leaves what others have changed",
	}
}

// undoPartial is about undo.set of a job that does more than to assign columns of its table.
func (pl *planning) undoPartial() *noticed {
	j := pl.plan.Job
	if j.Undo == nil || len(j.Undo.Set) == 0 {
		return nil
	}
	var names []string
	for _, s := range j.Steps {
		if s.Update == nil {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &noticed{
		"undo.set takes back assignments only, and the job does more",
		"steps " + some(names),
		"use undo: capture, which keeps what was there; or say in writing that it cannot be taken back, with undo: {none: why}",
	}
}

// undoUnsaid is about a job that does not say how it is taken back.
func (pl *planning) undoUnsaid() *noticed {
	if pl.plan.Job.Undo != nil {
		return nil
	}
	return &noticed{
		"the job does not say how it is taken back",
		"there is no undo:",
		"add  undo: {set: {…}}, undo: capture  or  undo: {none: why}",
	}
}
