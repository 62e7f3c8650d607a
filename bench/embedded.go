package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/programs"
	"github.com/pgbackfill/pgbackfill/jobs"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// embedded is the engine within this process, as a program of one's own has it: without the command's configuration, signals and
// display. Profiles are taken of it, allocations counted, and the tests measure it in place of the command.
type embedded struct {
	connect backfill.Connect
	pace    backfill.Pace
	// maxChunks ends the run after so many; 0 is all.
	maxChunks int64
	observer  backfill.Observer
}

func embed(address string, pace backfill.Pace) embedded {
	return embedded{pace: pace, connect: func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, address) }}
}

// plan resolves the job of a file against the database.
func (e embedded) plan(ctx context.Context, path string) (*backfill.Plan, error) {
	list, err := jobs.ReadFile(path)
	if err != nil {
		return nil, err
	}
	conn, err := e.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	pace := e.pace
	if asked := list[0].Pace; asked.ChunkRows > 0 {
		pace.ChunkRows, pace.ChunkMaxRows = asked.ChunkRows, asked.ChunkMaxRows
	}
	list[0].Pace = backfill.Pace{}
	return backfill.Planner{Programs: programs.Runner{}}.Plan(ctx, conn, list[0], pace)
}

// run takes the job of a file to its end, and goes on where it was left.
func (e embedded) run(ctx context.Context, path string) error {
	plan, err := e.plan(ctx, path)
	if err != nil {
		return err
	}
	conn, err := e.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if err := checkpoint.Install(ctx, conn, checkpoint.InstallOptions{}); err != nil {
		return err
	}
	store, err := checkpoint.Open(ctx, e.connect, checkpoint.Options{})
	if err != nil {
		return err
	}
	defer store.Close(ctx)
	run, created, err := store.Create(ctx, plan)
	if err != nil {
		return err
	}
	if !created {
		info, err := store.Find(ctx, plan.Job.Name)
		if err != nil {
			return err
		}
		info.Resume(plan)
		run = store.Attach(info)
	}
	limit, err := throttle.NewRate(0)
	if err != nil {
		return err
	}
	_, err = backfill.Work(ctx, backfill.Options{
		Run: run.ID(), Plan: plan, Process: run.Process(), Connect: e.connect, Programs: programs.Runner{}, Observer: e.observer,
		Ledger: run, Segments: run, Control: run, Throttle: limit, MaxChunks: e.maxChunks,
	})
	return err
}

// verify reads everything again that the job of a file has done.
func (e embedded) verify(ctx context.Context, path string) error {
	list, err := jobs.ReadFile(path)
	if err != nil {
		return err
	}
	checks, err := verify.Checks(list[0])
	if err != nil {
		return err
	}
	conn, err := e.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	plan, err := backfill.Planner{}.Survey(ctx, conn, list[0], e.pace)
	if err != nil {
		return err
	}
	verdict, err := verify.Verify(ctx, verify.Options{Plan: plan, Checks: checks, Connect: e.connect})
	if err != nil {
		return err
	}
	if verdict.Result != verify.Proven {
		return errors.Join(verdict.Err(), fmt.Errorf("the verification says %s", verdict.Result))
	}
	return nil
}
