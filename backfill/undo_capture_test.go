package backfill_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/lineprogram"
)

// An undo that is stopped, whose connections are cut, and that two processes do at once, takes each row back once.
// Made to fail: with AppendUndo that records without "follows" and a seq of its own, rows were put back twice.
func TestUndoByCaptureIsResumable(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(600))
	plan := captured(t, db, counts("numbers"), 20)
	w := keeping(t, db, plan, part{})
	o := takingBack(t, db, w, plan)
	o.MaxChunks = 5
	mark, err := backfill.TakeBack(t.Context(), o)
	if !errors.Is(err, backfill.ErrInterrupted) || mark.Restored != 100 {
		t.Fatalf("%+v, %v; want it interrupted after 100 rows", mark, err)
	}
	if err := w.run.FinishUndo(t.Context(), ""); err == nil {
		t.Error("an undo that is not done was ended")
	}
	o.MaxChunks = 0
	var cut atomic.Int64
	o.Observer = func(e backfill.Event) {
		if _, ok := e.(backfill.ChunkCommitted); ok && cut.Add(1)%4 == 0 {
			db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgbackfill test-numbers undo%' AND datname = current_database()")
		}
	}
	errs := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := backfill.TakeBack(t.Context(), o)
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if cut.Load() < 10 {
		t.Errorf("only %d chunks were seen: nothing was cut", cut.Load())
	}
	if err := w.run.FinishUndo(t.Context(), ""); err != nil {
		t.Error(err)
	}
	mark, err = w.run.UndoMark(t.Context())
	if sum := pgtest.One[int](db, "SELECT sum(restored)::int FROM pgbackfill.undo_chunks"); sum != 600 {
		t.Errorf("%d rows were put back by all chunks together, want each of the 600 once", sum)
	}
	if n := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n <> 0"); n != 0 || mark.Restored != 600 || mark.Missed != 0 || err != nil {
		t.Errorf("%d rows are not as they were; %+v, %v", n, mark, err)
	}
}

// Two that begin to take a run back at the same instant take it back together, each row once, and both end well.
//
// Made to fail: with insertUndo that takes no second beginning, one of the two fails.
func TestTwoUndosBeginAtOnce(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(300))
	plan := captured(t, db, counts("numbers"), 10)
	w := keeping(t, db, plan, part{})
	o := takingBack(t, db, w, plan) // with this the run is closed, and begun to be taken back by somebody else as well
	db.Exec("DELETE FROM pgbackfill.undos")
	start, errs := make(chan struct{}), make(chan error, 3)
	for range 3 {
		go func() {
			<-start
			err := w.run.BeginUndo(t.Context(), "capture")
			if err == nil {
				_, err = backfill.TakeBack(t.Context(), o)
			}
			errs <- err
		}()
	}
	close(start)
	for range 3 {
		if err := <-errs; err != nil && !strings.Contains(err.Error(), "it is undone") { // who comes late
			t.Error(err)
		}
	}
	if got := pgtest.One[string](db, "SELECT format('%s beginning, %s put back, %s not as it was', (SELECT count(*) FROM pgbackfill.undos), (SELECT sum(restored) FROM pgbackfill.undo_chunks), (SELECT count(*) FROM numbers WHERE n <> 0))"); got != "1 beginning, 300 put back, 0 not as it was" {
		t.Error(got)
	}
}

// A row that a constraint does not let go back is left and listed, with the server's reason; those around it are
// put back. Made to fail: without the savepoint the undo stopped.
func TestUndoByCaptureLeavesWhatAConstraintHolds(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100), "CREATE TABLE copies (id bigint PRIMARY KEY); CREATE TABLE uses (id bigint REFERENCES copies)")
	job := counts("numbers")
	job.Steps = []backfill.Step{{Name: "copy", SQL: &backfill.Command{
		Expr: backfill.Expr{SQL: "INSERT INTO copies SELECT c.id FROM {{chunk}} AS c", Templates: []string{"chunk"}}, Kind: "insert", Target: backfill.TableName{Name: "copies"},
	}}}
	plan := captured(t, db, job, 30)
	w := keeping(t, db, plan, part{})
	db.Exec("INSERT INTO uses VALUES (42), (43), (77)")
	mark := takenBack(t, db, w, plan)
	if mark.Restored != 97 || mark.Missed != 3 {
		t.Errorf("%+v, want 97 restored and 3 left", mark)
	}
	left, err := w.run.Left(t.Context(), 10)
	if err != nil || len(left) != 3 || left[1].Key[0] != "43" || !strings.Contains(left[0].Why, "23503") {
		t.Errorf("left %+v, %v", left, err)
	}
}

// Of a row that was changed and then deleted, and that a constraint does not let back, it is not said that somebody has deleted it.
//
// Made to fail: without what writeDown looks up ("deleted since", by others).
func TestUndoByCaptureSaysWhatHoldsARow(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(50))
	job := counts("numbers")
	job.Steps = append(job.Steps, backfill.Step{Name: "delete", Delete: true})
	plan := captured(t, db, job, 30)
	w := keeping(t, db, plan, part{})
	db.Exec("ALTER TABLE numbers ADD CONSTRAINT sold CHECK (id <> 42) NOT VALID; INSERT INTO numbers VALUES (7, 7)")
	mark := takenBack(t, db, w, plan)
	var got []string
	left, err := w.run.Left(t.Context(), 10)
	for _, l := range left {
		got = append(got, l.Key[0]+" "+l.What+" "+l.Why)
	}
	slices.Sort(got)
	want := []string{
		"42 delete SQLSTATE 23514 (check_violation): new row for relation \"numbers\" violates check constraint \"sold\"",
		"42 update what the run did to it later is not taken back", "7 delete a row like it is there again", "7 update changed since",
	}
	if len(got) > 0 {
		got[0], _, _ = strings.Cut(got[0], "; detail")
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || mark.Missed != 4 || mark.Restored != 96 {
		t.Errorf("%+v, %v; left\n%s", mark, err, diff)
	}
	if others, constraint, err := w.run.LeftFor(t.Context()); others != 2 || constraint != 2 || err != nil {
		t.Errorf("left for others %d, for a constraint %d, %v; want 2 of each", others, constraint, err)
	}
}

// What depends on each other is taken back in the order opposite to that in which it was written, also where a part must
// be tried in halves: of a chain of rows all are deleted down to the one that is held, and no other.
//
// Made to fail: with the earlier half first only the last row was deleted.
func TestUndoByCaptureGoesBackwards(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(60), "CREATE TABLE nodes (id bigint PRIMARY KEY, parent bigint REFERENCES nodes); CREATE TABLE uses (id bigint REFERENCES nodes)")
	job := counts("numbers")
	job.Steps = []backfill.Step{{Name: "chain", SQL: &backfill.Command{
		Expr: backfill.Expr{SQL: "INSERT INTO nodes SELECT c.id, NULLIF(c.id - 1, 0) FROM {{chunk}} AS c ORDER BY c.id", Templates: []string{"chunk"}}, Kind: "insert", Target: backfill.TableName{Name: "nodes"},
	}}}
	plan := captured(t, db, job, 20)
	plan.Pace.Workers = 1
	w := keeping(t, db, plan, part{})
	db.Exec("INSERT INTO uses VALUES (43)")
	mark := takenBack(t, db, w, plan)
	if last := pgtest.One[int](db, "SELECT max(id) FROM nodes"); last != 43 || mark.Restored != 17 || mark.Missed != 43 {
		t.Errorf("nodes are left up to %d, want 43; %+v", last, mark)
	}
}

// A run that was to pause when nothing was left to be done, and is then taken back, is no paused undo.
//
// Made to fail: with BeginUndo that leaves what was desired as it was.
func TestUndoOfAPausedRunIsNotPaused(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100))
	plan := captured(t, db, counts("numbers"), 20)
	w := keeping(t, db, plan, part{})
	db.Exec("UPDATE pgbackfill.runs SET desired = 'paused'") // it came when the last chunk was done
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if mark, err := backfill.TakeBack(ctx, takingBack(t, db, w, plan)); err != nil || mark.Restored == 0 || mark.Restored != w.summary.RowsChanged {
		t.Errorf("%+v, %v", mark, err)
	}
}

// What a transform has written is taken back like any other change, and the rows that others have changed since are left.
//
// Made to fail: without the columns of transform.write among those that are kept.
func TestUndoByCaptureOfATransform(t *testing.T) {
	t.Parallel()
	db := installed(t, words(40))
	db.Exec("UPDATE words SET out = 'was' WHERE id % 3 = 0")
	was := image(db, "words")
	job := transforms(lineprogram.Command("refuses")...)
	job.Undo = &backfill.Undo{Capture: true}
	plan := inOneSegment(planFor(t, db, job, nil))
	w := keeping(t, db, plan, part{})
	if n := pgtest.One[int](db, "SELECT count(*) FROM words WHERE out = upper(v)"); n != 40 {
		t.Fatalf("%d rows are written", n)
	}
	db.Exec("UPDATE words SET out = 'theirs' WHERE id = 6")
	mark := takenBack(t, db, w, plan)
	db.Exec("UPDATE words SET out = 'was' WHERE id = 6 AND out = 'theirs'")
	if now := image(db, "words"); now != was || mark.Missed != 1 || mark.Restored != 39 {
		t.Errorf("%+v; the rows are\n%s\nand were\n%s", mark, now, was)
	}
}
