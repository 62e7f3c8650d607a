package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// indexJob builds an index before it updates.
func indexJob(statements ...string) backfill.Job {
	job := counts("numbers")
	job.Name, job.Prepare = "indexed", scriptOf(true, statements...)
	return job
}

// heldBack opens a transaction that a build of an index has to wait for; the function ends it.
func heldBack(t *testing.T, db *pgtest.DB) func() {
	t.Helper()
	tx, err := db.Conn().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "UPDATE numbers SET n = 0 WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	return func() { _ = tx.Rollback(context.Background()) }
}

// building waits until the build of an index waits for other transactions, and is its backend.
func building(t *testing.T, db *pgtest.DB) (pid int) {
	t.Helper()
	pgtest.Eventually(t, ended/2, func() error {
		list := pgtest.All[int](db, "SELECT pid FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%' AND datname = current_database()")
		if len(list) == 0 {
			return errors.New("no index is being built")
		}
		pid = list[0]
		return nil
	})
	return pid
}

// A build of an index that is interrupted leaves an invalid one, which IF NOT EXISTS is content with. It is dropped and
// built again: by the same process, when its backend was ended; and by the next one, when it was killed. What
// came before it in the script is not sent again.
//
// Made to fail: with ownIndex content with an invalid index, the run went on over it.
func TestInterruptedIndexIsBuiltAgain(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		for name, build := range map[string]string{
			"plain": "CREATE INDEX CONCURRENTLY by_n ON numbers (n, id)", "if not exists": "create index concurrently if not exists By_N on only public.numbers (n, id) -- again",
		} {
			t.Run(fmt.Sprintf("%s, killed %v", name, killed), func(t *testing.T) {
				t.Parallel()
				db := installed(t, numbered(95))
				job := indexJob("CREATE TABLE only_once (id int)", build, "VACUUM numbers")
				aborting, abort := context.WithCancel(t.Context())
				defer abort()
				release := heldBack(t, db)
				w := join(t, db, plans(t, db, job), part{abort: aborting})
				pid := building(t, db)
				if killed {
					abort()
				} else {
					db.Exec(fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid))
				}
				pgtest.Eventually(t, ended/2, func() error {
					if pgtest.One[int](db, fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND state = 'active'", pid)) > 0 {
						return errors.New("the build goes on")
					}
					return nil
				})
				if n := pgtest.One[int](db, "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('by_n') AND NOT indisvalid"); n != 1 && killed {
					t.Fatal("the interruption left no invalid index")
				}
				release()
				if killed {
					if _, err := w.wait(); !errors.Is(err, backfill.ErrInterrupted) {
						t.Fatalf("killed: %v", err)
					}
					w = join(t, db, plans(t, db, job), part{})
				}
				w.finished()
				onceEach(t, db, "numbers")
				if valid := pgtest.All[bool](db, "SELECT indisvalid FROM pg_index WHERE indrelid = 'numbers'::regclass AND NOT indisprimary"); len(valid) != 1 || !valid[0] {
					t.Errorf("the indexes that are there: %v, want one that is valid", valid)
				}
				if open := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.tasks WHERE done_at IS NULL"); open > 0 {
					t.Errorf("%d statements are not recorded as done", open)
				}
			})
		}
	}
}

// Of two processes one sends what cannot be in a transaction, and the other waits for it.
//
// Made to fail: without the lock nobody waited; without LetGo the index waited for the holder of the lock for ever.
func TestScriptAloneIsSentByOneProcess(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(95))
	plan := plans(t, db, indexJob("CREATE INDEX CONCURRENTLY by_n ON numbers (n)"))
	release := heldBack(t, db)
	ann := join(t, db, plan, part{})
	building(t, db)
	bob := join(t, db, plan, part{})
	until(bob, "waiting for the other", func(e backfill.Waiting) bool { return e.Reason == "prepare, statement 1: another process is at it" })
	release()
	ann.finished()
	bob.finished()
	onceEach(t, db, "numbers")
	if started := len(of[backfill.TaskStarted](ann)) + len(of[backfill.TaskStarted](bob)); started != 1 {
		t.Errorf("the statement was begun %d times", started)
	}
}

// A statement that fails stops the run, with what came before it done; mended, the same run goes on, over the invalid
// index that its failure left.
//
// Made to fail: with ownIndex content with an invalid index, it stayed invalid.
func TestIndexThatFailsIsBuiltWhenMended(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(95))
	job := indexJob("CREATE UNIQUE INDEX CONCURRENTLY by_n ON numbers ((n / 1000), (id / 2))")
	_, err := join(t, db, plans(t, db, job), part{}).wait()
	if err == nil || pgtest.One[int](db, "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('by_n') AND NOT indisvalid") != 1 {
		t.Fatalf("it did not fail and leave an invalid index: %v", err)
	}
	db.Exec("DELETE FROM numbers WHERE id % 2 = 1")
	join(t, db, plans(t, db, job), part{}).finished()
	onceEach(t, db, "numbers")
	if !pgtest.One[bool](db, "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('by_n')") {
		t.Error("the index is invalid")
	}
}

// A pause between two statements of a script is waited for with no transaction open, also not that of the lock; and Ctrl-C ends the waiting.
//
// Made to fail: with the lock held from the first statement to the last, its transaction is open for as long as the pause takes; with mayBegin
// told of the run's cancellation alone, the process cannot be stopped.
func TestPauseWithinAScript(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(95))
	job := indexJob("CREATE INDEX CONCURRENTLY by_n ON numbers (n)", "VACUUM numbers")
	store := desk(t, db)
	w := join(t, db, plans(t, db, job), part{observer: func(e backfill.Event) {
		if e, ok := e.(backfill.TaskDone); ok && e.Task.No == 1 {
			desire(t, store, job.Name, backfill.DesiredPaused)
			beats(t, db, 2)
		}
	}})
	until(w, "a pause", func(e backfill.StateChanged) bool { return e.To == backfill.StatePaused })
	pgtest.Eventually(t, ended/2, func() error {
		if open := pgtest.All[string](db, "SELECT left(query, 80) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgbackfill %' AND xact_start IS NOT NULL"); len(open) > 0 {
			return fmt.Errorf("the paused run has transactions open: %v", open)
		}
		return nil
	})
	w.stop()
	if _, err := w.wait(); !errors.Is(err, backfill.ErrInterrupted) {
		t.Fatalf("stopped: %v", err)
	}
	desire(t, store, job.Name, backfill.DesiredRunning)
	w = join(t, db, plans(t, db, job), part{})
	w.finished()
	onceEach(t, db, "numbers")
	if again := of[backfill.TaskStarted](w); len(again) != 1 || again[0].Task.No != 2 {
		t.Errorf("what was begun then is %v, want the second statement alone", again)
	}
}
