package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
)

// begin makes sure of what must be there before a run is: the schema, and the trigger that the job asks for. Whatever is
// written from then on, behind the walk too, the trigger computes.
func (a *app) begin(ctx context.Context, conn *pgx.Conn, plan *backfill.Plan) error {
	if plan.DualWrite == nil || plan.Pending {
		return a.install(ctx, conn)
	}
	return a.beginDualWrite(ctx, conn, plan, func(text string) { a.note("note", text) })
}

// beginDualWrite makes sure of the trigger that the job asks for, and says so where it was not there.
func (a *app) beginDualWrite(ctx context.Context, conn *pgx.Conn, plan *backfill.Plan, say func(string)) error {
	done, err := a.ensureDualWrite(ctx, conn, plan, a.dualWriteOptions(plan.Pace))
	if err == nil && done != checkpoint.InstalledAlready {
		say(fmt.Sprintf("the dual-write trigger is %s on %s", done, plan.Table.Quoted))
	}
	return err
}

// prepared sets up what is to surround the chunks where prepare and helpers had to come first.
func (a *app) prepared(connect backfill.Connect, run *checkpoint.Run, say func(string)) func(context.Context, *backfill.Plan) error {
	return func(ctx context.Context, plan *backfill.Plan) error {
		if plan.DualWrite != nil {
			conn, err := connect(ctx)
			if err != nil {
				return err
			}
			defer conn.Close(context.WithoutCancel(ctx))
			if err := a.beginDualWrite(ctx, conn, plan, say); err != nil {
				return err
			}
		}
		return run.Capture(ctx, plan.CapturesOf(run.ID()))
	}
}
