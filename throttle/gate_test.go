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

func reasons(t *testing.T, g *throttle.Gate, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, g.Reasons()); diff != "" {
		t.Errorf("the reasons (-want +got):\n%s", diff)
	}
}

// Made to fail: with judge's first case gone, a gate that was never read is open.
func TestGateIsShutUntilEverySignalIsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{name: "replica_lag", reading: lag(1)}, &fake{name: "old_snapshot", reading: lag(1), hangs: true}
		g, err := throttle.NewGate(throttle.GateOptions{}, a, b)
		if err != nil {
			t.Fatal(err)
		}
		reasons(t, g, "replica_lag not read yet", "old_snapshot not read yet")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { g.Run(ctx); close(done) }()
		synctest.Wait()
		reasons(t, g, "old_snapshot not read yet")
		b.hang(false)
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		reasons(t, g)
		cancel()
		<-done
		time.Sleep(5 * time.Second)
		if len(g.Reasons()) != 2 {
			t.Errorf("nobody reads any more, and the gate says %q", g.Reasons())
		}
	})
}

func TestReadOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{name: "a", reading: lag(1)}, &fake{name: "b", err: errors.New("no")}
		g, err := throttle.NewGate(throttle.GateOptions{}, a, b)
		if err != nil {
			t.Fatal(err)
		}
		got := g.Read(t.Context())
		if len(got) != 2 || got[0].Status != throttle.Fine || got[1].Text != "b cannot be read: no" {
			t.Errorf("%+v", got)
		}
	})
}

// Made to fail: with reopenAt at 1, work goes on at 9.5 s; with pause ignoring Near, 250 ms is 1 s.
func TestGateShutsAtTheLimitAndOpensWellUnderIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fake{name: "replica_lag", reading: lag(1)}
		g := gate(t, s)
		time.Sleep(100 * time.Millisecond)
		if err := g.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.set(lag(12.4))
		time.Sleep(time.Second)
		reasons(t, g, "replica_lag 12.4s > 10s (standby eu-2)")
		opened := make(chan time.Time, 1)
		go func() {
			if err := g.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			opened <- time.Now()
		}()
		s.set(lag(9.5))
		time.Sleep(500 * time.Millisecond)
		reasons(t, g, "replica_lag 9.5s of 10s (standby eu-2), goes on at 9s")
		select {
		case <-opened:
			t.Error("it opened within a tenth of the limit")
		default:
		}
		s.set(lag(8.9))
		changed := time.Now()
		if after := (<-opened).Sub(changed); after > 250*time.Millisecond {
			t.Errorf("it opened after %v; shut gates are looked at every 250 ms", after)
		}
		reasons(t, g)
	})
}

// Made to fail: a failed reading that keeps the one before for as long as it is young leaves the gate open.
func TestWhatCannotBeReadShutsTheGateAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fake{name: "replica_lag", reading: lag(1)}
		g := gate(t, s)
		time.Sleep(100 * time.Millisecond)
		s.fail(&throttle.Problem{Found: "role app may not see pg_stat_replication", Remedy: "GRANT pg_monitor TO app", Kind: throttle.ErrPrivilege})
		time.Sleep(time.Second)
		reasons(t, g, "replica_lag cannot be read: role app may not see pg_stat_replication; GRANT pg_monitor TO app")
		if st := g.State()[0]; st.Status != throttle.Stale || !errors.Is(st.Err, throttle.ErrPrivilege) || st.Age < time.Second {
			t.Errorf("the state: %+v", st)
		}
		s.set(lag(1))
		time.Sleep(250 * time.Millisecond)
		reasons(t, g)
	})
}

// Made to fail: without the tick in Run, Watch hears nothing of a reader that hangs.
func TestReadingThatGetsOldShutsTheGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fake{name: "http", reading: throttle.Reading{Says: "ok"}}
		g := gate(t, s)
		heard := make(chan []throttle.Reason, 10)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { g.Watch(ctx, func(r []throttle.Reason) { heard <- r }); close(ended) }()
		time.Sleep(100 * time.Millisecond)
		s.hang(true)
		begin := time.Now()
		for r := range heard {
			if len(r) == 1 && r[0].Signal == "http" && strings.HasPrefix(r[0].Text, "http stale: no reading for ") {
				break
			}
		}
		if after := time.Since(begin); after < 2*time.Second || after > 5*time.Second {
			t.Errorf("stale after %v", after)
		}
		s.hang(false)
		time.Sleep(time.Second)
		reasons(t, g)
		stop()
		<-ended
	})
}

func TestGradualSignalsShutNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &fake{name: "active_sessions", class: throttle.Gradual, reading: throttle.Reading{Value: 9, Limit: 4}}
		b := &fake{name: "wal_rate", class: throttle.Gradual, reading: throttle.Reading{Value: 1, Limit: 4}}
		a.hang(true)
		g := gate(t, a, b)
		reasons(t, g)
		if l := g.Load(); !l.Stale {
			t.Errorf("nothing is read yet, and the load is %+v", l)
		}
		a.hang(false)
		time.Sleep(2500 * time.Millisecond)
		want := throttle.Load{Utilisation: 2.25, Signal: "active_sessions 9 > 4", Known: true}
		if diff := cmp.Diff(want, g.Load()); diff != "" {
			t.Error(diff)
		}
		b.fail(errors.New("gone"))
		time.Sleep(2500 * time.Millisecond)
		if l := g.Load(); !l.Stale || l.Utilisation != 2.25 {
			t.Errorf("one cannot be read, and the load is %+v", l)
		}
		reasons(t, g)
		b.set(throttle.Reading{Off: true, Note: "no limit"})
		a.set(throttle.Reading{Off: true})
		time.Sleep(2500 * time.Millisecond)
		if l := g.Load(); l != (throttle.Load{}) {
			t.Errorf("all are off, and the load is %+v", l)
		}
	})
}

func TestEndOfTheTimeToWorkEndsTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &fake{name: "window", reading: throttle.Reading{Says: "closed", Shut: true, Ends: true, Detail: "Mon-Fri 22:00-06:00 UTC"}}
		g := gate(t, s)
		if err := g.Wait(t.Context()); !errors.Is(err, throttle.ErrEnds) || !strings.Contains(err.Error(), "window closed (Mon-Fri 22:00-06:00 UTC)") {
			t.Errorf("Wait returned %v", err)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, &fake{name: "replica_lag", reading: lag(11)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait returned %v", err)
		}
		none, err := throttle.NewGate(throttle.GateOptions{})
		if err != nil || none.Wait(t.Context()) != nil {
			t.Errorf("a gate without signals is shut (%v)", err)
		}
		if err := none.Wait(ctx); err == nil {
			t.Error("an ended context was let through")
		}
	})
}

// A signal says how often it must be read; a reading that takes long is taken less often than it says.
//
// Made to fail: without readShare the slow ones are read twice or three times as often; without the least for gates, that one is stale.
func TestHowOftenASignalIsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		quick, normal := &fake{name: "blocked_sessions", reading: lag(1), every: 100 * time.Millisecond}, &fake{name: "replica_lag", reading: lag(1)}
		near, slow := &fake{name: "slot_retention", reading: lag(8)}, &sleeper{fake{name: "query", reading: lag(1)}}
		scales := &sleeper{fake{name: "scales", class: throttle.Gradual, reading: lag(1)}}
		g := gate(t, quick, normal, near, slow, scales)
		time.Sleep(350 * time.Millisecond) // the slow ones are read
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			reasons(t, g)
		}
		for _, c := range []struct {
			*fake
			least, most int
		}{{quick, 595, 605}, {normal, 59, 61}, {near, 235, 243}, {&slow.fake, 26, 28}, {&scales.fake, 17, 20}} {
			if n := c.readsSince(time.Time{}); n < c.least || n > c.most {
				t.Errorf("%s was read %d times in a minute; expected %d to %d", c.name, n, c.least, c.most)
			}
		}
		at := time.Now()
		g.Refresh()
		synctest.Wait()
		if normal.readsSince(at) != 1 {
			t.Error("Refresh did not read it")
		}
	})
}

// sleeper takes 300 ms for a reading.
type sleeper struct{ fake }

func (s *sleeper) Read(ctx context.Context) (throttle.Reading, error) {
	time.Sleep(300 * time.Millisecond)
	return s.fake.Read(ctx)
}

func TestIntervalsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, o := range []throttle.GateOptions{{Poll: -1}, {Near: -1}, {Poll: time.Second, Near: 2 * time.Second}} {
		if _, err := throttle.NewGate(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestReadingsInWords(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]throttle.Reading{
		"s 12.4s > 10s (standby eu-2)":    lag(12.42),
		"s 10.004s > 10s (standby eu-2)":  lag(10.0041),
		"s 340ms of 10s (standby eu-2)":   lag(0.34),
		"s 0s of 10s (standby eu-2)":      lag(0),
		"s 2h00m > 1h00m":                 {Value: 7200, Limit: 3600, Unit: throttle.Seconds},
		"s 300 MiB > 256 MiB":             {Value: 300 << 20, Limit: 256 << 20, Unit: throttle.Bytes},
		"s 1.5 MiB/s of 2 MiB/s":          {Value: 1.5 * (1 << 20), Limit: 2 << 20, Unit: throttle.BytesPerSecond},
		"s 65 > 64":                       {Value: 65, Limit: 64},
		"s 0.25 of 1":                     {Value: 0.25, Limit: 1, Unit: throttle.Ratio},
		"s present (/tmp/stop)":           {Says: "present", Shut: true, Detail: "/tmp/stop"},
		"s off (no standby is connected)": {Off: true, Note: "no standby is connected"},
		"s 5 > 0":                         {Value: 5},
	} {
		if got := r.Text("s"); got != want {
			t.Errorf("%+v: %q, expected %q", r, got, want)
		}
	}
}
