package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/proxy"
)

// fault is something that happens to a run at work, and passes.
type fault struct {
	name string
	// does lets it happen, to its end.
	does func(*world)
	// short is set for what is part of the short round, and standby where there must be one.
	short, standby bool
	// pauses is set where a run may pause itself for it, as it does when more than half of its chunks fail.
	pauses bool
}

// faults are those that a run must live through, or be gone on with after, in any order.
func faults() []fault {
	return []fault{
		{name: "engine killed", does: (*world).killEngine, short: true},
		{name: "engine terminated", does: (*world).terminateEngine},
		{name: "engine out of memory", does: (*world).starveEngine},
		{name: "engine stopped", does: func(w *world) { w.stopEngine(1500*time.Millisecond + w.some(2*time.Second)) }},
		{name: "engine stopped for longer than every timeout", does: func(w *world) { w.stopEngine(12 * time.Second) }},
		{name: "server killed", does: func(w *world) { w.downServer((*localpg.Cluster).Kill) }},
		{name: "server restarted", does: func(w *world) {
			w.downServer(func(c *localpg.Cluster) error { return c.Stop(w.Context(), localpg.Fast) })
		}},
		{name: "server shut down at once", does: func(w *world) {
			w.downServer(func(c *localpg.Cluster) error { return c.Stop(w.Context(), localpg.Immediate) })
		}},
		{name: "server frozen", does: (*world).freezeServer},
		{name: "failover", does: func(w *world) { w.failover(false) }, standby: true},
		{name: "failover with loss", does: func(w *world) { w.failover(true) }, standby: true, short: true},
		{name: "connections cut", does: (*world).cutAll},
		{name: "connections cut inside of messages", does: (*world).cutInside, short: true},
		{name: "connections swallowed", does: func(w *world) { w.swallow(500*time.Millisecond+w.some(time.Second), true) }},
		{name: "connections swallowed for good", does: func(w *world) { w.swallow(0, false) }},
		{name: "packets delayed", does: (*world).delay},
		{name: "connections refused", does: (*world).refuse},
		{name: "backends terminated", does: (*world).terminateBackends},
		{name: "connections exhausted", does: (*world).exhaust},
		{name: "read-only for a while", does: (*world).readOnly},
		{name: "lock storm", does: (*world).lockStorm, pauses: true},
		{name: "deadlocks", does: (*world).deadlocks, pauses: true},
	}
}

func (w *world) killEngine() {
	p := w.any()
	p.kill(w.T)
	w.remove(p)
	w.start()
}

func (w *world) terminateEngine() {
	p := w.any()
	p.signal(w.T, syscall.SIGTERM)
	if code := p.wait(w.T, time.Minute); code != 130 && code != 0 {
		w.Fatalf("terminated, a process exits with %d; it said:\n%s", code, p.out)
	}
	w.remove(p)
	w.start()
}

// starveEngine takes the memory away that is not mapped yet, and gives the process reasons to want more. One that needed
// none is killed in the end, as by the kernel.
func (w *world) starveEngine() {
	p := w.any()
	if err := limitMemory(p.cmd.Process.Pid); err != nil && !p.ended() {
		w.Fatal(err)
	}
	_, _ = pgbackfill(w.T, w.direct(), w.dir, "set", "count", "workers=12")
	until := time.Now().Add(3 * time.Second)
	for !p.ended() && time.Now().Before(until) {
		lasts(20 * time.Millisecond)
	}
	w.note("out of memory, it ended by itself: %t", p.ended())
	p.kill(w.T)
	w.remove(p)
	_, _ = pgbackfill(w.T, w.direct(), w.dir, "set", "count", "workers=3")
	w.start()
}

func (w *world) stopEngine(d time.Duration) {
	p := w.any()
	p.stop(w.T)
	lasts(d)
	p.signal(w.T, syscall.SIGCONT)
}

func (w *world) downServer(down func(*localpg.Cluster) error) {
	w.Helper()
	w.forget()
	if err := down(w.server()); err != nil {
		w.Fatal(err)
	}
	lasts(w.some(700 * time.Millisecond))
	if err := w.server().Restart(w.Context()); err != nil {
		w.Fatal(err)
	}
}

func (w *world) freezeServer() {
	w.forget()
	if err := w.server().Freeze(); err != nil {
		w.Fatal(err)
	}
	lasts(500*time.Millisecond + w.some(3*time.Second))
	if err := w.server().Thaw(); err != nil {
		w.Fatal(err)
	}
}

// failover kills the primary and promotes its standby. With loss, the standby has not had the last chunks, which were
// acknowledged.
func (w *world) failover(loss bool) {
	w.Helper()
	if w.standbyNow() == nil || !w.standbyNow().Running() {
		w.newStandby()
	}
	if loss {
		w.feed.Pause(proxy.Backend)
		w.awaits(1+w.random.Int64N(20), "chunks that will be lost")
	} else if err := w.standbyNow().CatchUp(w.Context(), w.server()); err != nil {
		w.Fatal(err)
	}
	acknowledged := all[string](w, "SELECT "+ledgerRow+" FROM pgbackfill.chunks")
	w.forget()
	if err := w.server().Kill(); err != nil {
		w.Fatal(err)
	}
	w.feed.CutAll()
	lasts(w.some(500 * time.Millisecond))
	if err := w.standbyNow().Promote(w.Context()); err != nil {
		w.Fatal(err)
	}
	w.links[1-w.primary].Refuse(false)
	w.primary = 1 - w.primary
	if w.app != nil {
		w.app.at(w.direct())
	}
	lost := ask[int](w, "SELECT count(*) FROM unnest($1::text[]) AS seen WHERE seen NOT IN (SELECT "+ledgerRow+" FROM pgbackfill.chunks)", acknowledged)
	w.lost += lost
	w.note("failover: of %d chunks that were acknowledged %d are gone", len(acknowledged), lost)
	if loss && lost == 0 && !w.over() {
		w.Error("a failover was to lose chunks and lost none: it has proven nothing")
	}
}

func (w *world) cutAll() {
	for range 1 + w.random.IntN(4) {
		w.links[w.primary].CutAll()
		lasts(w.some(150 * time.Millisecond))
	}
}

// cutInside cuts a connection a few times at any byte of any message, either way.
func (w *world) cutInside() {
	var mu sync.Mutex
	left := 4 + w.random.IntN(8)
	next := w.random.IntN(200)
	done := make(chan struct{})
	w.links[w.primary].Hook(func(m proxy.Message) proxy.Verdict {
		mu.Lock()
		defer mu.Unlock()
		if left == 0 {
			return proxy.Forward
		}
		if next--; next > 0 {
			return proxy.Forward
		}
		next = w.random.IntN(200)
		if left--; left == 0 {
			close(done)
		}
		return proxy.CutAfter(w.random.IntN(len(m.Payload) + 5))
	})
	select {
	case <-done:
	case <-time.After(5 * time.Second):
	}
	mu.Lock()
	left = 0
	mu.Unlock()
	w.links[w.primary].Hook(nil)
}

// swallow lets nothing through and cuts nothing: the connections are half open. Where heals is set that passes, with the
// connections; else only new connections work, and nobody ever says what became of the old ones.
func (w *world) swallow(d time.Duration, heals bool) {
	link := w.links[w.primary]
	var last atomic.Uint64
	last.Store(^uint64(0))
	link.Hook(func(m proxy.Message) proxy.Verdict {
		if m.Conn <= last.Load() {
			return proxy.Drop
		}
		return proxy.Forward
	})
	if heals {
		lasts(d)
		link.Hook(nil)
		link.CutAll()
		return
	}
	last.Store(link.Serial())
	// Everybody who has a connection must find out by themselves.
	w.awaits(5, "half-open connections")
	link.Hook(nil)
}

func (w *world) delay() {
	w.links[w.primary].Latency(w.some(60*time.Millisecond), w.some(60*time.Millisecond))
	lasts(500*time.Millisecond + w.some(time.Second))
	w.links[w.primary].Latency(0, 0)
}

func (w *world) refuse() {
	link := w.links[w.primary]
	link.Refuse(true)
	link.CutAll()
	lasts(w.some(1200 * time.Millisecond))
	link.Refuse(false)
}

const ours = "datname = current_database() AND application_name LIKE 'pgbackfill%'"

func (w *world) terminateBackends() {
	for range 1 + w.random.IntN(3) {
		for _, pid := range all[int](w, "SELECT pid FROM pg_stat_activity WHERE "+ours) {
			if w.random.IntN(2) == 0 {
				_ = ask[bool](w, "SELECT pg_terminate_backend($1)", pid)
			}
		}
		lasts(w.some(200 * time.Millisecond))
	}
}

// exhaust takes every connection that there is, ends some of the program's, and lets it look for others for a while.
func (w *world) exhaust() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	pids := all[int](w, "SELECT pid FROM pg_stat_activity WHERE "+ours)
	var taken []*pgx.Conn
	defer func() {
		for _, conn := range taken {
			conn.Close(ctx)
		}
	}()
	take := func() {
		for len(taken) < 100 {
			conn, err := pgx.Connect(ctx, w.direct())
			if err != nil {
				return
			}
			taken = append(taken, conn)
		}
	}
	take()
	for _, pid := range pids {
		if w.random.IntN(3) > 0 {
			_ = ask[bool](w, "SELECT pg_terminate_backend($1)", pid)
		}
	}
	for until := time.Now().Add(500*time.Millisecond + w.some(1500*time.Millisecond)); time.Now().Before(until); {
		take()
		lasts(5 * time.Millisecond)
	}
}

// readOnly is what some services do with a server whose disk is nearly full.
func (w *world) readOnly() {
	w.exec("ALTER SYSTEM SET default_transaction_read_only = on")
	_ = ask[bool](w, "SELECT pg_reload_conf()")
	lasts(200 * time.Millisecond)
	w.links[w.primary].CutAll()
	lasts(w.some(time.Second))
	w.exec("ALTER SYSTEM RESET default_transaction_read_only")
	_ = ask[bool](w, "SELECT pg_reload_conf()")
}

// session is a connection of somebody else's, for as long as a fault lasts.
func (w *world) session(f func(context.Context, *pgx.Conn)) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, w.direct())
	if err != nil {
		w.Fatal(err)
	}
	defer conn.Close(ctx)
	f(ctx, conn)
}

// lockStorm takes the table for itself again and again, as careless migrations do.
func (w *world) lockStorm() {
	w.session(func(ctx context.Context, conn *pgx.Conn) {
		for until := time.Now().Add(1500 * time.Millisecond); time.Now().Before(until); {
			_, _ = conn.Exec(ctx, "BEGIN; SET LOCAL lock_timeout = '400ms'; LOCK TABLE counters IN ACCESS EXCLUSIVE MODE") // it may not be had
			lasts(w.some(400 * time.Millisecond))
			_, _ = conn.Exec(ctx, "ROLLBACK")
			lasts(w.some(30 * time.Millisecond))
		}
	})
}

// deadlocks locks rows that the run comes to next, in the opposite order.
func (w *world) deadlocks() {
	var sessions sync.WaitGroup
	defer sessions.Wait()
	for range 2 {
		sessions.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			conn, err := pgx.Connect(ctx, w.direct())
			if err != nil {
				return
			}
			defer conn.Close(ctx)
			for until := time.Now().Add(1500 * time.Millisecond); time.Now().Before(until); {
				_, _ = conn.Exec(ctx, `DO $$ DECLARE one int; BEGIN
					FOR one IN SELECT m + n FROM (SELECT max(through[1]::int) AS m FROM pgbackfill.chunks GROUP BY segment ORDER BY random() LIMIT 1) AS c, generate_series(360, 1, -3) AS n ORDER BY 1 DESC LOOP
						PERFORM FROM counters WHERE id = one FOR UPDATE;
						PERFORM pg_sleep(0.0005);
					END LOOP; END $$`) // the one or the other is the victim
			}
		})
	}
}

// begunAgain starts processes again that ended before they had begun to work, because nobody answered: who starts one wants to
// know that at once, and in words.
func (w *world) begunAgain() {
	w.Helper()
	for _, p := range slices.Clone(w.procs) {
		if !p.ended() || p.cmd.ProcessState.ExitCode() != 1 || strings.Contains(p.out.String(), "run started") ||
			strings.Contains(p.out.String(), "run joined") || strings.Contains(p.out.String(), "run resumed") {
			continue
		}
		if said := p.out.String(); !strings.Contains(said, "→") || !strings.Contains(said, "connect") && !strings.Contains(said, "server") {
			w.Errorf("a process that nobody answered says only:\n%s", said)
		}
		w.note("a process could not begin")
		w.remove(p)
	}
	w.start()
}

// lives waits until a fault is over for the run too: chunks are committed, or it is finished.
func (w *world) lives(f fault) {
	w.Helper()
	w.begunAgain()
	for _, p := range w.procs {
		if f.pauses && p.ended() && strings.Contains(p.out.String(), "paused by pgbackfill") {
			w.note("the run has paused itself")
			w.remove(p)
			must(w.T, w.direct(), w.dir, "resume", "count")
			w.start()
			break
		}
	}
	pgtest.Eventually(w, 30*time.Second, func() error {
		if n := ask[int](w, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'PgSleep'"); n > 0 {
			return fmt.Errorf("%d sessions of the fault are there", n)
		}
		return nil
	})
	w.awaits(3, "after: "+f.name)
}
