package backfill_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// sleeper blocks a worker after its chunk's statements and before its commit.
type sleeper struct {
	at     place
	once   sync.Once
	asleep chan struct{}
	awake  chan struct{}
}

func newSleeper(segment, seq int) *sleeper {
	return &sleeper{at: place{segment, seq}, asleep: make(chan struct{}), awake: make(chan struct{})}
}

func (s *sleeper) observe(e backfill.Event) {
	if c, ok := e.(backfill.ChunkChanged); ok && placeOf(c.Chunk) == s.at {
		s.once.Do(func() {
			close(s.asleep)
			<-s.awake
		})
	}
}

// fallen waits until the worker is asleep.
func (s *sleeper) fallen(t *testing.T) {
	t.Helper()
	select {
	case <-s.asleep:
	case <-time.After(ended / 2):
		t.Fatalf("chunk %d of segment %d was never changed", s.at.seq, s.at.segment)
	}
}

// A worker that slept while its segment was split under it cannot commit the chunk it had changed; the rows are done once,
// by whoever works the parts.
//
// Made to fail: with Split leaving the fence row out, the sleeper's chunk commits, and the segment is done and split.
func TestSleeperMissesItsSegmentsSplit(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(200))
	plan := planned(t, db, counts("numbers"), whole)
	plan.Pace.Workers = 1
	s := newSleeper(1, 3)
	w := join(t, db, plan, part{observer: s.observe})
	s.fallen(t)
	list, err := w.run.List(t.Context(), backfill.PassWalk)
	if err != nil {
		t.Fatal(err)
	}
	if split, err := w.run.Split(t.Context(), list[0], backfill.Key{"120"}); err != nil || !split {
		t.Fatalf("split: %t, %v", split, err)
	}
	close(s.awake)
	w.finished()
	onceEach(t, db, "numbers")
	tiled(t, db, plan, w.run.ID())
	for _, e := range of[backfill.ChunkCommitted](w) {
		if placeOf(e.Chunk) == s.at {
			t.Error("the chunk of the closed segment is said to be committed")
		}
	}
	if fence := pgtest.One[string](db, "SELECT fence FROM pgbackfill.chunks WHERE segment = 1 AND seq = 3"); fence != "split" {
		t.Errorf("the segment was closed by %q", fence)
	}
}

// A worker that slept while its run was cancelled, or replaced by a new one, cannot commit what it had changed.
//
// Made to fail: with the run's state set and no fence written, the sleeper goes on to the end of the table.
func TestSleeperMissesTheEndOfItsRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(*checkpoint.Run, context.Context) error
		// first and rest are what n is in the rows of the sleeper's first chunk and in all others, once the run is over and
		// where it was replaced, a second one has gone over everything again.
		first, rest int
	}{
		{"cancelled", (*checkpoint.Run).Cancel, 1, 0},
		{"superseded", (*checkpoint.Run).Supersede, 2, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, numbered(100))
			plan := planned(t, db, counts("numbers"), whole)
			plan.Pace.Workers = 1
			s := newSleeper(1, 2)
			w := join(t, db, plan, part{observer: s.observe})
			s.fallen(t)
			if err := c.end(w.run, t.Context()); err != nil {
				t.Fatal(err)
			}
			var again *worked
			if c.name == "superseded" {
				again = join(t, db, plan, part{})
			}
			close(s.awake)
			if _, err := w.wait(); !errors.Is(err, backfill.ErrCancelled) {
				t.Errorf("the first run ended with %v; expected that it was cancelled", err)
			}
			if again != nil {
				again.finished()
			}
			wrong := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n <> CASE WHEN id <= 10 THEN $1::int ELSE $2::int END", c.first, c.rest)
			if wrong != 0 {
				t.Errorf("%d rows were changed by the sleeper", wrong)
			}
		})
	}
}

// A worker that slept longer than the server keeps an idle transaction wakes up without a connection, and goes on from
// what the ledger says: here another process has done everything in the meantime.
//
// Made to fail: with the mark kept over the lost connection and a ledger that takes a chunk twice, rows are at 2; with a run
// that others have finished taken for an error, this process fails.
func TestSleeperMissesTheWholeRun(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(200))
	plan := planned(t, db, counts("numbers"), every(40))
	plan.Pace.Workers, plan.Pace.IdleTimeout = 1, 300*time.Millisecond
	s := newSleeper(1, 2)
	sleeping := join(t, db, plan, part{observer: s.observe})
	s.fallen(t)
	do(t, db, plan)
	close(s.awake)
	sleeping.finished()
	onceEach(t, db, "numbers")
	tiled(t, db, plan, sleeping.run.ID())
}
