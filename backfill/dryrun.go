package backfill

import (
	"context"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// DryRun carries out up to so many chunks of a plan, one after the other from the beginning of
// the walk, and rolls each of them back. Nothing is recorded and nothing stays but what a
// rollback leaves: dead row versions and a place in the log. each is told of every chunk.
func DryRun(ctx context.Context, connect Connect, plan *Plan, chunks int, each func(Chunk)) error {
	sql, err := statementsOf(plan)
	if err != nil {
		return err
	}
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	e := &engine{plan: plan, sql: sql, process: "dry run", abort: ctx}
	e.paceNow.Store(&plan.Pace)
	e.sizerNow.Store(newSizer(plan.Pace, false))
	w := &worker{engine: e, id: 1, conn: conn}
	for _, seg := range plan.Segments {
		for after := seg.Range.After; chunks > 0; chunks-- {
			if err := ctx.Err(); err != nil {
				return err
			}
			next, err := w.boundary(ctx, seg, after, w.sizer().next())
			if err != nil {
				return err
			}
			chunk := Chunk{Segment: seg.No, Seq: 1, Range: KeyRange{After: after, Through: next.through}, Started: time.Now(), Attempt: 1, Worker: w.name(), size: next.size, last: next.last}
			if err := w.change(ctx, seg, &chunk); err != nil {
				rollback(context.WithoutCancel(ctx), conn.PgConn())
				return &Error{Place: "job " + plan.Job.Name + ", rows " + chunk.Range.String(), Found: "the chunk failed and was rolled back", Err: describedError{plan.hide(err)}}
			}
			if _, err := exchange(ctx, conn.PgConn(), pgsql.Rollback); err != nil {
				return err
			}
			chunk.Duration = time.Since(chunk.Started)
			w.took(chunk)
			each(chunk)
			if after = next.through; next.last {
				chunks--
				break
			}
		}
	}
	return nil
}
