package main

import (
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The chaos suite has three tiers. `make test` runs one short round. `make chaos` runs rounds, and the scenarios that the seed chooses, for
// about as many seconds as PGBACKFILL_CHAOS says; `make long` (PGBACKFILL_TEST_LONG) runs everything several times. PGBACKFILL_CHAOS_SEED
// sets the first seed, and PGBACKFILL_CHAOS_FAULT leaves only what has that name.
const (
	chaosTime  = "PGBACKFILL_CHAOS"
	chaosSeed  = "PGBACKFILL_CHAOS_SEED"
	chaosFault = "PGBACKFILL_CHAOS_FAULT"
	long       = "PGBACKFILL_TEST_LONG"
)

// scenarios says that one of so many scenarios is played with a seed in the tier between: there is not the time for all of them.
const scenarios = 8

// tally counts what was injected, over all tests of the binary.
var tally = struct {
	sync.Mutex
	counts map[string]int
	seeds  map[string][]uint64
}{counts: map[string]int{}, seeds: map[string][]uint64{}}

func injected(name string, seed uint64) {
	tally.Lock()
	defer tally.Unlock()
	tally.counts[name]++
	if !slices.Contains(tally.seeds[name], seed) {
		tally.seeds[name] = append(tally.seeds[name], seed)
	}
}

// tallied is the table for docs/reliability.md.
func tallied() string {
	tally.Lock()
	defer tally.Unlock()
	var b strings.Builder
	b.WriteString("| fault | injected | seeds |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(tally.counts)) {
		seeds := slices.Sorted(slices.Values(tally.seeds[name]))
		text := fmt.Sprint(seeds[0])
		if len(seeds) > 1 {
			text = fmt.Sprintf("%d of %d to %d", len(seeds), seeds[0], seeds[len(seeds)-1])
		}
		fmt.Fprintf(&b, "| %s | %d | %s |\n", name, tally.counts[name], text)
	}
	return b.String()
}

// firstSeed is the one that was asked for, or that of every day.
func firstSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv(chaosSeed)
	if text == "" {
		return 1
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", chaosSeed, err)
	}
	return seed
}

// round lets faults happen to one run, one after another, each at a moment that the seed chooses, and lets it finish.
func round(t *testing.T, seed uint64, list []fault, rows int) {
	random := rand.New(rand.NewPCG(seed, 3))
	processes := 1 + random.IntN(2)
	w := newWorld(t, worldOptions{
		name: os.Getenv(chaosFault), seed: seed, rows: rows, rate: 1200, processes: processes,
		standby: slices.ContainsFunc(list, func(f fault) bool { return f.standby }),
	})
	w.start()
	w.awaits(3, "the beginning")
	for _, f := range list {
		w.awaits(random.Int64N(20), "before: "+f.name)
		if w.over() {
			w.note("the run is over before: %s", f.name)
			break
		}
		lasts(w.some(40 * time.Millisecond)) // any instant: this is the fault
		w.note("%s", f.name)
		f.does(w)
		injected(f.name, seed)
		w.lives(f)
	}
	if !w.over() {
		w.tellsTheTruth(false)
	}
	w.finishes()
}

// wanted are the faults that a tier takes, in an order that the seed chooses, some of them twice.
func wanted(t *testing.T, seed uint64, short bool) []fault {
	t.Helper()
	var list []fault
	for _, f := range faults() {
		if name := os.Getenv(chaosFault); name != "" && f.name != name || short && !f.short {
			continue
		}
		list = append(list, f)
	}
	random := rand.New(rand.NewPCG(seed, 5))
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// scenario is a test of its own in the two longer tiers; in the short one it is none.
func scenario(t *testing.T, name string, play func(*testing.T)) {
	t.Helper()
	only, seed := os.Getenv(chaosFault), firstSeed(t)
	switch {
	case only != "" && only != name, os.Getenv(long) == "" && os.Getenv(chaosTime) == "":
		return
	case only == "" && os.Getenv(long) == "" && (crc32.ChecksumIEEE([]byte(name))+uint32(seed))%scenarios != 0:
		return // it is another seed's
	}
	t.Run(name, play)
}

// Random faults at random instants, while an application writes: whatever happens, each row is changed once, in the table and
// in the ledger, nothing of the application's is lost, nothing of ours is left behind, and status tells the truth.
//
// Made to fail: with a watermark that is kept over a lost connection, and a ledger that proves no contiguity, a failover with loss leaves rows out.
func TestChaos(t *testing.T) {
	t.Parallel()
	seed := firstSeed(t)
	if os.Getenv(long) == "" && os.Getenv(chaosTime) == "" {
		round(t, seed, wanted(t, seed, true), 4000)
		return
	}
	seconds, _ := strconv.Atoi(os.Getenv(chaosTime))
	if os.Getenv(chaosFault) == "" {
		seconds /= 2 // the scenarios have the other half
	}
	if os.Getenv(long) != "" {
		seconds = 900
	}
	const atOnce = 5 // faults of one round
	until := time.Now().Add(time.Duration(seconds) * time.Second)
	for rounds := 0; rounds == 0 || time.Now().Before(until); rounds++ {
		list := wanted(t, seed, false)
		for len(list) > 0 && (rounds == 0 && len(list) == len(wanted(t, seed, false)) || time.Now().Before(until)) {
			n := min(atOnce, len(list))
			t.Run(fmt.Sprintf("seed %d, %d left", seed, len(list)), func(t *testing.T) { round(t, seed, list[:n], 25_000) })
			list = list[n:]
		}
		seed++
	}
	t.Logf("\n%s", tallied())
}
