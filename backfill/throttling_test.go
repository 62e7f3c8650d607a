package backfill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// valve is a throttle that a test shuts and opens, and that remembers who asked when.
type valve struct {
	mu      sync.Mutex
	shut    []backfill.Reason
	changed chan struct{}
	log     []string
}

func newValve(shut ...backfill.Reason) *valve {
	return &valve{shut: shut, changed: make(chan struct{})}
}

func (v *valve) set(shut ...backfill.Reason) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = shut
	close(v.changed)
	v.changed = make(chan struct{})
}

func (v *valve) note(what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.log = append(v.log, what)
}

func (v *valve) now() ([]backfill.Reason, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.shut, v.changed
}

func (v *valve) SetRate(float64) {}

func (v *valve) Wait(ctx context.Context, _ int) error {
	for {
		shut, changed := v.now()
		if len(shut) == 0 {
			v.note("let through")
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (v *valve) Watch(ctx context.Context, told func([]backfill.Reason)) {
	was := false
	for ctx.Err() == nil {
		shut, changed := v.now()
		if was || len(shut) > 0 {
			told(shut)
			was = len(shut) > 0
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// slowable is a throttle that can be told to let a chunk through each 10 ms.
type slowable struct {
	*valve
	slow atomic.Bool
}

func (s *slowable) Wait(ctx context.Context, rows int) error {
	if s.slow.Load() {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	return s.valve.Wait(ctx, rows)
}

// What is done once waits for the throttle before it begins, each of it, and the wait is in the run's record and in its
// summary.
//
// Made to fail: without mayBegin in once, prepare is done while the gate is shut and finish follows no look at it.
func TestTasksWaitForTheThrottle(t *testing.T) {
	t.Parallel()
	db := onceTables(t)
	lag := backfill.Reason{Signal: "replica_lag", Text: "replica_lag 12.4s > 10s (standby eu-2)"}
	v := newValve(lag)
	w := join(t, db, plans(t, db, onceJob()), part{throttle: v, observer: func(e backfill.Event) {
		switch e := e.(type) {
		case backfill.TaskStarted:
			v.note("begins " + e.Name)
		case backfill.ChunkCommitted:
			v.note("a chunk")
		}
	}})
	until(w, "the wait", func(e backfill.Waiting) bool { return e.Reason == lag.Text })
	pgtest.Eventually(t, ended/2, func() error {
		if pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.events WHERE what = 'throttled'") == 0 {
			return errors.New("it is not in the record yet")
		}
		return nil
	})
	v.set(backfill.Reason{Signal: lag.Signal, Text: "replica_lag 13s > 10s (standby eu-2)"})
	until(w, "newer numbers", func(e backfill.Waiting) bool { return e.Still && strings.Contains(e.Reason, "13s") })
	if n := len(of[backfill.TaskStarted](w)); n > 0 {
		t.Errorf("%d tasks began while the gate was shut", n)
	}
	v.set()
	s := w.finished()
	doneOnce(t, db)
	begun := 0
	for i, what := range v.log {
		if strings.HasPrefix(what, "begins ") {
			if begun++; i == 0 || v.log[i-1] != "let through" {
				t.Errorf("%q follows %q", what, v.log[max(i-1, 0)])
			}
		}
	}
	if begun != 3 {
		t.Errorf("%d tasks: %q", begun, v.log)
	}
	if len(s.Waited) != 1 || s.Waited[0].Signal != "replica_lag" || s.Waited[0].Times != 1 || s.ShutFor <= 0 || s.Waited[0].For != s.ShutFor {
		t.Errorf("the summary: %+v, %s", s.Waited, s.ShutFor)
	}
	record := pgtest.All[string](db, "SELECT what || ': ' || (detail->>'reason') FROM pgbackfill.events WHERE what IN ('throttled', 'goes on') ORDER BY id")
	if len(record) != 2 || record[0] != "throttled: "+lag.Text || !strings.HasPrefix(record[1], "goes on: after ") || !strings.HasSuffix(record[1], " of replica_lag") {
		t.Errorf("the record: %q", record)
	}
}

// insist says that somebody waits for the session of that name until a chunk has given way.
func insist(t *testing.T, application string, blocked chan<- backfill.Blocked, gave <-chan struct{}) {
	t.Helper()
	deadline := time.After(ended / 2)
	for {
		select {
		case <-gave:
			return
		case blocked <- backfill.Blocked{Application: application, Waiter: "webshop (pid 7)", Waited: time.Second}:
			time.Sleep(10 * time.Millisecond) // between two tries, as the throttle's looks are
		case <-deadline:
			t.Fatal("nothing gave way")
		}
	}
}

// yieldsTo closes a channel at the first chunk that gives way.
func yieldsTo() (backfill.Observer, <-chan struct{}) {
	gave, once := make(chan struct{}), sync.Once{}
	return func(e backfill.Event) {
		if y, ok := e.(backfill.Yielded); ok && strings.Contains(y.To, "webshop") {
			once.Do(func() { close(gave) })
		}
	}, gave
}

// A transform that computes while rows are locked, since they changed whenever it had computed them, gives way as a
// statement does: the server has nothing to cancel then.
//
// Made to fail: without mayGiveWay, the function is waited for until timeouts.transform.
func TestTransformUnderLockGivesWay(t *testing.T) {
	t.Parallel()
	db := installed(t, words(5))
	other, calls := db.Conn(), 0
	upper := backfill.PerRow(func(_ context.Context, row struct {
		ID int64  `json:"id"`
		V  string `json:"v"`
	},
	) (map[string]string, error) {
		return map[string]string{"out": strings.ToUpper(row.V)}, nil
	})
	locked := make(chan struct{})
	var cause error
	functions := map[string]backfill.TransformFunc{"upper": func(ctx context.Context, rows []json.RawMessage) ([]backfill.TransformResult, error) {
		switch calls++; {
		case calls <= 3: // what was read is not so any more when it comes back
			if _, err := other.Exec(ctx, "UPDATE words SET v = v || '!'"); err != nil {
				return nil, err
			}
		case calls == 4:
			close(locked)
			<-ctx.Done()
			cause = ctx.Err()
			return nil, cause
		}
		return upper(ctx, rows)
	}}
	job := transforms()
	job.Transform.Go = "upper"
	plan := inOneSegment(planFor(t, db, job, functions))
	plan.Pace.ChunkRows = 5
	observer, gave := yieldsTo()
	blocked := make(chan backfill.Blocked)
	w := join(t, db, plan, part{transforms: functions, observer: observer, blocked: blocked})
	select {
	case <-locked:
	case <-w.done:
		t.Fatalf("it ended early: %v", w.err)
	}
	insist(t, "pgbackfill test-words 1", blocked, gave)
	s := w.finished()
	if cause == nil || s.Yields != 1 || s.Retries != 0 {
		t.Errorf("ended with %v, %d yields, %d retries", cause, s.Yields, s.Retries)
	}
	wrongWords(t, db)
	if n := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.events WHERE what = 'gave way' AND detail->>'reason' LIKE 'webshop%'"); n != 1 {
		t.Errorf("%d times in the record", n)
	}
}

// The chunk of an undo gives way too, and is done again smaller.
//
// Made to fail: with nobody to listen in TakeBack, the chunk takes its time.
func TestUndoGivesWay(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(200))
	plan := captured(t, db, counts("numbers"), 100)
	w := keeping(t, db, plan, part{})
	db.Exec(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$;
		CREATE TRIGGER slow BEFORE UPDATE ON numbers FOR EACH ROW EXECUTE FUNCTION slow()`)
	o := takingBack(t, db, w, plan)
	var sizes []int64
	first, gave := yieldsTo()
	o.Observer = backfill.Tee(first, func(e backfill.Event) {
		if c, ok := e.(backfill.ChunkCommitted); ok {
			sizes = append(sizes, c.Chunk.RowsSeen)
		}
	})
	blocked := make(chan backfill.Blocked)
	o.Blocked = blocked
	done := make(chan error, 1)
	var mark backfill.UndoMark
	go func() {
		var err error
		mark, err = backfill.TakeBack(t.Context(), o)
		done <- err
	}()
	insist(t, "pgbackfill test-numbers undo 1", blocked, gave)
	if err := <-done; err != nil || mark.Restored != 200 {
		t.Errorf("%+v, %v", mark, err)
	}
	if len(sizes) == 0 || sizes[0] > 20 {
		t.Errorf("the chunks: %v", sizes)
	}
	if n := pgtest.One[int](db, fmt.Sprintf("SELECT count(*) FROM pgbackfill.events WHERE run_id = %d AND what = 'gave way'", w.run.ID())); n != 1 {
		t.Errorf("%d times in the record", n)
	}
}

// A quarantined row that is done after all gives way as well, and is done.
//
// Made to fail: without yielded in the retrier's once, the cancelled statement is a row that failed again.
func TestRetryQuarantinedGivesWay(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(20), "ALTER TABLE numbers ADD d int NOT NULL DEFAULT 1; UPDATE numbers SET d = 0 WHERE id = 7")
	job := counts("numbers")
	job.UpdateStep().Set[0].Value.SQL = "t.n + 1 / d"
	plan := planned(t, db, job, whole)
	w := join(t, db, plan, part{})
	w.finished()
	db.Exec(`CREATE SEQUENCE tries; UPDATE numbers SET d = 1;
		CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('tries') = 1 THEN PERFORM pg_sleep(20); END IF; RETURN NEW; END $$;
		CREATE TRIGGER slow BEFORE UPDATE ON numbers FOR EACH ROW EXECUTE FUNCTION slow()`)
	observer, gave := yieldsTo()
	blocked := make(chan backfill.Blocked)
	done := make(chan error, 1)
	var got backfill.Retried
	go func() {
		var err error
		got, err = retry(t, db, w, plan, part{observer: observer, blocked: blocked})
		done <- err
	}()
	pgtest.Eventually(t, ended/2, func() error {
		if !pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')") {
			return errors.New("the row is not at work")
		}
		return nil
	})
	segment := pgtest.One[int](db, "SELECT segment FROM pgbackfill.quarantine")
	insist(t, fmt.Sprintf("pgbackfill test-numbers %d", segment), blocked, gave)
	if err := <-done; err != nil || got.Done != 1 || got.Failed+got.Left != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	onceEach(t, db, "numbers")
}
