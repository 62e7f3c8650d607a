package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// ⚑ A worker that was asleep (SIGSTOP, a long partition) must not commit after its segment was
// closed. Made to fail by leaving the fences out of Split and Cancel: the sleeper's chunk went in.
func TestWorkerThatSleptCannotCommit(t *testing.T) {
	t.Parallel()
	for closing, closeSegment := range map[string]func(*Run, backfill.SegmentState) error{
		"split": func(run *Run, s backfill.SegmentState) error {
			done, err := run.Split(context.Background(), s, key(70))
			if !done {
				return errors.Join(err, errors.New("not split"))
			}
			return err
		},
		"cancelled":  func(run *Run, _ backfill.SegmentState) error { return run.Cancel(context.Background()) },
		"superseded": func(run *Run, _ backfill.SegmentState) error { return run.Supersede(context.Background()) },
	} {
		t.Run(closing, func(t *testing.T) {
			t.Parallel()
			db := installed(t)
			db.Exec(`CREATE TABLE users (id int, n int); INSERT INTO users VALUES (55, 0)`)
			run := create(t, open(t, db, Options{}), planned("asleep", 100, 200))
			conn := db.Conn()
			appendTo(t, conn, run, chunk(1, 1, -1, 50))
			// It has changed its rows, in a snapshot of before, and falls asleep before its ledger row.
			if _, err := conn.Exec(t.Context(), `BEGIN; UPDATE users SET n = n + 1`); err != nil {
				t.Fatal(err)
			}
			if err := closeSegment(run, segmentsOf(t, run, backfill.PassWalk)[1]); err != nil {
				t.Fatal(err)
			}
			err := send(t.Context(), conn, step{Statement: record(t, run, chunk(1, 2, 50, 60))}, commit())
			if !run.Refused(err) {
				t.Errorf("the sleeper's chunk: %v", err)
			}
			conn.Close(t.Context())
			if n := pgtest.One[int](db, `SELECT sum(n) FROM users`); n != 0 {
				t.Error("its change went in")
			}
			fence := pgtest.One[string](db, `SELECT fence FROM pgbackfill.chunks WHERE segment = 1 AND seq = 2`)
			if fence != closing {
				t.Errorf("the fence says %q", fence)
			}
		})
	}
}

func TestCancelWhileWorkersHammer(t *testing.T) {
	t.Parallel()
	db := installed(t)
	store := open(t, db, Options{Who: "ann"})
	const end = 100_000
	run := create(t, store, planned("hammered", 100, 20_000, 60_000, end))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 4 {
		conn := db.Conn()
		wg.Go(func() { hammer(ctx, t, run, conn, uint64(i)) })
	}
	pgtest.Eventually(t, 20*time.Second, func() error {
		if n := pgtest.One[int](db, `SELECT count(*) FROM pgbackfill.chunks`); n < 50 {
			return fmt.Errorf("%d chunks", n)
		}
		return nil
	})
	if err := run.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	atCancel := pgtest.One[int](db, `SELECT count(*) FROM pgbackfill.chunks`)
	wg.Wait() // they find every segment closed
	if after := pgtest.One[int](db, `SELECT count(*) FROM pgbackfill.chunks`); after != atCancel {
		t.Errorf("%d ledger rows went in after the cancellation", after-atCancel)
	}
	for n, times := range committed(t, db, end)[1:] {
		if times > 1 {
			t.Fatalf("key %d was done %d times", n+1, times)
		}
	}
	info := state(t, store, "hammered")
	if info.State != backfill.StateCancelled || info.Reason != "cancelled by ann" || info.FinishedAt == nil {
		t.Errorf("%+v", info)
	}
	if err := run.Cancel(t.Context()); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if err := run.SetState(t.Context(), backfill.StateRunning, ""); !errors.Is(err, backfill.ErrCancelled) {
		t.Errorf("running again: %v", err)
	}
	if err := ends(t, run); !errors.Is(err, backfill.ErrCancelled) {
		t.Errorf("finishing: %v", err)
	}
	if _, err := run.Advance(t.Context(), backfill.PassWalk, backfill.PassTail, nil); !errors.Is(err, backfill.ErrCancelled) {
		t.Errorf("advancing: %v", err)
	}
}

func TestCancelNamesWhoHoldsItUp(t *testing.T) {
	t.Parallel()
	db := installed(t)
	run := create(t, open(t, db, Options{CancelPatience: time.Millisecond}), planned("held", 100, 200))
	conn := pgtest.Connect(t, db.DSN()+"&application_name=pgbackfill%20held%202")
	if err := send(t.Context(), conn, step{Statement: record(t, run, chunk(2, 1, 100, 150))}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if err := send(t.Context(), conn, step{Statement: record(t, run, chunk(2, 2, 150, 160))}); err != nil {
		t.Fatal(err)
	}
	err := run.Cancel(t.Context())
	wants(t, err, "run 1 of held", fmt.Sprintf("pid %d (pgbackfill held 2", conn.PgConn().PID()), "idle in transaction", "pg_terminate_backend")
	if info := state(t, run.store, "held"); info.State != backfill.StatePlanned || info.Totals.Chunks != 1 {
		t.Errorf("something was changed nonetheless: %+v", info)
	}
	if n := pgtest.One[int](db, `SELECT count(*) FROM pgbackfill.chunks WHERE fence IS NOT NULL`); n != 0 {
		t.Errorf("%d segments are closed nonetheless", n)
	}
	if _, err := conn.Exec(t.Context(), "COMMIT"); err != nil { // it wakes up, before the fence
		t.Fatal(err)
	}
	if err := run.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := segmentsOf(t, run, backfill.PassWalk)[2]; got.Fence != "cancelled" || got.Seq != 3 || number(got.Watermark) != 160 {
		t.Errorf("%+v", got)
	}
}
