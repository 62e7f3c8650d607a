package backfill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// A job from its spec to its end. The same program, started again after a kill, goes on where the ledger ends.
func Example() {
	dsn, drop := pgtest.Example(`CREATE TABLE users (id bigint PRIMARY KEY, full_name text, display_name text);
		INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 1000) AS i; ANALYZE users`)
	defer drop()
	ctx := context.Background()
	connect := func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, dsn) }

	job := backfill.Job{ // jobs.ReadFile makes it from a job file
		Name: "users-display-name", Table: backfill.TableName{Schema: "public", Name: "users"}, Idempotent: true,
		Steps: []backfill.Step{{Name: "update", Update: &backfill.Update{
			Set:           []backfill.Assignment{{Column: "display_name", Value: backfill.Expr{SQL: "initcap(t.full_name)", Columns: []string{"t.full_name"}}}},
			SkipUnchanged: true,
		}}},
	}

	conn, err := connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
	plan, err := backfill.Planner{}.Plan(ctx, conn, job, backfill.Pace{Workers: 2})
	if err != nil {
		log.Fatal(err)
	}
	for _, finding := range plan.Blocking() {
		log.Fatal(finding.Title, ": ", finding.Remedy)
	}

	if err := checkpoint.Install(ctx, conn, checkpoint.InstallOptions{}); err != nil {
		log.Fatal(err)
	}
	store, err := checkpoint.Open(ctx, connect, checkpoint.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close(ctx)
	run, resumed, err := store.Begin(ctx, plan)
	if err != nil {
		log.Fatal(err)
	}
	part := run.Part(plan, resumed)
	if part.Throttle, err = throttle.NewRate(plan.Pace.Rate); err != nil {
		log.Fatal(err)
	}
	summary, err := backfill.Work(ctx, part)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %d rows walked, %d changed\n", summary.State, summary.RowsSeen, summary.RowsChanged)
	// Output: finished: 1000 rows walked, 1000 changed
}

// A transform of an embedding program, for a job with  transform: {go: shout, read: [word], write: [loud]}. A row that it
// cannot do is quarantined, and the others are done.
func ExamplePerRow() {
	type in struct {
		ID   int64  `json:"id"`
		Word string `json:"word"`
	}
	type out struct {
		Loud string `json:"loud"`
	}
	shout := backfill.PerRow(func(_ context.Context, row in) (out, error) {
		if row.Word == "" {
			return out{}, errors.New("there is nothing to shout")
		}
		return out{Loud: strings.ToUpper(row.Word)}, nil
	})
	// part.Transforms = map[string]backfill.TransformFunc{"shout": shout}

	results, err := shout(context.Background(), []json.RawMessage{json.RawMessage(`{"id": 1, "word": "quiet"}`), json.RawMessage(`{"id": 2, "word": ""}`)})
	fmt.Println(string(results[0].JSON), results[1].Err, err)
	// Output: {"loud":"QUIET"} there is nothing to shout <nil>
}
