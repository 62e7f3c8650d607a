package verify_test

import (
	"context"
	"fmt"
	"log"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// Every row is read again. What must hold follows from the job's update; one row has been spoilt.
func ExampleVerify() {
	dsn, drop := pgtest.Example(`CREATE TABLE users (id bigint PRIMARY KEY, full_name text, display_name text);
		INSERT INTO users SELECT i, 'user ' || i, 'User ' || i FROM generate_series(1, 1000) AS i;
		UPDATE users SET display_name = 'nobody' WHERE id = 667; ANALYZE users`)
	defer drop()
	ctx := context.Background()
	connect := func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, dsn) }
	job := backfill.Job{ // jobs.ReadFile makes it from a job file
		Name: "users-display-name", Table: backfill.TableName{Schema: "public", Name: "users"}, Idempotent: true,
		Steps: []backfill.Step{{Name: "update", Update: &backfill.Update{
			Set: []backfill.Assignment{{Column: "display_name", Value: backfill.Expr{SQL: "initcap(t.full_name)", Columns: []string{"t.full_name"}}}},
		}}},
	}
	checks, err := verify.Checks(job)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
	plan, err := backfill.Planner{}.Survey(ctx, conn, job, backfill.Pace{})
	if err != nil {
		log.Fatal(err)
	}
	verdict, err := verify.Verify(ctx, verify.Options{Plan: plan, Checks: checks, Connect: connect})
	if err != nil {
		log.Fatal(err)
	}
	check := verdict.Checks[0]
	fmt.Println(verdict.Result, check.Rows, check.Different)
	for _, m := range check.Samples {
		fmt.Println(m.Kind, "at", *m.Key[0], "in", m.Columns)
	}
	// Output:
	// mismatched 1000 1
	// different at 667 in [display_name]
}
