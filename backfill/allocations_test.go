package backfill_test

import (
	"runtime"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// What a chunk allocates is bounded, and does not depend on how many rows it has: the server changes them, and the client only says which. Where rows
// go through the client, it is so many a row, most of them the function's own JSON. (Not run beside other tests, whose allocations would count.)
//
// Made to fail: with the boundary's LIMIT left out, all keys behind a chunk come to the client.
func TestAllocationsOfAChunk(t *testing.T) {
	db := installed(t, filled(9000))
	heap := func(t *testing.T, db *pgtest.DB, job backfill.Job) *backfill.Plan {
		plan := byHeap(t, db, job)
		plan.Heap.Stripes = nil
		return plan
	}
	key := func(t *testing.T, db *pgtest.DB, job backfill.Job) *backfill.Plan { return planned(t, db, job, whole) }
	for _, c := range []struct {
		name string
		rows int
		plan func(*testing.T, *pgtest.DB, backfill.Job) *backfill.Plan
		most uint64
	}{
		{"by key", 20, key, 700},
		{"by key, more rows", 200, key, 700},
		{"in physical order", 200, heap, 450},
		{"in stripes", 60, func(t *testing.T, db *pgtest.DB, job backfill.Job) *backfill.Plan { return striped(t, db, job) }, 550},
		{"computed by a function", 200, func(t *testing.T, db *pgtest.DB, job backfill.Job) *backfill.Plan {
			job.Steps, job.Transform = nil, &backfill.Transform{Read: []backfill.Expr{{SQL: "x"}}, Go: "double", Write: []string{"n"}}
			return planFor(t, db, job, doubles)
		}, 200 * 35},
	} {
		job := ones("w")
		job.Name += c.name
		plan := oneSegment(c.plan(t, db, job), c.rows)
		const from, to = 10, 40
		chunks := 0
		var before, after runtime.MemStats
		w := join(t, db, plan, part{transforms: doubles, most: to, observer: func(e backfill.Event) {
			if _, ok := e.(backfill.ChunkCommitted); ok {
				switch chunks++; chunks {
				case from:
					runtime.ReadMemStats(&before)
				case to:
					runtime.ReadMemStats(&after)
				}
			}
		}})
		if _, err := w.wait(); chunks != to {
			t.Fatalf("%s: %d chunks, %v", c.name, chunks, err)
		}
		if n := (after.Mallocs - before.Mallocs) / (to - from); n > c.most {
			t.Errorf("%s: a chunk of %d rows allocates %d times, %d bytes", c.name, c.rows, n, (after.TotalAlloc-before.TotalAlloc)/(to-from))
		}
	}
}
