package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

var errUnreachable = errors.New("unreachable")

// unreachable is a database that cannot be asked for orders.
type unreachable struct{ backfill.Control }

func (unreachable) Beat(context.Context, backfill.Beat) (backfill.Orders, error) {
	return backfill.Orders{}, errUnreachable
}
func (unreachable) SetState(context.Context, backfill.State, string) error { return errUnreachable }
func (unreachable) Leave(context.Context) error                            { return errUnreachable }

type unlimited struct{}

func (unlimited) Wait(ctx context.Context, _ int) error { return ctx.Err() }
func (unlimited) SetRate(float64)                       {}

// desk is somebody at another machine, with a store of his own.
func desk(t *testing.T, db *pgtest.DB) *checkpoint.Store {
	t.Helper()
	store, err := checkpoint.Open(t.Context(), dialing(db.DSN()), checkpoint.Options{Who: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close(context.Background()) })
	return store
}

func desire(t *testing.T, store *checkpoint.Store, job string, desired backfill.Desired) {
	t.Helper()
	if _, err := store.SetDesired(t.Context(), job, desired, "ann", "replica rebuild"); err != nil {
		t.Fatal(err)
	}
}

// becomes waits until the run is in a state.
func becomes(t *testing.T, store *checkpoint.Store, job string, state backfill.State) checkpoint.RunInfo {
	t.Helper()
	var info checkpoint.RunInfo
	pgtest.Eventually(t, ended/2, func() (err error) {
		if info, err = store.Newest(t.Context(), job); err == nil && info.State != state {
			err = fmt.Errorf("the run is %s (%s); expected %s", info.State, info.Reason, state)
		}
		return err
	})
	return info
}

// beats waits until the run's one process has sent so many more heartbeats, each with what it heard before.
func beats(t *testing.T, db *pgtest.DB, more int) {
	t.Helper()
	for range more {
		at := pgtest.One[time.Time](db, "SELECT max(heartbeat_at) FROM pgbackfill.processes")
		pgtest.Eventually(t, ended/2, func() error {
			if !pgtest.One[time.Time](db, "SELECT max(heartbeat_at) FROM pgbackfill.processes").After(at) {
				return errors.New("no heartbeat")
			}
			return nil
		})
	}
}

func chunksOf(db *pgtest.DB) int {
	return pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.chunks WHERE fence IS NULL")
}

// A pause is heard within about a second, also by workers that wait for their turn under a low rate: no chunk is committed
// from then on, until the run is resumed. Here a turn comes every 2.5 seconds, and two of them are watched.
//
// Made to fail: with the rate waited for whatever the orders are, a chunk was committed in the pause.
func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(300))
	plan := planned(t, db, counts("numbers"), every(100))
	plan.Pace.Rate = 4
	store := desk(t, db)
	w := join(t, db, plan, part{})
	until(w, "the first chunk", func(backfill.ChunkCommitted) bool { return true })
	desire(t, store, plan.Job.Name, backfill.DesiredPaused)
	asked := time.Now()
	beats(t, db, 2) // it is heard
	before := chunksOf(db)
	for time.Since(asked) < 6*time.Second {
		beats(t, db, 1)
	}
	if after := chunksOf(db); after != before {
		t.Errorf("%d chunks were committed in the pause", after-before)
	}
	info := becomes(t, store, plan.Job.Name, backfill.StatePaused)
	if !strings.Contains(info.DesiredReason, "ann") || !strings.Contains(info.DesiredReason, "replica rebuild") {
		t.Errorf("the reason is %q; expected who and why", info.DesiredReason)
	}
	if _, err := store.SetOverrides(t.Context(), plan.Job.Name, backfill.Pace{Rate: 1e6}, "ann"); err != nil {
		t.Fatal(err)
	}
	desire(t, store, plan.Job.Name, backfill.DesiredRunning)
	w.finished()
	onceEach(t, db, "numbers")
	if s := pgtest.One[string](db, "SELECT reason FROM pgbackfill.runs"); s != "" {
		t.Errorf("the finished run has the reason %q", s)
	}
}

// A cancelled run ends in every process, with who did it; nothing is changed after that.
//
// Made to fail: without the fences and with the order not heard, rows are changed after it; without the question who did it, one
// process says that the run is over and not why; with a fenced segment taken for a walked one, Walked is set.
func TestCancel(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(300))
	plan := planned(t, db, counts("numbers"), every(100))
	plan.Pace.Rate = 40
	store := desk(t, db)
	all := []*worked{join(t, db, plan, part{}), join(t, db, plan, part{})}
	for _, w := range all {
		until(w, "the first chunk", func(backfill.ChunkCommitted) bool { return true })
	}
	desire(t, store, plan.Job.Name, backfill.DesiredCancelled)
	info, err := store.Newest(t.Context(), plan.Job.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Attach(info).Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	changed := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n = 1")
	for _, w := range all {
		if s, err := w.wait(); !errors.Is(err, backfill.ErrCancelled) || !strings.Contains(err.Error(), "ann") || s.State != backfill.StateCancelled {
			t.Errorf("the work ended with %v and the state %s; expected that ann cancelled it", err, s.State)
		} else if s.Walked {
			t.Error("it is said that all was walked")
		}
	}
	if n := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n = 1"); n != changed || n == 300 {
		t.Errorf("%d rows are changed; expected the %d at the moment of cancelling", n, changed)
	}
}

// Workers come and go while the run goes on, and no chunk is lost by it.
//
// Made to fail: with the crew staffed at the start alone, worker 4 is never seen; with nobody sent away, it stays.
func TestWorkersComeAndGo(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(1500))
	plan := planned(t, db, counts("numbers"), every(100))
	plan.Pace.Workers, plan.Pace.Rate = 1, 300
	store := desk(t, db)
	w := join(t, db, plan, part{})
	set := func(p backfill.Pace) {
		t.Helper()
		if _, err := store.SetOverrides(t.Context(), plan.Job.Name, p, "ann"); err != nil {
			t.Fatal(err)
		}
		until(w, "the new limits", func(e backfill.LimitsChanged) bool { return e.Pace.Workers == p.Workers })
	}
	set(backfill.Pace{Workers: 4})
	until(w, "the fourth worker's chunk", func(e backfill.ChunkCommitted) bool { return e.Worker == 4 })
	set(backfill.Pace{Workers: 2})
	beats(t, db, 1) // begun chunks finish
	from := len(w.seen())
	set(backfill.Pace{Workers: 2, Rate: 1e6, ChunkRows: 25})
	w.finished()
	onceEach(t, db, "numbers")
	tiled(t, db, plan, w.run.ID())
	wide := false
	for _, e := range w.seen()[from:] {
		if e, ok := e.(backfill.ChunkCommitted); ok {
			wide = wide || e.Chunk.RowsSeen == 25
			if e.Worker > 2 {
				t.Errorf("worker %d committed a chunk after it was sent away", e.Worker)
			}
		}
	}
	if !wide {
		t.Error("no chunk has the new size")
	}
}

// A run that may do so many chunks does so many, also with several workers, and can be gone on with.
//
// Made to fail: with the chunks counted when they are committed, four workers did up to three more.
func TestMaxChunks(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(600))
	plan := planned(t, db, counts("numbers"), every(70))
	plan.Pace.Workers = 4
	for round := 1; round <= 3; round++ {
		_, err := join(t, db, plan, part{most: 5}).wait()
		if !errors.Is(err, backfill.ErrInterrupted) || !strings.Contains(err.Error(), "5 chunks") {
			t.Errorf("the work ended with %v; expected that it stopped after 5 chunks", err)
		}
		if n := chunksOf(db); n != 5*round {
			t.Errorf("%d chunks after %d rounds of 5", n, round)
		}
	}
	do(t, db, plan)
	onceEach(t, db, "numbers")
}

// Asked to stop, the engine finishes the chunk that has begun and no other.
//
// Made to fail: with the chunk under the context of the request, the chunk is rolled back.
func TestStopFinishesTheBegunChunk(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100))
	plan := planned(t, db, counts("numbers"), whole)
	plan.Pace.Workers = 1
	s := newSleeper(1, 3)
	w := join(t, db, plan, part{observer: s.observe})
	s.fallen(t)
	w.stop()
	close(s.awake)
	if _, err := w.wait(); !errors.Is(err, backfill.ErrInterrupted) || !strings.Contains(err.Error(), "run it again") {
		t.Errorf("the work ended with %v; expected that it was interrupted", err)
	}
	if n := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n = 1"); n != 30 {
		t.Errorf("%d rows are changed; expected those of the chunk that had begun and the two before", n)
	}
	do(t, db, plan)
	onceEach(t, db, "numbers")
}

// Asked a second time, it cancels the chunk that has begun: here one that waits for a lock which is not given back.
//
// Made to fail: without the abort the work ends only once its lock timeout is over.
func TestAbortCancelsTheBegunChunk(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100))
	plan := planned(t, db, counts("numbers"), whole)
	plan.Pace.Workers, plan.Pace.LockTimeout, plan.Pace.StatementTimeout = 1, ended, ended
	app := begun(t, db, "SELECT * FROM numbers WHERE id = 25 FOR UPDATE")
	abort, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := join(t, db, plan, part{abort: abort})
	blocked(t, db)
	w.stop()
	asked := time.Now()
	cancel()
	if _, err := w.wait(); !errors.Is(err, backfill.ErrInterrupted) || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("the work ended with %v; expected that it was interrupted at once", err)
	}
	if took := time.Since(asked); took > ended/4 {
		t.Errorf("it took %s", took)
	}
	pgtest.Eventually(t, ended/4, func() error {
		if n := pgtest.One[int](db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgbackfill %' AND state <> 'idle'"); n > 0 {
			return fmt.Errorf("%d backends are at it still", n)
		}
		return nil
	})
	if n := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n = 1"); n != 20 {
		t.Errorf("%d rows are changed; expected the two chunks before", n)
	}
	finish(t, app, "COMMIT")
	do(t, db, plan)
	onceEach(t, db, "numbers")
}

// While the closing sweep waits for a writer, the process is there for the others, says what it waits for, and hears a pause and a cancel.
//
// Made to fail: with the wait outside of the heartbeat, the process counted as gone, and heard nothing until the writer ended.
func TestOrdersAreHeardBeforeTheSweep(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(50))
	plan := planned(t, db, sets("numbers", map[string]string{"n": "7"}), whole)
	begun(t, db, "INSERT INTO numbers VALUES (-1)") // never ends
	store := desk(t, db)
	w := join(t, db, plan, part{})
	until(w, "the wait for the writer", func(e backfill.Waiting) bool { return strings.Contains(e.Reason, "closing sweep waits") })
	beats(t, db, 2)
	info := becomes(t, store, plan.Job.Name, backfill.StateFinishing)
	if len(info.Processes) != 1 || !strings.Contains(info.Processes[0].Waiting, "closing sweep waits") {
		t.Errorf("the processes are %+v; expected one that says what it waits for", info.Processes)
	}
	desire(t, store, plan.Job.Name, backfill.DesiredPaused)
	becomes(t, store, plan.Job.Name, backfill.StatePaused)
	desire(t, store, plan.Job.Name, backfill.DesiredRunning)
	becomes(t, store, plan.Job.Name, backfill.StateFinishing)
	desire(t, store, plan.Job.Name, backfill.DesiredCancelled)
	if err := w.run.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.wait(); !errors.Is(err, backfill.ErrCancelled) {
		t.Errorf("the work ended with %v; expected that it was cancelled", err)
	}
}

// What a chunk took is known before the next one's end is looked for: each is larger than the one before while they are
// quick. Made to fail: told of after the commit, every size is used twice.
func TestChunksGrowFromOneToTheNext(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(12_000))
	plan := planned(t, db, counts("numbers"), whole)
	plan.Pace.Workers, plan.Pace.ChunkRows, plan.Pace.ChunkTarget, plan.Pace.ChunkMaxRows = 1, 0, time.Minute, 50_000
	w := do(t, db, plan)
	var sizes []int64
	for _, e := range of[backfill.ChunkCommitted](w) {
		sizes = append(sizes, e.Chunk.RowsSeen)
	}
	if want := []int64{1000, 1500, 2250, 3375, 12_000 - 8125}; !slices.Equal(sizes, want) {
		t.Errorf("the chunks had %v rows; expected %v", sizes, want)
	}
}
