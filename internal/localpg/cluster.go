package localpg

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// superuser is the name of every cluster's superuser.
const superuser = "postgres"

// startTimeout bounds a start, a stop or a kill whose context has no deadline of its own.
const startTimeout = 2 * time.Minute

// Cluster is one PostgreSQL server with its data. Its methods may be called from several goroutines; those that
// start and stop the server wait for one another.
type Cluster struct {
	inst     Installation
	opts     Options // validated, never changed
	account  account
	dir      string // holds data/, the socket and the log; removed by Close
	password string
	port     int    // never changed once Start has returned
	upstream string // primary_conninfo, for a standby
	dog      *watchdog

	mu       sync.Mutex // guards what is below
	server   *server    // nil when the server is down
	standbys []*Cluster
	closed   bool
}

var errClosed = errors.New("the cluster is closed")

// Start makes a cluster and starts it. ctx bounds the start only; the cluster lives until [Cluster.Close].
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c, err := newCluster(ctx, opts.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("starting a PostgreSQL cluster: %w", err)
	}
	if err := c.create(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a PostgreSQL cluster: %w", err), c.Close())
	}
	return c, nil
}

// newCluster makes the directory and its watchdog.
func newCluster(ctx context.Context, opts Options) (*Cluster, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	acc, err := serverAccount()
	if err != nil {
		return nil, err
	}
	inst := opts.Installation
	if inst == (Installation{}) {
		if inst, err = Ensure(ctx, opts.Progress); err != nil {
			return nil, err
		}
	}
	dir, err := makeDir(acc)
	if err != nil {
		return nil, err
	}
	dog, err := watch(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	c := &Cluster{inst: inst, opts: opts, account: acc, dir: dir, dog: dog}
	register(c)
	return c, nil
}

// maxSocketDir keeps the path of the socket, which has "/.s.PGSQL.12345" to come, under the 104 bytes that macOS allows.
const maxSocketDir = 85

// makeDir makes the cluster's directory where the account can reach it.
func makeDir(acc account) (string, error) {
	var errs []error
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if len(parent) > maxSocketDir-len("/pgbackfill-pg-1234567890") {
			errs = append(errs, fmt.Errorf("%s: too long a path for a Unix socket", parent))
			continue
		}
		if !acc.mayEnter(parent) {
			errs = append(errs, fmt.Errorf("%s: the user %s cannot enter it", parent, acc.name))
			continue
		}
		dir, err := os.MkdirTemp(parent, "pgbackfill-pg-")
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if err := acc.own(dir); err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
		return dir, nil
	}
	return "", fmt.Errorf("no place for a cluster: %w", errors.Join(errs...))
}

// create fills the data directory and starts the server for the first time.
func (c *Cluster) create(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	initial, err := c.initData(ctx)
	if err != nil {
		return err
	}
	if err := c.prependHBA(); err != nil {
		return err
	}
	if err := c.launchAnywhere(ctx); err != nil {
		return err
	}
	// The template's password is in a file in the cache; the cluster's own is in no file.
	c.password = initial
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	fresh := rand.Text()
	if _, err := conn.Exec(ctx, "ALTER ROLE "+superuser+" PASSWORD '"+fresh+"'"); err != nil {
		return fmt.Errorf("setting the password: %w", err)
	}
	c.password = fresh
	return nil
}

func (c *Cluster) prependHBA() error {
	if len(c.opts.HBA) == 0 {
		return nil
	}
	path := filepath.Join(c.data(), "pg_hba.conf")
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var text []byte
	for _, line := range c.opts.HBA {
		text = append(append(text, line...), '\n')
	}
	return os.WriteFile(path, append(text, old...), 0o600)
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// Installation is the PostgreSQL that the cluster runs.
func (c *Cluster) Installation() Installation { return c.inst }

// Port is the TCP port on 127.0.0.1. It stays the same over restarts.
func (c *Cluster) Port() int { return c.port }

// Log is the path of the server's log.
func (c *Cluster) Log() string { return filepath.Join(c.dir, "log") }

// Dir is the cluster's directory: data/, log and the Unix socket are in it.
func (c *Cluster) Dir() string { return c.dir }

// Password is the superuser's.
func (c *Cluster) Password() string { return c.password }

// DSN is a connection string over TCP for the superuser.
func (c *Cluster) DSN(dbname string) string { return c.DSNFor(superuser, c.password, dbname) }

// DSNFor is a connection string over TCP for any role.
func (c *Cluster) DSNFor(user, password, dbname string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(user, password),
		Host:     "127.0.0.1:" + strconv.Itoa(c.port),
		Path:     "/" + dbname,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// SocketDSN is a connection string over the Unix socket for the superuser.
func (c *Cluster) SocketDSN(dbname string) string {
	return fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=%s", c.dir, c.port, superuser, c.password, quoteConninfo(dbname))
}

func (c *Cluster) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, c.DSN("postgres"))
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster %s: %w", c.opts.Name, err)
	}
	return conn, nil
}

// bounded gives a context that ends some time.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, startTimeout)
}

// open are the clusters that [CloseAll] closes.
var open struct {
	sync.Mutex
	clusters map[*Cluster]struct{}
}

func register(c *Cluster) {
	open.Lock()
	defer open.Unlock()
	if open.clusters == nil {
		open.clusters = map[*Cluster]struct{}{}
	}
	open.clusters[c] = struct{}{}
}

func unregister(c *Cluster) {
	open.Lock()
	defer open.Unlock()
	delete(open.clusters, c)
}

// CloseAll closes every cluster of this process that is not closed yet. A main that may end early, by a signal that
// it handles or by a panic, defers it; it then knows that everything is gone before it exits, where the
// watchdog would do the same a moment after.
func CloseAll() error {
	open.Lock()
	clusters := make([]*Cluster, 0, len(open.clusters))
	for c := range open.clusters {
		clusters = append(clusters, c)
	}
	open.Unlock()
	errs := make([]error, len(clusters))
	var wg sync.WaitGroup
	for i, c := range clusters {
		wg.Go(func() { errs[i] = c.Close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close stops the cluster's standbys and the cluster, at once, and removes everything of it. It can be called in any
// state and more than once.
func (c *Cluster) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	standbys := c.standbys
	var errs []error
	errs = append(errs, c.endServer(context.Background()))
	c.mu.Unlock()
	for _, s := range standbys {
		errs = append(errs, s.Close())
	}
	errs = append(errs, os.RemoveAll(c.dir), c.dog.dismiss())
	unregister(c)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the cluster %s: %w", c.opts.Name, err)
	}
	return nil
}
