package backfill_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// failures counts a run's failed chunks so far, by SQLSTATE.
func failures(w *worked) map[string]int {
	counted := map[string]int{}
	for _, e := range of[backfill.ChunkFailed](w) {
		counted[pgerr.Code(e.Err)]++
	}
	return counted
}

// A row that somebody keeps locked is tried again, in short waits, until it is free.
//
// Made to fail: with a lock timeout taken for an error that will not pass, the run stops.
func TestLockedRowIsTriedAgain(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(60))
	app := begun(t, db, "SELECT * FROM numbers WHERE id = 25 FOR UPDATE")
	w := join(t, db, planned(t, db, counts("numbers"), every(30)), part{})
	pgtest.Eventually(t, ended/2, func() error {
		if n := failures(w)["55P03"]; n < 3 {
			return fmt.Errorf("%d lock timeouts", n)
		}
		return nil
	})
	finish(t, app, "COMMIT")
	if summary := w.finished(); summary.Retries < 3 {
		t.Errorf("%d retries are counted", summary.Retries)
	}
	onceEach(t, db, "numbers")
}

// Of a deadlock with the application the engine is the one that gives way, and tries again.
//
// Made to fail: with a deadlock taken for an error that will not pass, the run stops.
func TestDeadlockWithTheApplication(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(50))
	app := begun(t, db, "SET deadlock_timeout = '60s'", "UPDATE numbers SET id = id WHERE id = 30")
	plan := planned(t, db, counts("numbers"), whole)
	plan.Pace.ChunkRows, plan.Pace.LockTimeout = 50, 20*time.Second
	w := join(t, db, plan, part{})
	blocked(t, db)
	finish(t, app, "UPDATE numbers SET id = id WHERE id = 20") // is waited for by us, and waits for us
	finish(t, app, "COMMIT")
	w.finished()
	onceEach(t, db, "numbers")
	if n := failures(w)["40P01"]; n == 0 {
		t.Errorf("failures: %v; expected a deadlock", failures(w))
	}
}

// Backends are terminated at random instants while four workers are at it.
//
// Made to fail: as [TestLostCommit].
func TestBackendsTerminated(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(2000))
	plan := planned(t, db, counts("numbers"), every(260))
	plan.Pace.Workers = 4
	killer := db.Conn()
	var mu sync.Mutex
	chunks, killed := 0, 0
	w := join(t, db, plan, part{observer: func(e backfill.Event) {
		if _, ok := e.(backfill.ChunkChanged); !ok {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if chunks++; chunks%6 != 0 {
			return
		}
		var n int
		err := killer.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM
			(SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgbackfill %' ORDER BY random() LIMIT 1) AS one`).Scan(&n)
		if err != nil {
			t.Errorf("terminating: %v", err)
		}
		killed += n
	}})
	w.finished()
	onceEach(t, db, "numbers")
	tiled(t, db, plan, w.run.ID())
	if killed < 15 {
		t.Errorf("only %d backends were terminated", killed)
	}
}

// A chunk that runs into the statement timeout is tried again at a tenth of its size.
//
// Made to fail: without the narrowing, the chunk of fifty rows is tried for ever.
func TestStatementTimeoutShrinksTheChunk(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(50), `
		CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN new; END $$;
		CREATE TRIGGER slow BEFORE UPDATE ON numbers FOR EACH ROW EXECUTE FUNCTION slow()`)
	plan := planned(t, db, counts("numbers"), whole)
	plan.Pace.ChunkRows, plan.Pace.StatementTimeout = 50, 500*time.Millisecond
	w := join(t, db, plan, part{})
	w.finished()
	onceEach(t, db, "numbers")
	if failures(w)["57014"] == 0 {
		t.Errorf("failures: %v; expected a statement timeout", failures(w))
	}
	for _, e := range of[backfill.ChunkCommitted](w) {
		if e.Chunk.RowsSeen > 5 {
			t.Errorf("a chunk of %d rows was committed after one of 50 had timed out", e.Chunk.RowsSeen)
		}
	}
}

// The search for a chunk's end can run into the statement timeout too, on a cold or swollen index, or here because the
// table is locked.
//
// Made to fail: with the chunk's size set after the search, the run stopped with the word that one row took too long.
func TestStatementTimeoutOfTheBoundary(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(60))
	plan := planned(t, db, counts("numbers"), whole)
	plan.Pace.ChunkRows, plan.Pace.StatementTimeout, plan.Pace.LockTimeout = 50, 500*time.Millisecond, time.Minute
	app := begun(t, db, "LOCK TABLE numbers")
	w := join(t, db, plan, part{})
	until(w, "a failure", func(e backfill.ChunkFailed) bool {
		if !e.Retry {
			t.Errorf("it is not tried again: %v", e.Err)
		}
		return strings.HasPrefix(e.Err.Error(), "boundary")
	})
	finish(t, app, "COMMIT")
	w.finished()
	onceEach(t, db, "numbers")
}

// Where none may be set aside a row that cannot be changed stops the run, which names its key, the cause and the remedy. What comes before it in its
// segment is committed, and once it is mended the run goes on at it.
//
// Made to fail: without the narrowing the error names a chunk of ten rows, and those before the bad one are not changed.
func TestBadRowIsNamed(t *testing.T) {
	t.Parallel()
	db := installed(t, `CREATE TABLE numbers (org text, id int, x text, n int NOT NULL DEFAULT 0, PRIMARY KEY (org, id));
		INSERT INTO numbers SELECT 'a,b', i, '1' FROM generate_series(1, 90) AS i; UPDATE numbers SET x = 'one' WHERE id = 47`)
	job := counts("numbers")
	job.UpdateStep().Set[0].Value.SQL = "t.n + t.x::int"
	plan := planned(t, db, job, whole)
	plan.Pace.Workers = 1 // a second one would work on the other half
	plan.Pace.MaxQuarantined = backfill.Off
	_, err := join(t, db, plan, part{}).wait()
	for _, want := range []string{"test-numbers", "public.numbers", "(a,b, 47)", "22P02", `"one"`, "run it again"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v\n; expected %q in it", err, want)
		}
	}
	if wrong := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n <> CASE WHEN id < 47 THEN 1 ELSE 0 END"); wrong != 0 {
		t.Errorf("%d rows are not as they should be: those before the bad one changed, the others not", wrong)
	}
	if state, reason := pgtest.One[string](db, "SELECT state FROM pgbackfill.runs"), pgtest.One[string](db, "SELECT reason FROM pgbackfill.runs"); state != "failed" || !strings.Contains(reason, "(a,b, 47)") {
		t.Errorf("the run is %s: %s", state, reason)
	}
	db.Exec("UPDATE numbers SET x = '1' WHERE id = 47")
	join(t, db, plan, part{}).finished()
	onceEach(t, db, "numbers")
}

// So does a bad row among those with a NULL in the key, which have no key to be named by.
//
// Made to fail: with the segment's rows named by a key range, the message says "after (open) through (open)".
func TestBadRowWithoutKey(t *testing.T) {
	t.Parallel()
	db := installed(t, `CREATE TABLE numbers (id int, x text, n int NOT NULL DEFAULT 0); CREATE INDEX ON numbers (id);
		INSERT INTO numbers SELECT NULLIF(i % 10, 0), '1' FROM generate_series(1, 90) AS i; UPDATE numbers SET x = 'one' WHERE ctid = (SELECT min(ctid) FROM numbers WHERE id IS NULL)`)
	job := counts("numbers", "id")
	job.UpdateStep().Set[0].Value.SQL = "t.n + t.x::int"
	plan := planned(t, db, job, whole)
	plan.Pace.MaxQuarantined = backfill.Off
	_, err := join(t, db, plan, part{}).wait()
	if err == nil || !strings.Contains(err.Error(), "a NULL in the key") || !strings.Contains(err.Error(), "22P02") {
		t.Errorf("the error is %v; expected that it speaks of the rows with a NULL in the key", err)
	}
	db.Exec("UPDATE numbers SET x = '1'")
	join(t, db, plan, part{}).finished()
	onceEach(t, db, "numbers")
}

// stopper blocks a worker once its nth chunk is committed.
func stopper(nth int) (observe backfill.Observer, stopped <-chan struct{}, goOn func()) {
	at, on := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	seen := 0
	return func(e backfill.Event) {
		if _, ok := e.(backfill.ChunkCommitted); !ok {
			return
		}
		mu.Lock()
		seen++
		mine := seen == nth
		mu.Unlock()
		if mine {
			close(at)
			<-on
		}
	}, at, sync.OnceFunc(func() { close(on) })
}

// A column that is dropped while the run goes on stops it at once: no second try makes that better.
//
// Made to fail: with a missing column tried again, there are many failures.
func TestDroppedColumnStopsAtOnce(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100), "ALTER TABLE numbers ADD x int NOT NULL DEFAULT 1")
	job := counts("numbers")
	job.UpdateStep().Set[0].Value.SQL = "t.n + t.x"
	plan := planned(t, db, job, whole)
	plan.Pace.Workers = 1
	observe, stopped, goOn := stopper(3)
	defer goOn()
	w := join(t, db, plan, part{observer: observe})
	<-stopped
	db.Exec("ALTER TABLE numbers DROP x")
	goOn()
	_, err := w.wait()
	if err == nil || !strings.Contains(err.Error(), "42703") || !strings.Contains(err.Error(), "t.x") || !strings.Contains(err.Error(), "mend") {
		t.Errorf("the error is %v; expected the missing column and a remedy", err)
	}
	if failed := of[backfill.ChunkFailed](w); len(failed) != 1 || failed[0].Retry {
		t.Errorf("%d chunks failed; expected one that is not tried again", len(failed))
	}
	if n := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n = 1"); n != 30 {
		t.Errorf("%d rows are changed; expected those of the three chunks before", n)
	}
}

// Where more than half of the last fifty chunks failed the run pauses and says why; nothing is lost, and it can be resumed.
//
// Made to fail: without the count of failures the run goes on trying.
func TestMostlyFailingPauses(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(160))
	plan := planned(t, db, counts("numbers"), every(10))
	plan.Pace.Workers, plan.Pace.LockTimeout = 16, 5*time.Millisecond
	app := begun(t, db, "LOCK TABLE numbers IN EXCLUSIVE MODE")
	w := join(t, db, plan, part{})
	until(w, "the pause", func(e backfill.StateChanged) bool { return e.To == backfill.StatePaused })
	info, err := w.store.Find(t.Context(), plan.Job.Name)
	if err != nil {
		t.Fatal(err)
	}
	if info.State != backfill.StatePaused || !strings.Contains(info.DesiredReason, "half of the last 50 chunks") || !strings.Contains(info.DesiredReason, "55P03") {
		t.Errorf("the run is %s: %q; expected why it is paused", info.State, info.DesiredReason)
	}
	finish(t, app, "COMMIT")
	if _, err := w.store.SetDesired(t.Context(), plan.Job.Name, backfill.DesiredRunning, "ann", ""); err != nil {
		t.Fatal(err)
	}
	w.finished()
	onceEach(t, db, "numbers")
}

// A server that cannot be reached at the start is an error at once, and one that goes away is waited for.
//
// Made to fail: with a refused connection taken for an error that will not pass, the run stops.
func TestServerThatGoesAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(400))
	p, dsn := between(t, db.Server(), db.DSN())
	plan := planned(t, db, counts("numbers"), every(90))
	observe, stopped, goOn := stopper(5)
	defer goOn()
	w := join(t, db, plan, part{dsn: dsn, observer: observe})
	<-stopped
	p.Refuse(true)
	p.CutAll()
	goOn()
	until(w, "a word about the connection", func(e backfill.Waiting) bool { return strings.Contains(e.Reason, "no connection") })
	p.Refuse(false)
	w.finished()
	onceEach(t, db, "numbers")
	if len(of[backfill.Reconnected](w)) == 0 {
		t.Error("nobody says that there is a connection again")
	}
	p.Refuse(true)
	if _, err := backfill.Work(t.Context(), backfill.Options{
		Run: w.run.ID(), Plan: plan, Connect: dialing(dsn), Ledger: w.run, Segments: w.run,
		Control: unreachable{}, Throttle: unlimited{},
	}); !errors.Is(err, errUnreachable) {
		t.Errorf("the work ended with %v; expected why it cannot begin", err)
	}
}

// How long a statement or a transaction may take is the run's to say, and not that of a role or a database with bounds for an
// application: also the bound for transactions, which PostgreSQL has from 17 on and which ends the connection.
//
// Made to fail: without statement_timeout, or on 17 and later transaction_timeout, among the settings of a chunk, chunks fail.
func TestBoundsOfARoleDoNotHold(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(20))
	role, dsn := db.Role("SUPERUSER")
	db.Exec("ALTER ROLE " + role + " SET statement_timeout = '150ms'")
	if db.Server().Installation().Major >= 17 {
		db.Exec("ALTER ROLE " + role + " SET transaction_timeout = '200ms'")
	}
	job := counts("numbers")
	job.UpdateStep().Set[0].Value.SQL = "t.n + 1 + (SELECT 0 FROM pg_sleep(0.03 + 0 * t.n))"
	w := join(t, db, planned(t, db, job, whole), part{dsn: dsn})
	w.finished()
	onceEach(t, db, "numbers")
	if list := failures(w); len(list) > 0 {
		t.Errorf("failures: %v", list)
	}
}
