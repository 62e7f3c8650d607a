package throttle_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/throttle"
)

// Made to fail: two names that set each other's field.
func TestLimitsByName(t *testing.T) {
	t.Parallel()
	var l throttle.Limits
	for name, value := range map[string]string{
		"lag.max": "3s", "lag.max_bytes": "1.5 MiB", "lag.grace": "2m", "lag.ignore": "eu-1, reports,", "lag.require": "eu-2",
		"slots.max_bytes": "4GB", "slots.ignore": "", "archive.max_segments": "16", "yield_after": "off", "snapshots.max_age": "30m",
		"vacuum.max_dead": "0.5", "vacuum.wraparound": "ignore", "sessions.max": "8", "commits.max_ratio": "2.5", "wal.max_rate": "10MiB/s",
		"window_end": "exit", "unmonitored": "accept",
	} {
		if err := l.Set(name, value); err != nil {
			t.Error(err)
		}
	}
	want := throttle.Limits{
		Lag:                throttle.LagLimits{Max: 3 * time.Second, MaxBytes: 3 * mib / 2, Grace: 2 * time.Minute, Ignore: []string{"eu-1", "reports"}, Require: []string{"eu-2"}},
		Slots:              throttle.SlotLimits{MaxBytes: 4 << 30},
		ArchiveMaxSegments: 16, YieldAfter: throttle.Off, SnapshotMaxAge: 30 * time.Minute,
		Vacuum: throttle.VacuumLimits{MaxDead: 0.5, Wraparound: "ignore"}, SessionsMax: 8, CommitsMaxRatio: 2.5, WALMaxRate: 10 * mib,
		WindowEnd: "exit", Unmonitored: "accept",
	}
	if diff := cmp.Diff(want, l); diff != "" {
		t.Error(diff)
	}
	for name, values := range map[string][]string{
		"lag.max": {"", "3", "-3s", "0s", "soon"}, "lag.max_bytes": {"10", "-1MiB", "MiB", "0B", "9999999TiB", "NaNB"}, "sessions.max": {"0", "-1", "1.5", "99999999999"},
		"vacuum.max_dead": {"0", "-1", "NaN", "Inf"}, "unmonitored": {"yes", ""}, "window_end": {"ignore"}, "lag": {"3s"},
	} {
		for _, value := range values {
			before := l
			err := l.Set(name, value)
			if err == nil || !strings.HasPrefix(err.Error(), name) || !strings.Contains(err.Error(), "expected ") {
				t.Errorf("%s=%s: %v", name, value, err)
			}
			if diff := cmp.Diff(before, l); diff != "" {
				t.Errorf("%s=%s was refused and changed %s", name, value, diff)
			}
		}
	}
}
