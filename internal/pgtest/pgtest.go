// Package pgtest gives tests a real PostgreSQL: one server for a test binary, started when the first test asks for
// it, and a fresh database for each test.
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		t.Parallel()
//		db := pgtest.New(t)
//		db.Exec("CREATE TABLE numbers (n int)")
//		…
//		if got := pgtest.One[int](db, "SELECT count(*) FROM numbers"); got != 0 { … }
//	}
//
// A test that kills, freezes or reconfigures a server has one of its own: [Cluster].
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
)

// patience bounds every statement of the helpers: a test that hangs says where.
const patience = 60 * time.Second

// Main runs the tests of a binary and then removes the servers that they left. It is all that TestMain need do. Without it
// they are removed too, some moments after the process has ended.
func Main(m *testing.M) {
	// go test exits with what Run says, once TestMain returns.
	m.Run()
	if err := localpg.CloseAll(); err != nil {
		panic(fmt.Sprintf("removing the test servers: %v", err))
	}
}

// shared is the server of this test binary.
var shared = sync.OnceValues(func() (*localpg.Cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute) // there may be a download
	defer cancel()
	return localpg.Start(ctx, localpg.Options{Name: "pgtest", Progress: os.Stderr})
})

// Shared is the server that all databases of [New] are in. It must not be stopped or reconfigured.
func Shared(t testing.TB) *localpg.Cluster {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Cluster starts a server for this test alone; it is removed when the test ends. When the test fails, the end of the
// server's log is shown.
func Cluster(t testing.TB, opts localpg.Options) *localpg.Cluster {
	t.Helper()
	if opts.Progress == nil {
		opts.Progress = os.Stderr
	}
	c, err := localpg.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, c) })
	return c
}

// Standby starts a standby of a server; it is removed when the test ends.
func Standby(t testing.TB, primary *localpg.Cluster, opts localpg.StandbyOptions) *localpg.Cluster {
	t.Helper()
	c, err := primary.Standby(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, c) })
	return c
}

func finish(t testing.TB, c *localpg.Cluster) {
	if t.Failed() {
		if text, err := os.ReadFile(c.Log()); err == nil {
			t.Logf("the end of the server's log:\n%s", text[max(0, len(text)-4000):])
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// DB is a database that belongs to one test. Its helpers fail the test when the statement fails; they are for the
// test's own goroutine.
type DB struct {
	t       testing.TB
	cluster *localpg.Cluster
	name    string

	mu    sync.Mutex
	pool  *pgxpool.Pool // made when first asked for
	roles []string      // to be dropped with the database
}

// New makes a database on the shared server. It is dropped when the test ends, with whatever is still connected to it.
func New(t testing.TB) *DB {
	t.Helper()
	return NewOn(t, Shared(t))
}

// NewOn makes a database on a server of the test's own.
func NewOn(t testing.TB, c *localpg.Cluster) *DB {
	t.Helper()
	return made(t, c, "template0") // a session in template1 would make this fail
}

// Copy makes a database like this one: data that takes long to make need be made once. Nobody may be connected to this
// one, so that what has to be done with its helpers comes first: its pool is closed.
func (db *DB) Copy(t testing.TB) *DB {
	t.Helper()
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.pool != nil {
		db.pool.Close()
		db.pool = nil
	}
	return made(t, db.cluster, db.name)
}

func made(t testing.TB, c *localpg.Cluster, like string) *DB {
	t.Helper()
	db := &DB{t: t, cluster: c, name: databaseName(t.Name())}
	db.admin(t.Context(), "CREATE DATABASE "+pgx.Identifier{db.name}.Sanitize()+" TEMPLATE "+pgx.Identifier{like}.Sanitize())
	t.Cleanup(db.drop)
	return db
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// databaseName makes a name that is unique and says whose it is.
func databaseName(test string) string {
	test = strings.Trim(notInName.ReplaceAllString(strings.ToLower(test), "_"), "_")
	return test[:min(len(test), 40)] + "_" + strings.ToLower(rand.Text()[:10])
}

// admin runs statements outside of the database.
func (db *DB) admin(ctx context.Context, statements ...string) {
	db.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, db.cluster.DSN("postgres"))
	if err != nil {
		db.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			db.t.Fatalf("%s: %v", s, err)
		}
	}
}

func (db *DB) drop() {
	db.mu.Lock()
	pool, roles := db.pool, db.roles
	db.mu.Unlock()
	if pool != nil {
		// A connection that the test never gave back would make Close wait for ever.
		closed := make(chan struct{})
		go func() { pool.Close(); close(closed) }()
		select {
		case <-closed:
		case <-time.After(5 * time.Second):
			db.t.Errorf("the test did not give %d connections back to the pool", pool.Stat().AcquiredConns())
		}
	}
	if !db.cluster.Running() {
		return // it goes with its server
	}
	statements := []string{"DROP DATABASE " + pgx.Identifier{db.name}.Sanitize() + " WITH (FORCE)"}
	for _, role := range roles {
		statements = append(statements, "DROP ROLE "+pgx.Identifier{role}.Sanitize())
	}
	db.admin(context.Background(), statements...)
}

// Name is the database's name.
func (db *DB) Name() string { return db.name }

// Server is the cluster that the database is in.
func (db *DB) Server() *localpg.Cluster { return db.cluster }

// DSN is a connection string for the superuser.
func (db *DB) DSN() string { return db.cluster.DSN(db.name) }

// Example makes a database for a documented example, which has no test to belong to: where it is, and what drops it.
// Whatever goes wrong is a panic.
func Example(setup string) (dsn string, drop func()) {
	c, err := shared()
	if err != nil {
		panic(err)
	}
	ctx, name := context.Background(), databaseName("example")
	run := func(dsn, sql string) {
		conn, err := pgconn.Connect(ctx, dsn)
		if err == nil {
			_, err = conn.Exec(ctx, sql).ReadAll()
			err = errors.Join(err, conn.Close(ctx))
		}
		if err != nil {
			panic(fmt.Sprintf("%s: %v", sql, err))
		}
	}
	run(c.DSN("postgres"), "CREATE DATABASE "+name+" TEMPLATE template0")
	run(c.DSN(name), setup)
	return c.DSN(name), func() { run(c.DSN("postgres"), "DROP DATABASE "+name+" WITH (FORCE)") }
}

// Role makes a role that can log in, with further attributes such as "BYPASSRLS" or "IN ROLE pg_monitor", and gives its
// name and its connection string. It owns nothing, and what the test grants it goes with the database.
func (db *DB) Role(attributes string) (name, dsn string) {
	db.t.Helper()
	name, password := databaseName("role"), rand.Text()
	db.admin(db.t.Context(), fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s' %s", pgx.Identifier{name}.Sanitize(), password, attributes))
	db.mu.Lock()
	defer db.mu.Unlock()
	db.roles = append(db.roles, name)
	return name, db.cluster.DSNFor(name, password, db.name)
}

// Pool is a pool of the superuser's connections; it is the same at every call, and closed when the test ends.
func (db *DB) Pool() *pgxpool.Pool {
	db.t.Helper()
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.pool == nil {
		pool, err := pgxpool.New(context.Background(), db.DSN())
		if err != nil {
			db.t.Fatal(err)
		}
		db.pool = pool
	}
	return db.pool
}

// Conn is a new connection of the superuser, closed when the test ends.
func (db *DB) Conn() *pgx.Conn {
	db.t.Helper()
	return Connect(db.t, db.DSN())
}

// Connect opens a connection that is closed when the test ends.
func Connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		conn.Close(ctx)
	})
	return conn
}

// Exec runs a statement; without arguments it may be several.
func (db *DB) Exec(sql string, args ...any) pgconn.CommandTag {
	db.t.Helper()
	ctx, cancel := context.WithTimeout(db.t.Context(), patience)
	defer cancel()
	if len(args) == 0 {
		args = []any{pgx.QueryExecModeSimpleProtocol}
	}
	tag, err := db.Pool().Exec(ctx, sql, args...)
	if err != nil {
		db.t.Fatalf("%s: %v", sql, err)
	}
	return tag
}

// Virtual adds a generated column that is not stored, where the server has such columns: from PostgreSQL 18 on. Before, the
// column is one that is stored.
func (db *DB) Virtual(table, column, expression string) {
	db.t.Helper()
	kind := "STORED"
	if db.cluster.Installation().Major >= 18 {
		kind = "VIRTUAL"
	}
	db.Exec("ALTER TABLE " + table + " ADD " + column + " GENERATED ALWAYS AS (" + expression + ") " + kind)
}

// QueryRow asks for one row; what is wrong comes with its Scan.
func (db *DB) QueryRow(sql string, args ...any) pgx.Row {
	db.t.Helper()
	return db.Pool().QueryRow(db.t.Context(), sql, args...)
}

// One asks for one value of one row.
func One[T any](db *DB, sql string, args ...any) T {
	db.t.Helper()
	var v T
	if err := db.QueryRow(sql, args...).Scan(&v); err != nil {
		db.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// All asks for one value of every row.
func All[T any](db *DB, sql string, args ...any) []T {
	db.t.Helper()
	ctx, cancel := context.WithTimeout(db.t.Context(), patience)
	defer cancel()
	rows, err := db.Pool().Query(ctx, sql, args...)
	if err != nil {
		db.t.Fatalf("%s: %v", sql, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		db.t.Fatalf("%s: %v", sql, err)
	}
	return all
}

// Eventually calls f until it returns nil, and fails the test with f's last error when it did not within the deadline.
func Eventually(t testing.TB, deadline time.Duration, f func() error) {
	t.Helper()
	if err := eventually(t.Context(), deadline, f); err != nil {
		t.Fatal(err)
	}
}

func eventually(ctx context.Context, deadline time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", deadline, err)
		case <-time.After(wait):
		}
	}
}
