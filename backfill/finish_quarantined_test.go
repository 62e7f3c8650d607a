package backfill_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// A job's finish waits for the rows that are quarantined, for it may drop what they still need: the run is incomplete, says how to
// go on, and does finish once when they are done, or when somebody accepts to leave them out.
//
// Made to fail: without [engine.mayFinish] the column is gone and the row never done; with the acceptance not looked at, or not offered, the second
// case has no end.
func TestFinishWaitsForQuarantinedRows(t *testing.T) {
	t.Parallel()
	for name, accepted := range map[string]bool{"mended": false, "accepted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, numbered(100), "ALTER TABLE numbers ADD d text NOT NULL DEFAULT '7'; UPDATE numbers SET d = 'seven' WHERE id = 42")
			job := sets("numbers", map[string]string{"n": "t.d::int"})
			job.Finish = scriptOf(false, "ALTER TABLE numbers DROP COLUMN d")
			plan := plans(t, db, job)
			if !slices.ContainsFunc(plan.Findings, func(f backfill.Finding) bool { return f.ID == "finish-quarantined" }) {
				t.Error("plan does not say that finish waits")
			}
			w := join(t, db, plan, part{})
			if _, err := w.wait(); !errors.Is(err, backfill.ErrIncomplete) || !strings.Contains(err.Error(), "1 row quarantined") || !strings.Contains(err.Error(), "retry-quarantined") {
				t.Fatalf("the run ended with %v", err)
			}
			again := plans(t, db, job)
			if accepted {
				again.Accept([]string{"finish-quarantined"}, "ann")
			} else {
				db.Exec("UPDATE numbers SET d = '7'")
				if did, err := retry(t, db, w, again, part{}); err != nil || did.Done != 1 {
					t.Fatalf("the retry did %+v: %v", did, err)
				}
			}
			join(t, db, again, part{}).finished()
			want := map[bool]int{false: 100, true: 99}[accepted]
			if done := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n = 7"); done != want {
				t.Errorf("%d rows are done, expected %d", done, want)
			}
			if there := pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'numbers'::regclass AND attname = 'd')"); there {
				t.Error("finish was not done")
			}
		})
	}
}
