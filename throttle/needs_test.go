package throttle_test

import (
	"testing"

	"github.com/pgbackfill/pgbackfill/throttle"
)

// What is said to switch a signal off does, for each of them, and no other limit does.
//
// Made to fail: with two names of needs.Limit exchanged, and with a signal that it does not have.
func TestEverySignalIsSwitchedOffByItsLimit(t *testing.T) {
	t.Parallel()
	states := func(l throttle.Limits) map[string]throttle.SignalState {
		th, err := throttle.New(throttle.Options{Primary: nobody{}, Limits: l, Table: 1})
		if err != nil {
			t.Fatal(err)
		}
		byName := map[string]throttle.SignalState{}
		for _, s := range th.Read(t.Context()) {
			byName[s.Name] = s
		}
		return byName
	}
	// Those that are off unless somebody says a limit.
	on := map[string]string{"sessions.max": "8", "wal.max_rate": "1MiB", "window": "Mon-Sun 00:00-24:00 UTC"}
	limits := func(without string) throttle.Limits {
		named := map[string]string{}
		for name, text := range on {
			if name != without {
				named[name] = text
			}
		}
		switch without {
		case "", "window":
		case "vacuum.wraparound":
			named[without] = throttle.Ignored
		default:
			named[without] = "off"
		}
		l, err := throttle.ParseLimits(named)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	all := states(limits(""))
	if len(all) < 12 {
		t.Fatalf("there are only %d signals", len(all))
	}
	for name, s := range all {
		limit := throttle.NeedsOf(name).Limit
		if limit == "" {
			t.Errorf("nothing is said of %s", name)
			continue
		}
		if limits("").Off(name) {
			t.Errorf("%s is off: %s", name, s.Text)
		}
		l := limits(limit)
		for other, now := range states(l) {
			// These can be read without a server; commit_latency has nothing to measure before the first commit.
			if readable := other == "window" || other == "commit_latency"; l.Off(other) != (other == name) || now.Status == throttle.Unused != (other == name || other == "commit_latency") && !readable {
				t.Errorf("without %s: %s is %s, said to be off: %t", limit, other, now.Text, l.Off(other))
			}
		}
	}
}
