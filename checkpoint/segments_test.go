package checkpoint

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/ledger"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// number reads a test's key; -1 is the beginning.
func number(k backfill.Key) int {
	if k == nil {
		return -1
	}
	n, err := strconv.Atoi(k[0])
	if err != nil {
		panic(err)
	}
	return n
}

// hammer commits one chunk after the other in random open segments until none is left or ctx ends.
func hammer(ctx context.Context, t *testing.T, run *Run, conn *pgx.Conn, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	for ctx.Err() == nil {
		list, err := run.List(ctx, backfill.PassWalk)
		if err != nil {
			if ctx.Err() == nil {
				t.Error(err)
			}
			return
		}
		list = slices.DeleteFunc(list, func(s backfill.SegmentState) bool { return s.Closed() })
		if len(list) == 0 {
			return
		}
		s := list[random.IntN(len(list))]
		after, seq := number(ledger.Watermark(s)), s.Seq
		for range 1 + random.IntN(5) { // some chunks from memory, as a worker does
			end := number(s.Range.Through)
			through := min(end, max(after, 0)+1+random.IntN(40))
			seq++
			c := believing(chunk(s.No, seq, after, through), s.Segment)
			err := inTransaction(ctx, conn, "public", run.Append(c))
			if run.Refused(err) {
				break
			}
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("seed %d: %v", seed, err)
				}
				return
			}
			if after = through; through == end {
				break
			}
		}
	}
}

// committed is what the ledger says was done: how often each key in (0, end] was.
func committed(t *testing.T, db *pgtest.DB, end int) []int {
	t.Helper()
	times := make([]int, end+1)
	for _, row := range pgtest.All[string](db, `SELECT COALESCE(after[1], '0') || ' ' || through[1] FROM pgbackfill.chunks WHERE fence IS NULL`) {
		var after, through int
		if _, err := fmt.Sscan(row, &after, &through); err != nil {
			t.Fatal(err)
		}
		for n := after + 1; n <= through; n++ {
			times[n]++
		}
	}
	return times
}

// Whatever splits and chunks do to each other, each key is done once and Finish can prove it.
// Made to fail by adding the children without the fence: the segments stayed open beside them
// and the run never came to an end.
func TestSplitsRacingWithChunks(t *testing.T) {
	t.Parallel()
	db := installed(t)
	store := open(t, db, Options{})
	const end = 4000
	run := create(t, store, planned("splits", 1000, 2000, end))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	var splits atomic.Int64
	for i := range 4 {
		conn := db.Conn()
		wg.Go(func() { hammer(ctx, t, run, conn, uint64(i)) })
	}
	for i := range 2 {
		other := open(t, db, Options{}).Attach(RunInfo{ID: run.ID(), Job: run.Job(), CreatedAt: run.created})
		random := rand.New(rand.NewPCG(uint64(i), 2))
		wg.Go(func() {
			for ctx.Err() == nil {
				list, err := other.List(ctx, backfill.PassWalk)
				if err != nil {
					t.Error(err)
					return
				}
				list = slices.DeleteFunc(list, func(s backfill.SegmentState) bool { return s.Closed() })
				if len(list) == 0 {
					return
				}
				s := list[random.IntN(len(list))]
				after, through := max(number(ledger.Watermark(s)), 0), number(s.Range.Through)
				done, err := other.Split(ctx, s, key(after+(through-after)/2))
				if err != nil {
					t.Error(err)
					return
				}
				if done {
					splits.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if splits.Load() == 0 {
		t.Fatal("no split succeeded: nothing was tested")
	}
	for n, times := range committed(t, db, end)[1:] {
		if times != 1 {
			t.Fatalf("key %d was done %d times", n+1, times)
		}
	}
	if err := ends(t, run); err != nil {
		t.Error(err)
	}
}

func TestSplitThatComesTooLateChangesNothing(t *testing.T) {
	t.Parallel()
	db := installed(t)
	run := create(t, open(t, db, Options{}), withNulls(planned("late", 100)))
	conn := db.Conn()
	fresh := segmentsOf(t, run, backfill.PassWalk)
	appendTo(t, conn, run, chunk(1, 1, -1, 50))
	at50 := segmentsOf(t, run, backfill.PassWalk)
	refuse := func(what string, s backfill.SegmentState, at backfill.Key) {
		t.Helper()
		if done, err := run.Split(t.Context(), s, at); done || err != nil {
			t.Errorf("%s: %t, %v", what, done, err)
		}
	}
	refuse("a segment that has moved on", fresh[1], key(70))
	refuse("at its watermark", at50[1], key(50))
	refuse("at its end", at50[1], key(100))
	refuse("the rows with a NULL", at50[2], key(70))
	// A chunk that is just being committed holds the number: now is not the time.
	asleep := sleepingTransaction(t, db, record(t, run, chunk(1, 2, 50, 60)))
	refuse("under a chunk in flight", at50[1], key(70))
	asleep.Close(t.Context())
	if n := pgtest.One[int](db, `SELECT count(*) FROM pgbackfill.segments`); n != 2 {
		t.Errorf("there are %d segments", n)
	}
	// The server notices a closed connection in its own time.
	pgtest.Eventually(t, 10*time.Second, func() error {
		if done, err := run.Split(t.Context(), at50[1], key(70)); err != nil || !done {
			return fmt.Errorf("split: %t, %w", done, err)
		}
		return nil
	})
	got := segmentsOf(t, run, backfill.PassWalk)
	want := map[int]backfill.KeyRange{1: {Through: key(100)}, 2: {}, 3: {After: key(50), Through: key(70)}, 4: {After: key(70), Through: key(100)}}
	for no, r := range want {
		if diff := cmp.Diff(r, got[no].Range); diff != "" {
			t.Errorf("segment %d: %s", no, diff)
		}
	}
	if got[1].Fence != "split" || got[3].Parent != 1 || got[3].EstimatedRows != 495 {
		t.Errorf("%+v, %+v", got[1], got[3])
	}
	totals := state(t, run.store, "late").Totals
	if totals.Segments != 3 || totals.Chunks != 1 || totals.PassExpected != 10+2*495 {
		t.Errorf("%+v", totals)
	}
}

func TestAdvanceHappensOnceAndOnlyFromACompletePass(t *testing.T) {
	t.Parallel()
	db := installed(t)
	run := create(t, open(t, db, Options{}), planned("passes", 100, 200))
	conn := db.Conn()
	tail := []backfill.Segment{{No: 3, Pass: backfill.PassTail, Range: backfill.KeyRange{After: key(200), Through: key(250)}}}
	appendTo(t, conn, run, chunk(1, 1, -1, 100), chunk(2, 1, 100, 170))
	_, err := run.Advance(t.Context(), backfill.PassWalk, backfill.PassTail, tail)
	wants(t, err, "segment 2 of the walk is committed through (170) only", "through (200)")
	appendTo(t, conn, run, chunk(2, 2, 170, 200))
	_, err = run.Advance(t.Context(), backfill.PassWalk, backfill.PassTail, []backfill.Segment{{No: 7}})
	wants(t, err, "is numbered 7: expected 0 or 3")

	var wg sync.WaitGroup
	var advanced atomic.Int64
	for range 4 {
		other := open(t, db, Options{}).Attach(RunInfo{ID: run.ID(), Job: run.Job(), CreatedAt: run.created})
		wg.Go(func() {
			ok, err := other.Advance(t.Context(), backfill.PassWalk, backfill.PassTail, tail)
			if err != nil {
				t.Error(err)
			}
			if ok {
				advanced.Add(1)
			}
		})
	}
	wg.Wait()
	if advanced.Load() != 1 {
		t.Errorf("%d processes advanced the run", advanced.Load())
	}
	list := segmentsOf(t, run, backfill.PassTail)
	if diff := cmp.Diff(map[int]backfill.SegmentState{3: {Segment: tail[0]}}, list); diff != "" {
		t.Error(diff)
	}
	if orders, err := run.Beat(t.Context(), backfill.Beat{}); err != nil || orders.Pass != backfill.PassTail {
		t.Errorf("%+v, %v", orders, err)
	}
}

func TestCutsAreWhereChunksEnd(t *testing.T) {
	t.Parallel()
	db := installed(t)
	run := create(t, open(t, db, Options{}), withNulls(planned("cuts", 100, 200, 300)))
	conn := db.Conn()
	appendTo(t, conn, run, chunk(1, 1, -1, 20), chunk(1, 2, 20, 40), chunk(1, 3, 40, 60), chunk(1, 4, 60, 80), chunk(1, 5, 80, 100),
		chunk(2, 1, 100, 120))
	if ok, err := run.Split(t.Context(), segmentsOf(t, run, backfill.PassWalk)[2], key(150)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	nulls := backfill.Chunk{Segment: 4, Seq: 1, RowsSeen: 5, RowsChanged: []int64{1}, Attempt: 1, Worker: "test"}
	appendTo(t, conn, run, nulls)
	got, err := run.Cuts(t.Context(), backfill.PassWalk, 20) // a chunk has 10 rows
	if err != nil {
		t.Fatal(err)
	}
	want := map[int][]backfill.Cut{
		1: {{Through: key(40), Rows: 20}, {Through: key(80), Rows: 20}, {Through: key(100), Rows: 10}},
		2: {{Through: key(120), Rows: 10}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// List, Mark and status must not read the ledger as a whole, however long it is. Asserted by the
// plans, since a time says nothing on a busy machine.
func TestALongLedgerIsNotRead(t *testing.T) {
	t.Parallel()
	db := installed(t)
	store := open(t, db, Options{})
	run := create(t, store, planned("long", 100_000, 200_000))
	db.Exec(`INSERT INTO pgbackfill.chunks (run_id, segment, seq, after, through, follows, rows_seen, rows_changed, unmatched, multiple,
		total_seen, total_changed, total_unmatched, total_multiple, total_duration, started_at, duration, attempt, worker)
		SELECT 1, 1, n, CASE WHEN n > 1 THEN ARRAY[(n-1)::text] END, ARRAY[n::text], true, 1, '{1}', 0, 0, n, n, 0, 0, n * interval '1ms', now(), '1ms', 1, 'test'
		FROM generate_series(1, 100000) n`)
	for _, statistics := range []string{"without statistics", "with statistics"} {
		if statistics == "with statistics" {
			db.Exec(`ANALYZE pgbackfill.chunks`)
		}
		for what, q := range map[string]struct {
			sql  string
			args []any
		}{
			"list":   {listSegments, []any{"1", "1", "me"}},
			"mark":   {readMark, []any{"1", "1"}},
			"status": {readRuns, nil},
			"find":   {readUnfinished, []any{"long"}},
			"open":   {openSegments, []any{"1", nil}},
			"fence":  {fenceOpen, []any{"1", "cancelled", "me"}},
		} {
			rows, err := db.Pool().Query(t.Context(), "EXPLAIN "+q.sql, append([]any{pgx.QueryExecModeExec}, q.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			plan := strings.Join(lines, "\n")
			if strings.Contains(plan, "Seq Scan on chunks") || strings.Contains(plan, "Bitmap Heap Scan on chunks") || !strings.Contains(plan, "chunks_pkey") {
				t.Errorf("%s, %s:\n%s", what, statistics, plan)
			}
		}
	}
	if got := segmentsOf(t, run, backfill.PassWalk)[1]; !got.Done || got.RowsSeen != 100_000 {
		t.Errorf("%+v", got)
	}
	if info := state(t, store, "long"); info.Totals.Chunks != 100_000 || info.Totals.Busy != 100*time.Second {
		t.Errorf("%+v", info.Totals)
	}
	// Only finishing reads it, and finds it whole up to the segment that has nothing.
	wants(t, ends(t, run), "segment 2 of the walk", "is committed through (100000)", "expected through (200000)")
}
