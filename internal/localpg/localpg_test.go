package localpg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) {
	if how := os.Getenv(envChild); how != "" {
		child(how)
	}
	m.Run()
	if err := CloseAll(); err != nil {
		panic(err)
	}
}

// within polls until f is content.
func within(t *testing.T, d time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(d)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", d, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func start(t *testing.T, opts Options) *Cluster {
	t.Helper()
	c, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func connect(t *testing.T, c *Cluster) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func query[T any](t *testing.T, conn *pgx.Conn, sql string) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func exec1(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// using lists the living processes whose working directory is under dir; postgres processes' is their data directory.
func using(t *testing.T, dir string) []string {
	t.Helper()
	if !isDir("/proc/self") {
		out, err := exec.Command("ps", "-axo", "pid=,command=").Output()
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, dir) {
				found = append(found, line)
			}
		}
		return found
	}
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil || len(links) == 0 {
		t.Fatalf("no processes to be seen: %v", err)
	}
	var found []string
	for _, link := range links {
		if cwd, err := os.Readlink(link); err == nil && strings.HasPrefix(cwd, dir) {
			found = append(found, link+" -> "+cwd)
		}
	}
	return found
}

func TestStartAndClose(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Name: "mine", Settings: map[string]string{"work_mem": "7MB", "search_path": `"a'b", public`}})
	conn := connect(t, c)
	for _, c := range [][2]string{
		{"SHOW cluster_name", "mine"},
		{"SHOW work_mem", "7MB"},
		{"SHOW search_path", `"a'b", public`},
		{"SHOW fsync", "off"},
		{"SHOW server_encoding", "UTF8"},
		{"SELECT current_setting('data_directory')", c.data()},
		{"SELECT inet_server_port()::text", strconv.Itoa(c.Port())},
		{"SELECT rolpassword ~ '^SCRAM' || '' FROM pg_authid WHERE rolname = current_user", "true"},
	} {
		sql, want := c[0], c[1]
		if got := query[string](t, conn, sql); got != want {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
	if len(using(t, c.Dir())) == 0 {
		t.Fatal("the look for processes finds none of a running server: it proves nothing")
	}
	socket, err := pgx.Connect(t.Context(), c.SocketDSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	socket.Close(t.Context())
	if conn, err := pgx.Connect(t.Context(), c.DSNFor(superuser, "guess", "postgres")); err == nil {
		conn.Close(t.Context())
		t.Error("a wrong password was let in")
	}
	if log, err := os.ReadFile(c.Log()); err != nil || !strings.Contains(string(log), "ready to accept connections") {
		t.Errorf("log: %v, %q", err, log)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	expectGone(t, c.Dir())
	if err := c.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	if err := c.Restart(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("Restart of a closed cluster: %v", err)
	}
}

func TestServerRunsUnprivileged(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not root: the server runs as ourselves")
	}
	c := start(t, Options{})
	info, err := os.Stat("/proc/" + strconv.Itoa(c.server.pid))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid == 0 || uid != c.account.uid {
		t.Errorf("the server runs as uid %d, want %d", uid, c.account.uid)
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(c.server.pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if groups, ok := strings.CutPrefix(line, "Groups:"); ok && strings.TrimSpace(groups) != "" {
			t.Errorf("the server kept supplementary groups %q", groups)
		}
	}
}

func TestDurableAndHBA(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Durable: true, HBA: []string{"host all guest 127.0.0.1/32 trust"}})
	conn := connect(t, c)
	if got := query[string](t, conn, "SHOW fsync"); got != "on" {
		t.Errorf("fsync is %s", got)
	}
	exec1(t, conn, "CREATE ROLE guest LOGIN")
	guest, err := pgx.Connect(t.Context(), c.DSNFor("guest", "", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	guest.Close(t.Context())
}

func TestStandby(t *testing.T) {
	t.Parallel()
	for _, copied := range []bool{false, true} {
		t.Run(fmt.Sprintf("copy=%v", copied), func(t *testing.T) {
			t.Parallel()
			primary := start(t, Options{Settings: map[string]string{"max_connections": "123"}})
			conn := connect(t, primary)
			exec1(t, conn, "CREATE TABLE streamed AS SELECT generate_series(1, 1000) AS n")
			standby, err := primary.Standby(t.Context(), StandbyOptions{Name: "second", Copy: copied})
			if err != nil {
				t.Fatal(err)
			}
			exec1(t, conn, "INSERT INTO streamed SELECT generate_series(1001, 2000)")
			if err := standby.CatchUp(t.Context(), primary); err != nil {
				t.Fatal(err)
			}
			read := connect(t, standby)
			if got := query[int](t, read, "SELECT count(*) FROM streamed"); got != 2000 {
				t.Errorf("the standby has %d rows", got)
			}
			if !query[bool](t, read, "SELECT pg_is_in_recovery()") {
				t.Error("the standby is not in recovery")
			}
			if got := query[string](t, conn, "SELECT application_name FROM pg_stat_replication"); got != "second" {
				t.Errorf("the primary knows it as %q", got)
			}
			// It survives its own death and the primary's.
			if err := errors.Join(standby.Kill(), primary.Kill(), primary.Restart(t.Context()), standby.Restart(t.Context())); err != nil {
				t.Fatal(err)
			}
			exec1(t, connect(t, primary), "INSERT INTO streamed VALUES (2001)")
			if err := standby.CatchUp(t.Context(), primary); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(primary.Kill(), standby.Promote(t.Context())); err != nil {
				t.Fatal(err)
			}
			exec1(t, connect(t, standby), "INSERT INTO streamed VALUES (2002)")
			if got := query[int](t, connect(t, standby), "SELECT count(*) FROM streamed"); got != 2002 {
				t.Errorf("the promoted standby has %d rows", got)
			}
			if err := primary.Close(); err != nil {
				t.Fatal(err)
			}
			expectGone(t, standby.Dir())
		})
	}
}

func TestFreshClustersDiffer(t *testing.T) {
	t.Parallel()
	const sql = "SELECT system_identifier::text FROM pg_control_system()"
	a, b := start(t, Options{Fresh: true}), start(t, Options{Fresh: true})
	if x, y := query[string](t, connect(t, a), sql), query[string](t, connect(t, b), sql); x == y {
		t.Errorf("both have the system identifier %s", x)
	}
	if a.Password() == b.Password() {
		t.Error("both have the same password")
	}
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for _, opts := range []Options{
		{Name: "a b"},
		{Settings: map[string]string{"work_mem = 1\nfsync": "on"}},
		{Settings: map[string]string{"work_mem": "1MB'\nfsync = 'on"}},
	} {
		if c, err := Start(t.Context(), opts); err == nil {
			t.Errorf("%+v was accepted; %v", opts, c.Close())
		}
	}
	// What only the server knows is wrong comes with its log, and leaves nothing.
	_, err := Start(t.Context(), Options{Settings: map[string]string{"work_mem": "much"}})
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "work_mem"`) {
		t.Errorf("error: %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	if err := c.Stop(t.Context(), Fast); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(c.Port()))
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := c.Restart(short); !errors.Is(err, errPortTaken) {
		t.Errorf("restart on a taken port: %v", err)
	}
	back := make(chan error, 1)
	go func() { back <- c.Restart(context.Background()) }()
	l.Close()
	if err := <-back; err != nil {
		t.Fatal(err)
	}
	query[int](t, connect(t, c), "SELECT 1")
}
