package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
)

// begin makes sure of what must be there before a run is: the schema, and the triggers that the job asks for. Whatever is
// written from then on, behind the walk too, the one computes and the other looks at.
func (a *app) begin(ctx context.Context, conn *pgx.Conn, plan *backfill.Plan) error {
	if err := a.install(ctx, conn); err != nil || plan.Pending {
		return err
	}
	return a.surround(ctx, conn, plan, func(text string) { a.note("note", text) })
}

// surround makes sure of the triggers that the job asks for, and says so where they were not there.
func (a *app) surround(ctx context.Context, conn *pgx.Conn, plan *backfill.Plan, say func(string)) error {
	options := a.dualWriteOptions(plan.Pace)
	if plan.DualWrite != nil {
		done, err := checkpoint.InstallDualWrite(ctx, conn, plan, options)
		if err != nil {
			return err
		}
		if done != checkpoint.InstalledAlready {
			say(fmt.Sprintf("the dual-write trigger is %s on %s", done, plan.Table.Quoted))
		}
	}
	// Who may not is told so by a finding.
	if plan.Tripwire != nil && plan.Table.MayAlter {
		done, err := checkpoint.InstallTripwire(ctx, conn, plan, options)
		if err != nil {
			return err
		}
		if done != checkpoint.InstalledAlready {
			say(fmt.Sprintf("the tripwire is %s on %s", done, plan.Table.Quoted))
		}
	}
	return nil
}

// prepared sets up what is to surround the chunks where prepare and helpers had to come first.
func (a *app) prepared(connect backfill.Connect, run *checkpoint.Run, say func(string)) func(context.Context, *backfill.Plan) error {
	return func(ctx context.Context, plan *backfill.Plan) error {
		if plan.DualWrite != nil || plan.Tripwire != nil {
			conn, err := connect(ctx)
			if err != nil {
				return err
			}
			defer conn.Close(context.WithoutCancel(ctx))
			if err := a.surround(ctx, conn, plan, say); err != nil {
				return err
			}
		}
		return run.Capture(ctx, plan.CapturesOf(run.ID()))
	}
}
