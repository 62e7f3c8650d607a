package throttle_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/throttle"
)

// Limits are read by the names that they are documented under, and written so that they are read as the same.
//
// Made to fail: with bytes written in the largest unit, remainder or not, 1500 bytes come back as 1024.
func TestLimitsByName(t *testing.T) {
	t.Parallel()
	said := map[string]string{
		"lag.max": "3s", "lag.max_bytes": "256MiB", "lag.grace": "90s", "lag.ignore": "eu-1, eu-2", "lag.require": `["eu-3"]`,
		"slots.max_bytes": "4 GB", "slots.ignore": "cdc", "archive.max_segments": "16", "yield_after": "150ms", "snapshots.max_age": "off",
		"vacuum.max_dead": "0.5", "vacuum.wraparound": "ignore", "sessions.max": "8", "commits.max_ratio": "2.5", "wal.max_rate": "1500",
		"queries": `[{"name":"queue","sql":"SELECT count(*) FROM queue","max":1000}]`, "http": "https://freno/check", "flag_file": "/tmp/stop",
		"window": "Mon-Fri 22:00-06:00 Europe/Berlin; Sat,Sun 00:00-24:00 UTC", "window_end": "exit", "unmonitored": "accept",
	}
	limits, err := throttle.ParseLimits(said)
	if err != nil {
		t.Fatal(err)
	}
	if len(said) != len(throttle.Names()) {
		t.Errorf("%d of %d names are tried here", len(said), len(throttle.Names()))
	}
	want := throttle.Limits{
		Lag:   throttle.LagLimits{Max: 3 * time.Second, MaxBytes: 256 << 20, Grace: 90 * time.Second, Ignore: []string{"eu-1", "eu-2"}, Require: []string{"eu-3"}},
		Slots: throttle.SlotLimits{MaxBytes: 4 << 30, Ignore: []string{"cdc"}}, ArchiveMaxSegments: 16, YieldAfter: 150 * time.Millisecond,
		SnapshotMaxAge: throttle.Off, Vacuum: throttle.VacuumLimits{MaxDead: 0.5, Wraparound: "ignore"}, SessionsMax: 8, CommitsMaxRatio: 2.5, WALMaxRate: 1500,
		Queries: []throttle.QueryLimit{{Name: "queue", SQL: "SELECT count(*) FROM queue", Max: 1000}}, HTTP: []string{"https://freno/check"},
		FlagFiles: []string{"/tmp/stop"}, Windows: [][]string{{"Mon-Fri 22:00-06:00 Europe/Berlin", "Sat,Sun 00:00-24:00 UTC"}}, WindowEnd: "exit", Unmonitored: "accept",
	}
	if diff := cmp.Diff(want, limits); diff != "" {
		t.Errorf("read as another (-want +got):\n%s", diff)
	}
	again, err := throttle.ParseLimits(limits.Named())
	if diff := cmp.Diff(limits, again); err != nil || diff != "" {
		t.Errorf("written and read again it is another: %v\n%s", err, diff)
	}
	if named := (throttle.Limits{}).Named(); len(named) != 0 {
		t.Errorf("nothing said is written as %v", named)
	}
}

// What is wrong is said by name, all of it at once.
//
// Made to fail: with a return at the first of them the others are not said.
func TestLimitsThatAreNone(t *testing.T) {
	t.Parallel()
	_, err := throttle.ParseLimits(map[string]string{
		"lag.max": "3", "lag.max_bytes": "much", "yield_after": "-1s", "window_end": "stop", "sessions.max": "1.5", "vacuum.max_dead": "NaN",
		"queries": `[{"title": "x"}]`, "lag.mix": "3s", "commits.max_ratio": "Inf",
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, name := range []string{"lag.max:", "lag.max_bytes:", "yield_after:", "window_end:", "sessions.max:", "vacuum.max_dead:", "queries:", "lag.mix:", "commits.max_ratio:"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("nothing is said of %s\n%v", name, err)
		}
	}
	if _, err := throttle.ParseLimits(map[string]string{"window": "whenever"}); err == nil || !strings.Contains(err.Error(), "Europe/Berlin") {
		t.Errorf("a window that is none: %v", err)
	}
}
