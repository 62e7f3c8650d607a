package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// atPass does something the first time that a pass begins.
func atPass(pass backfill.Pass, do func()) backfill.Observer {
	done := false
	return func(e backfill.Event) {
		if p, ok := e.(backfill.PassStarted); ok && p.Pass == pass && !done {
			done = true
			do()
		}
	}
}

// A failover to an asynchronous standby takes back an acknowledged beginning of the tail: what is in the ledger then is
// covered, and is not all.
//
// Made to fail: with a Finish that does not look at the run's pass, it is called finished and a hundred rows are not done.
func TestTailThatWasTakenBack(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100))
	plan := planned(t, db, counts("numbers"), whole)
	db.Exec("INSERT INTO numbers SELECT generate_series(101, 200)")
	w := join(t, db, plan, part{observer: atPass(backfill.PassTail, func() {
		db.Exec("DELETE FROM pgbackfill.segments WHERE pass = 2; UPDATE pgbackfill.runs SET pass = 1")
	})})
	w.finished()
	onceEach(t, db, "numbers")
	tiled(t, db, plan, w.run.ID())
}

// So it is with the closing sweep.
//
// Made to fail: as [TestTailThatWasTakenBack], for the row that was committed behind the walk.
func TestSweepThatWasTakenBack(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100))
	plan := planned(t, db, sets("numbers", map[string]string{"n": "7"}), whole)
	behind := atPass(backfill.PassTail, func() { db.Exec("INSERT INTO numbers VALUES (-5)") })
	lost := atPass(backfill.PassSweep, func() {
		db.Exec("DELETE FROM pgbackfill.segments WHERE pass = 3; UPDATE pgbackfill.runs SET pass = 2")
	})
	join(t, db, plan, part{observer: backfill.Tee(behind, lost)}).finished()
	if n := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n <> 7"); n != 0 {
		t.Errorf("%d rows are not done", n)
	}
}

// Chunks of the walk that are gone while the run is in its last pass are done again.
//
// Made to fail: with a look at the last pass only, the run fails with the gap in the walk.
func TestWalkThatIsOpenAgain(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100))
	plan := planned(t, db, counts("numbers"), every(50))
	w := join(t, db, plan, part{observer: atPass(backfill.PassTail, func() {
		db.Exec("UPDATE numbers SET n = 0 WHERE id > (SELECT through[1]::int FROM pgbackfill.chunks WHERE segment = 2 AND seq = 1) AND id <= 100")
		db.Exec("DELETE FROM pgbackfill.chunks WHERE segment = 2 AND seq > 1")
	})})
	w.finished()
	onceEach(t, db, "numbers")
	tiled(t, db, plan, w.run.ID())
}

// A name that leads to a standby for a moment, as it does after a failover, is waited for: no connection to a standby is
// kept, since it would stay one.
//
// Made to fail: with the refusal of BEGIN READ WRITE (0A000) taken for an error that will not pass the run fails; with the
// connection kept, it is tried for ever.
func TestStandbyForAMoment(t *testing.T) {
	t.Parallel()
	primary := pgtest.Cluster(t, localpg.Options{})
	db := prepared(t, pgtest.NewOn(t, primary), numbered(100))
	plan := planned(t, db, counts("numbers"), whole)
	plan.Pace.Workers = 1
	standby := pgtest.Standby(t, primary, localpg.StandbyOptions{})
	p, dsn := between(t, primary, db.DSN())
	var name atomic.Pointer[string]
	name.Store(&dsn)
	observe, stopped, goOn := stopper(3)
	defer goOn()
	w := join(t, db, plan, part{observer: observe, connect: func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, *name.Load()) }})
	<-stopped
	if err := standby.CatchUp(t.Context(), primary); err != nil {
		t.Fatal(err)
	}
	elsewhere := standby.DSN(db.Name())
	name.Store(&elsewhere)
	p.CutAll()
	goOn()
	until(w, "a word about the standby", func(e backfill.Waiting) bool { return strings.Contains(e.Reason, "0A000") })
	name.Store(&dsn)
	w.finished()
	onceEach(t, db, "numbers")
}

// outage is a store that has no answer to the first call of each kind: what a store says of a server that it could not
// reach in all its patience, or that did not answer in time.
type outage struct {
	*checkpoint.Run
	calls sync.Map
}

func (o *outage) fails(call string, about any) error {
	if _, again := o.calls.LoadOrStore(fmt.Sprint(call, about), true); again {
		return nil
	}
	if call == "cuts" {
		return &pgconn.PgError{Code: "57014", Message: "canceling statement due to statement timeout"}
	}
	return fmt.Errorf("the store: %w", syscall.ECONNREFUSED)
}

func (o *outage) List(ctx context.Context, pass backfill.Pass) ([]backfill.SegmentState, error) {
	if err := o.fails("list", pass); err != nil {
		return nil, err
	}
	return o.Run.List(ctx, pass)
}

func (o *outage) Cuts(ctx context.Context, pass backfill.Pass, rows int64) (map[int][]backfill.Cut, error) {
	if err := o.fails("cuts", pass); err != nil {
		return nil, err
	}
	return o.Run.Cuts(ctx, pass, rows)
}

func (o *outage) Advance(ctx context.Context, from, to backfill.Pass, segments []backfill.Segment) (bool, error) {
	done, err := o.Run.Advance(ctx, from, to, segments) // it is done, and the answer is lost
	if lost := o.fails("advance", from); lost != nil {
		return false, lost
	}
	return done, err
}

func (o *outage) SetState(ctx context.Context, to backfill.State, reason string) error {
	if err := o.fails("state", to); err != nil {
		return err
	}
	return o.Run.SetState(ctx, to, reason)
}

func (o *outage) Finish(ctx context.Context, pass backfill.Pass, s backfill.Summary) (bool, error) {
	done, err := o.Run.Finish(ctx, pass, s)
	if lost := o.fails("finish", pass); lost != nil {
		return false, lost
	}
	return done, err
}

// An outage between the passes is waited for like any other, however long it is.
//
// Made to fail: with what the store says there taken as it is, the run failed at the first of them.
func TestOutageBetweenThePasses(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100))
	plan := planned(t, db, sets("numbers", map[string]string{"n": "7"}), whole)
	first := join(t, db, plan, part{most: 1}) // it makes the run
	_, _ = first.wait()
	o := &outage{Run: first.run}
	var said atomic.Bool
	s, err := backfill.Work(t.Context(), backfill.Options{
		Run: first.run.ID(), Plan: plan, Process: first.run.Process(), Connect: dialing(db.DSN()),
		Ledger: o, Segments: o, Control: o, Throttle: unlimited{}, Observer: func(e backfill.Event) {
			if w, ok := e.(backfill.Waiting); ok && strings.Contains(w.Reason, "refused") {
				said.Store(true)
			}
		},
	})
	if err != nil || s.State != backfill.StateFinished {
		t.Fatalf("the run is %s: %v", s.State, err)
	}
	if n := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n <> 7"); n != 0 {
		t.Errorf("%d rows are not done", n)
	}
	if !said.Load() {
		t.Error("nobody says what is waited for")
	}
}

// A run whose workers find no connection hears that it is cancelled.
//
// Made to fail: without a look at the orders between two tries, it goes on trying.
func TestCancelWithoutAConnection(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100))
	var asked atomic.Int64
	w := join(t, db, planned(t, db, counts("numbers"), whole), part{connect: func(ctx context.Context) (*pgx.Conn, error) {
		if asked.Add(1) > 1 { // the first is the store
			return nil, syscall.ECONNREFUSED
		}
		return pgx.Connect(ctx, db.DSN())
	}})
	until(w, "a word about the connection", func(e backfill.Waiting) bool { return strings.Contains(e.Reason, "no connection") })
	if err := w.run.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.wait(); !errors.Is(err, backfill.ErrCancelled) {
		t.Errorf("the run ended with %v", err)
	}
}

// The rows with a NULL in the key are one chunk. Where they take too long the run stops and says what to do.
//
// Made to fail: with the chunk made narrower, as others are, it is tried again as it was.
func TestNullsThatTakeTooLong(t *testing.T) {
	t.Parallel()
	db := installed(t, `CREATE TABLE numbers (id int, n int NOT NULL DEFAULT 0); CREATE INDEX ON numbers (id); INSERT INTO numbers SELECT NULL FROM generate_series(1, 60);
		CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN new; END $$;
		CREATE TRIGGER slow BEFORE UPDATE ON numbers FOR EACH ROW EXECUTE FUNCTION slow()`)
	plan := planned(t, db, counts("numbers", "id"), whole)
	plan.Pace.StatementTimeout = 500 * time.Millisecond
	w := join(t, db, plan, part{})
	_, err := w.wait()
	for _, want := range []string{"a NULL in the key", "one chunk", "timeouts.statement", "57014"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v\n; expected %q in it", err, want)
		}
	}
	if failed := of[backfill.ChunkFailed](w); len(failed) != 1 {
		t.Errorf("it was tried %d times", len(failed))
	}
}

// Behind a pooler a worker keeps its connection over a failover that takes a split back. Another process splits the segment
// again, at another key, and the worker's part has the same number and start as one of the new parts.
//
// Made to fail: without the segment's end in the ledger's proof, rows are changed twice; without the look at the segment after
// a refusal, the run fails with a ledger that refuses what follows its last row.
func TestPartOfASplitThatWasTakenBack(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100))
	plan := planned(t, db, counts("numbers"), every(50))
	plan.Pace.Workers = 1
	var once sync.Once
	w := join(t, db, plan, part{observer: func(e backfill.Event) {
		if s, ok := e.(backfill.SegmentStarted); ok && s.Segment.No == 2 {
			once.Do(func() {
				db.Exec("UPDATE pgbackfill.segments SET through = '{53}' WHERE no = 2")
				db.Exec("INSERT INTO pgbackfill.segments (run_id, no, pass, parent, nulls, after, through, estimated_rows) SELECT run_id, 3, 1, 0, false, '{53}', '{100}', 47 FROM pgbackfill.segments WHERE no = 2")
				db.Exec(`UPDATE pgbackfill.runs SET plan = jsonb_set(plan, '{segments}', '3')`)
			})
		}
	}})
	w.finished()
	onceEach(t, db, "numbers")
	tiled(t, db, plan, w.run.ID())
}

// outrunning is a store in which a segment has always moved on before it can be split, the first times.
type outrunning struct {
	*checkpoint.Run
	mu  sync.Mutex
	ats []int
}

func (o *outrunning) Split(ctx context.Context, s backfill.SegmentState, at backfill.Key) (bool, error) {
	place, err := strconv.Atoi(at[0])
	if err != nil {
		return false, err
	}
	o.mu.Lock()
	o.ats = append(o.ats, place)
	late := len(o.ats) <= 3
	o.mu.Unlock()
	if late {
		return false, nil
	}
	return o.Run.Split(ctx, s, at)
}

// Who cannot split a segment in the middle, because it moves on while that is looked for, looks nearer each time.
//
// Made to fail: without the bound on how far ahead it looks, it looks as far each time.
func TestSplitOfASegmentThatMovesOn(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(10_000))
	plan := planned(t, db, counts("numbers"), whole)
	sleeps := newSleeper(1, 3)
	plan.Pace.Workers = 1
	w := join(t, db, plan, part{most: 1}) // it makes the run
	_, _ = w.wait()
	plan.Pace.Workers = 2
	o := &outrunning{Run: w.run}
	done := make(chan error, 1)
	go func() {
		_, err := backfill.Work(t.Context(), backfill.Options{
			Run: w.run.ID(), Plan: plan, Process: w.run.Process(), Connect: dialing(db.DSN()),
			Ledger: w.run, Segments: o, Control: w.run, Throttle: unlimited{}, Observer: sleeps.observe,
		})
		done <- err
	}()
	sleeps.fallen(t)
	pgtest.Eventually(t, ended/2, func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.ats) < 4 {
			return fmt.Errorf("%d splits were tried", len(o.ats))
		}
		return nil
	})
	close(sleeps.awake)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if ats := o.ats; !(ats[0] > 4000 && ats[1] < ats[0]*3/4 && ats[2] < ats[1]*3/4 && ats[3] < ats[2]*3/4) {
		t.Errorf("it looked at %v; expected each nearer than the one before", ats)
	}
	onceEach(t, db, "numbers")
}

// A prepared transaction has another name once the server has been restarted; the closing sweep waits for it all the same.
//
// Made to fail: with the first names alone waited for, the sweep begins before the commit and the row behind the walk is missed.
func TestPreparedWriterOverARestart(t *testing.T) {
	t.Parallel()
	server := pgtest.Cluster(t, localpg.Options{Settings: map[string]string{"max_prepared_transactions": "5"}})
	db := prepared(t, pgtest.NewOn(t, server), numbered(100))
	plan := planned(t, db, sets("numbers", map[string]string{"n": "7"}), whole)
	app := begun(t, db, "INSERT INTO numbers VALUES (-5)")
	finish(t, app, "PREPARE TRANSACTION 'p'")
	w := join(t, db, plan, part{})
	waits := func(e backfill.Waiting) bool { return strings.Contains(e.Reason, "prepared transaction") }
	until(w, "the wait for it", waits)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := len(of[backfill.Waiting](w))
	pgtest.Eventually(t, ended/2, func() error {
		for _, pass := range of[backfill.PassStarted](w) {
			if pass.Pass == backfill.PassSweep {
				return nil // it has not waited, which shows below
			}
		}
		waiting := 0
		for _, e := range of[backfill.Waiting](w)[seen:] {
			if waits(e) {
				waiting++
			}
		}
		if waiting < 3 {
			return fmt.Errorf("it does not wait again")
		}
		return nil
	})
	if _, err := pgtest.Connect(t, db.DSN()).Exec(t.Context(), "COMMIT PREPARED 'p'"); err != nil {
		t.Fatal(err)
	}
	w.finished()
	var missed int
	if err := pgtest.Connect(t, db.DSN()).QueryRow(t.Context(), "SELECT count(*) FROM numbers WHERE n <> 7").Scan(&missed); err != nil || missed != 0 {
		t.Errorf("%d rows were missed: %v", missed, err)
	}
}
