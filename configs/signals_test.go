package configs_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// The limits of the throttle's signals are said in the same places as the pace, and the first that says one holds; lists
// and objects come from the file too.
//
// Made to fail: with the job's limits taken instead of laid over, what the file says of others is lost.
func TestLimitsComeFromEverywhere(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "--set", "lag.max=2s").env("PGBACKFILL_YIELD_AFTER=50ms", "PGBACKFILL_LAG_MAX=9s")
	m.write("work/pgbackfill.yaml", `lag: {max: 30s, ignore: [eu-1, eu-2]}
slots: {max_bytes: 1GB}
yield_after: 1s
window: ["Mon-Fri 22:00-06:00 Europe/Berlin", "Sat,Sun 00:00-24:00 UTC"]
queries: [{name: queue, sql: SELECT count(*) FROM queue, max: 1000}]
`)
	job := backfill.Job{Pace: backfill.Pace{Limits: backfill.Limits{"slots.max_bytes": "2GiB", "sessions.max": "4", "lag.max": "8s"}}}
	pace, _ := m.load().Resolve(job)
	want := backfill.Limits{
		"lag.max": "2s", "lag.ignore": `["eu-1","eu-2"]`, "slots.max_bytes": "2GiB", "sessions.max": "4", "yield_after": "50ms",
		"window":  `[["Mon-Fri 22:00-06:00 Europe/Berlin","Sat,Sun 00:00-24:00 UTC"]]`,
		"queries": `[{"name":"queue","sql":"SELECT count(*) FROM queue","max":1000}]`,
	}
	if diff := cmp.Diff(want, pace.Limits); diff != "" {
		t.Error(diff)
	}
}

// No job, flag or live change exceeds the operator's ceilings, whichever file they stand in.
//
// Made to fail: without clampLimits in clamp, all that is asked for holds.
func TestNobodyExceedsTheCeilingsOfLimits(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "--set", "lag.max=1h")
	m.write("etc/config.yaml", "ceilings: {lag: {max: 5s, require: [eu-1]}, slots: {max_bytes: 1GiB}, unmonitored: refuse, flag_file: [/run/stop]}\n")
	m.write("work/pgbackfill.yaml", "ceilings: {lag: {max: 20s}, yield_after: 100ms}\n")
	job := backfill.Job{Pace: backfill.Pace{Limits: backfill.Limits{
		"lag.ignore": `["eu-1"]`, "slots.max_bytes": "off", "unmonitored": "accept", "yield_after": "50ms",
	}}}
	check := func(p backfill.Pace, notes []string, lag string) {
		t.Helper()
		for name, want := range map[string]string{
			"lag.max": lag, "lag.ignore": "", "lag.require": `["eu-1"]`, "slots.max_bytes": "1GiB", "unmonitored": "refuse", "yield_after": "50ms",
			"flag_file": `["/run/stop"]`,
		} {
			if got := p.Limits[name]; got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
		if len(notes) < 3 {
			t.Errorf("only this is said of what was lowered: %q", notes)
		}
	}
	p, notes := m.load().Resolve(job)
	check(p, notes, "5s")
	p, notes = m.load().Clamp(job.Pace)
	check(p, notes, "5s")
}
