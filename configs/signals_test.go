package configs_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/throttle"
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

// Every limit that there is has a ceiling, which no job, flag, variable or live change lifts, and whoever asks for more is
// told. A limit that is new fails this until its ceiling is tried here.
//
// Made to fail: each line of throttle's Clamp taken away; a name taken out of the table.
func TestEveryLimitHasItsCeiling(t *testing.T) {
	t.Parallel()
	operators := `ceilings:
  lag: {max: 5s, max_bytes: 64MiB, grace: 2m, ignore: [a], require: [r]}
  slots: {max_bytes: 1GiB, ignore: [s]}
  archive: {max_segments: 8}
  yield_after: 100ms
  snapshots: {max_age: 1m}
  vacuum: {max_dead: 0.5, wraparound: wait}
  sessions: {max: 4}
  commits: {max_ratio: 2}
  wal: {max_rate: 10MiB}
  queries: [{name: q, sql: SELECT 1, max: 1}]
  http: [http://ops/check]
  flag_file: [/run/stop]
  window: ["22:00-06:00 UTC"]
  window_end: exit
  unmonitored: refuse
`
	cases := map[string]struct {
		asks []string
		want string
	}{
		"lag.max": {[]string{"1h", "off"}, "5s"}, "lag.max_bytes": {[]string{"1TiB", "off"}, "64MiB"}, "lag.grace": {[]string{"1s", "off"}, "2m0s"},
		"lag.ignore": {[]string{"a,b", "b,a"}, `["a"]`}, "lag.require": {[]string{"off"}, `["r"]`},
		"slots.max_bytes": {[]string{"1TiB", "off"}, "1GiB"}, "slots.ignore": {[]string{"s,t"}, `["s"]`},
		"archive.max_segments": {[]string{"9", "off"}, "8"}, "yield_after": {[]string{"101ms", "off"}, "100ms"}, "snapshots.max_age": {[]string{"2m", "off"}, "1m0s"},
		"vacuum.max_dead": {[]string{"0.6", "off"}, "0.5"}, "vacuum.wraparound": {[]string{"ignore"}, "wait"},
		"sessions.max": {[]string{"5", "off"}, "4"}, "commits.max_ratio": {[]string{"2.1", "off"}, "2"}, "wal.max_rate": {[]string{"11MiB", "off"}, "10MiB"},
		"queries": {[]string{"off"}, `[{"name":"q","sql":"SELECT 1","max":1}]`}, "http": {[]string{"off"}, `["http://ops/check"]`}, "flag_file": {[]string{"off"}, `["/run/stop"]`},
		"window": {[]string{"off"}, `[["22:00-06:00 UTC"]]`}, "window_end": {[]string{"wait"}, "exit"}, "unmonitored": {[]string{"accept"}, "refuse"},
	}
	plain := newMachine(t)
	plain.write("etc/config.yaml", operators)
	operator := plain.load()
	for _, n := range throttle.Names() {
		c, tried := cases[n.Name]
		if !tried {
			t.Errorf("nobody tries to exceed the ceiling of %s", n.Name)
		}
		for _, ask := range c.asks {
			live, err := configs.ParseLimits([]string{n.Name + "=" + ask})
			if err != nil {
				t.Errorf("%s=%s: %v", n.Name, ask, err)
				continue
			}
			check := func(how string, p backfill.Pace, notes []string) {
				t.Helper()
				if got := p.Limits[n.Name]; got != c.want {
					t.Errorf("%s=%s by %s: it is %s, want %s", n.Name, ask, how, got, c.want)
				}
				if !slices.ContainsFunc(notes, func(note string) bool { return strings.HasPrefix(note, n.Name+": ") }) {
					t.Errorf("%s=%s by %s: nobody is told: %q", n.Name, ask, how, notes)
				}
			}
			p, notes := operator.Resolve(backfill.Job{Pace: live})
			check("a job", p, notes)
			p, notes = operator.Clamp(live)
			check("set", p, notes)
			m := newMachine(t, "--set", n.Name+"="+ask)
			m.write("etc/config.yaml", operators)
			p, notes = m.load().Resolve(backfill.Job{})
			check("a flag", p, notes)
			m = newMachine(t).env("PGBACKFILL_" + strings.ToUpper(strings.ReplaceAll(n.Name, ".", "_")) + "=" + ask)
			m.write("etc/config.yaml", operators)
			m.write("work/pgbackfill.yaml", "workers: 3\n") // the operator's file is not the one that is read
			p, notes = m.load().Resolve(backfill.Job{})
			check("a variable", p, notes)
		}
	}
}
