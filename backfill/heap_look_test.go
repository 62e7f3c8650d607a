package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/proxy"
)

// atLook does something each time before the look at the end of a heap walk begins, with its number from 1.
func atLook(do func(nth int)) backfill.Observer {
	nth := 0
	return func(e backfill.Event) {
		if e, ok := e.(backfill.Waiting); ok && strings.HasPrefix(e.Reason, "looking whether") {
			nth++
			do(nth)
		}
	}
}

// doubling is the job over [keyless] tables.
func doubling() backfill.Job { return sets("w", map[string]string{"n": "t.x * 2"}) }

// A schema change that rewrites the table while the look begins has its rows hidden from snapshots before it: the look waits
// for it first, and then sees them.
//
// Made to fail: with the snapshot taken before the table's lock the table looks empty, and the run finishes without its rows.
func TestHeapLookWaitsForARewrite(t *testing.T) {
	t.Parallel()
	db := installed(t, keyless(300))
	plan := byHeap(t, db, doubling())
	plan.Pace.LockTimeout = 20 * time.Second
	var alter *pgx.Conn
	altering := make(chan struct{})
	w := join(t, db, plan, part{observer: atLook(func(nth int) {
		if nth == 1 {
			alter = begun(t, db, "UPDATE w SET n = -1 WHERE id <= 100", "ALTER TABLE w ALTER COLUMN id TYPE bigint")
			close(altering)
		}
	})})
	<-altering
	blocked(t, db)
	finish(t, alter, "COMMIT")
	w.finished()
	doubled(t, db, 300)
}

// A look that runs into the statement timeout looks at less at a time.
//
// Made to fail: with as many rows a statement as before, the run fails after twenty timeouts.
func TestHeapLookThatTakesTooLong(t *testing.T) {
	t.Parallel()
	db := installed(t, keyless(300), `CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM pg_sleep(0.003); RETURN $1 * 2; END $$`)
	plan := byHeap(t, db, sets("w", map[string]string{"n": "slow(t.x)"}))
	plan.Pace.StatementTimeout = 600 * time.Millisecond
	join(t, db, plan, part{observer: atLook(func(nth int) {
		if nth == 1 {
			db.Exec("UPDATE w SET n = x * 2")
		}
	})}).finished()
	doubled(t, db, 300)
}

// Where the connection that keeps the snapshot is lost before the others have taken it, it is looked again.
//
// Made to fail: with errLookAgain taken for an error that does not pass, the run fails.
func TestHeapLookLosesItsSnapshot(t *testing.T) {
	t.Parallel()
	db := installed(t, keyless(300))
	plan := byHeap(t, db, doubling())
	plan.Pace.Workers = 1
	var lost atomic.Int64
	admin := db.Conn()
	p, dsn := between(t, db.Server(), db.DSN())
	p.Hook(func(m proxy.Message) proxy.Verdict {
		if m.SQL() == pgsql.BeginSnapshot.SQL && lost.Add(1) == 1 {
			if _, err := admin.Exec(context.Background(), `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
				WHERE datname = current_database() AND application_name LIKE 'pgbackfill %' AND xact_start IS NOT NULL`); err != nil {
				t.Error(err)
			}
		}
		return proxy.Forward
	})
	w := join(t, db, plan, part{dsn: dsn})
	w.finished()
	doubled(t, db, 300)
	if lost.Load() < 2 {
		t.Errorf("it was looked %d times", lost.Load())
	}
}

// Those who look have their connections before there is a snapshot: one that cannot be had now is waited for, in a pause too, with nothing in
// hand that would keep the database from being cleaned.
//
// Made to fail: with the connection made in lookAt, the snapshot is kept for as long as the pause takes.
func TestHeapLookWaitsForItsConnections(t *testing.T) {
	t.Parallel()
	db := installed(t, keyless(60))
	plan := byHeap(t, db, doubling())
	plan.Pace.Workers = 1
	var full atomic.Bool
	dial := dialing(db.DSN())
	w := join(t, db, plan, part{
		observer: atLook(func(int) {
			full.Store(true)
			db.Exec("UPDATE pgbackfill.runs SET desired = 'paused', desired_reason = 'a test'")
		}),
		connect: func(ctx context.Context) (*pgx.Conn, error) {
			if full.Load() {
				return nil, &pgconn.PgError{Code: "53300", Message: "sorry, too many clients already"}
			}
			return dial(ctx)
		},
	})
	until(w, "a pause", func(e backfill.StateChanged) bool { return e.To == backfill.StatePaused })
	if open := pgtest.All[string](db, "SELECT left(query, 80) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgbackfill %' AND (xact_start IS NOT NULL OR backend_xmin IS NOT NULL)"); len(open) > 0 {
		t.Errorf("the paused run has transactions open: %v", open)
	}
	full.Store(false)
	db.Exec("UPDATE pgbackfill.runs SET desired = 'running', desired_reason = ''")
	w.finished()
	doubled(t, db, 60)
}

// A run that is paused while it looks keeps no snapshot: nothing holds back cleaning for as long as the pause takes.
//
// Made to fail: with the look waiting in the middle of its transaction, it is open until the run goes on.
func TestHeapLookIsPaused(t *testing.T) {
	t.Parallel()
	db := installed(t, keyless(600), `CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM pg_sleep(0.003); RETURN $1 * 2; END $$`)
	plan := byHeap(t, db, sets("w", map[string]string{"n": "slow(t.x)"}))
	plan.Pace.StatementTimeout = 600 * time.Millisecond
	w := join(t, db, plan, part{observer: atLook(func(nth int) {
		if nth == 1 {
			db.Exec("UPDATE w SET n = x * 2")
			db.Exec("UPDATE pgbackfill.runs SET desired = 'paused', desired_reason = 'a test'")
		}
	})})
	state := func(want string) {
		t.Helper()
		pgtest.Eventually(t, ended/2, func() error {
			if is := pgtest.One[string](db, "SELECT state FROM pgbackfill.runs"); is != want {
				return fmt.Errorf("the run is %s, want %s", is, want)
			}
			return nil
		})
	}
	state("paused")
	pgtest.Eventually(t, 5*time.Second, func() error {
		if open := pgtest.All[string](db, "SELECT left(query, 80) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgbackfill %' AND backend_xmin IS NOT NULL"); len(open) > 0 {
			return fmt.Errorf("the paused run keeps snapshots: %v", open)
		}
		return nil
	})
	db.Exec("UPDATE pgbackfill.runs SET desired = 'running', desired_reason = ''")
	w.finished()
	doubled(t, db, 600)
}

// The size of chunks is found also where it is no whole number of pages.
//
// Made to fail: with pages rounded down, each chunk holds fewer rows than were asked for and none is measured.
func TestHeapChunksGrow(t *testing.T) {
	t.Parallel()
	db := installed(t, "CREATE TABLE w (id int, x int, n int, pad text) WITH (autovacuum_enabled = off); INSERT INTO w SELECT i, i, NULL, repeat('x', 290) FROM generate_series(1, 20000) AS i; ANALYZE w")
	for _, rows := range []float64{32.9, 70} {
		plan := byHeap(t, db, doubling())
		plan.Job.Name = fmt.Sprintf("grows-%.0f", rows)
		plan.Heap.RowsPerBlock, plan.Pace.ChunkRows, plan.Pace.ChunkMaxRows, plan.Pace.Workers = rows, 0, 5000, 1
		plan.Pace.ChunkTarget = 10 * time.Second
		grown := 0
		for _, e := range of[backfill.ChunkCommitted](do(t, db, plan)) {
			grown = max(grown, e.NextRows)
		}
		if grown <= 1000 {
			t.Errorf("with %v rows a page no chunk grew", rows)
		}
	}
}

// lookGate is a throttle that is shut twice: before the first look, and in the midst of it.
type lookGate struct {
	*valve
	looking, parts atomic.Int32
}

func (g *lookGate) Wait(ctx context.Context, rows int) error {
	if g.looking.Load() == 1 && g.parts.Add(1) == 2 {
		g.set(lookShut)
	}
	return g.valve.Wait(ctx, rows)
}

var lookShut = backfill.Reason{Signal: "replica_lag", Text: "replica_lag 12.4s > 10s (standby eu-2)"}

// The look at the end of a heap walk waits for the throttle as a chunk does; where it is shut in the midst of it, nobody waits with a snapshot,
// which would keep the database from being cleaned: it is looked again when it is open.
//
// Made to fail: with mayWork in patientLook it is looked while the throttle is shut; without mayLookOn it is looked to the end; with no
// patience's end in it, transactions stay open while it is shut.
func TestLookWaitsForTheThrottle(t *testing.T) {
	t.Parallel()
	db := installed(t, filled(3000))
	plan := byHeap(t, db, doubling())
	plan.Pace.IdleTimeout = 4 * time.Second
	g := &lookGate{valve: newValve()}
	w := join(t, db, plan, part{throttle: g, observer: backfill.Tee(
		atLook(func(nth int) { g.looking.Store(int32(nth)) }),
		func(e backfill.Event) {
			if e, ok := e.(backfill.StateChanged); ok && e.To == backfill.StateFinishing {
				g.set(lookShut)
			}
		})})
	shut := func(what string, looks int32) {
		t.Helper()
		until(w, what, func(e backfill.Waiting) bool { return e.Reason == lookShut.Text })
		pgtest.Eventually(t, ended/2, func() error {
			if n := pgtest.One[int](db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND backend_type = 'client backend'"); n > 0 {
				return fmt.Errorf("%s: %d transactions are open", what, n)
			}
			if n := g.looking.Load(); n != looks {
				return fmt.Errorf("%s: it was looked %d times, expected %d", what, n, looks)
			}
			return nil
		})
		g.set()
	}
	shut("before the look", 0)
	pgtest.Eventually(t, ended/2, func() error {
		if g.parts.Load() < 2 {
			return errors.New("it is not looked")
		}
		return nil
	})
	shut("in the midst of it", 1)
	w.finished()
	if n := g.looking.Load(); n != 2 {
		t.Errorf("it was looked %d times", n)
	}
	doubled(t, db, 3000)
}

// The look gives way to who waits for the table's lock, behind whom all others wait: it is begun again afterwards. It has no number of its own,
// to which new snapshots of all databases would reach back for as long as it takes.
//
// Made to fail: with nobody to listen in look, the schema change waits for the look's end; with jobSettings for it, it has a number.
func TestLookGivesWay(t *testing.T) {
	t.Parallel()
	db := installed(t, keyless(300), `CREATE TABLE slowly (so bool); CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
		$$ BEGIN IF EXISTS (SELECT FROM slowly) THEN PERFORM pg_sleep(0.5); END IF; RETURN $1 * 2; END $$`)
	plan := byHeap(t, db, sets("w", map[string]string{"n": "slow(t.x)"}))
	plan.Pace.IdleTimeout = time.Minute
	blocks := make(chan backfill.Blocked)
	w := join(t, db, plan, part{blocked: blocks, observer: atLook(func(nth int) {
		if nth == 1 {
			db.Exec("UPDATE w SET n = x * 2; INSERT INTO slowly VALUES (true)")
		}
	})})
	const looking = " FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pgbackfill test-w 0' AND xact_start IS NOT NULL"
	pgtest.Eventually(t, ended/2, func() error {
		if !pgtest.One[bool](db, "SELECT COALESCE(bool_or(wait_event = 'PgSleep'), false)"+looking) {
			return errors.New("it is not looked")
		}
		return nil
	})
	if n := pgtest.One[int](db, "SELECT count(backend_xid)"+looking); n != 0 {
		t.Errorf("%d of those who look have a number", n)
	}
	altered := make(chan error, 1)
	alter := pgtest.Connect(t, db.DSN())
	go func() {
		_, err := alter.Exec(t.Context(), "ALTER TABLE w ADD COLUMN later int; TRUNCATE slowly")
		altered <- err
	}()
	pgtest.Eventually(t, ended/2, func() error {
		if !pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'ALTER%' AND wait_event_type = 'Lock')") {
			return errors.New("the schema change does not wait")
		}
		return nil
	})
	blocks <- backfill.Blocked{Application: "pgbackfill test-w 0", Waiter: "a migration"}
	if err := <-altered; err != nil {
		t.Error(err)
	}
	w.finished()
	doubled(t, db, 300)
	if n := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.events WHERE what = 'gave way'"); n != 1 {
		t.Errorf("%d times in the record", n)
	}
}
