package backfill_test

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/proxy"
)

// trips counts the round trips of a worker's connection between one chunk's ledger row and the next one's, as a proxy sees them.
type trips struct {
	mu    sync.Mutex
	conns map[uint64]*tripsOf
}

type tripsOf struct {
	// sent is how many there were, and last how many when the last ledger row was sent.
	sent, last int
	chunks     []int
}

// ledgerRow is the statement that records a chunk.
var ledgerRow = "INSERT INTO pgbackfill.chunks"

// count is the proxy's hook. A round trip is what ends with a Sync, or a statement by itself. The question who keeps old rows, of a walk in
// stripes, is asked now and then and belongs to no chunk.
func (t *trips) count(m proxy.Message) proxy.Verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.conns[m.Conn]
	if c == nil {
		c = &tripsOf{}
		t.conns[m.Conn] = c
	}
	switch sql := m.SQL(); {
	case m.From != proxy.Frontend:
	case m.Type == 'S' || m.Type == 'Q':
		c.sent++
	case sql == pgsql.Holding("1").SQL:
		c.last++
	case len(sql) > len(ledgerRow) && sql[:len(ledgerRow)] == ledgerRow:
		c.chunks = append(c.chunks, c.sent-c.last)
		c.last = c.sent
	}
	return proxy.Forward
}

// of are those of each chunk but the first, of the one worker that there was.
func (t *trips) of(test *testing.T) []int {
	test.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []int
	for _, c := range t.conns {
		if len(c.chunks) > len(list) {
			list = c.chunks
		}
	}
	if len(list) == 0 {
		test.Fatal("no chunk was seen")
	}
	return list[1:]
}

// oneSegment leaves one segment of a plan, for one worker, with chunks of so many rows.
func oneSegment(plan *backfill.Plan, rows int) *backfill.Plan {
	last := plan.Segments[len(plan.Segments)-1]
	plan.Segments = plan.Segments[:1]
	plan.Segments[0].Range.Through, plan.Segments[0].EstimatedRows = last.Range.Through, plan.EstimatedRows
	plan.Pace.Workers, plan.Pace.ChunkRows = 1, rows
	return plan
}

// A chunk costs two round trips, whatever the walk: the change; then the ledger row, the commit and the end of the next chunk. One more is needed
// where several steps must agree on the chunk's rows first, and where rows are read to be computed elsewhere.
//
// Made to fail: with the boundary looked for by itself (sought = false in commit) a walk by key has three.
func TestRoundTripsOfAChunk(t *testing.T) {
	t.Parallel()
	both := func(job backfill.Job) backfill.Job {
		job.Steps = append(job.Steps, backfill.Step{Name: "keep", SQL: &backfill.Command{
			Expr: backfill.Expr{SQL: "INSERT INTO kept SELECT c.id FROM {{chunk}} AS c", Templates: []string{"chunk"}}, Kind: "insert",
		}})
		job.Steps = append(job.Steps, backfill.Step{Name: "keep again", SQL: &backfill.Command{
			Expr: backfill.Expr{SQL: "INSERT INTO kept SELECT c.id FROM {{chunk}} AS c", Templates: []string{"chunk"}}, Kind: "insert",
		}})
		return job
	}
	joined := ones("w")
	joined.UpdateStep().From, joined.UpdateStep().Join = &backfill.Expr{SQL: "other AS o"}, &backfill.Expr{SQL: "o.id = t.id"}
	computed := sets("w", nil)
	computed.Steps, computed.Transform = nil, &backfill.Transform{Read: []backfill.Expr{{SQL: "x"}}, Go: "double", Write: []string{"n"}}
	deleted := sets("w", nil)
	deleted.Steps = []backfill.Step{{Name: "delete", Delete: true}}
	byKey := func(t *testing.T, db *pgtest.DB, job backfill.Job) *backfill.Plan { return planned(t, db, job, whole) }
	byPlanner := func(t *testing.T, db *pgtest.DB, job backfill.Job) *backfill.Plan {
		return planFor(t, db, job, doubles)
	}
	heap := func(t *testing.T, db *pgtest.DB, job backfill.Job) *backfill.Plan {
		plan := byHeap(t, db, job)
		plan.Heap.Stripes = nil
		return plan
	}
	stripes := func(t *testing.T, db *pgtest.DB, job backfill.Job) *backfill.Plan { return striped(t, db, job) }
	for name, c := range map[string]struct {
		job  backfill.Job
		plan func(*testing.T, *pgtest.DB, backfill.Job) *backfill.Plan
		want int
	}{
		"by key":               {ones("w"), byKey, 2},
		"by a key not unique":  {sets("w", map[string]string{"n": "1"}, "x"), byKey, 2},
		"with a join":          {joined, byKey, 2},
		"a deletion":           {deleted, byKey, 2},
		"in physical order":    {ones("w"), heap, 2},
		"in stripes":           {ones("w"), stripes, 2},
		"steps over a chunk":   {both(ones("w")), byPlanner, 3},
		"computed by function": {computed, byPlanner, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, filled(3000), "ALTER TABLE w ALTER x SET NOT NULL", "CREATE INDEX ON w (x)", "CREATE TABLE kept (id int)", "CREATE TABLE other AS SELECT id FROM w", "CREATE UNIQUE INDEX ON other (id)", "ANALYZE other")
			p, dsn := between(t, db.Server(), db.DSN())
			plan := oneSegment(c.plan(t, db, c.job), 60)
			seen := &trips{conns: map[uint64]*tripsOf{}}
			p.Hook(seen.count)
			w := join(t, db, plan, part{dsn: dsn, transforms: doubles})
			w.finished()
			walked := 0
			for _, e := range of[backfill.ChunkCommitted](w) {
				if e.Pass == backfill.PassWalk {
					walked++
				}
			}
			got := seen.of(t)[:walked-2] // what is read ahead of the last one is the one's before it
			if walked < 20 || slices.Max(got) != c.want || slices.Min(got) != c.want {
				t.Errorf("the round trips of %d chunks are %v, want %d each", walked, got, c.want)
			}
		})
	}
}

// doubles is a transform that doubles x into n.
var doubles = map[string]backfill.TransformFunc{"double": backfill.PerRow(func(_ context.Context, row struct {
	X json.Number `json:"x"`
}) (struct {
	N json.Number `json:"n"`
}, error,
) {
	x, err := row.X.Int64()
	return struct {
		N json.Number `json:"n"`
	}{json.Number(strconv.FormatInt(2*x, 10))}, err
})}
