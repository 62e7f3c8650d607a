package throttle_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/proxy"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// application writes to the primary until the test ends, gate or no gate.
func application(t *testing.T, db *pgtest.DB) {
	db.Exec("CREATE TABLE app (n int, filler text)")
	conn := db.Conn()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if _, err := conn.Exec(ctx, "INSERT INTO app SELECT n, repeat('x', 500) FROM generate_series(1, 20) AS n"); err != nil && ctx.Err() == nil {
				t.Errorf("the application: %v", err)
				return
			}
			time.Sleep(20 * time.Millisecond) // the pace of its writes, and a wait for nothing
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// behindProxy makes a standby whose link to the primary goes through a proxy.
func behindProxy(t *testing.T, primary *localpg.Cluster, name string) (*localpg.Cluster, *proxy.Proxy) {
	p, err := proxy.New(fmt.Sprintf("127.0.0.1:%d", primary.Port()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	u, err := url.Parse("//" + p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.Standby(t, primary, localpg.StandbyOptions{Name: name, Settings: map[string]string{
		"wal_receiver_status_interval": "1s", "wal_retrieve_retry_interval": "200ms",
		"primary_conninfo": fmt.Sprintf("host=127.0.0.1 port=%s user=postgres password=%s application_name=%s sslmode=disable", u.Port(), primary.Password(), name),
	}}), p
}

func onStandby(t *testing.T, c *localpg.Cluster, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// A primary with two standbys, to which everything happens that happens to standbys. One throttle sees them through the
// primary, another asks the second itself.
//
// Made to fail: with the replay_lag column in place of walClock, freezing the standby shuts nothing.
func TestReplicas(t *testing.T) {
	t.Parallel()
	primary := pgtest.Cluster(t, localpg.Options{Settings: map[string]string{"wal_level": "logical"}})
	db := pgtest.NewOn(t, primary)
	application(t, db)
	first := pgtest.Standby(t, primary, localpg.StandbyOptions{Name: "one", Settings: map[string]string{"wal_receiver_status_interval": "1s"}})
	second, link := behindProxy(t, primary, "two")

	t.Run("unprivileged", func(t *testing.T) { unprivileged(t, db) })
	limits := off()
	limits.Lag.Max, limits.Lag.Grace = 500*time.Millisecond, time.Second
	var told, toldDirect events
	seen := run(t, db.DSN(), throttle.Options{Limits: limits, Replies: 20 * time.Second, OnEvent: told.add})
	limits.Lag.Ignore = []string{"one", "two"}
	asked := run(t, db.DSN(), throttle.Options{
		Limits: limits, OnEvent: toldDirect.add,
		Standbys: []throttle.Standby{{Name: "second", Query: session(t, second.DSN("postgres"))}},
	})
	both := func(t *testing.T) { open(t, seen); open(t, asked) }
	both(t)

	for _, c := range []struct {
		name       string
		do, undo   func(t *testing.T)
		want       []string // of who sees it through the primary
		wantDirect []string // of who asks; nil where that one sees nothing
	}{
		{
			name: "replay paused", want: []string{"replica_lag ", "> 500ms (standby one)"},
			do:   func(t *testing.T) { onStandby(t, first, "SELECT pg_wal_replay_pause()") },
			undo: func(t *testing.T) { onStandby(t, first, "SELECT pg_wal_replay_resume()") },
		},
		{
			name: "frozen", want: []string{"replica_lag ", "> 500ms (standby two)"}, wantDirect: []string{"replica_lag cannot be read: standby second cannot be reached for"},
			do: func(t *testing.T) {
				if err := second.Freeze(); err != nil {
					t.Fatal(err)
				}
			},
			undo: func(t *testing.T) {
				if err := second.Thaw(); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			name: "slow link", want: []string{"replica_lag ", "> 500ms (standby two)"}, wantDirect: []string{"replica_lag ", "> 500ms (standby second)"},
			do: func(*testing.T) {
				link.Hook(func(m proxy.Message) proxy.Verdict {
					if m.From == proxy.Backend && m.Type == 'd' {
						time.Sleep(400 * time.Millisecond) // the link is what is slow
					}
					return proxy.Forward
				})
			},
			undo: func(*testing.T) { link.Hook(nil) },
		},
		{
			name: "receiver cut off", want: []string{"replica_lag unknown (standby two is gone for", "forgotten after 1s"}, wantDirect: []string{"> 500ms (standby second)"},
			do:   func(*testing.T) { link.Refuse(true); link.CutAll() },
			undo: func(t *testing.T) { link.Refuse(false); told.heard(t, "standby two is back after") },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.do(t)
			if c.wantDirect != nil {
				shut(t, asked, c.wantDirect...)
			}
			shut(t, seen, c.want...)
			c.undo(t)
			both(t)
		})
	}

	t.Run("vanishes and comes back", func(t *testing.T) {
		if err := second.Stop(t.Context(), localpg.Immediate); err != nil {
			t.Fatal(err)
		}
		shut(t, seen, "standby two is gone for")
		told.heard(t, "standby two is forgotten: gone for")
		toldDirect.heard(t, "standby second is forgotten: it could not be reached for")
		both(t)
		if err := second.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		toldDirect.heard(t, "standby second is back after")
		if err := second.CatchUp(t.Context(), primary); err != nil {
			t.Fatal(err)
		}
		onStandby(t, second, "SELECT pg_wal_replay_pause()")
		shut(t, seen, "> 500ms (standby two)")
		onStandby(t, second, "SELECT pg_wal_replay_resume()")
		both(t)
	})
	t.Run("required", func(t *testing.T) {
		l := seen.Limits()
		l.Lag.Require = []string{"one", "three"}
		if err := seen.SetLimits(l); err != nil {
			t.Fatal(err)
		}
		shut(t, seen, "standby three is required and not connected")
		l.Lag.Require = nil
		if err := seen.SetLimits(l); err != nil {
			t.Fatal(err)
		}
		open(t, seen)
	})
	t.Run("promoted", func(t *testing.T) {
		if err := second.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
		toldDirect.heard(t, "standby second is a primary now")
		both(t)
		if s := one(asked, "replica_lag"); s.Shut {
			t.Errorf("the state: %+v", s)
		}
	})
}

// unprivileged looks with a role that may not see the standbys, of which there are two. It is a part of TestReplicas for the
// sake of the servers.
//
// Made to fail: without the case of hidden rows, a role that sees nothing finds no standby and an open gate.
func unprivileged(t *testing.T, db *pgtest.DB) {
	role, dsn := db.Role("")
	limits := off()
	limits.Lag = throttle.LagLimits{Max: 10 * time.Second}
	th := run(t, dsn, throttle.Options{Limits: limits})
	set := func() {
		if err := th.SetLimits(limits); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, th, "replica_lag cannot be read: role "+role+" may not see how far 2 standbys are behind", `GRANT pg_monitor TO "`+role+`"`)
	limits.Lag.Max = throttle.Off
	set()
	shut(t, th, "replica_lag_bytes cannot be read", "GRANT pg_monitor")
	limits.Unmonitored = throttle.Accept
	set()
	open(t, th)
	if s := one(th, "replica_lag_bytes"); s.Status != throttle.Unused || !strings.Contains(s.Text, "2 standbys are not monitored, by agreement") {
		t.Errorf("the state: %+v", s)
	}
	limits.Unmonitored, limits.Lag.Max = "", 10*time.Second
	db.Exec("GRANT pg_monitor TO " + role)
	set()
	pgtest.Eventually(t, patience, func() error {
		if s := one(th, "replica_lag"); s.Shut || !strings.Contains(s.Text, "(standby ") {
			return fmt.Errorf("the state: %+v", s)
		}
		return nil
	})
}
