package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// undoing starts the undo of a finished run at so many rows a second, and waits until it is at work.
func undoing(t *testing.T, undo, rate string) (*pgtest.DB, string, *process) {
	t.Helper()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(peopleWithNames)
	job := write(t, dir, "job.yaml", namesShown+undo)
	must(t, db.DSN(), dir, "run", "--yes", "--chunk-rows", "1000", job)
	return db, dir, start(t, db.DSN(), dir, "undo", "--yes", "--rate", rate, job)
}

// await asks again until a query says true.
func await(t *testing.T, db *pgtest.DB, p *process, query string) {
	t.Helper()
	pgtest.Eventually(t, time.Minute, func() error {
		if p.ended() {
			t.Fatalf("the process ended:\n%s", p.out)
		}
		if !pgtest.One[bool](db, query) {
			return fmt.Errorf("not yet: %s", query)
		}
		return nil
	})
}

// An undo from what was kept is seen and steered like a run: its lines and its status say how far it is, never more
// than all; a pause holds it, a rate set live bounds it, and it is not cancelled.
//
// Made to fail: with Steered finding unfinished runs only (nothing could be paused), with a beat that passes the run's own
// state on (it was never said to be paused), with UndoInfo without its mark (no progress), without the look at undos
// before the schema is removed (it was removed).
func TestUndoIsSeenAndSteered(t *testing.T) {
	t.Parallel()
	db, dir, p := undoing(t, "undo: capture\n", "200")
	await(t, db, p, "SELECT count(*) > 3 FROM pgbackfill.undo_chunks")
	pgtest.Eventually(t, time.Minute, func() error { // a rate is known after a beat or two
		s := status(t, db, dir, "shown")
		undo, _ := s["undo"].(map[string]any)
		if s["rows_per_second"].(float64) <= 0 || s["eta_seconds"] == nil || s["progress"].(float64) <= 0 || s["progress"].(float64) >= 1 || undo["restored"].(float64) <= 0 {
			return fmt.Errorf("its status is %v", s)
		}
		return nil
	})
	says(t, must(t, db.DSN(), dir, "status"), "undoing")
	says(t, must(t, db.DSN(), dir, "status", "shown"), "shown, run 1 on public.people: undoing", "of what it kept", "rows put back", "ETA", ": 1 worker, ")
	refuses(t, db, dir, 2, []string{"cancel", "shown", "--yes"}, "it is being taken back", "pgbackfill pause shown")
	refuses(t, db, dir, 2, []string{"schema", "remove", "--yes"}, "run 1 of shown (being taken back)")

	says(t, must(t, db.DSN(), dir, "pause", "shown", "--why", "a replica lags"), "the undo of run 1 pauses")
	await(t, db, p, "SELECT waiting LIKE 'paused by %: a replica lags' FROM pgbackfill.processes")
	n := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.undo_chunks")
	says(t, must(t, db.DSN(), dir, "status", "shown"), "undo paused", "a replica lags", "pgbackfill resume shown")
	says(t, must(t, db.DSN(), dir, "set", "shown", "rate=100000"), "the undo of run 1 is to work at rate=100000")
	await(t, db, p, "SELECT heartbeat_at > (SELECT max(at) FROM pgbackfill.events WHERE what = 'limits changed') FROM pgbackfill.processes")
	if later := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.undo_chunks"); later != n {
		t.Errorf("%d chunks were taken back while it was paused", later-n)
	}
	says(t, must(t, db.DSN(), dir, "resume", "shown"), "the undo of run 1 goes on")
	if code := p.wait(t, 20*time.Second); code != 0 { // at the first rate it would take 15 s
		t.Errorf("it ended with exit code %d:\n%s", code, p.out)
	}
	says(t, p.out.String(), "undo started", "shown  undoing", "of ~3 0", "shown  paused", "a replica lags", "run 1 is taken back: 3 000 rows as before")
	s := status(t, db, dir, "shown")
	if s["state"] != "undone" || s["eta_seconds"] != nil || s["waiting"] != nil {
		t.Errorf("at its end the status is %v", s)
	}
	refuses(t, db, dir, 2, []string{"pause", "shown"}, "run 1 is undone")
}

// An undo by assignments, which is a run of its own, is steered under the name of the job that it takes back too.
//
// Made to fail: with steered returning the name that was given; without undoesAnother it was cancelled.
func TestUndoBySetIsSteeredByItsJob(t *testing.T) {
	t.Parallel()
	db, dir, p := undoing(t, "undo: {set: {shown: \"NULL\"}}\n", "200")
	await(t, db, p, "SELECT count(*) > 3 FROM pgbackfill.chunks WHERE run_id = 2")
	says(t, must(t, db.DSN(), dir, "status", "shown"), "undoing", "being taken back by another run", "pgbackfill status shown-undo-1")
	says(t, must(t, db.DSN(), dir, "pause", "shown"), "shown-undo-1: run 2 pauses")
	await(t, db, p, "SELECT state = 'paused' FROM pgbackfill.runs WHERE id = 2")
	for _, job := range []string{"shown", "shown-undo-1"} {
		refuses(t, db, dir, 2, []string{"cancel", job, "--yes"}, "it takes run 1 of shown back", "pgbackfill pause shown-undo-1")
	}
	must(t, db.DSN(), dir, "set", "shown", "rate=100000")
	must(t, db.DSN(), dir, "resume", "shown")
	if code := p.wait(t, 20*time.Second); code != 0 || strings.Contains(must(t, db.DSN(), dir, "status"), "undoing") {
		t.Errorf("it ended with exit code %d:\n%s", code, p.out)
	}
}
