package backfill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Planner resolves jobs against a database. The zero value plans a run that is still to be made.
type Planner struct {
	// Constants are the values of its parameters that the run has already; those that are not here are found out.
	// Secrets never are: they are read from the environment each time.
	Constants []Constant
	// Run is the run that is planned for; 0 is one that is still to be made.
	Run RunID
	// Prepared is set where its prepare and helpers are done: what does not exist then is an error. Finishing is set
	// where its finish has begun: what does not exist any more is none.
	Prepared, Finishing bool
	// Key are the columns that the run walked by, for [Planner.Survey]: what the job's own SQL says of ranges is said of
	// these. Empty is not known, and has no meaning for a plan.
	Key []string
	// Captures are what the run has kept of the tables that it writes (undo: capture), for [Planner.Survey]. None is
	// nothing, and has no meaning for a plan, which says itself what is to be kept.
	Captures []pgsql.Capture
	// BackupAt is when the last backup was made, as somebody said it; zero is that nobody did, and the job's own query is asked.
	BackupAt time.Time
	// Tripwire asks for a tripwire whatever the job says.
	Tripwire bool
	// MostWorkers is how many workers may be chosen where nobody has said a number; 0 is no bound.
	MostWorkers int
	// Walk is how the run walks the table; "" is not known, and is decided anew. Heap is what a walk in physical order goes by.
	Walk WalkKind
	Heap *HeapWalk
	// Environment looks up a variable; nil is os.LookupEnv.
	Environment func(name string) (value string, ok bool)
	// Programs looks the programs up that transforms name; nil leaves that to the start of the work.
	Programs Programs
	// Transforms are the functions that transforms may name: those of [Options].
	Transforms map[string]TransformFunc
}

func (p Planner) environment(name string) (string, bool) {
	if p.Environment != nil {
		return p.Environment(name)
	}
	return os.LookupEnv(name)
}

// Plan resolves a job without a write, in one read-only transaction whose reads do not grow with the table.
// pace is what holds where the job says nothing.
//
// What cannot be run at all is an [ErrInput] that names the place: a table or column that is not there, an
// expression of the wrong type, a missing privilege. What can be run but should be known first is in the plan's
// findings.
func (p Planner) Plan(ctx context.Context, conn *pgx.Conn, job Job, pace Pace) (*Plan, error) {
	pl := &planning{
		known: p, conn: conn, plan: &Plan{Job: job, Pace: job.Pace.Over(pace).Over(DefaultPace).Settled()},
		workersSaid: job.Pace.Over(pace).Workers > 0,
	}
	if err := pl.begin(ctx); err != nil {
		return nil, pl.wrap(err)
	}
	defer rollback(context.WithoutCancel(ctx), conn.PgConn())
	err := pl.all(ctx, pl.readServer, pl.choosePace, pl.readBackup, pl.readParams, pl.readTasks, pl.prepareHelpers, pl.readTable)
	if err == nil && !pl.blank {
		err = pl.all(ctx, pl.readFunctions, pl.readCaptures, pl.refuse)
	}
	switch {
	case err != nil:
	case pl.blank: // there is nothing to look at yet
		err = pl.all(ctx, pl.listStatements, pl.look)
	default:
		err = pl.all(ctx, pl.readTransform, pl.proveNulls, pl.readOverriding, pl.prepare, pl.estimate, pl.chooseStripes, pl.planDualWrite, pl.planTripwire, pl.cut, pl.chooseChunks, pl.explain, pl.readContests, pl.look)
		pl.fingerprint()
	}
	if err != nil {
		return nil, pl.wrap(err)
	}
	return pl.plan, nil
}

// all takes steps of the planning, in order.
func (pl *planning) all(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// planning is one plan in the making.
type planning struct {
	conn *pgx.Conn
	plan *Plan
	// known is what was known before.
	known Planner
	// workersSaid is set where somebody has said how many workers there are.
	workersSaid bool
	// blank is set where the walked table, or a column that is written, is not there yet, or not any more.
	blank bool

	key       catalog.Key
	sql       statements
	functions []catalog.Function
	activity  catalog.Activity
	// contests are the unfinished runs of other jobs that write what this one writes.
	contests []contest
	// leaves are the tables that hold the rows of a partitioned one that is walked in physical order.
	leaves []leafRow
	// other is the one plain table that the job's from names, or nil.
	other *catalog.Table
	// noTripwire is why there can be no tripwire, where one was asked for.
	noTripwire []string
	// backup is what is known of the last backup.
	backup BackupAnswer
	// captured are the tables that undo: capture keeps the rows of.
	captured []*written
	// scope is how many rows the job's where is thought to leave.
	scope int64
	// nodes are the parts of the server's plans, by statement.
	nodes map[string][]planNode
	// probe is the chunk that the statements were explained for, and probed how many rows it holds.
	probe pgsql.Range
	// striped is its stripe; nil is all of its rows.
	striped *pgsql.Stripe
	probed  int64
}

// begin opens the transaction that everything is read in. It waits for locks no longer than a chunk would.
func (pl *planning) begin(ctx context.Context) error {
	p := pl.plan.Pace
	if err := Supported(pl.conn.PgConn()); err != nil {
		return err
	}
	began := time.Now()
	_, err := exchange(ctx, pl.conn.PgConn(),
		pgsql.Statement{Name: "begin", SQL: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
		pgsql.SetLocal(pgsql.Limits{Lock: p.LockTimeout, Statement: p.StatementTimeout}.Settings()...))
	pl.plan.RoundTrip = time.Since(began)
	return err
}

// readTable reads the table and decides what it is walked by.
func (pl *planning) readTable(ctx context.Context) error {
	p := pl.plan
	schema, name, _ := pl.walkedTable()
	if p.Job.WalkHelper != "" && p.Pending {
		pl.unresolved("table: helper %s", p.Job.WalkHelper)
		pl.blank = true
		return nil
	}
	var err error
	if p.Table, err = catalog.ReadTable(ctx, pl.conn, p.Server, schema, name); err != nil {
		if pl.blank = pl.tolerant() && pl.tableLater(err); pl.blank {
			return nil
		}
		return pl.problem("table", err)
	}
	if err := pl.chooseWalk(ctx); err != nil {
		pl.blank = p.Finishing
		if !pl.blank {
			return err
		}
	}
	return nil
}

// readFunctions reads the functions that the job's expressions may call. One of the user's that is not immutable
// may read tables, as a subquery does.
func (pl *planning) readFunctions(ctx context.Context) error {
	var names []string
	var text strings.Builder
	subquery := false
	for _, e := range pl.plan.Job.exprs() {
		names = append(names, e.Functions...)
		text.WriteString(e.SQL + "\n")
		subquery = subquery || e.Subquery
	}
	var err error
	pl.functions, err = catalog.ReadFunctions(ctx, pl.conn, names, pl.plan.Server.SearchPath, text.String())
	if err != nil {
		return err
	}
	pl.plan.unrepeatable = unrepeatable(pl.functions)
	joined := slices.ContainsFunc(pl.plan.Job.Steps, func(s Step) bool { return s.Update != nil && s.Update.From != nil })
	pl.plan.LockFirst = joined || (subquery || len(pl.readers()) > 0) && pl.plan.Job.changesRows()
	if err := pl.readOther(ctx); err != nil {
		return err
	}
	pl.activity, err = catalog.ReadActivity(ctx, pl.conn, pl.plan.Server, oldTransaction)
	return err
}

// readers are the functions that may read tables.
func (pl *planning) readers() []catalog.Function {
	var list []catalog.Function
	for _, f := range pl.functions {
		if !f.BuiltIn && f.Volatility != "immutable" {
			list = append(list, f)
		}
	}
	return list
}

// changesRows reports whether a step changes the walked table's own rows by statements of the engine's.
func (j Job) changesRows() bool {
	return slices.ContainsFunc(j.Steps, func(s Step) bool { return s.SQL == nil })
}

// exprs are all SQL fragments of a job's steps and scope, in the order in which its statements have them.
func (j Job) exprs() []Expr {
	var list []Expr
	for _, part := range j.parts() {
		list = append(list, part.Expr)
	}
	return list
}

// namedExpr is a fragment and where it stands: "set: display_name", "where", "step create".
type namedExpr struct {
	name string
	Expr
}

// parts are a job's fragments with their names, step by step; the scope comes where an update has it.
func (j Job) parts() []namedExpr {
	var list []namedExpr
	scoped := false
	scope := func() {
		if j.Where != nil && !scoped {
			list, scoped = append(list, namedExpr{"where", *j.Where}), true
		}
	}
	if j.Transform != nil {
		for _, e := range j.Transform.Read {
			list = append(list, namedExpr{"transform: read", e})
		}
		scope()
	}
	for _, step := range j.Steps {
		switch {
		case step.SQL != nil:
			list = append(list, namedExpr{"step " + step.Name, step.SQL.Expr})
		case step.Update != nil:
			for _, a := range step.Update.Set {
				list = append(list, namedExpr{"set: " + a.Column, a.Value})
			}
			if step.Update.From != nil {
				list = append(list, namedExpr{"from", *step.Update.From})
			}
			scope()
			if step.Update.Join != nil {
				list = append(list, namedExpr{"join", *step.Update.Join})
			}
		}
	}
	scope()
	return list
}

// Assignments are those of all update steps.
func (j Job) Assignments() []Assignment {
	var list []Assignment
	for _, step := range j.Steps {
		if step.Update != nil {
			list = append(list, step.Update.Set...)
		}
	}
	return list
}

// targets are the assignments of update steps and, without a value, the columns that a transform writes.
func (j Job) targets() []Assignment {
	list := j.Assignments()
	if j.Transform != nil {
		for _, name := range j.Transform.Write {
			list = append(list, Assignment{Column: name, Value: Expr{Line: j.Transform.Line}})
		}
	}
	return list
}

// transformReadsOthers reports whether a transform is given more than the row.
func (pl *planning) transformReadsOthers() bool {
	t := pl.plan.Job.Transform
	return t != nil && (len(pl.readers()) > 0 || slices.ContainsFunc(t.Read, func(e Expr) bool { return e.Subquery }))
}

// problem turns what the catalogue says about a part of the job into an error that names its place.
func (pl *planning) problem(part string, err error) error {
	var p *catalog.Problem
	if !errors.As(err, &p) {
		return err
	}
	place := part
	if pl.plan.Job.Origin != "" {
		place = pl.plan.Job.Origin + ": " + part
	}
	return &Error{Place: place, Found: p.Found, Expected: p.Expected, Remedy: p.Remedy, Kind: ErrInput}
}

// wrap says which job was being planned when the server refused something that has no better explanation.
func (pl *planning) wrap(err error) error {
	var ours *Error
	if errors.As(err, &ours) {
		return err
	}
	e := &Error{Place: pl.place(), Found: "it could not be planned", Err: describedError{err}}
	switch code := pgerr.Code(err); {
	case code == "42501":
		e.Kind, e.Remedy = ErrInput, "grant what is missing to role "+pl.plan.Server.Role
	case code == "55P03":
		e.Remedy = "somebody holds a lock on the table that keeps even readers out (a schema change?): try again when it is done"
	case code == pgerr.CodeQueryCanceled:
		e.Remedy = fmt.Sprintf("planning took longer than the statement timeout of %s: raise timeouts.statement, or look at what the server is doing", pl.plan.Pace.StatementTimeout)
	}
	return e
}

func (pl *planning) place() string {
	if pl.plan.Job.Origin != "" {
		return pl.plan.Job.Origin
	}
	return "job " + pl.plan.Job.Name
}

// oldTransaction is how long a transaction must be open to be worth a word.
const oldTransaction = 5 * time.Minute
