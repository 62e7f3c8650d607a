package backfill_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// A walk in physical order sets the rows aside that cannot be changed, by their key: the others of their pages are done, in stripes, as whole pages
// and in sweeps, and in partitions. What an application does to such a row meanwhile does not keep the run from its end, nor does a row that
// it writes and that cannot be changed. When the cause is mended the retry does them.
//
// Made to fail: with the look evaluating rows that were set aside, "cast" fails when row 7 is written; with its error taken for the run's, "cast" fails at
// row 9; without the savepoint no other row of the page is done; without constraints at once, "deferred" sets nothing aside and stops.
func TestHeapWalkSetsRowsAside(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		setup, set, mend string
		failing          []int
	}{
		"cast":  {"UPDATE w SET s = 'x' WHERE id IN (7, 8, 2000)", "t.s::int * 2", "UPDATE w SET s = id WHERE s = 'x'", []int{7, 8, 9, 2000}},
		"check": {"ALTER TABLE w ADD CHECK (n NOT IN (14, 16, 18, 4000))", "t.x * 2", "ALTER TABLE w DROP CONSTRAINT w_n_check", []int{7, 8, 9, 2000}},
		"deferred": {
			"CREATE TABLE o (v int PRIMARY KEY); INSERT INTO o SELECT i * 2 FROM generate_series(0, 3000) AS i WHERE i NOT IN (7, 8, 9, 2000); ALTER TABLE w ADD FOREIGN KEY (n) REFERENCES o DEFERRABLE INITIALLY DEFERRED",
			"t.x * 2", "INSERT INTO o VALUES (14), (16), (18), (4000)",
			[]int{7, 8, 9, 2000},
		},
		"partitions": {
			`ALTER TABLE w RENAME TO old; ALTER INDEX w_pkey RENAME TO old_pkey; CREATE TABLE w (LIKE old, PRIMARY KEY (id)) PARTITION BY HASH (id); CREATE TABLE w_a PARTITION OF w FOR VALUES WITH (MODULUS 2, REMAINDER 0);
			CREATE TABLE w_b PARTITION OF w FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO w SELECT * FROM old; ANALYZE w; UPDATE w SET s = 'x' WHERE id IN (7, 8, 2000)`,
			"t.s::int * 2", "UPDATE w SET s = id WHERE s = 'x'",
			[]int{7, 8, 9, 2000},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, filled(3000), "ALTER TABLE w ADD s text; UPDATE w SET s = id", "VACUUM FULL w", c.setup)
			plan := striped(t, db, sets("w", map[string]string{"n": c.set}))
			plan.Pace.ChunkRows = 200
			w := join(t, db, plan, part{observer: atLook(func(nth int) {
				if nth == 1 {
					db.Exec("UPDATE w SET pad = 'y' WHERE id IN (7, 10)")
					db.Exec("UPDATE w SET n = 0, s = CASE $1 WHEN 'x' THEN 'x' ELSE s END WHERE id = 9", map[bool]string{true: "x"}[strings.Contains(c.set, "t.s")])
				}
			})})
			s := w.finished()
			if s.Quarantined != int64(len(c.failing)) {
				t.Errorf("%d rows are set aside", s.Quarantined)
			}
			var want []string
			for _, id := range c.failing {
				want = append(want, fmt.Sprint(id))
			}
			if got := pgtest.All[string](db, "SELECT array_to_string(key, ',') FROM pgbackfill.quarantine ORDER BY key[1]::int"); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("aside are %v, not %v", got, want)
			}
			if left := pgtest.One[string](db, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM w WHERE n IS DISTINCT FROM x * 2"); left != strings.Join(want, " ") {
				t.Errorf("rows %s do not hold their new value", left)
			}
			db.Exec(c.mend)
			retried, err := retry(t, db, w, plan, part{})
			if err != nil || retried.Done != int64(len(c.failing)) || retried.Left != 0 {
				t.Errorf("the retry came to %+v, %v", retried, err)
			}
			doubled(t, db, 3000)
		})
	}
}

// Without a key that stays, or with max_quarantined: 0, the first such row stops the run, which goes on when it is mended.
//
// Made to fail: with rows set aside though none may be, the run is finished.
func TestHeapWalkStopsAtARow(t *testing.T) {
	t.Parallel()
	for name, keyed := range map[string]bool{"no key": false, "none aside": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, filled(3000), "ALTER TABLE w ADD CHECK (n <> 4000)")
			if !keyed {
				db.Exec("ALTER TABLE w DROP CONSTRAINT w_pkey")
			}
			plan := byHeap(t, db, doubling())
			if keyed {
				plan.Pace.MaxQuarantined = backfill.Off
			}
			_, err := join(t, db, plan, part{}).wait()
			if err == nil || !strings.Contains(err.Error(), "a row cannot be changed") || strings.Contains(err.Error(), "unique key") == keyed {
				t.Errorf("the run ended with %v", err)
			}
			db.Exec("ALTER TABLE w DROP CONSTRAINT w_n_check")
			join(t, db, plan, part{}).finished()
			doubled(t, db, 3000)
		})
	}
}

// While the rows of a page are changed one by one, all that were changed so far are locked: who waits for them is given way to, and the
// row at hand is not taken for one that cannot be changed.
//
// Made to fail: without yielded in setAside nothing gives way; without asked row 8 is set aside, for no statement is bounded, and it is
// the last one of its page; with the chunk that was to be set aside forgotten, its rows fail once more after it has given way.
func TestRowsOneByOneGiveWay(t *testing.T) {
	t.Parallel()
	db := installed(t, filled(8), "ALTER TABLE w ADD CHECK (n <> 14)", `CREATE SEQUENCE tries; CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF nextval('tries') = 1 THEN PERFORM pg_sleep(60); END IF; RETURN new; END $$; -- which no statement comes to before row 7 is left out
		CREATE TRIGGER slow BEFORE UPDATE ON w FOR EACH ROW WHEN (new.id = 8) EXECUTE FUNCTION slow()`)
	plan := byHeap(t, db, doubling())
	plan.Pace.Workers, plan.Pace.StatementTimeout = 1, backfill.Off
	observer, gave := yieldsTo()
	blocked := make(chan backfill.Blocked)
	w := join(t, db, plan, part{observer: observer, blocked: blocked})
	pgtest.Eventually(t, ended/2, func() error {
		if !pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')") {
			return errors.New("row 8 is not at work")
		}
		return nil
	})
	insist(t, "pgbackfill test-w 1", blocked, gave)
	if s := w.finished(); s.Quarantined != 1 || s.Yields == 0 {
		t.Errorf("%d rows are set aside, %d chunks gave way", s.Quarantined, s.Yields)
	}
	if left := pgtest.All[int](db, "SELECT id FROM w WHERE n IS DISTINCT FROM x * 2"); len(left) != 1 || left[0] != 7 {
		t.Errorf("rows %v do not hold their new value", left)
	}
	gaveWay := false
	for _, e := range w.seen() {
		if _, yields := e.(backfill.Yielded); yields {
			gaveWay = true
		}
		if failed, ok := e.(backfill.ChunkFailed); ok && gaveWay {
			t.Errorf("what was known to fail is tried again: %v", failed.Err)
		}
	}
}
