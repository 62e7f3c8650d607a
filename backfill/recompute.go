package backfill

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Recompute computes again what a job's transform makes of rows, for a verification: nothing is written. It is shared by
// any number of [Recomputer]s.
type Recompute struct {
	transforming *transforming
	sql          *pgsql.Transform
	// update is the job's one step over {{out}}, and out what that is without a row. It is nil where what comes back is
	// written straight, but over rows as they were.
	update  *pgsql.Change
	out     *pgsql.Out
	pace    Pace
	observe Observer
}

// RecomputeRefused says why computing again cannot prove what a job wrote; nil is that it can. What the program returns is
// compared where the job writes it straight, or by one update over {{out}}; what other steps make of it, only SQL says.
func RecomputeRefused(job Job, line int) error {
	switch t := job.Transform; {
	case t == nil:
		return Inputf(job.at(line), "write what must hold as expect, none, or expected and actual", "recompute: the job has no transform")
	case len(t.Write) == 0 && (len(job.Steps) != 1 || job.Steps[0].Update == nil):
		return Inputf(job.at(line), "write what must hold as none, or as expected and actual; or let the transform write straight (write: [columns]), or by one update over {{out}}",
			"recompute compares what the transform returns with the columns that it is written to, and which these are does not follow from steps of SQL")
	}
	return nil
}

// NewRecompute makes ready what a plan of [Planner.Survey] computes again. Of the options it takes Plan, Programs, Transforms
// and Observer. With a history ([Plan.RecomputeHistory]) it is computed of the rows as they were; nil is as they are. Programs
// that may not be run, or cannot be found, are an [ErrInput].
func NewRecompute(o Options, history *pgsql.History) (*Recompute, error) {
	t, err := newTransforming(o)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, RecomputeRefused(o.Plan.Job, 0)
	}
	s, err := statementsOf(o.Plan)
	if err != nil {
		return nil, err
	}
	r := &Recompute{transforming: t, sql: s.transform, pace: o.Plan.Pace, observe: o.Observer, out: s.out}
	var c pgsql.Change
	switch {
	case !s.writes():
		u := o.Plan.Job.Steps[0].Update
		if c, err = o.Plan.Change(u.Set, u.From, u.Join); err != nil {
			return nil, err
		}
	case history != nil:
		c = s.transform.Straight()
	default:
		return r, nil
	}
	r.update = &c
	if history != nil {
		if c.History = history; o.Plan.Job.speaksOfWholeRow() {
			c.WholeRow = o.Plan.Table.ColumnNames()
		}
		r.sql.Then = r.update
	}
	return r, nil
}

// RecomputeHistory is what the run of a plan of [Planner.Survey] kept of the walked table's rows, for a proof that what the
// transform made of them was written to these columns: see [Plan.History].
func (p *Plan) RecomputeHistory(columns []string, own bool) *pgsql.History {
	if p.placesRows() {
		return nil
	}
	set := make([]Assignment, len(columns))
	for i, name := range columns {
		set[i].Column = name
	}
	return p.History(set, own)
}

// Columns are what is compared.
func (r *Recompute) Columns() []pgsql.SetColumn {
	if r.update != nil {
		return r.update.Set
	}
	return r.sql.Write
}

// Fitting bounds how many rows are computed at a time, by what rows have taken so far.
func (r *Recompute) Fitting(rows int) int { return r.transforming.fitting(rows) }

// Least is how many rows are computed at first: a program may take a second for each.
func (r *Recompute) Least() int { return firstTransformRows }

// Reader is somebody who computes, with a program of its own, which is ended by [Recomputer.Close]. It is of one goroutine.
func (r *Recompute) Reader(id int) *Recomputer {
	pace := func() Pace { return r.pace }
	return &Recomputer{Recompute: r, computer: &computer{transforming: r.transforming, id: id, pace: pace, observe: r.observe, abort: context.Background()}}
}

// Recomputer computes rows again.
type Recomputer struct {
	*Recompute
	computer *computer
}

// Close ends the program, where there is one.
func (r *Recomputer) Close() { r.computer.end() }

// Recomputed are rows with what came back for them. Its statements are to be asked in the transaction that read the rows.
type Recomputed struct {
	by    *Recomputer
	part  pgsql.Part
	batch *batch
}

// Compute reads the rows in scope of a part, in the transaction that is open on a connection and sees one moment, and sends
// them through the transform, all of them within timeouts.transform. divisible says that there may be fewer at a time, where
// they take much memory. See [TroubleOf] for its errors.
func (r *Recomputer) Compute(ctx context.Context, conn *pgconn.PgConn, part pgsql.Part, divisible bool) (*Recomputed, error) {
	read, err := r.sql.Select(part)
	if err != nil {
		return nil, err
	}
	b, _, err := r.computer.read(ctx, conn, r.sql, divisible, 0, read)
	if err != nil {
		return nil, err
	}
	if err := r.all(ctx, b, divisible); err != nil {
		return nil, err
	}
	r.transforming.took(max(b.rows(), 1), b.bytes, r.computer.budget())
	return &Recomputed{by: r, part: part, batch: b}, nil
}

// all computes all rows of a batch while a snapshot is held for it: that is bounded, as a lock would be.
func (r *Recomputer) all(ctx context.Context, b *batch, divisible bool) error {
	patience := r.pace.TransformTimeout
	computing, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%w: %d rows took more than %s", ErrProgramSilent, b.rows(), patience))
	defer cancel()
	err := r.computer.compute(computing, b, b.missing(), divisible)
	if err != nil && ctx.Err() == nil && computing.Err() != nil {
		return context.Cause(computing)
	}
	return err
}

// Rows is how many rows were read.
func (c *Recomputed) Rows() int { return c.batch.rows() }

// Proof is the statement that counts the rows that do not hold what came back: see [pgsql.Transform.Proof], or, with
// joined, [pgsql.Change.Proof], over rows as they were where there is a history.
func (c *Recomputed) Proof() (st pgsql.Statement, joined bool, err error) {
	rows, out := c.values()
	if u := c.by.update; u != nil {
		st, err = u.Proof(c.over(out))
		return st, true, err
	}
	st, err = c.by.sql.Proof(c.part, rows, out)
	return st, false, err
}

// Wrong is the statement that names up to most of them: see [pgsql.Change.Wrong].
func (c *Recomputed) Wrong(most int, values bool) (pgsql.Statement, error) {
	rows, out := c.values()
	if u := c.by.update; u != nil {
		return u.Wrong(c.over(out), most, values)
	}
	return c.by.sql.Wrong(c.part, rows, out, most, values)
}

// Prepared is the statement that compares, without a row: what the server refuses of it is the job's mistake.
func (r *Recompute) Prepared() (pgsql.Statement, error) {
	part := pgsql.Part{Reading: true}
	if r.update != nil {
		part.Out = r.out
		return r.update.Proof(part)
	}
	return r.sql.Proof(part, pgsql.Rows{Columns: make([][]*string, r.sql.Named())}, pgsql.Out{Values: make([][]*string, len(r.sql.Write))})
}

// Same computes the rows once more and reports whether the same comes back. Where it does not, comparing with what is stored
// means nothing.
func (c *Recomputed) Same(ctx context.Context) (bool, error) {
	again := *c.batch
	again.out = make([][]*string, c.batch.rows())
	if err := c.by.all(ctx, &again, false); err != nil {
		return false, err
	}
	for i, row := range c.batch.out {
		if versionName(row) != versionName(again.out[i]) {
			return false, nil
		}
	}
	return true, nil
}

func (c *Recomputed) values() (pgsql.Rows, pgsql.Out) {
	rows, out := columns(c.batch.all(), c.by.sql.Named(), len(c.by.transforming.plan.Returns))
	return rows, pgsql.Out{Values: out}
}

// over is the part with {{out}} in it.
func (c *Recomputed) over(out pgsql.Out) pgsql.Part {
	part, o := c.part, *c.by.out
	keys := keyValues(c.batch.all(), len(c.by.transforming.plan.Key))
	o.Values = append(keys, out.Values...)
	part.Out = &o
	return part
}

// Trouble says what follows an error of a recomputation.
type Trouble int

// What can follow: it is none of the transform's; the same again may go well; fewer rows may, down to the one that cannot be
// done; nothing will.
const (
	TroubleElsewhere Trouble = iota
	TroubleAgain
	TroubleFewer
	TroubleFatal
)

// TroubleOf says what follows an error of [Recomputer.Compute], the nth in a row at the same place, from 1. fit is how many rows
// there would be room for, where it is known, else 0.
func (r *Recompute) TroubleOf(err error, nth int) (t Trouble, fit int) {
	var large *tooLargeError
	var failed *rowFailedError
	var outside *outsideError
	var never *neverError
	switch {
	case errors.As(err, &large):
		return TroubleFewer, large.fit
	case errors.Is(err, ErrProgramMissing), errors.Is(err, ErrProgramAnswer), errors.Is(err, ErrProgramHoldsBack), errors.As(err, &never):
		return TroubleFatal, 0
	case errors.As(err, &failed), errors.Is(err, ErrProgramSilent), errors.Is(err, ErrProgramEnded) && nth > 1:
		return TroubleFewer, 0
	case errors.Is(err, ErrProgramEnded), errors.As(err, &outside):
		return TroubleAgain, 0
	}
	return TroubleElsewhere, 0
}
