package verify_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// fewer is how likely no more than k of n are drawn, each with probability p: counted up draw by draw.
func fewer(n, k int64, p float64) float64 {
	odds := make([]float64, k+1)
	odds[0] = 1
	for range n {
		for i := k; i > 0; i-- {
			odds[i] = odds[i]*(1-p) + odds[i-1]*p
		}
		odds[0] *= 1 - p
	}
	var sum float64
	for _, o := range odds {
		sum += o
	}
	return sum
}

// A sample looks at about the part of the rows that was asked for, and says the greatest number of wrong rows that what it
// found leaves at least five chances in a hundred; it proves nothing of the rest. What is not about single rows is refused.
//
// Made to fail: with the bound of found instead of found+1 trials (low for high in atMost) it is one too great; without the
// sample in scope() all 4000 rows are read.
func TestASampleSaysWhatItMeans(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec("CREATE TABLE things (id int PRIMARY KEY, v text, c text); INSERT INTO things SELECT g, 'v' || g, 'V' || g FROM generate_series(1, 4000) AS g; ANALYZE things")
	j := job("things", updates("c", "upper(t.v)", "t.v"))
	sampling := func(part float64) func(*verify.Options) {
		return func(o *verify.Options) { o.Sample, o.Plan.Pace.ChunkRows = part, 500 }
	}
	v, err := verified(t, db.DSN(), j, sampling(0.05))
	if err != nil || !errors.Is(v.Err(), verify.ErrIncomplete) || v.Sample == nil || v.Sample.AtMost != 58 {
		t.Fatalf("of a clean table: %s, %+v, %v", v.Result, v.Sample, err)
	}
	if n := v.Rows(); n < 100 || n > 320 { // 200, with a standard deviation of 14
		t.Errorf("%d of 4000 rows are 5%%", n)
	}
	if want := "a sample of 5% was read: with 95% confidence at most 58 rows of all are wrong"; v.Incomplete[0] != want {
		t.Errorf("it says %q, want %q", v.Incomplete[0], want)
	}
	db.Exec("UPDATE things SET c = 'x' WHERE id % 40 = 0")
	v, err = verified(t, db.DSN(), j, sampling(0.3))
	if err != nil || v.Result != verify.Mismatched || v.Sample.Found != v.Mismatches() {
		t.Fatalf("%s, %+v, %v", v.Result, v.Sample, err)
	}
	if s := v.Sample; fewer(s.AtMost, s.Found, 0.3) <= 0.05 || fewer(s.AtMost+1, s.Found, 0.3) > 0.05 {
		t.Errorf("at most %d of all, for %d in a sample of 30%%: the chances are %f and %f", s.AtMost, s.Found, fewer(s.AtMost, s.Found, 0.3), fewer(s.AtMost+1, s.Found, 0.3))
	}
	none := job("things", updates("c", "upper(t.v)", "t.v"), backfill.Check{None: ptr(backfill.Expr{SQL: "SELECT t.id FROM things t WHERE {{range}} AND t.c IS NULL", Templates: []string{"range"}})})
	if _, err := verified(t, db.DSN(), none, sampling(0.3)); !errors.Is(err, backfill.ErrInput) || !strings.Contains(err.Error(), "cannot be asked of a sample") {
		t.Errorf("of a check that is not about rows: %v", err)
	}
}
