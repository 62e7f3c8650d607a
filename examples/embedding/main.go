// Command embedding is a program that uses the engine as a library: it carries out a job of its own, and resumes it when
// it is started again.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/jobs"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// The job could as well be a file, read by jobs.ReadFile.
const job = `
name: products-slug
table: public.products
update:
  set:
    slug: lower(regexp_replace(t.name, '[^[:alnum:]]+', '-', 'g'))
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt) // a begun chunk finishes
	defer stop()
	if err := run(ctx, os.Getenv("DATABASE_URL")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dsn string) error {
	list, err := jobs.Parse("embedding", []byte(job))
	if err != nil {
		return err
	}
	connect := func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, dsn) }
	plan, err := planned(ctx, connect, list[0])
	if err != nil {
		return err
	}
	store, err := checkpoint.Open(ctx, connect, checkpoint.Options{})
	if err != nil {
		return err
	}
	defer store.Close(context.WithoutCancel(ctx))
	run, resumed, err := store.Begin(ctx, plan)
	if err != nil {
		return err
	}
	limit, err := throttle.NewRate(plan.Pace.Rate)
	if err != nil {
		return err
	}
	part := run.Part(plan, resumed)
	part.Throttle = limit
	part.Observer = func(e backfill.Event) {
		if c, ok := e.(backfill.ChunkCommitted); ok {
			fmt.Printf("segment %d: %d rows\n", c.Chunk.Segment, c.Chunk.RowsSeen)
		}
	}
	summary, err := backfill.Work(ctx, part)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d rows walked, %d changed\n", summary.State, summary.RowsSeen, summary.RowsChanged)
	return nil
}

// planned resolves the job, and installs the schema where it is missing.
func planned(ctx context.Context, connect backfill.Connect, job backfill.Job) (*backfill.Plan, error) {
	conn, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	plan, err := backfill.Planner{}.Plan(ctx, conn, job, backfill.Pace{Workers: 2})
	if err != nil {
		return nil, err
	}
	for _, f := range plan.Blocking() {
		err = errors.Join(err, fmt.Errorf("%s: %s (%s); %s", f.ID, f.Title, f.Evidence, f.Remedy))
	}
	if err != nil {
		return nil, err
	}
	return plan, checkpoint.Install(ctx, conn, checkpoint.InstallOptions{})
}
