package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/proxy"
)

// worldOptions say what a scenario of the chaos suite happens in.
type worldOptions struct {
	name string
	seed uint64
	// rows of the table at first; rate is the rows a second at which the faults find the run.
	rows, rate int
	// chunk is how many rows a chunk has; 0 is 40.
	chunk int
	// job is more of the job file, and settings more of the server's.
	job      string
	settings map[string]string
	// jobText is the job where it is not the usual one, and sql is sent when the table is there. table is what makes it, but for
	// its rows.
	jobText, sql, table string
	// server is more of the server's environment.
	server []string
	// standby is whether there is one.
	standby bool
	// processes at work at the same time; 0 is one.
	processes int
	// environ is more of the program's environment.
	environ []string
	// quiet is a world without an application.
	quiet bool
	// through gives the program's connection string where it is not that of the proxies.
	through func(*world) string
}

// world is a server, perhaps with a standby, an application that writes, and the program at work between proxies.
type world struct {
	*testing.T
	worldOptions
	random *rand.Rand
	// servers are those of the two places that the connection string names; one of them is the primary. links are the proxies
	// before them, and feed that between the primary and its standby.
	servers [2]*localpg.Cluster
	links   [2]*proxy.Proxy
	feed    *proxy.Proxy
	primary int
	dbname  string
	dir     string
	tmp     string
	job     string
	app     *writers
	procs   []*process
	// gone are the processes that have been killed or have ended.
	gone []*process
	// lost counts the chunks that were acknowledged and that a failover took.
	lost int
	done []string

	mu   sync.Mutex
	conn *pgx.Conn
}

const countersTable = `CREATE TABLE counters (id int PRIMARY KEY, counter int NOT NULL DEFAULT 0, late bool NOT NULL DEFAULT false,
	touched int NOT NULL DEFAULT 0, pad text DEFAULT 'x')`

const worldJob = `name: count
table: public.counters
idempotent: false
update:
  set:
    counter: t.counter + 1
workers: 3
chunk: {rows: %d}
timeouts: {lock: 300ms, statement: 2s, idle: 1s, connect: 2s}
throttle: {lag: {max: 60s, grace: 500ms}}
`

// newWorld makes the servers and the table, and lets the application in.
func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	w := &world{T: t, worldOptions: o, random: rand.New(rand.NewPCG(o.seed, 7)), dbname: "app", dir: t.TempDir(), tmp: t.TempDir()}
	t.Cleanup(w.tell)
	settings := map[string]string{
		"max_connections": "60", "deadlock_timeout": "100ms", "shared_buffers": "32MB", "wal_keep_size": "64MB",
		"autovacuum_naptime": "1s", "wal_retrieve_retry_interval": "100ms",
	}
	for name, value := range o.settings {
		settings[name] = value
	}
	w.servers[0] = pgtest.Cluster(t, localpg.Options{Settings: settings, Environ: o.server})
	w.links[0] = w.proxy(w.servers[0])
	w.links[1] = w.proxy(w.servers[0])
	w.admin("CREATE DATABASE " + w.dbname + " TEMPLATE template0")
	w.exec(cmp.Or(o.table, countersTable) + `;
		CREATE TABLE touches (id int);
		INSERT INTO counters (id) SELECT g * 3 - 1000 FROM generate_series(1, ` + fmt.Sprint(o.rows) + `) AS g;
		ANALYZE counters;` + o.sql)
	if o.standby {
		w.newStandby()
	} else {
		w.links[1].Refuse(true)
	}
	w.job = write(t, w.dir, "count.yaml", cmp.Or(o.jobText, fmt.Sprintf(worldJob, cmp.Or(o.chunk, 40)))+o.job)
	if !o.quiet {
		w.app = w.write()
	}
	return w
}

func (w *world) proxy(to *localpg.Cluster) *proxy.Proxy {
	w.Helper()
	p, err := proxy.New(address(to))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { p.Close() })
	return p
}

func address(c *localpg.Cluster) string { return fmt.Sprintf("127.0.0.1:%d", c.Port()) }

// newStandby makes a standby in the place that is free.
func (w *world) newStandby() {
	w.Helper()
	w.feed = w.proxy(w.server())
	_, port, _ := strings.Cut(w.feed.Addr(), ":")
	standby := pgtest.Standby(w.T, w.server(), localpg.StandbyOptions{Settings: map[string]string{
		"primary_conninfo": fmt.Sprintf("host=127.0.0.1 port=%s user=postgres password=%s application_name=standby sslmode=disable", port, w.server().Password()),
	}})
	w.servers[1-w.primary] = standby
	w.links[1-w.primary].Target(address(standby))
}

func (w *world) server() *localpg.Cluster     { return w.servers[w.primary] }
func (w *world) standbyNow() *localpg.Cluster { return w.servers[1-w.primary] }

// dsn is how the program reaches the servers: both places, through their proxies.
func (w *world) dsn() string {
	if w.through != nil {
		return w.through(w)
	}
	return w.dsnOf(w.links[0].Addr() + "," + w.links[1].Addr())
}

// direct is the way past the proxies, to the primary, whatever is set there.
func (w *world) direct() string { return w.dsnOf(address(w.server())) + "&search_path=public" }

func (w *world) dsnOf(hosts string) string {
	u, err := url.Parse(w.server().DSN(w.dbname))
	if err != nil {
		w.Fatal(err)
	}
	// A URL cannot hold several hosts with ports for its own parser's taste; the text can.
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable&target_session_attrs=read-write&connect_timeout=2", u.User, hosts, w.dbname)
}

// start starts processes until there are as many as there should be.
func (w *world) start(args ...string) {
	w.Helper()
	for len(w.procs) < max(w.processes, 1) {
		w.procs = append(w.procs, startIn(w.T, append([]string{"TMPDIR=" + w.tmp}, w.environ...), w.dsn(), w.dir,
			append([]string{"run", "--yes", "--rate", fmt.Sprint(w.rate), w.job}, args...)...))
	}
}

// remove takes a process off the list, which has ended or is to be killed.
func (w *world) remove(p *process) {
	for i := range w.procs {
		if w.procs[i] == p {
			w.procs = append(w.procs[:i], w.procs[i+1:]...)
			w.gone = append(w.gone, p)
			return
		}
	}
}

// any is one of the processes.
func (w *world) any() *process { return w.procs[w.random.IntN(len(w.procs))] }

// some is a time of up to most that the seed chooses.
func (w *world) some(most time.Duration) time.Duration {
	return time.Duration(w.random.Int64N(int64(most)))
}

// lasts lets a fault last. That is what the fault is, and not a wait for something.
func lasts(d time.Duration) { <-time.After(d) }

// alive fails the test where a process has ended that should not have.
func (w *world) alive(what string) {
	w.Helper()
	w.begunAgain()
	for _, p := range w.procs {
		if p.ended() && p.cmd.ProcessState.ExitCode() != 0 {
			w.Fatalf("%s: a process exits with %d; it said:\n%s", what, p.cmd.ProcessState.ExitCode(), p.out)
		}
	}
}

// over reports whether the run has been finished.
func (w *world) over() bool {
	for _, p := range w.procs {
		if p.ended() {
			return true
		}
	}
	return false
}

// chunks counts the rows of the ledger.
func (w *world) chunks() int64 {
	if !ask[bool](w, "SELECT to_regclass('pgbackfill.chunks') IS NOT NULL") {
		return 0
	}
	return ask[int64](w, "SELECT count(*) FROM pgbackfill.chunks")
}

// awaits waits until so many more chunks are in the ledger, or the run is over.
func (w *world) awaits(more int64, what string) {
	w.Helper()
	target := w.chunks() + more
	pgtest.Eventually(w, 90*time.Second, func() error {
		w.alive(what)
		if n := w.chunks(); n < target && !w.over() {
			return fmt.Errorf("%s: %d chunks, want %d; it said:\n%s", what, n, target, w.procs[0].out)
		}
		return nil
	})
}

// ask asks the primary for one value, again while there is none or it does not answer.
func ask[T any](w *world, sql string, args ...any) T {
	w.Helper()
	var v T
	w.retried(sql, func(ctx context.Context, conn *pgx.Conn) error { return conn.QueryRow(ctx, sql, args...).Scan(&v) })
	return v
}

// all asks the primary for one value of each row.
func all[T any](w *world, sql string, args ...any) []T {
	w.Helper()
	var list []T
	w.retried(sql, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, sql, args...)
		if err == nil {
			list, err = pgx.CollectRows(rows, pgx.RowTo[T])
		}
		return err
	})
	return list
}

// exec sends statements to the primary that may be sent twice.
func (w *world) exec(sql string) {
	w.Helper()
	w.retried(sql, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

func (w *world) retried(what string, f func(context.Context, *pgx.Conn) error) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	pgtest.Eventually(w, 30*time.Second, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if w.conn == nil || w.conn.IsClosed() {
			conn, err := pgx.Connect(ctx, w.direct())
			if err != nil {
				return err
			}
			w.conn = conn
		}
		if err := f(ctx, w.conn); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// forget closes the connection for questions: its server is about to go.
func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w.conn.Close(ctx)
		w.conn = nil
	}
}

// admin sends a statement outside of the database.
func (w *world) admin(sql string) {
	w.Helper()
	conn := pgtest.Connect(w.T, w.server().DSN("postgres"))
	defer conn.Close(context.Background())
	if _, err := conn.Exec(w.Context(), sql); err != nil {
		w.Fatalf("%s: %v", sql, err)
	}
}

// note keeps what was done, for who looks at a failure.
func (w *world) note(format string, args ...any) {
	w.done = append(w.done, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// tell says, where the test fails, what was done, what was said, and how it is repeated.
func (w *world) tell() {
	w.forget()
	if !w.Failed() {
		w.Logf("seed %d, %d processes:\n  %s", w.seed, max(w.processes, 1), strings.Join(w.done, "\n  "))
		return
	}
	var said strings.Builder
	for _, p := range append(w.gone, w.procs...) {
		fmt.Fprintf(&said, "\n--- process %d:\n%s", p.cmd.Process.Pid, tail(p.out.String(), 6000))
	}
	w.Logf("it was done:\n  %s\n%s\nrepeat it with: make chaos FAULT='%s' SEED=%d", strings.Join(w.done, "\n  "), said.String(), w.name, w.seed)
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// leftovers are the files in a folder, but for those that were put there.
func leftovers(dir string, but ...string) []string {
	var list []string
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		for _, name := range but {
			if filepath.Base(path) == name {
				return nil
			}
		}
		list = append(list, path)
		return nil
	})
	return list
}

// noProcess asserts that a process and all that it started are gone.
func (w *world) noProcess(p *process) {
	w.Helper()
	pgtest.Eventually(w, 10*time.Second, func() error {
		if err := syscall.Kill(-p.cmd.Process.Pid, 0); err == nil {
			return fmt.Errorf("of the group of process %d somebody lives on", p.cmd.Process.Pid)
		}
		return nil
	})
}
