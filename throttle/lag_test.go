package throttle_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/throttle"
)

const mib = 1 << 20

// reading waits two seconds and compares what replica_lag says.
func reading(t *testing.T, th *throttle.Throttle, want string) {
	t.Helper()
	time.Sleep(2*time.Second + time.Millisecond)
	synctest.Wait()
	if got := one(th, "replica_lag").Text; got != want {
		t.Errorf("%q, expected %q", got, want)
	}
}

// writing writes a MiB every second, begun half a second after the readings.
func writing(s *scripted) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			s.write(mib)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}()
	return func() { cancel(); <-done }
}

// Made to fail: with the moment of a place taken two samples later, the lag is too small; without the case of
// `pos < samples[0].pos`, a standby that is far behind from the beginning is an open gate.
func TestLagByTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &replica{app: "eu-2", replayed: 50 * mib, started: true}
		s := &scripted{pos: 100 * mib, replicas: []*replica{r}}
		th, stop := watching(t, s, throttle.LagLimits{Max: 10 * time.Second}, throttle.Options{})
		defer stop()
		time.Sleep(500 * time.Millisecond)
		defer writing(s)()
		time.Sleep(2 * time.Second)
		if got := th.Reasons(); len(got) != 1 || !strings.HasSuffix(got[0], " MiB behind since before it was first looked at)") {
			t.Errorf("%q", got)
		}
		for _, behind := range []int64{0, 1, 3, 9, 12, 5, 2} { // MiB, of which one is written a second
			s.do(func() { r.replayed = s.pos })
			time.Sleep(time.Duration(behind) * time.Second)
			s.do(func() { r.replayed = s.pos - behind*mib + mib/3 })
			time.Sleep(time.Second + time.Millisecond)
			synctest.Wait()
			state := one(th, "replica_lag")
			// Between two looks, nobody knows when it was written.
			if d := state.Reading.Value + state.Age.Seconds() - s.lag(r).Seconds(); state.Err != nil || d < -1 || d > 1 {
				t.Errorf("%d MiB behind for %v: %s", behind, s.lag(r), state.Text)
			}
			if over := state.Reading.Value > 10; over != state.Shut {
				t.Errorf("shut: %v, and %s", state.Shut, state.Text)
			}
		}
	})
}

// Made to fail: with the first of two equal samples kept, the first write is minutes old.
func TestNothingWrittenIsNoLag(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{pos: 100 * mib, replicas: []*replica{{app: "eu-2", replayed: 100 * mib, started: true}}}
		th, stop := watching(t, s, throttle.LagLimits{}, throttle.Options{})
		defer stop()
		time.Sleep(5 * time.Minute)
		reading(t, th, "replica_lag 0s of 10s (standby eu-2)")
		s.write(mib)
		// The log stood still for minutes: what is behind is what was written now.
		time.Sleep(1100 * time.Millisecond)
		if v := one(th, "replica_lag").Reading.Value; v < 0.1 || v > 2.2 {
			t.Errorf("lag %v s after the first write in minutes", v)
		}
	})
}

// A standby's clock is not asked: only that what it says changes counts.
//
// Made to fail: without the case of heard, the frozen standby that has replayed all is an open gate.
func TestStandbyThatSaysNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &replica{app: "eu-2", started: true}
		s := &scripted{replicas: []*replica{r}}
		th, stop := watching(t, s, throttle.LagLimits{}, throttle.Options{})
		defer stop()
		time.Sleep(time.Minute)
		reasons(t, th.Gate)
		s.do(func() { r.silent = true })
		time.Sleep(18 * time.Second)
		reasons(t, th.Gate)
		reading(t, th, "replica_lag 0s of 10s (standby eu-2)")
		time.Sleep(2 * time.Second)
		if got := th.Reasons(); len(got) != 1 || !strings.HasPrefix(got[0], "replica_lag cannot be read: standby eu-2 has not replied for 2") {
			t.Errorf("%q", got)
		}
		s.do(func() { r.silent = false })
		time.Sleep(2 * time.Second)
		reasons(t, th.Gate)
	})
}

// Made to fail: with the members keyed by name alone, two that share one are one.
func TestStandbysThatComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := &replica{app: "walreceiver", addr: "10.0.0.1", started: true}, &replica{app: "walreceiver", addr: "10.0.0.2", started: true}
		s := &scripted{replicas: []*replica{a, b}}
		var told events
		th, stop := watching(t, s, throttle.LagLimits{}, throttle.Options{OnEvent: told.add})
		defer stop()
		time.Sleep(2 * time.Second)
		reasons(t, th.Gate)
		s.do(func() { s.replicas = []*replica{b} })
		time.Sleep(2 * time.Second)
		if got := th.Reasons(); len(got) != 1 || !strings.HasPrefix(got[0], "replica_lag unknown (standby walreceiver@10.0.0.1 is gone for ") || !strings.HasSuffix(got[0], ", forgotten after 60s)") {
			t.Errorf("%q", got)
		}
		// It comes back with another address, and is the same: there is none else of the name.
		s.do(func() { s.replicas = []*replica{b, {app: "walreceiver", addr: "10.0.0.9", started: true}} })
		time.Sleep(time.Second)
		reasons(t, th.Gate)
		s.do(func() { s.replicas = []*replica{b, {app: "new"}} })
		time.Sleep(61 * time.Second)
		reasons(t, th.Gate, "replica_lag unknown (standby new has not yet said how far it is)")
		s.do(func() { s.replicas[1].started = true })
		time.Sleep(2 * time.Second)
		reasons(t, th.Gate)
		want := []string{"standby walreceiver@10.0.0.1 is back after", "standby walreceiver@10.0.0.9 is forgotten: gone for 60"}
		told.mu.Lock()
		defer told.mu.Unlock()
		if len(told.list) != 2 || !strings.HasPrefix(told.list[0], want[0]) || !strings.HasPrefix(told.list[1], want[1]) {
			t.Errorf("told %q", told.list)
		}
	})
}

// Made to fail: without the reset, the new primary's places are looked up in the old one's log; with members
// forgotten too, the standbys that are yet to follow are an open gate.
func TestFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := &replica{app: "a", started: true, replayed: 5 * mib}, &replica{app: "b", started: true, replayed: 5 * mib}
		s := &scripted{pos: 5 * mib, replicas: []*replica{a, b}, began: 1, clusterName: "primary"}
		var told events
		th, stop := watching(t, s, throttle.LagLimits{}, throttle.Options{OnEvent: told.add})
		defer stop()
		time.Sleep(2 * time.Second)
		reasons(t, th.Gate)
		s.do(func() { s.demoted = true })
		time.Sleep(2 * time.Second)
		if got := th.Reasons(); len(got) != 2 || !strings.HasPrefix(got[0], "replica_lag cannot be read: the server is a standby") || s.reconnects == 0 {
			t.Errorf("%q, %d reconnects", got, s.reconnects)
		}
		s.do(func() { s.demoted, s.began, s.clusterName, s.pos, s.replicas = false, 2, "a", 6*mib, nil })
		time.Sleep(2 * time.Second)
		if got := th.Reasons(); len(got) != 1 || !strings.HasPrefix(got[0], "replica_lag unknown (standby b is gone for ") {
			t.Errorf("%q", got)
		}
		b.replayed = 5*mib + mib/2
		s.do(func() { s.replicas = []*replica{b} })
		reading(t, th, "replica_lag unknown (standby b is 512 KiB behind since before it was first looked at)")
		s.do(func() { b.replayed = 6 * mib })
		reading(t, th, "replica_lag 0s of 10s (standby b)")
		told.mu.Lock()
		defer told.mu.Unlock()
		if len(told.list) != 2 || told.list[0] != "standby a is the primary now" || !strings.HasPrefix(told.list[1], "standby b is back after ") {
			t.Errorf("told %q", told.list)
		}
	})
}

func TestLagByBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &replica{app: "eu-2", started: true}
		s := &scripted{replicas: []*replica{r, {app: "ignored", addr: "10.1.1.1"}}}
		th, stop := watching(t, s, throttle.LagLimits{Max: throttle.Off, MaxBytes: 10 * mib, Ignore: []string{"10.1.1.1", "ignored"}, Require: []string{"eu-2"}}, throttle.Options{})
		defer stop()
		time.Sleep(time.Second)
		reasons(t, th.Gate)
		s.write(11 * mib)
		time.Sleep(time.Second)
		reasons(t, th.Gate, "replica_lag_bytes 11 MiB > 10 MiB (standby eu-2)")
		s.do(func() { r.replayed = 2 * mib })
		time.Sleep(time.Second)
		reasons(t, th.Gate)
		known := th.Replicas()
		if len(known) > 0 && known[0].Known && known[0].Lag > 500*time.Millisecond && known[0].Lag < 2500*time.Millisecond {
			known[0].Lag = time.Second
		}
		// Only the first has said how far it is.
		if diff := cmp.Diff([]throttle.Replica{{Name: "eu-2", Lag: time.Second, Known: true, Bytes: 9 * mib}}, known); diff != "" {
			t.Errorf("the replicas (-want +got):\n%s", diff)
		}
		s.do(func() { s.replicas = s.replicas[1:] })
		time.Sleep(5 * time.Minute)
		if got := th.Reasons(); len(got) != 1 || !strings.HasPrefix(got[0], "replica_lag_bytes unknown (standby eu-2 is required and gone for ") {
			t.Errorf("%q", got)
		}
	})
}

func TestAurora(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{readers: map[string]string{"reader-1": "0.02", "reader-2": "0.5"}}
		th, stop := watching(t, s, throttle.LagLimits{Max: 10 * time.Second}, throttle.Options{})
		defer stop()
		reading(t, th, "replica_lag 500ms of 10s (reader reader-2)")
		s.do(func() { s.readers["reader-1"] = "12.5" })
		reading(t, th, "replica_lag 12.5s > 10s (reader reader-1)")
		s.do(func() { s.readers["reader-1"] = "" })
		reading(t, th, "replica_lag cannot be read: the server does not know the lag of reader-1")
		s.do(func() { delete(s.readers, "reader-1") })
		time.Sleep(time.Second)
		if got := th.Reasons(); len(got) != 1 || !strings.Contains(got[0], "standby reader-1 is gone for") {
			t.Errorf("%q", got)
		}
		time.Sleep(61 * time.Second)
		reasons(t, th.Gate)
		if got := one(th, "replica_lag_bytes").Text; got != "replica_lag_bytes off (Aurora's readers share its storage)" {
			t.Error(got)
		}
		s.do(func() { s.err = errors.New("gone") })
		time.Sleep(time.Second)
		if got := th.Reasons(); len(got) != 2 {
			t.Errorf("%q", got)
		}
	})
}

// A standby that is asked itself, by what it has replayed and by a heartbeat.
//
// Made to fail: without the look at the age of the primary's newest sample, the place of a primary that cannot be asked any
// more is compared with.
func TestStandbyThatIsAskedItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, direct := &scripted{}, &scripted{began: 9}
		th, stop := watching(t, s, throttle.LagLimits{}, throttle.Options{Standbys: []throttle.Standby{{Name: "restored", Query: direct}, {Name: "beaten", Query: direct, Heartbeat: "SELECT 1"}}})
		defer stop()
		direct.do(func() { direct.beat = "2.5" })
		asked := func(want ...string) {
			t.Helper()
			time.Sleep(1500 * time.Millisecond)
			synctest.Wait()
			var got []string
			for _, state := range th.State() {
				if state.Name == "replica_lag" && (strings.Contains(state.Text, "restored") || strings.Contains(state.Text, "beaten")) {
					got = append(got, state.Text)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
		asked("replica_lag 0s of 10s (standby restored)", "replica_lag 2.5s of 10s (standby beaten)")
		direct.do(func() { direct.beat = "" })
		asked("replica_lag 0s of 10s (standby restored)", "replica_lag cannot be read: standby beaten: NULL; expected one number")
		direct.do(func() { direct.beat = "11" })
		s.write(mib)
		time.Sleep(11 * time.Second)
		if got := th.Reasons(); len(got) != 2 || !strings.HasSuffix(got[0], "s > 10s (standby restored)") || got[1] != "replica_lag 11s > 10s (standby beaten)" {
			t.Errorf("%q", got)
		}
		direct.do(func() { direct.pos, direct.beat = mib, "0" })
		asked("replica_lag 0s of 10s (standby restored)", "replica_lag 0s of 10s (standby beaten)")
		s.do(func() { s.err = errors.New("gone") })
		time.Sleep(5 * time.Second)
		asked("replica_lag cannot be read: standby restored: the primary's place in the log is not known", "replica_lag 0s of 10s (standby beaten)")
		s.do(func() { s.err = nil })
		direct.do(func() { direct.demoted = true }) // here: promoted
		asked("replica_lag off (standby restored is no standby any more)", "replica_lag 0s of 10s (standby beaten)")
	})
}

// What is no standby, and never was one here, is the primary itself or not what the operator meant. What is asked counts by
// bytes too.
//
// Made to fail: with Off for all that is no standby, a connection string that leads to some other primary is an open gate;
// without directBytes, 300 MiB are nothing.
func TestStandbyThatIsAskedAndIsNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, same, other, direct := &scripted{began: 7, pos: mib}, &scripted{began: 7, demoted: true}, &scripted{began: 8, demoted: true}, &scripted{began: 9, pos: mib}
		var told events
		th, stop := watching(t, s, throttle.LagLimits{}, throttle.Options{OnEvent: told.add, Standbys: []throttle.Standby{{Name: "a", Query: same}, {Name: "b", Query: other}, {Name: "c", Query: direct}}})
		defer stop()
		time.Sleep(2 * time.Second)
		reasons(t, th.Gate, "replica_lag unknown (standby b is no standby; mend its connection string, or put it into lag.ignore)")
		told.mu.Lock()
		if len(told.list) != 1 || told.list[0] != "standby a is the primary: it is not asked how far it is behind" {
			t.Errorf("told %q", told.list)
		}
		told.mu.Unlock()
		if err := th.SetLimits(throttle.Limits{Lag: throttle.LagLimits{Ignore: []string{"b"}}, Unmonitored: throttle.Accept, Slots: off().Slots, ArchiveMaxSegments: throttle.Off, YieldAfter: throttle.Off, SnapshotMaxAge: throttle.Off, CommitsMaxRatio: throttle.Off}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		reasons(t, th.Gate)
		s.write(300 * mib)
		time.Sleep(time.Second)
		reasons(t, th.Gate, "replica_lag_bytes 300 MiB > 256 MiB (standby c)")
		if got := th.Replicas(); len(got) != 1 || got[0].Name != "c" || got[0].Bytes != 300*mib {
			t.Errorf("the replicas: %+v", got)
		}
	})
}

// A throttle that nobody gave a way to the primary, or a nonsense, is not made.
func TestOptionsThatAreNone(t *testing.T) {
	t.Parallel()
	_, err := throttle.New(throttle.Options{Rate: -1, Standbys: []throttle.Standby{{}}, Limits: throttle.Limits{
		Unmonitored: "yes", HTTP: []string{"ftp://x"}, Windows: [][]string{{"never"}}, CommitsMaxRatio: 0.5,
		Lag: throttle.LagLimits{Ignore: []string{"a"}, Require: []string{"a"}}, Queries: []throttle.QueryLimit{{Name: "q", SQL: "SELECT 1"}},
	}})
	if err == nil {
		t.Fatal("it was made")
	}
	var missing []string
	for _, want := range []string{"primary", "standby number 1", "rate -1", `unmonitored: found "yes"; expected refuse or accept`, "http: ", "window: ", "commits.max_ratio: found 0.5", "lag.require: a is in lag.ignore", "queries: q: max is 0"} {
		if !strings.Contains(err.Error(), want) {
			missing = append(missing, want)
		}
	}
	if diff := cmp.Diff([]string(nil), missing); diff != "" {
		t.Errorf("not complained of: %s\nin %v", diff, err)
	}
}
