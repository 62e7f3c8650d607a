package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// writers are an application that writes to the table that a run goes over: it changes columns that are not the run's, and keeps an account of
// that; it inserts rows above all others, and some among them. Its connections come back by themselves.
type writers struct {
	w       *world
	stop    context.CancelFunc
	done    sync.WaitGroup
	primary atomic.Pointer[string]
	commits atomic.Int64
	// odd is the first error that an application should not see.
	mu  sync.Mutex
	odd error
}

// write lets an application of three sessions in, until the world ends.
func (w *world) write() *writers {
	ctx, stop := context.WithCancel(context.Background())
	a := &writers{w: w, stop: stop}
	a.at(w.direct())
	for n, work := range []func(context.Context, *pgx.Conn, *rand.Rand) error{a.touch, a.touch, a.insert} {
		random := rand.New(rand.NewPCG(w.seed, uint64(n)+100))
		a.done.Go(func() { a.session(ctx, random, work) })
	}
	w.Cleanup(a.end)
	return a
}

// at sets where the primary is.
func (a *writers) at(dsn string) { a.primary.Store(&dsn) }

// end ends the application; it may be called twice.
func (a *writers) end() {
	a.stop()
	a.done.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.odd != nil {
		a.w.Errorf("the application sees: %v", a.odd)
		a.odd = nil
	}
}

func (a *writers) session(ctx context.Context, random *rand.Rand, work func(context.Context, *pgx.Conn, *rand.Rand) error) {
	var conn *pgx.Conn
	leave := func() {
		if conn != nil {
			closing, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			conn.Close(closing)
			conn = nil
		}
	}
	defer leave()
	to := ""
	for ctx.Err() == nil {
		one, cancel := context.WithTimeout(ctx, 3*time.Second)
		if now := *a.primary.Load(); now != to || conn == nil || conn.IsClosed() {
			leave()
			to = now
			conn, _ = pgx.Connect(one, to)
		}
		if conn != nil {
			err := work(one, conn, random)
			if err == nil {
				a.commits.Add(1)
			} else if a.strange(err) {
				a.mu.Lock()
				a.odd = err
				a.mu.Unlock()
			}
		}
		cancel()
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(5+random.Int64N(15)) * time.Millisecond):
		}
	}
}

// strange reports whether err is not one that faults explain: the application must see nothing of the run but short waits.
func (*writers) strange(err error) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return false
	}
	return !slices.Contains([]string{"57P01", "57P02", "57P03", "53300", "40P01", "40001", "55P03", "57014", "25006", "53100", "42703", "42P01", "08P01", "08006"}, server.Code)
}

// touch changes up to three rows, in any order, and accounts for each.
func (a *writers) touch(ctx context.Context, conn *pgx.Conn, random *rand.Rand) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	for range 1 + random.IntN(3) {
		id := random.IntN(a.w.rows)*3 - 997
		if _, err := tx.Exec(ctx, "UPDATE counters SET touched = touched + 1 WHERE id = $1", id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "INSERT INTO touches SELECT id FROM counters WHERE id = $1", id); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

// insert adds a row above all others, or one that may be behind the run.
func (a *writers) insert(ctx context.Context, conn *pgx.Conn, random *rand.Rand) error {
	if random.IntN(3) == 0 {
		_, err := conn.Exec(ctx, "INSERT INTO counters (id, late) VALUES ($1, true) ON CONFLICT DO NOTHING", random.IntN(a.w.rows)*3-996)
		return err
	}
	_, err := conn.Exec(ctx, "INSERT INTO counters (id) SELECT max(id) + 3 FROM counters")
	return err
}
