package backfill_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// bearing is a throttle that bears only so many rows a chunk.
type bearing struct {
	unlimited
	rows atomic.Int64
}

func (b *bearing) ChunkRows(want int) int                       { return min(want, int(b.rows.Load())) }
func (*bearing) Committed(rows int, wal int64, _ time.Duration) {}

// What is ahead is for its turn, and its turn may be another time: what failed then is done again with the rows as they are now; what was read
// before a pause is read again; and where chunks are to be smaller now, it is left.
//
// Made to fail: with the error of what is ahead handed out, the first run stops at a row that was mended long before its turn; without outdated,
// the second computes none but the changed row a second time; with the end found ahead kept (next == nil alone in chunk), the third one's second and third
// chunks have ten rows.
func TestTransformAheadOfAnotherTime(t *testing.T) {
	t.Parallel()
	t.Run("the row is mended", func(t *testing.T) {
		t.Parallel()
		db := installed(t, words(40), "UPDATE words SET v = 'bad' WHERE id = 12")
		job, functions := shouting(func(context.Context, int64) {})
		each := functions["shout"]
		functions["shout"] = func(ctx context.Context, rows []json.RawMessage) ([]backfill.TransformResult, error) {
			if slices.ContainsFunc(rows, func(r json.RawMessage) bool { return strings.Contains(string(r), `"bad"`) }) {
				db.Exec("UPDATE words SET v = 'good' WHERE id = 12")
				return nil, nil // what the program does to it is not as agreed
			}
			return each(ctx, rows)
		}
		join(t, db, oneSegment(planFor(t, db, job, functions), 10), part{transforms: functions}).finished()
		wrongWords(t, db)
	})
	t.Run("a pause", func(t *testing.T) {
		t.Parallel()
		db := installed(t, words(40))
		var mu sync.Mutex
		var calls []int64
		job, functions := shouting(func(_ context.Context, first int64) {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, first)
		})
		plan := oneSegment(planFor(t, db, job, functions), 10)
		store := desk(t, db)
		w := join(t, db, plan, part{transforms: functions, observer: func(e backfill.Event) {
			if e, ok := e.(backfill.ChunkChanged); ok && e.Chunk.Seq == 1 {
				desire(t, store, plan.Job.Name, backfill.DesiredPaused)
				beats(t, db, 2)
			}
		}})
		becomes(t, store, plan.Job.Name, backfill.StatePaused)
		db.Exec("UPDATE words SET v = 'mended' WHERE id = 15")
		desire(t, store, plan.Job.Name, backfill.DesiredRunning)
		w.finished()
		wrongWords(t, db)
		if want := []int64{1, 11, 11, 21, 31}; !slices.Equal(calls, want) {
			t.Errorf("chunks were computed from rows %v on, want %v", calls, want)
		}
	})
	t.Run("less is borne", func(t *testing.T) {
		t.Parallel()
		db := installed(t, words(40))
		job, functions := shouting(func(context.Context, int64) {})
		throttle := &bearing{}
		throttle.rows.Store(10)
		plan := oneSegment(planFor(t, db, job, functions), 10)
		w := join(t, db, plan, part{transforms: functions, throttle: throttle, observer: func(e backfill.Event) {
			if _, ok := e.(backfill.ChunkCommitted); ok {
				throttle.rows.Store(3)
			}
		}})
		w.finished()
		wrongWords(t, db)
		for _, e := range of[backfill.ChunkCommitted](w)[1:] {
			if e.Chunk.RowsSeen > 3 {
				t.Errorf("chunk %d has %d rows where 3 are borne", e.Chunk.Seq, e.Chunk.RowsSeen)
			}
		}
		if seen := pgtest.One[int](db, "SELECT sum(rows_seen) FROM pgbackfill.chunks"); seen != 40 {
			t.Errorf("%d rows were seen", seen)
		}
	})
}
