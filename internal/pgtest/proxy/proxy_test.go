package proxy_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/proxy"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// between puts a proxy before a fresh database with a table of numbers.
func between(t *testing.T) (*proxy.Proxy, *pgtest.DB, string) {
	t.Helper()
	db := pgtest.New(t)
	db.Exec("CREATE TABLE numbers (n int)")
	p, err := proxy.New(fmt.Sprintf("127.0.0.1:%d", db.Server().Port()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if n := p.Connections(); n != 0 {
			t.Errorf("%d connections after Close", n)
		}
	})
	dsn, err := p.DSN(db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	return p, db, dsn
}

// insert sends a transaction; sql is how it ends.
func insert(t *testing.T, conn *pgx.Conn, n int, end string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, sql := range []string{"BEGIN", fmt.Sprintf("INSERT INTO numbers VALUES (%d)", n), end} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

func count(db *pgtest.DB) int { return pgtest.One[int](db, "SELECT count(*) FROM numbers") }

func TestForwards(t *testing.T) {
	t.Parallel()
	p, db, dsn := between(t)
	// The client asks for encryption first, and goes on without.
	conn := pgtest.Connect(t, strings.Replace(dsn, "sslmode=disable", "sslmode=prefer", 1))
	if err := insert(t, conn, 1, "COMMIT"); err != nil {
		t.Fatal(err)
	}
	// Big messages both ways, and a COPY.
	big := strings.Repeat("0123456789", 1<<18)
	var back string
	if err := conn.QueryRow(t.Context(), "SELECT $1::text", big).Scan(&back); err != nil || back != big {
		t.Errorf("%d bytes of %d came back: %v", len(back), len(big), err)
	}
	rows := make([][]any, 20000)
	for i := range rows {
		rows[i] = []any{i}
	}
	if _, err := conn.CopyFrom(t.Context(), pgx.Identifier{"numbers"}, []string{"n"}, pgx.CopyFromRows(rows)); err != nil {
		t.Fatal(err)
	}
	if got := count(db); got != 20001 {
		t.Errorf("%d rows", got)
	}
	if got := p.Connections(); got != 1 {
		t.Errorf("%d connections", got)
	}
	conn.Close(t.Context())
	pgtest.Eventually(t, 10*time.Second, func() error {
		if n := p.Connections(); n != 0 {
			return fmt.Errorf("%d connections", n)
		}
		return nil
	})
}

// The three places where a connection can break around a COMMIT, through every way of sending one.
func TestCommitBreaks(t *testing.T) {
	t.Parallel()
	ways := map[string]func(ctx context.Context, conn *pgx.Conn) error{
		"simple": func(ctx context.Context, conn *pgx.Conn) error {
			tx, err := conn.Begin(ctx)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "INSERT INTO numbers VALUES (1)"); err != nil {
				return err
			}
			return tx.Commit(ctx)
		},
		"pipeline": func(ctx context.Context, conn *pgx.Conn) error {
			b := &pgx.Batch{}
			for _, sql := range []string{"BEGIN", "INSERT INTO numbers VALUES (1)", "COMMIT", "BEGIN", "SELECT 1", "COMMIT"} {
				b.Queue(sql)
			}
			return conn.SendBatch(ctx, b).Close()
		},
	}
	for way, send := range ways {
		for name, c := range map[string]struct {
			hook   proxy.Hook
			refuse bool // keep the client's cancel request from deciding the outcome
			rows   int
		}{
			"request lost": {proxy.LoseCommitRequest(1), false, 0},
			"answer lost":  {proxy.LoseCommitAnswer(1), false, 1},
			"asked, then cut": {func(m proxy.Message) proxy.Verdict {
				if m.Type == 'Q' && strings.EqualFold(m.SQL(), "COMMIT") || m.From == proxy.Frontend && m.Type == 'S' && way == "pipeline" {
					return proxy.ForwardThenCut
				}
				return proxy.Forward
			}, true, 1},
		} {
			t.Run(way+"/"+name, func(t *testing.T) {
				t.Parallel()
				p, db, dsn := between(t)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				// One statement, one round: what is prepared ahead would have a Sync of its own.
				config, err := pgx.ParseConfig(dsn)
				if err != nil {
					t.Fatal(err)
				}
				config.DefaultQueryExecMode = pgx.QueryExecModeExec
				conn, err := pgx.ConnectConfig(ctx, config)
				if err != nil {
					t.Fatal(err)
				}
				p.Refuse(c.refuse)
				p.Hook(c.hook)
				if err := send(ctx, conn); err == nil || errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("the client was told %v", err)
				}
				var pgErr *pgconn.PgError
				if errors.As(err, &pgErr) {
					t.Errorf("the client had an answer: %v", pgErr)
				}
				// Only when the server has done with the session is the outcome there to see.
				pgtest.Eventually(t, 10*time.Second, func() error {
					if pgtest.One[int](db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'") > 0 {
						return errors.New("the session lives")
					}
					return nil
				})
				if got := count(db); got != c.rows {
					t.Errorf("%d rows, want %d", got, c.rows)
				}
			})
		}
	}
}

func TestHookSeesTheProtocol(t *testing.T) {
	t.Parallel()
	p, _, dsn := between(t)
	var startups, queries, tags atomic.Int64
	p.Hook(func(m proxy.Message) proxy.Verdict {
		switch {
		case m.Type == proxy.Startup && binary.BigEndian.Uint32(m.Payload) == 3<<16:
			startups.Add(1)
		case m.SQL() == "INSERT INTO numbers VALUES (7)":
			queries.Add(1)
		case m.Tag() == "INSERT 0 1":
			tags.Add(1)
		}
		if m.From == proxy.Backend && m.Type == 'N' {
			return proxy.Drop
		}
		if m.String() == "" {
			return proxy.Cut
		}
		return proxy.Forward
	})
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	notices := 0
	config.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) { notices++ }
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := insert(t, conn, 7, "COMMIT"); err != nil {
		t.Fatal(err)
	}
	const noisy = "DO $$ BEGIN RAISE NOTICE 'heard'; END $$"
	if _, err := conn.Exec(t.Context(), noisy); err != nil {
		t.Fatal(err)
	}
	if notices != 0 {
		t.Error("a dropped message was delivered")
	}
	p.Hook(nil)
	if _, err := conn.Exec(t.Context(), noisy); err != nil || notices != 1 {
		t.Errorf("%d notices without the hook, %v", notices, err)
	}
	if startups.Load() != 1 || queries.Load() != 1 || tags.Load() != 1 {
		t.Errorf("saw %d startups, %d queries, %d tags", startups.Load(), queries.Load(), tags.Load())
	}
}

func TestCutAllAndRefuse(t *testing.T) {
	t.Parallel()
	p, _, dsn := between(t)
	a, b := pgtest.Connect(t, dsn), pgtest.Connect(t, dsn)
	p.Refuse(true)
	if _, err := pgx.Connect(t.Context(), dsn); err == nil {
		t.Error("a connection was not refused")
	}
	if _, err := a.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("refusing new connections ended an old one: %v", err)
	}
	if n := p.CutAll(); n != 2 {
		t.Errorf("cut %d connections", n)
	}
	for _, conn := range []*pgx.Conn{a, b} {
		if _, err := conn.Exec(t.Context(), "SELECT 1"); err == nil {
			t.Error("a cut connection works")
		}
	}
	p.Refuse(false)
	if _, err := pgtest.Connect(t, dsn).Exec(t.Context(), "SELECT 1"); err != nil {
		t.Error(err)
	}
}

// A connection is cut inside of a message, at each of its bytes: the server has so much of a statement, or the client of an
// answer, and what was begun is rolled back. New connections go to another server where the proxy is told so.
//
// Made to fail: with the whole message delivered, the statement that was cut in its last byte is carried out.
func TestCutInsideAMessage(t *testing.T) {
	t.Parallel()
	p, db, dsn := between(t)
	const sql = "INSERT INTO numbers VALUES (1)"
	whole := 5 + len(sql) + 1
	for n := range whole {
		conn := pgtest.Connect(t, dsn)
		p.Hook(func(m proxy.Message) proxy.Verdict {
			if m.SQL() == sql {
				return proxy.CutAfter(n)
			}
			return proxy.Forward
		})
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err == nil {
			t.Fatalf("cut after %d bytes of %d, and carried out", n, whole)
		}
		p.Hook(nil)
	}
	if n := count(db); n != 0 {
		t.Errorf("%d statements were carried out of which the server had a part", n)
	}
	conn := pgtest.Connect(t, dsn)
	p.Hook(func(m proxy.Message) proxy.Verdict {
		if m.Tag() != "" {
			return proxy.CutAfter(4)
		}
		return proxy.Forward
	})
	if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err == nil {
		t.Error("an answer of which 4 bytes came is taken for one")
	}
	if n := count(db); n != 1 {
		t.Errorf("%d statements were carried out, whose answer was cut; want 1", n)
	}
	p.Hook(nil)
	p.Target("127.0.0.1:1")
	if conn, err := pgx.Connect(t.Context(), dsn); err == nil {
		conn.Close(t.Context())
		t.Error("a new connection does not go where the proxy was told to")
	}
}

func TestPauseHoldsAndResumeDelivers(t *testing.T) {
	t.Parallel()
	p, db, dsn := between(t)
	conn := pgtest.Connect(t, dsn)
	for _, side := range []proxy.Side{proxy.Frontend, proxy.Backend} {
		p.Pause(side)
		before := count(db)
		done := make(chan error, 1)
		go func() {
			_, err := conn.Exec(context.Background(), "INSERT INTO numbers VALUES (1)")
			done <- err
		}()
		if side == proxy.Backend { // the server does hear it
			pgtest.Eventually(t, 10*time.Second, func() error {
				if count(db) == before {
					return errors.New("not inserted")
				}
				return nil
			})
		}
		select {
		case err := <-done:
			t.Fatalf("an answer while the %s is paused: %v", side, err)
		case <-time.After(200 * time.Millisecond): // that nothing happens can only be waited for
		}
		if side == proxy.Frontend && count(db) != before {
			t.Error("the server heard a paused frontend")
		}
		p.Resume(side)
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no answer after the %s was resumed", side)
		}
	}
	// A paused proxy can be closed: the cleanup does it.
	p.Pause()
}

func TestLatency(t *testing.T) {
	t.Parallel()
	p, _, dsn := between(t)
	conn := pgtest.Connect(t, dsn)
	took := func() time.Duration {
		begun := time.Now()
		// Many rows are many messages: they are late together, not one after the other.
		rows, err := conn.Query(t.Context(), "SELECT generate_series(1, 1000)", pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pgx.CollectRows(rows, pgx.RowTo[int]); err != nil {
			t.Fatal(err)
		}
		return time.Since(begun)
	}
	p.Latency(100*time.Millisecond, 50*time.Millisecond)
	if d := took(); d < 150*time.Millisecond || d > 10*time.Second {
		t.Errorf("a round trip with 150 ms of latency took %s", d)
	}
	p.Latency(0, 0)
	pgtest.Eventually(t, 10*time.Second, func() error {
		if d := took(); d > 100*time.Millisecond {
			return fmt.Errorf("a round trip without latency took %s", d)
		}
		return nil
	})
}

func TestCancelRequestPasses(t *testing.T) {
	t.Parallel()
	_, _, dsn := between(t)
	conn := pgtest.Connect(t, dsn)
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT pg_sleep(60)")
		done <- err
	}()
	pgtest.Eventually(t, 20*time.Second, func() error {
		if err := conn.PgConn().CancelRequest(t.Context()); err != nil {
			return err
		}
		select {
		case err := <-done:
			var pgErr *pgconn.PgError
			if !errors.As(err, &pgErr) || pgErr.Code != "57014" {
				t.Errorf("the statement ended with %v", err)
			}
			return nil
		default:
			return errors.New("not cancelled")
		}
	})
}

// What is not PostgreSQL, on either side, ends a connection and not the proxy.
func TestGarbage(t *testing.T) {
	t.Parallel()
	p, _, dsn := between(t)
	for _, first := range []string{"GET / HTTP/1.1\r\n\r\n", "\x00\x00\x00\x01", "\xff\xff\xff\xff", "\x00\x00\x00\x06ab", ""} {
		conn, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(first)); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Logf("%q: %v", first, err) // the proxy was faster
		}
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		var timeout net.Error
		if len(got) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%q: %q, %v", first, got, err)
		}
		conn.Close()
	}
	dead, err := proxy.New("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := dead.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := pgx.Connect(t.Context(), strings.Replace(dsn, p.Addr(), dead.Addr(), 1)); err == nil {
		t.Error("a connection to no server")
	}
	pgtest.Connect(t, dsn)
	if _, err := p.DSN("host=127.0.0.1"); err == nil {
		t.Error("a DSN that is not a URL was accepted")
	}
}
