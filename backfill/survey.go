package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Survey resolves a job for reading: the table, its key and the segments that a verification is divided into. No
// privilege to write is asked for, the statements of the steps are not prepared, and nothing is looked for that is
// only of interest before a run. It takes the place of [Planner.Plan] where the rows are only looked at.
//
// The plan has no statements, findings and fingerprint. Its segments are those of a walk: they tile the keys up to the
// greatest one, and who reads takes the first and the last one as open.
func (p Planner) Survey(ctx context.Context, conn *pgx.Conn, job Job, pace Pace) (*Plan, error) {
	pl := &planning{known: p, conn: conn, plan: &Plan{Job: job, Pace: job.Pace.Over(pace).Over(DefaultPace).Settled()}}
	if err := pl.begin(ctx); err != nil {
		return nil, pl.wrap(err)
	}
	defer rollback(context.WithoutCancel(ctx), conn.PgConn())
	for _, step := range []func(context.Context) error{
		pl.readServer, pl.readParams, pl.surveyTable, pl.readFunctions, pl.refuseReading, pl.surveyTransform, pl.resolve, pl.count, pl.cut,
	} {
		if err := step(ctx); err != nil {
			return nil, pl.wrap(err)
		}
	}
	pl.plan.Captures = p.Captures
	return pl.plan, nil
}

// surveyTable reads the table and takes its key. Rows move in physical order, so that only a table without a key is read
// in it, and must be as of one moment.
func (pl *planning) surveyTable(ctx context.Context) error {
	job, p := pl.plan.Job, pl.plan
	p.run = pl.known.Run
	if built := p.run != 0 && pl.known.Prepared; !built {
		if job.WalkHelper != "" {
			return Inputf(pl.place(), "run the job first", "table: {{helper %s}} is built by a run, and none has built it", job.WalkHelper)
		}
		p.helpers = pl.queries()
	}
	schema, name, columns := pl.walkedTable()
	var err error
	if p.Table, err = catalog.ReadTable(ctx, pl.conn, p.Server, schema, name); err != nil {
		return pl.problem("table", err)
	}
	if slices.Equal(columns, []string{tidColumn.Name}) {
		columns = nil
	}
	key, err := p.Table.ResolveKey(columns)
	if len(columns) == 0 && len(pl.known.Key) > 0 { // unless the columns or their index are gone since
		if walked, gone := p.Table.ResolveKey(pl.known.Key); gone == nil && walked.Index != nil {
			key, err = walked, nil
		}
	}
	switch {
	case err != nil && len(columns) == 0 && p.Table.Partitioned && len(p.Table.Foreign) == 0:
		return pl.bySideBySide(ctx)
	case err != nil && len(columns) == 0 && !p.Table.Partitioned && len(p.Table.Children) == 0:
		return pl.byHeap(ctx, "the table has no key to read it by")
	case err != nil:
		return pl.problem("key", err)
	}
	pl.byKey(key)
	return nil
}

// bySideBySide reads a partitioned table in physical order through the parent: a range of pages is that range of every partition.
func (pl *planning) bySideBySide(ctx context.Context) error {
	p := pl.plan
	answers, err := exchange(ctx, pl.conn.PgConn(), pgsql.Leaves(p.Table.OID, nil, false))
	if err != nil {
		return err
	}
	p.Walk, p.WalkReason, p.Key = string(WalkHeap), "the table has no key to read it by", []pgsql.KeyColumn{tidColumn}
	p.Heap = &HeapWalk{Blocks: level(leavesIn(answers[0])), RowsPerBlock: 1}
	return nil
}

// refuseReading says at once all that makes it impossible to read the table's rows.
func (pl *planning) refuseReading(context.Context) error {
	list := slices.Concat(pl.refuseColumns(), pl.refuseWithoutIndex())
	if pl.plan.Job.recomputes() {
		list = append(list, pl.refuseTransform()...)
	}
	unseen := append(pl.refuseUnread(), pl.refuseRowSecurity()...)
	only := len(list) == 0 && len(unseen) > 0
	list = append(list, unseen...)
	err := errors.Join(list...)
	if len(list) == 1 {
		err = list[0]
	}
	if only {
		return blinded{err}
	}
	return err
}

// blinded is an error that says that the role may not see what it is to read.
type blinded struct{ error }

func (b blinded) Unwrap() []error { return []error{b.error, ErrBlinded} }

// recomputes reports whether a check of the job's runs its transform again.
func (j Job) recomputes() bool {
	return slices.ContainsFunc(j.Verify, func(c Check) bool { return c.Recompute })
}

// surveyTransform finds out of what types the transform's values are, where it is to be run again.
func (pl *planning) surveyTransform(ctx context.Context) error {
	if !pl.plan.Job.recomputes() {
		return nil
	}
	if pl.plan.Heap != nil {
		return Inputf(pl.place(), "give the table a key, or write what must hold as none", "recompute: what comes back is told apart by the table's key, and it has none")
	}
	return pl.readTransform(ctx)
}

// refuseUnread looks at the columns that are certain to be read; the rest is found by preparing the checks.
func (pl *planning) refuseUnread() []error {
	t, role := &pl.plan.Table, pl.plan.Server.Role
	if !t.MayUse {
		return []error{Inputf("table "+t.Quoted, fmt.Sprintf("as the owner: GRANT USAGE ON SCHEMA %s TO %s", pgsql.Ident(t.Schema), pgsql.Ident(role)),
			"role %s lacks USAGE on schema %s", role, t.Schema)}
	}
	var names []string
	for _, c := range t.Columns {
		used := pl.isKey(c.Name) || slices.ContainsFunc(pl.plan.Job.Assignments(), func(a Assignment) bool { return a.Column == c.Name })
		if used && !c.MaySelect {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []error{Inputf("table "+t.Quoted, fmt.Sprintf("as the owner: GRANT SELECT ON %s TO %s", t.Quoted, pgsql.Ident(role)),
		"role %s lacks SELECT (%s) on %s", role, strings.Join(names, ", "), t.Quoted)}
}

// resolve makes the statements that the walk is cut with.
func (pl *planning) resolve(context.Context) error {
	var err error
	pl.sql, err = statementsOf(pl.plan)
	return err
}

// count reads how many rows there may be, in scope or not.
func (pl *planning) count(ctx context.Context) error {
	rows, err := pl.estimateOf(ctx, pl.keySettings(), pgsql.Statement{Name: "estimate", SQL: "SELECT FROM " + pl.plan.Table.Quoted})
	pl.plan.EstimatedRows, pl.scope = rows, rows
	return err
}

// Scope is what the job's own SQL speaks of, for statements over parts of the walk.
func (p *Plan) Scope() (pgsql.Scope, error) {
	s, err := statementsOf(p)
	s.scope.Before = p.Before(p.run)
	return s.scope, err
}

// History is what the run of a plan of [Planner.Survey] kept of the walked table's rows, for a proof that these assignments
// were made of what the rows held, or, without any, that those in scope were deleted. own says that a value is computed from
// what the job writes. It is nil where the run has not kept that.
func (p *Plan) History(set []Assignment, own bool) *pgsql.History {
	if p.Heap != nil {
		return nil
	}
	for _, c := range p.CapturesOf(p.run) {
		h := &pgsql.History{Capture: c, Columns: p.Table.ColumnNames(), Own: own}
		columns := make([]pgsql.SetColumn, len(set))
		for i, a := range set {
			columns[i].Name = a.Column
		}
		if c.OID == p.Table.OID && p.sameColumns(c) && h.Knows(columns) && (len(set) > 0 || c.Deletes) {
			return h
		}
	}
	return nil
}

// sameColumns reports whether what was kept of the walked table is of columns that it still has, and as they were.
func (p *Plan) sameColumns(c pgsql.Capture) bool {
	return !slices.ContainsFunc(c.Kept, func(k pgsql.KeptColumn) bool {
		now := p.Table.Column(k.Name)
		return now != nil && (now.Number != k.Number || now.Type != k.Type)
	})
}

// Change is the update of the walked table that these assignments make, in the job's scope: what a verification
// compares with. from and join may be nil.
func (p *Plan) Change(set []Assignment, from, join *Expr) (pgsql.Change, error) {
	s, err := statementsOf(p)
	if err != nil {
		return pgsql.Change{}, err
	}
	s.scope.Before = p.Before(p.run)
	exprs := make([]Expr, 0, len(set)+2)
	for _, a := range set {
		exprs = append(exprs, a.Value)
	}
	for _, e := range []*Expr{from, join, p.Job.Where} {
		if e != nil {
			exprs = append(exprs, *e)
		}
	}
	c, err := s.change(p, Step{Update: &Update{Set: set, From: from, Join: join}}, speakOfWholeRow(exprs))
	for i := range c.Set {
		c.Set[i].Nulls = nil // what was proved of an expression saves time; here it is evaluated
	}
	return c, err
}

// Hide takes the secrets among the job's parameters out of what the server says in an error.
func (p *Plan) Hide(err error) error { return p.hide(err) }
