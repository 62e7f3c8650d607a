package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/debian"
)

// bouncer is a PgBouncer, the real one, between the program and a world's first server.
type bouncer struct {
	w    *world
	mode string
	port int
	dir  string
	cmd  *exec.Cmd
}

// newBouncer starts one. Its pools hold fewer connections than the program has.
func newBouncer(w *world, mode string, pool int) *bouncer {
	w.Helper()
	dir, err := os.MkdirTemp("", "pgbackfill-bouncer-") // it is read by another user where we are root
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	b := &bouncer{w: w, mode: mode, dir: dir, port: l.Addr().(*net.TCPAddr).Port}
	l.Close()
	for name, text := range map[string]string{
		"users": fmt.Sprintf("\"postgres\" \"%s\"\n", w.server().Password()),
		"ini": fmt.Sprintf(`[databases]
%s = host=127.0.0.1 port=%d dbname=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s/users
pool_mode = %s
default_pool_size = %d
server_login_retry = 1
`, w.dbname, w.server().Port(), w.dbname, b.port, dir, mode, pool),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			w.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		w.Fatal(err)
	}
	b.start()
	w.Cleanup(func() { b.stop(syscall.SIGKILL) })
	return b
}

func (b *bouncer) start() {
	b.w.Helper()
	root := debian.Unpacked(b.w, "pgbouncer", "libevent-2.1-7", "libc-ares2")
	args := []string{filepath.Join(b.dir, "ini")}
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...)
	}
	log, err := os.OpenFile(filepath.Join(b.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		b.w.Fatal(err)
	}
	defer log.Close()
	b.cmd = exec.Command(filepath.Join(root, "usr/sbin/pgbouncer"), args...)
	b.cmd.Env = []string{"LD_LIBRARY_PATH=" + debian.Libraries(b.w, root, "libevent-2.1.so*")}
	b.cmd.Stdout, b.cmd.Stderr = log, log
	if err := b.cmd.Start(); err != nil {
		b.w.Fatal(err)
	}
	pgtest.Eventually(b.w, 10*time.Second, func() error {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.port))
		if err != nil {
			said, _ := os.ReadFile(filepath.Join(b.dir, "log"))
			return fmt.Errorf("%w: %s", err, said)
		}
		return conn.Close()
	})
}

// stop ends it, with all connections, and it may be called twice.
func (b *bouncer) stop(sig syscall.Signal) {
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Signal(sig)
	_ = b.cmd.Wait() // that it was killed is what was wanted
	b.cmd = nil
}

func (b *bouncer) dsn() string {
	return strings.Replace(b.w.dsnOf(fmt.Sprintf("127.0.0.1:%d", b.port)), "&target_session_attrs=read-write", "", 1)
}

// Behind PgBouncer, by session and by transaction, everything is as it is without: also where it is killed, and where the server behind it is.
// In a pool by transaction there are fewer sessions than connections, and the next transaction is in another one.
//
// Made to fail: with what the pooler says of a server that it does not reach (class 08) taken for what never passes, the run fails.
func TestChaosBehindPgBouncer(t *testing.T) {
	t.Parallel()
	seed := firstSeed(t)
	for _, mode := range []string{"transaction", "session"} {
		name := "PgBouncer by " + mode
		scenario(t, name, func(t *testing.T) {
			pool := map[string]int{"transaction": 3, "session": 20}[mode]
			var b *bouncer
			w := newWorld(t, worldOptions{name: name, seed: seed, rows: 12_000, rate: 1500, through: func(*world) string { return b.dsn() }})
			b = newBouncer(w, mode, pool)
			if out := must(t, w.dsn(), w.dir, "plan", w.job); !strings.Contains(out, "pooler") {
				t.Errorf("plan says nothing of the pooler:\n%s", out)
			}
			w.start()
			w.awaits(5, "the beginning")
			for _, f := range []fault{
				{name: name + ": engine killed", does: (*world).killEngine},
				{name: name + ": killed", does: func(w *world) {
					b.stop(syscall.SIGKILL)
					lasts(w.some(700 * time.Millisecond))
					b.start()
				}},
				{name: name + ": server killed", does: func(w *world) { w.downServer((*localpg.Cluster).Kill) }},
				{name: name + ": backends terminated", does: (*world).terminateBackends},
				{name: name + ": engine stopped", does: func(w *world) { w.stopEngine(2500 * time.Millisecond) }},
			} {
				w.awaits(w.random.Int64N(15), "before: "+f.name)
				w.note("%s", f.name)
				f.does(w)
				injected(f.name, seed)
				w.lives(f)
			}
			for _, p := range w.procs { // sessions of the pool live on without us
				p.signal(t, syscall.SIGTERM)
				if code := p.wait(t, time.Minute); code != 130 && code != 0 {
					t.Errorf("terminated behind it, a process exits with %d:\n%s", code, p.out)
				}
				w.remove(p)
			}
			must(t, w.dsn(), w.dir, "status", "count")
			w.start()
			w.awaits(2, "resumed behind it")
			b.idle()
			w.finishes()
			b.everything()
		})
	}
}

// everything else that is done to a job works behind it too: verification, the gate's questions, the report, the undo.
func (b *bouncer) everything() {
	w := b.w
	w.Helper()
	job := write(w.T, w.dir, "fill.yaml", "name: fill\ntable: counters\nupdate: {set: {pad: \"'y' || t.id\"}}\nchunk: {rows: 500}\nundo: capture\ndual_write: {by: trigger}\n")
	before := ask[string](w, "SELECT md5(string_agg(c::text, ',' ORDER BY id)) FROM counters AS c")
	for _, args := range [][]string{
		{"dual-write", "install", "--yes", job},
		{"tripwire", "install", "--yes", job},
		{"run", "--yes", job},
		{"verify", job},
		{"doctor"},
		{"report", "fill"},
		{"tripwire", "remove", "--yes", job},
		{"dual-write", "remove", "--yes", job},
		{"undo", "--yes", job},
	} {
		must(w.T, w.dsn(), w.dir, args...)
	}
	if after := ask[string](w, "SELECT md5(string_agg(c::text, ',' ORDER BY id)) FROM counters AS c"); after != before {
		w.Error("the run that was taken back behind it has left something")
	}
	w.settledButTable() // what was kept for the undo stays until the next run
}

// idle has the pooler end the sessions that nobody uses: else they are there when it is looked whether some are left.
func (b *bouncer) idle() {
	text, err := os.ReadFile(filepath.Join(b.dir, "ini"))
	if err == nil {
		err = os.WriteFile(filepath.Join(b.dir, "ini"), append(text, "server_idle_timeout = 1\n"...), 0o644)
	}
	if err != nil {
		b.w.Fatal(err)
	}
	if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		b.w.Fatal(err)
	}
}
