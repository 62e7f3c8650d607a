package backfill_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
)

// A run in physical order knows rows again by a key that the job does not mention, and tells the rows of a page apart by it: it goes on only
// while that key is what it was. A key that came later is no matter, nor is the index that sees to it.
//
// Made to fail: without the columns of the identity among those that are used, a type may change; without "rows known by" the index may
// be dropped; with what would be chosen now looked at, a keyless table that is given a key cannot be gone on with.
func TestKeyOfAHeapWalkMayNotChange(t *testing.T) {
	t.Parallel()
	db := installed(t, filled(3000), strings.ReplaceAll(keyless(3000), " w ", " l "))
	begun := func(name string) checkpoint.RunInfo {
		t.Helper()
		job := sets(name, map[string]string{"n": "t.x * 2"})
		w := join(t, db, byHeap(t, db, job), part{most: 2})
		_, _ = w.wait()
		info, err := w.store.Find(t.Context(), job.Name)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	keyed, keyless := begun("w"), begun("l")
	if keyed.Walk.Heap.Stripes == nil || keyless.Walk.Heap.Stripes != nil {
		t.Fatalf("walks: %+v, %+v", keyed.Walk.Heap, keyless.Walk.Heap)
	}
	for _, c := range []struct {
		info      checkpoint.RunInfo
		sql, want string
	}{
		{keyed, "SELECT", ""},
		{keyed, "ALTER TABLE w ADD CONSTRAINT w_id UNIQUE (id); ALTER TABLE w DROP CONSTRAINT w_pkey", ""},
		{keyed, "ALTER TABLE w DROP CONSTRAINT w_id", "table: rows known by was (id), unique and is (id), of which there may be several"},
		{keyed, "ALTER TABLE w ADD PRIMARY KEY (id); ALTER TABLE w ALTER id TYPE bigint", "table: column id was number 1: integer NOT NULL and is number 1: bigint NOT NULL"},
		{keyed, "ALTER TABLE w ALTER id TYPE int; ALTER TABLE w RENAME id TO no", "table: column id was number 1: integer NOT NULL and is (none); table: rows known by was (id), unique and is (id), of which there may be several"},
		{keyless, "ALTER TABLE l ADD PRIMARY KEY (id)", ""},
	} {
		db.Exec(c.sql)
		job := sets(strings.TrimPrefix(c.info.Job, "test-"), map[string]string{"n": "t.x * 2"})
		job.Walk = backfill.WalkHeap
		plan, err := c.info.Planner().Plan(t.Context(), db.Conn(), job, testPace())
		if err != nil {
			t.Fatalf("%s: %v", c.sql, err)
		}
		var got []string
		for _, d := range checkpoint.Compare(c.info, plan, "dev") {
			got = append(got, fmt.Sprint(d))
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("after %s: %q, expected %q", c.sql, got, c.want)
		}
	}
}
