package backfill_test

import (
	"errors"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/lineprogram"
	"github.com/pgbackfill/pgbackfill/internal/programs"
)

// While rows are computed again the snapshot that they were read in keeps the database from being cleaned: that is bounded over all of them,
// also where the program answers each line in good time, and fewer are computed then.
//
// Made to fail: with the bound of each line alone, all rows are computed.
func TestRecomputeIsBounded(t *testing.T) {
	t.Parallel()
	db := installed(t, words(40))
	job := transforms(lineprogram.Command("drips")...)
	job.Verify = []backfill.Check{{Recompute: true}}
	pace := testPace()
	pace.TransformTimeout = 1500 * time.Millisecond // 40 rows take 4 s, each of them a tenth of a second
	plan, err := backfill.Planner{Programs: programs.Runner{}}.Survey(t.Context(), db.Conn(), job, pace)
	if err != nil {
		t.Fatal(err)
	}
	r, err := backfill.NewRecompute(backfill.Options{Plan: plan, Programs: programs.Runner{}, Observer: func(backfill.Event) {}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	reader := r.Reader(1)
	defer reader.Close()
	_, err = reader.Compute(t.Context(), db.Conn().PgConn(), pgsql.Part{Reading: true}, true)
	if trouble, _ := r.TroubleOf(err, 1); !errors.Is(err, backfill.ErrProgramSilent) || trouble != backfill.TroubleFewer {
		t.Errorf("it came to %v, %v", err, trouble)
	}
	few, err := reader.Compute(t.Context(), db.Conn().PgConn(), pgsql.Part{Reading: true, Range: pgsql.Range{Through: []string{"3"}}}, true)
	if err != nil || few.Rows() != 3 {
		t.Errorf("of three rows: %v", err)
	}
}
