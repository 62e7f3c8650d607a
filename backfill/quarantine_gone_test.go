package backfill_test

import (
	"errors"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// A quarantined row that was deleted, has another key now, or is being deleted while it is tried again, is told of as gone and not as
// done; so are those of several rows of a key that are there no more.
//
// Made to fail: without [retrier.gone] all of them are done; without its second count, row 9 is; with that only where nothing was changed, two
// rows of the key 5 are.
func TestQuarantinedRowsThatAreGone(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(200), "ALTER TABLE numbers ADD d int NOT NULL DEFAULT 1; UPDATE numbers SET d = 0 WHERE id IN (7, 8, 9, 10)",
		"CREATE TABLE several (id int NOT NULL, n int NOT NULL DEFAULT 0, d int NOT NULL DEFAULT 1); CREATE INDEX ON several (id); INSERT INTO several SELECT i / 10 FROM generate_series(0, 99) AS i; UPDATE several SET d = 0 WHERE id IN (4, 5)")
	divides := func(table string, key ...string) (*worked, *backfill.Plan) {
		job := counts(table, key...)
		job.UpdateStep().Set[0].Value.SQL = "t.n + 1 / d"
		plan := planned(t, db, job, whole)
		plan.Pace.LockTimeout = 20 * time.Second // who deletes is waited for
		return do(t, db, plan), plan
	}
	w, plan := divides("numbers")
	db.Exec("UPDATE numbers SET d = 1; DELETE FROM numbers WHERE id = 7; UPDATE numbers SET id = 1008 WHERE id = 8")
	var told []string
	got, err := retryWhile(t, db, w, plan, "DELETE FROM numbers WHERE id = 9", func(e backfill.Event) {
		if e, ok := e.(backfill.RowsGone); ok {
			told = append(told, e.Row.Name())
		}
	})
	if err != nil || got.Done != 1 || got.Gone != 3 || got.Failed+got.Left != 0 {
		t.Errorf("it came to %+v, %v; expected 1 done and 3 gone", got, err)
	}
	if len(told) != 3 || told[0] != "(7)" || told[1] != "(8)" || told[2] != "(9)" {
		t.Errorf("told of as gone: %v", told)
	}
	if n := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n = CASE id WHEN 1008 THEN 0 ELSE 1 END"); n != 198 {
		t.Errorf("%d rows are as they should be, of 198", n)
	}
	info, err := w.store.Newest(t.Context(), plan.Job.Name)
	if err != nil || info.Totals.Gone != 3 || info.Totals.Quarantined != 0 {
		t.Errorf("the run has %+v, %v", info.Totals, err)
	}
	w, plan = divides("several", "id")
	db.Exec("UPDATE several SET d = 1; DELETE FROM several WHERE ctid IN (SELECT ctid FROM several WHERE id = 4 LIMIT 3)")
	got, err = retryWhile(t, db, w, plan, "DELETE FROM several WHERE ctid IN (SELECT ctid FROM several WHERE id = 5 LIMIT 2)", nil)
	if err != nil || got.Done != 15 || got.Gone != 5 {
		t.Errorf("of the rows of two keys: %+v, %v; expected 15 done and 5 gone", got, err)
	}
}

// retryWhile tries the quarantined rows again while a transaction has done something to them, which commits when it is waited for.
func retryWhile(t *testing.T, db *pgtest.DB, w *worked, plan *backfill.Plan, sql string, observer backfill.Observer) (backfill.Retried, error) {
	t.Helper()
	tx := begun(t, db, sql)
	var got backfill.Retried
	done := make(chan error, 1)
	go func() {
		var err error
		got, err = retry(t, db, w, plan, part{observer: observer})
		done <- err
	}()
	pgtest.Eventually(t, ended/2, func() error {
		if !pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgbackfill %' AND wait_event_type = 'Lock')") {
			return errors.New("nobody waits for who deletes")
		}
		return nil
	})
	finish(t, tx, "COMMIT")
	err := <-done
	return got, err
}
