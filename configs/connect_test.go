package configs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/configs"
	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// connect tries to connect and checks that no password is shown.
func connect(t *testing.T, dsn string) (*pgx.Conn, error) {
	t.Helper()
	cc, err := configs.Connection(configs.NewDSN(dsn, "--dsn"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := configs.Dial(cc)(t.Context())
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("the password is shown: %v", err)
	}
	if conn != nil {
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	}
	return conn, err
}

// with is a DSN with parts of it changed.
func with(t *testing.T, dsn string, change func(u *url.URL)) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	change(u)
	return u.String()
}

func TestConnectErrorsNamePlaceCauseAndRemedy(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	role, roleDSN := db.Role("")
	query := func(key, value string) func(*url.URL) {
		return func(u *url.URL) { q := u.Query(); q.Set(key, value); u.RawQuery = q.Encode() }
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := free.Addr().String()
	_ = free.Close()
	for _, c := range []struct {
		name, dsn string
		parts     []string
		action    pgerr.Action
	}{
		{
			"no such database", with(t, db.DSN(), func(u *url.URL) { u.Path = "/nowhere" }),
			[]string{`database "nowhere" on `, `there is no database "nowhere"`, "correct the database's name"},
			pgerr.Fatal,
		},
		{
			"no such role", with(t, db.DSN(), func(u *url.URL) { u.User = url.UserPassword("nobody", canary) }),
			[]string{" as nobody: cannot connect: ", `"nobody"`},
			pgerr.Fatal,
		},
		{
			"wrong password", with(t, roleDSN, func(u *url.URL) { u.User = url.UserPassword(role, canary) }),
			[]string{" as " + role + ": cannot connect: ", "the password of user \"" + role + "\" was refused", "~/.pgpass"},
			pgerr.Fatal,
		},
		{
			"wrong password, TLS preferred", with(t, with(t, roleDSN, func(u *url.URL) { u.User = url.UserPassword(role, canary) }), query("sslmode", "prefer")),
			[]string{"cannot connect: the password of user \"" + role + "\" was refused\n"},
			pgerr.Fatal,
		},
		{
			"no such database, TLS preferred", with(t, with(t, db.DSN(), func(u *url.URL) { u.Path = "/nowhere" }), query("sslmode", "prefer")),
			[]string{"cannot connect: there is no database \"nowhere\"\n"},
			pgerr.Fatal,
		},
		{
			"no password", with(t, roleDSN, func(u *url.URL) { u.User = url.User(role) }),
			[]string{"the server wants a password for user", "none was given", "~/.pgpass (mode 0600)"},
			pgerr.Fatal,
		},
		{
			"nothing listens", "postgres://app:" + canary + "@" + closed + "/shop",
			[]string{`database "shop" on ` + closed + " as app: cannot connect: nothing listens there", "start the server"},
			pgerr.Retry,
		},
		{
			"unknown host", "postgres://app:" + canary + "@no-such-host.invalid/shop",
			[]string{"no-such-host.invalid:5432", `the name "no-such-host.invalid" is not known to DNS`},
			pgerr.Retry,
		},
		{
			"no socket", "host=/nowhere/sockets user=app dbname=shop",
			[]string{"/nowhere/sockets/.s.PGSQL.5432", "there is no server's socket"},
			pgerr.Retry,
		},
		{
			"no TLS", with(t, db.DSN(), query("sslmode", "require")),
			[]string{"the server does not offer TLS", "sslmode=disable"},
			pgerr.Retry,
		},
		{
			"unknown setting", with(t, db.DSN(), query(canary, "x")),
			[]string{"refuses a setting of the connection string (SQLSTATE 42704)"},
			pgerr.Fatal,
		},
		{
			"not PostgreSQL", "postgres://app:" + canary + "@" + deaf(t, true) + "/shop?sslmode=disable",
			[]string{"the server closed the connection", "PostgreSQL's port"},
			pgerr.Retry,
		},
		{
			"no answer", "postgres://app:" + canary + "@" + deaf(t, false) + "/shop?sslmode=disable&connect_timeout=1",
			[]string{"no answer within 1s", "timeouts.connect"},
			pgerr.Retry,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := connect(t, c.dsn)
			if err != nil && !strings.Contains(c.dsn, "sslmode=require") && strings.Contains(err.Error(), "TLS") {
				t.Errorf("nobody demands TLS: %v", err)
			}
			var made *backfill.Error
			if !errors.As(err, &made) || made.Place == "" || made.Remedy == "" {
				t.Fatalf("got %v", err)
			}
			wants(t, err.Error(), c.parts...)
			if got := pgerr.Class(err); got != c.action {
				t.Errorf("the engine would %v, not %v", got, c.action)
			}
		})
	}
	t.Run("no privilege", func(t *testing.T) {
		t.Parallel()
		own := pgtest.New(t)
		own.Exec("REVOKE CONNECT ON DATABASE " + pgx.Identifier{own.Name()}.Sanitize() + " FROM PUBLIC")
		_, err := connect(t, with(t, roleDSN, func(u *url.URL) { u.Path = "/" + own.Name() }))
		if err == nil {
			t.Fatal("connected")
		}
		wants(t, err.Error(), "may not connect to database", "GRANT CONNECT ON DATABASE", role)
	})
}

// deaf listens and never speaks PostgreSQL: it hangs up, or says nothing at all.
func deaf(t *testing.T, hangUp bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var held []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				for _, c := range held {
					_ = c.Close()
				}
				return
			}
			if hangUp {
				_ = c.Close()
			} else {
				held = append(held, c)
			}
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// elder stands before a server and has it say that it is of another version, of as many letters.
func elder(t *testing.T, server, version, said string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var links sync.WaitGroup
	links.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				t.Error(err)
				return
			}
			links.Go(func() { defer far.Close(); _, _ = io.Copy(far, near) })
			links.Go(func() {
				defer near.Close()
				for part := make([]byte, 1<<16); ; {
					n, err := far.Read(part)
					answer := bytes.ReplaceAll(part[:n], []byte("server_version\x00"+version), []byte("server_version\x00"+said))
					if _, failed := near.Write(answer); err != nil || failed != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); links.Wait() })
	return l.Addr().String()
}

// A server that is too old is named with its version and the oldest that will do, before anything is sent to it, and the connection is closed.
//
// Made to fail: without the look at the version in Dial, it is connected.
func TestOldServerIsNamed(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	version := strconv.Itoa(db.Server().Installation().Major)
	_, err := connect(t, with(t, db.DSN(), func(u *url.URL) { u.Host = elder(t, u.Host, version, "13") }))
	if !errors.Is(err, backfill.ErrInput) {
		t.Fatalf("%v", err)
	}
	wants(t, err.Error(), `database "`+db.Name()+`" on 127.0.0.1`, "it is PostgreSQL 13.", "expected PostgreSQL 14 or newer", "upgrade the server")
	pgtest.Eventually(t, 10*time.Second, func() error {
		if n := pgtest.One[int](db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query NOT LIKE '%pg_stat_activity%'"); n > 0 {
			return fmt.Errorf("%d connections are open", n)
		}
		return nil
	})
}

func TestCancelledContextIsNotAConnectError(t *testing.T) {
	t.Parallel()
	cc, err := configs.Connection(configs.NewDSN("postgres://app@"+deaf(t, false)+"/shop?sslmode=disable", "--dsn"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	cancel()
	if _, err = configs.Dial(cc)(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A cancelled statement is cancelled in the server, and the connection lives on.
func TestCancellingUsesTheConnectionsOwnCancelRequest(t *testing.T) {
	t.Parallel()
	conn, err := connect(t, pgtest.New(t).DSN())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = conn.Exec(ctx, "SELECT pg_sleep(60)")
	var server *pgconn.PgError
	if !errors.As(err, &server) || server.Code != "57014" {
		t.Errorf("the server did not cancel it: %v", err)
	}
	var alive int
	if err := conn.QueryRow(t.Context(), "SELECT 1").Scan(&alive); err != nil || alive != 1 {
		t.Errorf("the connection is gone: %v", err)
	}
}

func TestNoStatementStaysPrepared(t *testing.T) {
	t.Parallel()
	conn, err := connect(t, pgtest.New(t).DSN())
	if err != nil {
		t.Fatal(err)
	}
	var n int
	for range 3 {
		if err := conn.QueryRow(t.Context(), "SELECT count(*)::int4 + $1::int4 - $1::int4 FROM pg_prepared_statements", 5).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if n != 0 {
		t.Errorf("%d named statements are left in the session", n)
	}
}

func TestOfSeveralHostsThePrimaryIsFound(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	primary, err := url.Parse(db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := free.Addr().String()
	_ = free.Close()
	both := with(t, db.DSN(), func(u *url.URL) { u.Host = closed + "," + primary.Host })
	if _, err := connect(t, both); err != nil {
		t.Errorf("one host is down: %v", err)
	}
	// One whose transactions are read-only where they do not say otherwise is a primary: ours say otherwise.
	db.Exec("ALTER DATABASE " + pgx.Identifier{db.Name()}.Sanitize() + " SET default_transaction_read_only = on")
	if _, err = connect(t, both); err != nil {
		t.Errorf("a primary with default_transaction_read_only: %v", err)
	}
	// Who asks for a server that takes writes by itself is not overruled.
	_, err = connect(t, with(t, both, func(u *url.URL) { u.RawQuery += "&target_session_attrs=read-write" }))
	if err == nil {
		t.Fatal("connected to a server that takes no writes")
	}
	wants(t, err.Error(), "it is read-only, a standby", "nothing listens there", "name the primary")
}

// A standby is refused also where it is the only host: a name can lead to one for a moment after a failover, and then it is
// tried again.
//
// Made to fail: with one host taken as it is, there is a connection that can never write.
func TestStandbyIsNotThePrimary(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	standby := pgtest.Standby(t, db.Server(), localpg.StandbyOptions{Name: "notprimary"})
	if err := standby.CatchUp(t.Context(), db.Server()); err != nil {
		t.Fatal(err)
	}
	_, err := connect(t, standby.DSN(db.Name()))
	if err == nil {
		t.Fatal("connected to a standby")
	}
	wants(t, err.Error(), "the server is a standby, which cannot be written to", "connect to the primary")
	if !errors.Is(err, backfill.ErrInput) || pgerr.Class(err) != pgerr.Retry {
		t.Errorf("%v; the engine would %v", err, pgerr.Class(err))
	}
	primary, err := url.Parse(db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := connect(t, with(t, standby.DSN(db.Name()), func(u *url.URL) { u.Host += "," + primary.Host }))
	if err != nil {
		t.Fatal(err)
	}
	var recovering bool
	if err := conn.QueryRow(t.Context(), "SELECT pg_is_in_recovery()").Scan(&recovering); err != nil || recovering {
		t.Errorf("of both hosts the standby was taken: %v", err)
	}
}

func TestConnectorHasTheConfigurationsTimeout(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "--dsn", "postgres://app@"+deaf(t, false)+"/shop?sslmode=disable", "--set", "timeouts.connect=50ms")
	dial, err := configs.Connector(m.load())
	if err != nil {
		t.Fatal(err)
	}
	_, err = dial(t.Context())
	if err == nil {
		t.Fatal("connected")
	}
	wants(t, err.Error(), "no answer within 50ms")
	if _, err = configs.Connector(newMachine(t, "--dsn", "postgres://a:"+canary+"/b@c/d").load()); !errors.Is(err, backfill.ErrInput) {
		t.Errorf("got %v", err)
	}
}
