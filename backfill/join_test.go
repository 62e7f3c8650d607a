package backfill_test

import (
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// What the join met not at all, or more than once, is counted in the summary and in the status: once, however often the rows
// are gone over.
//
// Made to fail: without the totals in a segment's mark the summary says 0 and 0; with the sweep's counted too the status says
// twice as many.
func TestUnmatchedRowsAreCountedOnce(t *testing.T) {
	t.Parallel()
	db := installed(t, `CREATE TABLE numbers (id int PRIMARY KEY, n int); INSERT INTO numbers SELECT generate_series(1, 50);
		CREATE TABLE source (id int, n int); INSERT INTO source SELECT i, 1 FROM generate_series(1, 47) AS i; INSERT INTO source VALUES (5, 1), (6, 1)`)
	job := sets("numbers", map[string]string{"n": "s.n"})
	job.UpdateStep().From, job.UpdateStep().Join = &backfill.Expr{SQL: "source s"}, &backfill.Expr{SQL: "s.id = t.id"}
	w := do(t, db, planned(t, db, job, every(20)))
	if w.summary.Unmatched != 3 || w.summary.Multiple != 2 {
		t.Errorf("the summary counts %d rows without a match and %d with several; expected 3 and 2", w.summary.Unmatched, w.summary.Multiple)
	}
	info, err := w.store.Newest(t.Context(), job.Name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Totals.Unmatched != 3 || info.Totals.Multiple != 2 || info.Summary.Unmatched != 3 || info.Summary.Multiple != 2 {
		t.Errorf("the status says %+v, the stored summary %+v; expected 3 and 2", info.Totals, info.Summary)
	}
}
