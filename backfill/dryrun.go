package backfill

import (
	"context"
	"errors"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// DryRun carries out up to so many chunks of a plan, one after the other from the beginning of
// the walk, and rolls each of them back. Nothing is recorded and nothing stays but what a
// rollback leaves: dead row versions and a place in the log. each is told of every chunk.
//
// Of the options it takes Plan, Connect, Programs, Transforms and Observer.
func DryRun(ctx context.Context, o Options, chunks int, each func(Chunk)) error {
	plan := o.Plan
	e, err := newEngine(Options{Plan: plan, Process: "dry run", Connect: o.Connect, Programs: o.Programs, Transforms: o.Transforms, Observer: o.Observer, Throttle: unthrottled{}, Abort: ctx})
	if err != nil {
		return err
	}
	conn, err := o.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	w := &worker{engine: e, id: 1, conn: conn}
	defer w.endProgram()
	for _, seg := range plan.Segments {
		if err := w.findLeaf(ctx, seg); err != nil {
			return err
		}
		for after := seg.Range.After; chunks > 0; chunks-- {
			if err := ctx.Err(); err != nil {
				return err
			}
			next, err := w.boundary(ctx, seg, after, w.transforms.fitting(w.sizer().next()))
			if err != nil {
				return err
			}
			chunk := Chunk{Segment: seg.No, Seq: 1, Range: KeyRange{After: after, Through: next.through}, Started: time.Now(), Attempt: 1, Worker: w.name(), size: next.size, last: next.last}
			if err := w.dryChange(ctx, seg, &chunk); err != nil {
				rollback(context.WithoutCancel(ctx), conn.PgConn())
				return &Error{Place: "job " + plan.Job.Name + ", rows " + chunk.Range.String(), Found: "the chunk failed and was rolled back", Err: describedError{plan.hide(err)}}
			}
			if _, err := exchange(ctx, conn.PgConn(), pgsql.Rollback); err != nil {
				return err
			}
			chunk.Duration = time.Since(chunk.Started)
			w.took(chunk)
			each(chunk)
			if after = chunk.Range.Through; chunk.last {
				chunks--
				break
			}
		}
	}
	return nil
}

// unthrottled lets everything through.
type unthrottled struct{}

func (unthrottled) Wait(ctx context.Context, _ int) error { return ctx.Err() }
func (unthrottled) SetRate(float64)                       {}

// dryChange changes a chunk in a transaction that it leaves open; one whose rows do not fit is made shorter.
func (w *worker) dryChange(ctx context.Context, seg Segment, chunk *Chunk) error {
	for {
		err := w.change(ctx, seg, chunk)
		var large *tooLargeError
		if !errors.As(err, &large) {
			return err
		}
		next, err := w.boundary(ctx, seg, chunk.Range.After, max(1, min(large.fit, chunk.size/2)))
		if err != nil {
			return err
		}
		chunk.Range.Through, chunk.size, chunk.last = next.through, next.size, next.last
	}
}
