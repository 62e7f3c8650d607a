package backfill_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/proxy"
)

// shouting is a job that has a function compute words.out; before is called with the first id of each call.
func shouting(before func(ctx context.Context, first int64)) (backfill.Job, map[string]backfill.TransformFunc) {
	type in struct {
		ID int64  `json:"id"`
		V  string `json:"v"`
	}
	type out struct {
		Out string `json:"out"`
	}
	each := backfill.PerRow(func(_ context.Context, row in) (out, error) { return out{strings.ToUpper(row.V)}, nil })
	job := transforms()
	job.Transform.Command, job.Transform.Go = nil, "shout"
	return job, map[string]backfill.TransformFunc{"shout": func(ctx context.Context, rows []json.RawMessage) ([]backfill.TransformResult, error) {
		var first in
		if err := json.Unmarshal(rows[0], &first); err != nil {
			return nil, err
		}
		before(ctx, first.ID)
		return each(ctx, rows)
	}}
}

// A worker reads the next chunk while this one is computed, and computes it while this one is written. Shown by what waits for what: no chunk is
// computed to its end before the next one is read and the one before it committed, so that a worker that does one thing at a
// time would wait for ever.
//
// Made to fail: with following = nil in computed, chunk 1 is still in the function when it gives up; with the next chunk's computing started after
// the commit, chunk 2.
func TestTransformOverlaps(t *testing.T) {
	t.Parallel()
	const chunks, rows = 6, 10
	db := installed(t, words(chunks*rows))
	p, dsn := between(t, db.Server(), db.DSN())
	var mu sync.Mutex
	read, committed := 0, 0
	changed := sync.NewCond(&mu)
	p.Hook(func(m proxy.Message) proxy.Verdict {
		if sql := m.SQL(); strings.HasPrefix(sql, "SELECT r.pgbackfill_1") {
			mu.Lock()
			read++
			changed.Broadcast()
			mu.Unlock()
		}
		return proxy.Forward
	})
	job, functions := shouting(func(ctx context.Context, first int64) {
		chunk := int(first)/rows + 1
		defer context.AfterFunc(ctx, changed.Broadcast)()
		mu.Lock()
		defer mu.Unlock()
		for read < min(chunk+1, chunks) || committed < chunk-1 {
			if ctx.Err() != nil {
				t.Errorf("chunk %d is computed while %d chunks are read and %d committed", chunk, read, committed)
				return
			}
			changed.Wait()
		}
	})
	plan := oneSegment(planFor(t, db, job, functions), rows)
	plan.Pace.TransformTimeout = 10 * time.Second
	w := join(t, db, plan, part{dsn: dsn, transforms: functions, observer: func(e backfill.Event) {
		if _, ok := e.(backfill.ChunkCommitted); ok {
			mu.Lock()
			committed++
			changed.Broadcast()
			mu.Unlock()
		}
	}})
	w.finished()
	wrongWords(t, db)
	if read != chunks {
		t.Errorf("chunks were read %d times", read)
	}
}

// What is computed ahead is not written over what has become of the rows since, by others or by the chunk before it; and what fails ahead of its turn
// fails in its turn, with all chunks before it done.
//
// Made to fail: without the wait in takeAhead two calls are at one program, which the race detector says. (What is ahead being taken for the
// chunk at hand whatever its range, is mended: those rows count as changed, and are read again.)
func TestTransformAheadOfItsTurn(t *testing.T) {
	t.Parallel()
	t.Run("rows change", func(t *testing.T) {
		t.Parallel()
		db := installed(t, words(60))
		var once sync.Once
		job, functions := shouting(func(_ context.Context, first int64) {
			if first == 11 { // the second chunk is read, and the third one not yet written
				once.Do(func() {
					db.Exec("UPDATE words SET v = 'later', out = 'LATER' WHERE id IN (12, 25)")
					db.Exec("INSERT INTO words VALUES (0, 'before', 'BEFORE')")
				})
			}
		})
		w := join(t, db, oneSegment(planFor(t, db, job, functions), 10), part{transforms: functions})
		w.finished()
		wrongWords(t, db)
	})
	t.Run("the chunk before is tried again", func(t *testing.T) {
		t.Parallel()
		db := installed(t, words(60))
		lock := begun(t, db, "SELECT FROM words WHERE id = 15 FOR UPDATE")
		job, functions := shouting(func(context.Context, int64) {})
		plan := oneSegment(planFor(t, db, job, functions), 10)
		plan.Pace.LockTimeout = 20 * time.Millisecond
		w := join(t, db, plan, part{transforms: functions})
		until(w, "a failure", func(backfill.ChunkFailed) bool { return true })
		finish(t, lock, "COMMIT")
		w.finished()
		wrongWords(t, db)
	})
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		db := installed(t, words(100))
		var stop func()
		ready := make(chan struct{})
		job, functions := shouting(func(ctx context.Context, first int64) {
			if first == 41 {
				<-ready
				stop()
				<-ctx.Done() // the chunk before this one is done all the same, or was before
			}
		})
		plan := oneSegment(planFor(t, db, job, functions), 10)
		w := join(t, db, plan, part{transforms: functions})
		stop = w.stop
		close(ready)
		if _, err := w.wait(); err == nil {
			t.Error("the run was not stopped")
		}
		if done := pgtest.One[int](db, "SELECT count(*) FROM words WHERE out IS NOT NULL"); done != 40 {
			t.Errorf("%d rows are written, and 4 chunks were computed", done)
		}
		w = join(t, db, plan, part{transforms: shoutingOnly()})
		w.finished()
		wrongWords(t, db)
	})
}

func shoutingOnly() map[string]backfill.TransformFunc {
	_, functions := shouting(func(context.Context, int64) {})
	return functions
}

// Where more than the row decides what is sent, a chunk is read when the one before it is committed.
//
// Made to fail: with Others left unset the rows of the second chunk were of before the first one's commit.
func TestTransformOfOthersIsNotAhead(t *testing.T) {
	t.Parallel()
	db := installed(t, words(60), "CREATE TABLE seen (id bigint)")
	job, functions := shouting(func(context.Context, int64) {})
	// Each chunk notes what it has done, and the next one's rows are of how much that is.
	job.Transform.Read = []backfill.Expr{{SQL: "(SELECT 'after ' || count(*) FROM seen) AS v", Subquery: true}}
	stepping(&job, append([]backfill.Step{{Name: "note", SQL: &backfill.Command{Expr: backfill.Expr{SQL: "INSERT INTO seen SELECT o.id FROM {{out}} AS o", Templates: []string{"out"}}, Kind: "insert"}}}, overOut()...))
	plan := oneSegment(planFor(t, db, job, functions), 10)
	join(t, db, plan, part{transforms: functions}).finished()
	for _, wrong := range pgtest.All[string](db, "SELECT w::text FROM words AS w WHERE out <> 'AFTER ' || (id - 1) / 10 * 10 LIMIT 3") {
		t.Errorf("this row is not of what was committed before its chunk: %s", wrong)
	}
}
