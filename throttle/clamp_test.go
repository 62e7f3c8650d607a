package throttle_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pgbackfill/pgbackfill/throttle"
)

// ceilings are an operator's.
func ceilings() throttle.Limits {
	return throttle.Limits{
		Lag:   throttle.LagLimits{Max: 5 * time.Second, MaxBytes: 64 * mib, Grace: time.Minute, Ignore: []string{"reports"}, Require: []string{"eu-2"}},
		Slots: throttle.SlotLimits{MaxBytes: mib}, ArchiveMaxSegments: 8, YieldAfter: 100 * time.Millisecond, SnapshotMaxAge: time.Minute,
		Vacuum: throttle.VacuumLimits{MaxDead: 0.5, Wraparound: throttle.WaitForIt}, SessionsMax: 4, CommitsMaxRatio: 2, WALMaxRate: 10 * mib,
		Queries: []throttle.QueryLimit{{Name: "queue", SQL: "SELECT 1", Max: 1}}, HTTP: []string{"http://ops/check"}, FlagFiles: []string{"/run/stop"},
		Windows: [][]string{{"22:00-06:00 UTC"}}, WindowEnd: throttle.Exit, Unmonitored: throttle.Refuse,
	}
}

// Made to fail: each line of Clamp taken away fails it.
func TestJobCannotAskForMoreThanTheCeilings(t *testing.T) {
	t.Parallel()
	for name, job := range map[string]throttle.Limits{
		"more": {
			Lag:   throttle.LagLimits{Max: time.Hour, MaxBytes: 1 << 40, Grace: time.Second, Ignore: []string{"reports", "eu-1", "eu-2"}},
			Slots: throttle.SlotLimits{MaxBytes: 1 << 40, Ignore: []string{"cdc"}}, ArchiveMaxSegments: 1000, YieldAfter: time.Hour, SnapshotMaxAge: 48 * time.Hour,
			Vacuum: throttle.VacuumLimits{MaxDead: 9, Wraparound: throttle.Ignored}, SessionsMax: 100, CommitsMaxRatio: 50, WALMaxRate: 1 << 40,
			WindowEnd: throttle.WaitForIt, Unmonitored: throttle.Accept,
		},
		"everything off": {
			Lag:   throttle.LagLimits{Max: throttle.Off, MaxBytes: throttle.Off, Grace: throttle.Off, Ignore: []string{"reports", "eu-1"}},
			Slots: throttle.SlotLimits{MaxBytes: throttle.Off, Ignore: []string{"cdc"}}, ArchiveMaxSegments: throttle.Off, YieldAfter: throttle.Off, SnapshotMaxAge: throttle.Off,
			Vacuum: throttle.VacuumLimits{MaxDead: throttle.Off, Wraparound: throttle.Ignored}, SessionsMax: throttle.Off, CommitsMaxRatio: throttle.Off, WALMaxRate: throttle.Off,
			WindowEnd: throttle.WaitForIt, Unmonitored: throttle.Accept,
		},
	} {
		want := ceilings()
		want.Lag.Ignore = []string{"reports"}
		got, notes := job.Clamp(ceilings())
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-ceilings +got):\n%s", name, diff)
		}
		text := strings.Join(notes, "\n")
		for _, part := range []string{"lag.max: ", "allowed: using 5s", "lag.ignore: eu-1 asked for, which the operator does not allow", "slots.ignore: cdc", "unmonitored: accept asked for, refuse allowed", "vacuum.wraparound: ignore asked for, wait allowed", "lag.grace: "} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: no note with %q in\n%s", name, part, text)
			}
		}
	}
}

func TestLessThanTheCeilings(t *testing.T) {
	t.Parallel()
	job := throttle.Limits{
		Lag:     throttle.LagLimits{Max: time.Second, MaxBytes: mib, Grace: time.Hour, Require: []string{"eu-3"}},
		HTTP:    []string{"http://mine/check"},
		Windows: [][]string{{"01:00-02:00 UTC"}}, Queries: []throttle.QueryLimit{{Name: "mine", SQL: "SELECT 2", Max: 1}},
		Slots: throttle.SlotLimits{MaxBytes: 5}, ArchiveMaxSegments: 1, YieldAfter: 1, SnapshotMaxAge: 1,
		Vacuum: throttle.VacuumLimits{MaxDead: 0.1}, SessionsMax: 1, CommitsMaxRatio: 1.5, WALMaxRate: 1, WindowEnd: throttle.Exit,
	}
	got, notes := job.Clamp(ceilings())
	want := job.WithDefaults()
	want.Lag.Require = []string{"eu-3", "eu-2"}
	want.HTTP = []string{"http://mine/check", "http://ops/check"}
	want.FlagFiles = []string{"/run/stop"}
	want.Windows = [][]string{{"01:00-02:00 UTC"}, {"22:00-06:00 UTC"}}
	want.Queries = []throttle.QueryLimit{{Name: "queue", SQL: "SELECT 1", Max: 1}, {Name: "mine", SQL: "SELECT 2", Max: 1}}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); len(notes) > 0 || diff != "" {
		t.Errorf("%s\n%q", diff, notes)
	}
	ignoring, notes := throttle.Limits{Lag: throttle.LagLimits{Ignore: []string{"eu-1", "eu-2"}}}.Clamp(throttle.Limits{Lag: throttle.LagLimits{Require: []string{"eu-2"}}})
	if diff := cmp.Diff([]string{"eu-1"}, ignoring.Lag.Ignore); diff != "" || len(notes) != 1 || ignoring.Validate() != nil {
		t.Errorf("what the operator requires is ignored: %s%q", diff, notes)
	}
	free, notes := throttle.Limits{Lag: throttle.LagLimits{Ignore: []string{"x"}, Max: throttle.Off}, Unmonitored: throttle.Accept}.Clamp(throttle.Limits{})
	if len(notes) > 0 || free.Lag.Max != throttle.Off || len(free.Lag.Ignore) != 1 || free.Unmonitored != throttle.Accept {
		t.Errorf("without ceilings: %+v, %q", free, notes)
	}
}

// Made to fail: with the baseline never rising, or a window of all commits.
func TestCommitLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limits := off()
		limits.CommitsMaxRatio = 3
		th, err := throttle.New(throttle.Options{Limits: limits, Primary: nobody{}})
		if err != nil {
			t.Fatal(err)
		}
		stop := running(t, th)
		defer stop()
		commits := func(d, each time.Duration) {
			for begin := time.Now(); time.Since(begin) < d; time.Sleep(100 * time.Millisecond) {
				th.Committed(10, -1, each)
			}
		}
		value := func() float64 { return one(th, "commit_latency").Reading.Value }
		if s := one(th, "commit_latency"); s.Shut {
			t.Errorf("%+v", s)
		}
		commits(10*time.Second, 10*time.Millisecond)
		if v := value(); v != 1 {
			t.Errorf("as usual: %v", v)
		}
		commits(12*time.Second, 40*time.Millisecond)
		if s := one(th, "commit_latency"); s.Status != throttle.Over || value() < 3.9 || !strings.HasSuffix(s.Text, "> 3 (a commit takes 40ms, usual is 10ms)") {
			t.Errorf("four times slower: %+v", s)
		}
		commits(12*time.Second, 2*time.Millisecond)
		if v := value(); v != 1 {
			t.Errorf("faster than it need be: %v", v)
		}
		commits(25*time.Minute, 10*time.Millisecond)
		if v := value(); v > 1.05 {
			t.Errorf("slower for good: %v", v)
		}
		time.Sleep(15 * time.Second)
		if s := one(th, "commit_latency"); s.Status != throttle.Unused {
			t.Errorf("nothing is committed: %+v", s)
		}
	})
}
