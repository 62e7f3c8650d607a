package throttle_test

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/throttle"
)

// A writer asks before every chunk, and tells what it did.
func Example() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	primary := throttle.NewSession(func(ctx context.Context) (*pgx.Conn, error) {
		return pgx.Connect(ctx, "host=primary target_session_attrs=read-write")
	})
	limits, err := throttle.ParseLimits(map[string]string{"lag.max": "3s"})
	if err != nil {
		fmt.Println(err)
		return
	}
	limits, notes := limits.Clamp(throttle.Limits{YieldAfter: 100 * time.Millisecond}) // the operator's ceilings
	th, err := throttle.New(throttle.Options{
		Limits: limits, Workers: 4, Primary: primary,
		OnBlocked: func(list []throttle.Blocked) { fmt.Println("cancel the chunk of", list[0].Application) },
		OnWorkers: func(workers int) { fmt.Println("go on with", workers) },
		OnEvent:   func(e throttle.Event) { fmt.Println(e.Text) },
	})
	if err != nil {
		fmt.Println(notes, err)
		return
	}
	go th.Run(ctx)
	go th.Watch(ctx, func(reasons []throttle.Reason) { fmt.Println("waiting for", reasons) })
	for ctx.Err() == nil {
		rows := th.ChunkRows(10_000)
		if err := th.Wait(ctx, rows); err != nil {
			fmt.Println(err)
			return
		}
		wal, took := int64(5_000_000), 3*time.Millisecond // what the chunk made of the log; how long its commit took
		th.Committed(rows, wal, took)
	}
}
