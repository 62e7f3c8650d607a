package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// throttled is a throttle at work, in the shapes that the engine asks for.
type throttled struct {
	*throttle.Throttle
	// blocked says who waits for our chunks.
	blocked chan backfill.Blocked
	// notices are what happens to standbys, for the run's record.
	notices chan string
	// stop ends the reading of signals.
	stop func()
}

// SetLimits takes limits by name.
func (t throttled) SetLimits(named backfill.Limits) error {
	limits, err := throttle.ParseLimits(named)
	if err != nil {
		return err
	}
	return t.Throttle.SetLimits(limits)
}

// Watch tells why nothing may be written.
func (t throttled) Watch(ctx context.Context, told func([]backfill.Reason)) {
	t.Throttle.Watch(ctx, func(reasons []throttle.Reason) {
		var list []backfill.Reason
		for _, r := range reasons {
			list = append(list, backfill.Reason(r))
		}
		told(list)
	})
}

// blockedKept is how many of those who wait may be told of before anybody listens: they are told of again.
const blockedKept = 16

// throttle begins to read the signals, over connections of its own, to the primary and to the standbys that are asked. table
// is the walked table's OID; 0 leaves out what is about it; readsOnly is set where rows are only read. What happens to
// standbys is said by warn.
func (a *app) throttle(ctx context.Context, connect backfill.Connect, pace backfill.Pace, table uint32, readsOnly bool, warn func(string)) (throttled, error) {
	limits, err := throttle.ParseLimits(pace.Limits)
	if err != nil {
		return throttled{}, err
	}
	t := throttled{blocked: make(chan backfill.Blocked, blockedKept), notices: make(chan string, blockedKept)}
	s := a.sessions(connect)
	t.Throttle, err = throttle.New(throttle.Options{
		Limits: limits, Rate: pace.Rate, Workers: pace.Workers, Primary: s.primary, Custom: s.custom, Standbys: s.standbys, Table: table, ReadsOnly: readsOnly,
		OnEvent: func(e throttle.Event) {
			warn(e.Text)
			select {
			case t.notices <- e.Text:
			default: // it is in the log
			}
		},
		OnBlocked: func(list []throttle.Blocked) {
			for _, b := range list {
				select {
				case t.blocked <- backfill.Blocked{Application: b.Application, Waiter: waiter(b), Waited: b.Waited}:
				default:
				}
			}
		},
	})
	if err != nil {
		return throttled{}, err
	}
	reading, end := context.WithCancel(context.WithoutCancel(ctx)) // begun chunks finish, and may have to give way
	var running sync.WaitGroup
	running.Go(func() { t.Run(reading) })
	forget := func() {}
	if a.metrics != nil {
		forget = a.metrics.Throttled(t.Throttle)
	}
	t.stop = func() {
		forget()
		end()
		running.Wait()
		s.close(ctx)
	}
	return t, nil
}

// waiter says who waits for us, for people.
func waiter(b throttle.Blocked) string {
	who := fmt.Sprintf("pid %d", b.Waiter)
	if b.WaiterName != "" {
		who = fmt.Sprintf("%s (pid %d)", b.WaiterName, b.Waiter)
	}
	return fmt.Sprintf("%s, which waited %s", who, b.Waited.Round(time.Millisecond))
}

// showing tells an observer why nothing may be read, where the engine does not; it returns what ends that.
func (t throttled) showing(ctx context.Context, observe backfill.Observer) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		var before []string
		t.Throttle.Watch(ctx, func(reasons []throttle.Reason) {
			var texts, signals []string
			for _, r := range reasons {
				texts, signals = append(texts, r.Text), append(signals, r.Signal)
			}
			observe(backfill.Waiting{Reason: strings.Join(texts, "; "), Still: len(signals) > 0 && slices.Equal(signals, before)})
			before = signals
		})
	})
	return func() { cancel(); watching.Wait() }
}

// seen refuses to read where the role may not see what the throttle looks at: it would wait for ever. A run is refused by
// its plan.
func seen(plan *backfill.Plan) error {
	if plan.Server.Monitor || plan.Pace.Limits["unmonitored"] == throttle.Accept {
		return nil
	}
	return &backfill.Error{
		Place: "role " + plan.Server.Role, Found: "it may not see how far the replicas are: it is not a member of pg_monitor", Kind: backfill.ErrInput,
		Remedy: "GRANT pg_monitor TO " + plan.Server.Role + "; or say in writing that it goes on without: --set unmonitored=" + throttle.Accept,
	}
}

// signalStatements are those by which the signals are read, for plan to print.
func (a *app) signalStatements(pace backfill.Pace) []backfill.PlannedStatement {
	limits, err := throttle.ParseLimits(pace.Limits)
	if err != nil {
		return nil // it is refused before anything is sent
	}
	var list []backfill.PlannedStatement
	for _, s := range throttle.Statements(limits) {
		list = append(list, backfill.PlannedStatement{Name: "signal: " + s.Name, When: "about once a second, while a run is at work", SQL: s.SQL})
	}
	for _, s := range a.standbys {
		for _, st := range throttle.StandbyStatements(s.Heartbeat) {
			list = append(list, backfill.PlannedStatement{Name: "signal: " + st.Name, When: "several times a second, on the standby " + s.Name, SQL: st.SQL})
		}
	}
	return list
}
