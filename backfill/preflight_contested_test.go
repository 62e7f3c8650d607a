package backfill_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// A job is not run while an unfinished run of another one writes the same column of the same table, of a partition of it, or of what it is a
// partition of: that is an error that names both, until it is accepted.
//
// Made to fail: without the jobs compared, a resumed run is in its own way; without the ancestors, the partition's job is not.
func TestColumnOfAnotherRun(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	plain := sets("numbers", map[string]string{"n": "t.n + 1"})
	contested := func(job backfill.Job) *backfill.Finding {
		t.Helper()
		plan := planFor(t, db, job, nil)
		at := slices.IndexFunc(plan.Findings, func(f backfill.Finding) bool { return f.ID == "column-contested" })
		if at < 0 {
			return nil
		}
		return &plan.Findings[at]
	}
	db.Exec(numbered(10) + `; ALTER TABLE numbers ADD m int; ANALYZE numbers; CREATE TABLE parts (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
		CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (9); INSERT INTO parts VALUES (1, 1); ANALYZE parts`)
	if f := contested(plain); f != nil {
		t.Errorf("without the engine's schema: %+v", f)
	}
	prepared(t, db)
	store := desk(t, db)
	parts := sets("parts", map[string]string{"n": "0"})
	for _, job := range []backfill.Job{plain, parts} {
		if _, _, err := store.Create(t.Context(), planFor(t, db, job, nil)); err != nil {
			t.Fatal(err)
		}
	}
	other := func(table, column string) backfill.Job {
		job := sets(table, map[string]string{column: "7"})
		job.Name = "other"
		return job
	}
	f := contested(other("numbers", "n"))
	if f == nil || f.Severity != backfill.SeverityError || !strings.Contains(f.Evidence, "run 1 of job test-numbers is planned and writes n") || !strings.Contains(f.Remedy, "pgbackfill cancel test-numbers") {
		t.Errorf("the same column: %+v", f)
	}
	if contested(other("parts_1", "n")) == nil {
		t.Error("a partition's column is not found to be the parent's")
	}
	db.Exec("CREATE TABLE loose (id int PRIMARY KEY, n int); ANALYZE loose")
	for what, job := range map[string]backfill.Job{"another column": other("numbers", "m"), "another table": other("loose", "n"), "its own run": plain} {
		if f := contested(job); f != nil {
			t.Errorf("%s: %+v", what, f)
		}
	}
	db.Exec("UPDATE pgbackfill.runs SET state = 'cancelled'")
	if f := contested(other("numbers", "n")); f != nil {
		t.Errorf("a run that is over: %+v", f)
	}
}
