package checkpoint

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

func TestMarkAndTotalsFollowTheChunks(t *testing.T) {
	t.Parallel()
	db := installed(t)
	conn := db.Conn()
	run := create(t, open(t, db, Options{}), withNulls(planned("marks", 100)))
	mark := func(segment int) backfill.Mark {
		m, err := run.Mark(t.Context(), conn, segment)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	steps := []struct {
		c    backfill.Chunk
		want backfill.Mark
	}{
		{chunk(1, 1, -1, 50), backfill.Mark{Seq: 1, Watermark: key(50), RowsSeen: 10, RowsChanged: 8, Unmatched: 2, Multiple: 1}},
		{chunk(1, 2, 50, 60), backfill.Mark{Seq: 2, Watermark: key(60), RowsSeen: 20, RowsChanged: 16, Unmatched: 4, Multiple: 2}},
		{chunk(1, 3, 60, 100), backfill.Mark{Seq: 3, Watermark: key(100), RowsSeen: 30, RowsChanged: 24, Unmatched: 6, Multiple: 3, Done: true}},
	}
	if diff := cmp.Diff(backfill.Mark{}, mark(1)); diff != "" {
		t.Errorf("before the first chunk: %s", diff)
	}
	for _, s := range steps {
		appendTo(t, conn, run, s.c)
		if diff := cmp.Diff(s.want, mark(1)); diff != "" {
			t.Errorf("after chunk %d: %s", s.c.Seq, diff)
		}
	}
	nulls := chunk(2, 1, -1, 0)
	nulls.Range = backfill.KeyRange{}
	appendTo(t, conn, run, nulls)
	if diff := cmp.Diff(backfill.Mark{Seq: 1, RowsSeen: 10, RowsChanged: 8, Unmatched: 2, Multiple: 1, Done: true}, mark(2)); diff != "" {
		t.Errorf("the rows with a NULL: %s", diff)
	}
	if _, err := run.Mark(t.Context(), conn, 9); err == nil {
		t.Error("a segment that is not there has a mark")
	}
	totals := state(t, run.store, "marks").Totals
	want := Totals{
		Segments: 2, SegmentsDone: 2, Chunks: 4, RowsSeen: 40, RowsChanged: 32, Unmatched: 8, Multiple: 4,
		Busy: 400 * time.Millisecond, PassSeen: 40, PassExpected: 40,
	}
	if diff := cmp.Diff(want, totals); diff != "" {
		t.Error(diff)
	}
}

// ⚑ Acknowledged commits can vanish (asynchronous commit and a crash), and memory is then ahead of
// the ledger; the insert itself must prove that a chunk follows. Made to fail by inserting true
// for "follows": a gap, an overlap, a chunk after a fence and one after the end all went in.
func TestChunkThatDoesNotFollowIsRefused(t *testing.T) {
	t.Parallel()
	db := installed(t)
	run := create(t, open(t, db, Options{}), withNulls(planned("follow", 100, 200, 300)))
	conn := db.Conn()
	appendTo(t, conn, run, chunk(1, 1, -1, 50), chunk(2, 1, 100, 150))
	if ok, err := run.Split(t.Context(), segmentsOf(t, run, backfill.PassWalk)[2], key(175)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	nulls := backfill.Chunk{Segment: 4, Seq: 1, RowsChanged: []int64{1}, Attempt: 1, Worker: "test"}
	appendTo(t, conn, run, nulls, chunk(3, 1, 200, 300))
	again := nulls
	again.Seq = 2
	before := pgtest.One[int](db, `SELECT count(*) FROM pgbackfill.chunks`)
	for what, c := range map[string]backfill.Chunk{
		"a gap":                         chunk(1, 2, 60, 70),
		"an overlap":                    chunk(1, 2, 40, 70),
		"a repetition":                  chunk(1, 1, -1, 50),
		"a repetition with another end": chunk(1, 1, -1, 55),
		"a missing predecessor":         chunk(1, 3, 50, 70),
		"a first chunk of a second one": chunk(1, 2, -1, 70),
		"a wrong start of a segment":    chunk(5, 1, 151, 160),
		"an open start of a segment":    chunk(5, 1, -1, 160),
		"what is after a fence":         chunk(2, 3, 150, 160),
		"the number of a fence":         chunk(2, 2, 150, 160),
		"what is after the end":         chunk(3, 2, 300, 310),
		"the rows with a NULL again":    again,
		"a segment that is not there":   chunk(9, 1, -1, 10),
		"a number below the first":      chunk(1, 0, -1, 10),
		"a key that is only alike":      func() backfill.Chunk { c := chunk(1, 2, 50, 70); c.Range.After = backfill.Key{"050"}; return c }(),
		"a key of two columns":          func() backfill.Chunk { c := chunk(1, 2, 50, 70); c.Range.After = backfill.Key{"50", ""}; return c }(),
	} {
		err := inTransaction(t.Context(), conn, "public", record(t, run, c))
		if err == nil {
			t.Errorf("%s was not refused", what)
		} else if !run.Refused(err) {
			t.Errorf("%s: %v is not recognised as the ledger's refusal", what, err)
		}
	}
	if after := pgtest.One[int](db, `SELECT count(*) FROM pgbackfill.chunks`); after != before {
		t.Errorf("%d rows went in", after-before)
	}
	appendTo(t, conn, run, chunk(1, 2, 50, 100)) // and what does follow goes in
}

// ⚑ A user's step can raise the same violations. Made to fail by leaving the schema out of Refused.
func TestUsersOwnViolationsAreNotTheLedgers(t *testing.T) {
	t.Parallel()
	db := installed(t)
	run := create(t, open(t, db, Options{}), planned("others", 100))
	db.Exec(`CREATE TABLE public.chunks (n int CONSTRAINT chunks_pkey PRIMARY KEY, follows boolean CONSTRAINT chunk_follows_its_predecessor CHECK (follows));
		INSERT INTO public.chunks VALUES (1, true)`)
	conn := db.Conn()
	for _, sql := range []string{`INSERT INTO public.chunks VALUES (1, true)`, `INSERT INTO public.chunks VALUES (2, false)`} {
		if _, err := conn.Exec(t.Context(), sql); err == nil || run.Refused(err) {
			t.Errorf("%s: Refused(%v) is %t", sql, err, run.Refused(err))
		}
	}
	// Another constraint of the ledger is not a refusal either: it is a bug.
	if _, err := conn.Exec(t.Context(), `UPDATE pgbackfill.chunks SET fence = 'x'; INSERT INTO pgbackfill.chunks
		(run_id, segment, seq, fence, follows, rows_seen, rows_changed, unmatched, multiple, total_seen, total_changed, total_unmatched,
		 total_multiple, total_duration, started_at, duration, attempt, worker)
		VALUES (1, 1, 1, 'x', true, 0, '{}', 0, 0, 0, 0, 0, 0, '0', now(), '0', 1, '')`); err == nil || run.Refused(err) {
		t.Errorf("Refused(%v) is %t", err, run.Refused(err))
	}
}

// A job's search_path may put operators and types of the user's before the built-in ones. Made to
// fail by writing = for OPERATOR(pg_catalog.=) between the keys: every chunk "followed".
func TestLedgerIsNotMovedByTheSearchPath(t *testing.T) {
	t.Parallel()
	db := installed(t)
	run := create(t, open(t, db, Options{}), planned("paths", 100))
	db.Exec(`CREATE SCHEMA evil;
		CREATE FUNCTION evil.yes(text[], text[]) RETURNS boolean LANGUAGE sql AS 'SELECT true';
		CREATE OPERATOR evil.= (LEFTARG = text[], RIGHTARG = text[], FUNCTION = evil.yes);
		CREATE FUNCTION evil.less(int, int) RETURNS int LANGUAGE sql AS 'SELECT 1';
		CREATE OPERATOR evil.- (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.less);
		CREATE FUNCTION evil.plus(bigint, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
		CREATE OPERATOR evil.+ (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.plus);
		CREATE DOMAIN evil.int4 AS bigint; CREATE DOMAIN evil.text AS varchar(1)`)
	conn := db.Conn()
	const path = "evil, pg_catalog"
	for _, c := range []backfill.Chunk{chunk(1, 1, -1, 50), chunk(1, 2, 50, 60)} {
		if err := inTransaction(t.Context(), conn, path, record(t, run, c)); err != nil {
			t.Fatal(err)
		}
	}
	if err := inTransaction(t.Context(), conn, path, record(t, run, chunk(1, 3, 70, 80))); !run.Refused(err) {
		t.Errorf("a gap: %v", err)
	}
	if _, err := conn.Exec(t.Context(), `SET search_path = `+path); err != nil {
		t.Fatal(err)
	}
	mark, err := run.Mark(t.Context(), conn, 1)
	if diff := cmp.Diff(backfill.Mark{Seq: 2, Watermark: key(60), RowsSeen: 20, RowsChanged: 16, Unmatched: 4, Multiple: 2}, mark); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestKeysComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	db := installed(t)
	odd := backfill.Key{`a"b\c,{}`, "", "NULL", " Ünï ", "line\nbreak", "%s$1"}
	plan := planned("odd", 1)
	plan.Segments[0].Range.Through = odd
	run := create(t, open(t, db, Options{}), plan)
	conn := db.Conn()
	c := chunk(1, 1, -1, 1)
	c.Range.Through = odd
	appendTo(t, conn, run, c)
	got := segmentsOf(t, run, backfill.PassWalk)[1]
	if diff := cmp.Diff(odd, got.Range.Through); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(odd, got.Watermark); diff != "" || !got.Done {
		t.Error(got.Done, diff)
	}
}

func TestOfTwoThatDidTheSameChunkOneIsRefused(t *testing.T) {
	t.Parallel()
	db := installed(t)
	run := create(t, open(t, db, Options{}), planned("race", 1000))
	const workers, chunks = 4, 50
	var mu sync.Mutex
	won := map[int]int{}
	var wg sync.WaitGroup
	for range workers {
		conn := db.Conn()
		wg.Go(func() {
			for seq := 1; seq <= chunks; seq++ {
				after := (seq - 1) * 10
				if seq == 1 {
					after = -1
				}
				err := inTransaction(t.Context(), conn, "public", record(t, run, chunk(1, seq, after, seq*10)))
				if err != nil && !run.Refused(err) {
					t.Error(err)
					return
				}
				mu.Lock()
				if err == nil {
					won[seq]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for seq := 1; seq <= chunks; seq++ {
		if won[seq] != 1 {
			t.Errorf("chunk %d was committed %d times", seq, won[seq])
		}
	}
}

// A split that a failover took back, and another in its place: the part that a worker was given has the same number and the same
// start, and ends elsewhere. Its chunks do not pass, wherever in the segment.
//
// Made to fail: without the segment's end in the proof, the first chunk reaches over the end.
func TestChunkOfAnotherEnd(t *testing.T) {
	t.Parallel()
	db := installed(t)
	run := create(t, open(t, db, Options{}), withNulls(planned("ends", 100)))
	conn := db.Conn()
	appendTo(t, conn, run, chunk(1, 1, -1, 20))
	if ok, err := run.Split(t.Context(), segmentsOf(t, run, backfill.PassWalk)[1], key(50)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	refused := func(c backfill.Chunk, end backfill.Key) {
		t.Helper()
		c.SegmentThrough, c.SegmentPass = end, backfill.PassWalk
		if err := inTransaction(t.Context(), conn, "public", run.Append(c)); !run.Refused(err) {
			t.Errorf("chunk %s of segment %d, which is believed to end at %s: %v", c.Range, c.Segment, end, err)
		}
	}
	refused(chunk(3, 1, 20, 60), key(60))
	refused(chunk(3, 1, 20, 30), nil)
	appendTo(t, conn, run, chunk(3, 1, 20, 30))
	refused(chunk(3, 2, 30, 40), key(60))
	nulls := backfill.Chunk{Segment: 2, Seq: 1, RowsChanged: []int64{1}, Attempt: 1, Worker: "test"}
	refused(nulls, key(60))
	appendTo(t, conn, run, nulls, chunk(3, 2, 30, 50))
}

// A segment of a sweep that a failover took back, and a part of a split in its place, of the same number, start and end: whoever swept it
// has not done there what the walk does. The same with the pages of another leaf.
//
// Made to fail: without the segment's pass and leaf in the proof, both chunks go in.
func TestChunkOfAnotherPassOrLeaf(t *testing.T) {
	t.Parallel()
	db := installed(t)
	plan := planned("passes", 100)
	plan.Segments[0].Leaf = 16384
	run := create(t, open(t, db, Options{}), plan)
	conn := db.Conn()
	for name, believed := range map[string]backfill.Segment{
		"pass": {Pass: backfill.PassSweep, Leaf: 16384, Range: plan.Segments[0].Range},
		"leaf": {Pass: backfill.PassWalk, Leaf: 16385, Range: plan.Segments[0].Range},
	} {
		if err := inTransaction(t.Context(), conn, "public", run.Append(believing(chunk(1, 1, -1, 100), believed))); !run.Refused(err) {
			t.Errorf("a chunk of another %s: %v", name, err)
		}
	}
	appendTo(t, conn, run, chunk(1, 1, -1, 100))
}
