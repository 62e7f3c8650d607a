//go:build planted

package backfill_test

import (
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/planted"
)

// plantedWithin is within how many schedules each bug must be found.
const plantedWithin = 20_000

// Each bug that is planted in the production code is found, and with none the same schedules are clean. It says after how many: what the ledger
// alone keeps from happening takes a failover at the one moment, and somebody who wakes up at another.
func TestSimulationFindsPlantedBugs(t *testing.T) {
	defer planted.Plant(planted.None)
	for _, bug := range planted.Bugs {
		planted.Plant(bug)
		began := time.Now()
		seed := uint64(1)
		found := ""
		for ; found == "" && seed <= plantedWithin; seed++ {
			found = simulate(seed, false).wrong
		}
		if found == "" {
			t.Errorf("%s: not found in %d schedules", bug, plantedWithin)
			continue
		}
		t.Logf("%s: found by schedule %d, after %.2f s: %s", bug, seed-1, time.Since(began).Seconds(), found)
	}
	planted.Plant(planted.None)
	for seed := uint64(1); seed <= 1000; seed++ {
		if s := simulate(seed, false); s.wrong != "" {
			t.Fatalf("with none planted, schedule %d: %s", seed, s.wrong)
		}
	}
}
