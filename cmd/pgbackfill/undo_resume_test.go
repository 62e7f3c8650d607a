package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// An undo that would assign every row that was walked says how many that are, against those that the run changed;
// accepted once, its plan is shown once, before the question, and it is gone on with by the command that its end and status name,
// without being accepted again.
//
// Made to fail: with agreedTo blind to the undo's own run the same command was refused; with takesBack false status named
// run; with agreed not heard by run the plan stood there twice; with
// Undoing unset in verified, verify spoke of wrong rows alone.
func TestUndoOfAWholeWalkGoesOn(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(peopleWithNames)
	job := write(t, dir, "job.yaml", namesShown+"where: t.shown IS NULL\nundo: {set: {shown: \"NULL\"}}\n")
	must(t, db.DSN(), dir, "run", "--yes", "--chunk-rows", "1000", job)
	says(t, mustExit(t, 2, db.DSN(), dir, "undo", "--yes", job), "run 1 changed 2 400 rows, and about 3 000 would be assigned", "--accept undo-whole-walk")
	p := start(t, db.DSN(), dir, "undo", "--yes", "--rate", "1000", "--accept", "undo-whole-walk", job)
	await(t, db, p, "SELECT count(*) > 2 FROM pgbackfill.chunks WHERE run_id = 2")
	p.signal(t, syscall.SIGINT)
	p.wait(t, time.Minute)
	out := strings.Join(strings.Fields(p.out.String()), " ")
	says(t, out, "next pgbackfill undo "+job)
	if plan := strings.Index(out, "shown-undo-1: update of"); plan < 0 || strings.Count(out, "shown-undo-1: update of") != 1 {
		t.Errorf("the plan of the undo is not shown, or more than once:\n%s", out)
	}
	says(t, strings.Join(strings.Fields(must(t, db.DSN(), dir, "status", "shown-undo-1")), " "), "go on with: pgbackfill undo "+job)
	_, out = pgbackfill(t, db.DSN(), dir, "verify", job)
	says(t, strings.Join(strings.Fields(out), " "), "run 1 is being taken back, which is not done")
	must(t, db.DSN(), dir, "undo", "--yes", job)
	if n := pgtest.One[int](db, "SELECT count(shown) FROM people"); n != 0 {
		t.Errorf("%d rows are not taken back", n)
	}
	says(t, must(t, db.DSN(), dir, "undo", "--yes", job), "run 1 was taken back, ", "Nothing to do")
}
