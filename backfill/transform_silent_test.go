package backfill_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/lineprogram"
)

// A program that does not answer is nobody's row to set aside: the run stops at its first chunk, and what it did not flush is
// known by what comes once its input is closed. One that hangs at the first row alone has that row set aside.
//
// Made to fail: without neverError "silent" had rows set aside, one after another; without the other row that silentAt asks
// about "hangs" stopped.
func TestTransformProgramThatDoesNotAnswerQuarantinesNothing(t *testing.T) {
	t.Parallel()
	for name, aside := range map[string]int{"silent": 0, "holds": 0, "hangs": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, words(20), "UPDATE words SET v = 'poison' WHERE id = 1")
			job := transforms(lineprogram.Command(name)...)
			job.Transform.Quarantine = true
			plan := inOneSegment(planFor(t, db, job, nil))
			plan.Pace.TransformTimeout, plan.Pace.MaxQuarantined = 300*time.Millisecond, 100
			w := join(t, db, plan, part{})
			_, err := w.wait()
			if n := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.quarantine"); n != aside {
				t.Errorf("%d rows are set aside, want %d", n, aside)
			}
			if failed := of[backfill.ChunkFailed](w); aside == 0 && len(failed) != 1 {
				t.Errorf("%d tries failed before it was found out", len(failed))
			}
			if stopped := err != nil && strings.Contains(err.Error(), "no row's fault"); stopped != (aside == 0) {
				t.Errorf("got %v", err)
			}
		})
	}
}
