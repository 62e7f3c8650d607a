package localpg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// envChild makes the test binary play a program that starts clusters and ends without closing them.
const envChild = "LOCALPG_TEST_CHILD"

func TestMain(m *testing.M) {
	if how := os.Getenv(envChild); how != "" {
		child(how)
	}
	m.Run()
	if err := CloseAll(); err != nil {
		panic(err)
	}
}

// child starts a primary and a standby, says where they are, and ends as it was told.
func child(how string) {
	ctx := context.Background()
	switch how {
	case "killed in initdb":
		_, err := Start(ctx, Options{Fresh: true})
		fmt.Println("not killed:", err)
		os.Exit(1)
	case "gives up in initdb":
		soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if _, err := Start(soon, Options{Fresh: true}); errors.Is(err, context.DeadlineExceeded) {
			fmt.Println("gave up")
		}
		select {}
	}
	primary, err := Start(ctx, Options{})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	standby, err := primary.Standby(ctx, StandbyOptions{})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	if how == "frozen" {
		if err := primary.Freeze(); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	fmt.Printf("ready %s %s\n", primary.Dir(), standby.Dir())
	switch how {
	case "exit":
		os.Exit(3)
	case "panic":
		go func() { panic("as it was told") }()
	}
	select {}
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

func expectGone(t *testing.T, dir string) {
	t.Helper()
	within(t, 20*time.Second, func() error {
		if p := using(t, dir); len(p) > 0 {
			return fmt.Errorf("processes: %v", p)
		}
		if _, err := os.Stat(dir); err == nil {
			return fmt.Errorf("%s is there", dir)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
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

// Kill leaves nothing alive, loses nothing that was committed, and the cluster comes back on its port.
func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	conn := connect(t, c)
	exec1(t, conn, "CREATE TABLE kept (n int)")
	for round := range 3 {
		exec1(t, conn, fmt.Sprintf("INSERT INTO kept VALUES (%d)", round))
		// A transaction that is open at the kill, and a child that would not notice that its parent died.
		busy := connect(t, c)
		exec1(t, busy, "BEGIN")
		exec1(t, busy, "INSERT INTO kept VALUES (-1)")
		go busy.Exec(context.Background(), "SELECT count(*) FROM generate_series(1, 1000000000)") //nolint:errcheck // it is killed
		within(t, 10*time.Second, func() error {
			if query[int](t, conn, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate_series%' AND state = 'active' AND pid <> pg_backend_pid()") == 0 {
				return errors.New("the busy query has not begun")
			}
			return nil
		})
		shm, ok := c.sharedMemory()
		if !ok {
			t.Fatal("no shared memory in the pid file")
		}
		if err := c.Kill(); err != nil {
			t.Fatal(err)
		}
		if p := using(t, c.Dir()); len(p) > 0 {
			t.Fatalf("alive after Kill: %v", p)
		}
		if c.Running() {
			t.Error("Running after Kill")
		}
		if table, err := os.ReadFile("/proc/sysvipc/shm"); err == nil && containsField(string(table), strconv.Itoa(shm)) {
			t.Errorf("shared memory %d is still there:\n%s", shm, table)
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(c.Port()))
		if err != nil {
			t.Fatalf("the port is held: %v", err)
		}
		l.Close()
		if err := c.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		conn = connect(t, c)
		if got := query[int](t, conn, "SELECT count(*) FROM kept WHERE n >= 0"); got != round+1 {
			t.Errorf("%d rows after kill %d", got, round)
		}
		if got := query[int](t, conn, "SELECT count(*) FROM kept WHERE n < 0"); got != 0 {
			t.Errorf("%d rows that were never committed", got)
		}
	}
}

// containsField reports whether a line's second field, the identifier in /proc/sysvipc/shm, is the given one.
func containsField(table, id string) bool {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == id {
			return true
		}
	}
	return false
}

func TestStopModes(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	exec1(t, connect(t, c), "CREATE TABLE kept (n int)")
	for _, mode := range []StopMode{Fast, Immediate} {
		if err := c.Stop(t.Context(), mode); err != nil {
			t.Fatal(err)
		}
		if c.Running() || len(using(t, c.Dir())) > 0 {
			t.Fatalf("it runs after a stop %d", mode)
		}
		if err := c.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		query[int](t, connect(t, c), "SELECT count(*) FROM kept")
	}
	// Smart waits for the session that is open; the stop gives up with its context, and the server lives.
	conn := connect(t, c)
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.Stop(short, Smart); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("smart stop with a session open: %v", err)
	}
	if query[int](t, conn, "SELECT 1") != 1 || !c.Running() {
		t.Error("the server is not there any more")
	}
	if err := c.Stop(t.Context(), 9); err == nil {
		t.Error("stop mode 9 was accepted")
	}
}

func TestFreezeAndThaw(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	conn := connect(t, c)
	if err := c.Freeze(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT 1")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("a frozen server answered: %v", err)
	case <-time.After(300 * time.Millisecond): // that nothing happens can only be waited for
	}
	if err := c.Thaw(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-answered:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no answer after Thaw")
	}
	// A frozen cluster can be closed, killed and restarted like any other.
	if err := c.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	expectGone(t, c.Dir())
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

func TestCloseAll(t *testing.T) { // not parallel: it closes what others opened
	c, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := CloseAll(); err != nil {
		t.Fatal(err)
	}
	expectGone(t, c.Dir())
}

// However a process ends that never closed its clusters, nothing of them stays.
func TestNothingOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	for how, sig := range map[string]syscall.Signal{
		"killed":      syscall.SIGKILL,
		"interrupted": syscall.SIGINT,
		"terminated":  syscall.SIGTERM,
		"frozen":      syscall.SIGKILL,
		"panic":       0,
		"exit":        0,
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), envChild+"="+how)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			var primary, standby string
			if n, scanErr := fmt.Sscanf(line, "ready %s %s", &primary, &standby); n != 2 {
				_ = cmd.Process.Kill()
				t.Fatalf("the child said %q: %v, %v", line, err, scanErr)
			}
			if sig != 0 {
				if len(using(t, primary)) == 0 || len(using(t, standby)) == 0 {
					t.Error("no server seen before the signal")
				}
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
			}
			err = cmd.Wait()
			var ended *exec.ExitError
			if !errors.As(err, &ended) {
				t.Fatalf("the child ended with %v", err)
			}
			// The package must not have taken the signal for itself.
			if status := ended.Sys().(syscall.WaitStatus); sig != 0 && (!status.Signaled() || status.Signal() != sig) {
				t.Errorf("the child ended with %v, want death by %v", err, sig)
			}
			expectGone(t, primary)
			expectGone(t, standby)
		})
	}
}

// A process that dies, or gives up, while initdb runs leaves nothing either.
func TestNothingOutlivesInitdb(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"killed in initdb", "gives up in initdb"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("/tmp", "lp-") // short, and open to the server's user, which t.TempDir need not be
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), envChild+"="+how, "TMPDIR="+dir)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if how == "killed in initdb" {
				within(t, 20*time.Second, func() error {
					if len(using(t, dir)) == 0 {
						return errors.New("no initdb yet")
					}
					return nil
				})
			} else if line, err := bufio.NewReader(out).ReadString('\n'); line != "gave up\n" {
				t.Errorf("the child said %q: %v", line, err)
			} else if left, err := os.ReadDir(dir); err != nil || len(left) > 0 || len(using(t, dir)) > 0 {
				t.Errorf("a start that was given up left %v, %v", left, using(t, dir))
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
			within(t, 20*time.Second, func() error {
				left, err := os.ReadDir(dir)
				if err != nil {
					return err
				}
				if len(left) > 0 || len(using(t, dir)) > 0 {
					return fmt.Errorf("left: %v, %v", left, using(t, dir))
				}
				return nil
			})
		})
	}
}
