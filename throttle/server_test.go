package throttle_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// server is the one server of this package's tests: it can decode its log, archives it unless there is a file
// "noarchive" in its data directory, and knows prepared transactions.
var server = sync.OnceValues(func() (*localpg.Cluster, error) {
	return localpg.Start(context.Background(), localpg.Options{Settings: map[string]string{
		"wal_level": "logical", "archive_mode": "on", "archive_command": "test ! -f noarchive", "max_prepared_transactions": "5",
	}})
})

func serverOf(t *testing.T) *localpg.Cluster {
	t.Helper()
	c, err := server()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// patience is how long a test waits for what should take a few polls: the machine may be busy, and its disk, for which standbys wait.
const patience = 30 * time.Second

// off has every signal off.
func off() throttle.Limits {
	return throttle.Limits{
		Lag: throttle.LagLimits{Max: throttle.Off, MaxBytes: throttle.Off}, Slots: throttle.SlotLimits{MaxBytes: throttle.Off},
		ArchiveMaxSegments: throttle.Off, YieldAfter: throttle.Off, SnapshotMaxAge: throttle.Off,
		Vacuum: throttle.VacuumLimits{MaxDead: throttle.Off, Wraparound: throttle.Ignored}, CommitsMaxRatio: throttle.Off,
	}
}

// session is one that is closed with the test.
func session(t *testing.T, dsn string) *throttle.Session {
	s := throttle.NewSession(func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, dsn) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Close(ctx)
	})
	return s
}

// run makes a throttle that polls ten times as often as usual, and runs it until the test ends.
func run(t *testing.T, dsn string, o throttle.Options) *throttle.Throttle {
	t.Helper()
	o.Poll, o.Near, o.Primary = 100*time.Millisecond, 50*time.Millisecond, session(t, dsn)
	th, err := throttle.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { th.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return th
}

// shut waits until the gate is shut for a reason that holds all of the parts.
func shut(t *testing.T, th *throttle.Throttle, parts ...string) {
	t.Helper()
	pgtest.Eventually(t, patience, func() error {
		for _, reason := range th.Reasons() {
			if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(reason, part) }) {
				return nil
			}
		}
		var texts []string
		for _, s := range th.State() {
			texts = append(texts, s.Text)
		}
		return fmt.Errorf("no reason with %q among %q", parts, texts)
	})
}

// open waits until the gate is open.
func open(t *testing.T, th *throttle.Throttle) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := th.Wait(ctx, 1); err != nil {
		t.Fatalf("the gate stays shut: %q (%v)", th.Reasons(), err)
	}
}

// one is the state of the signal of that name.
func one(th *throttle.Throttle, name string) throttle.SignalState {
	for _, s := range th.State() {
		if s.Name == name {
			return s
		}
	}
	return throttle.SignalState{}
}

// events collects what a throttle tells.
type events struct {
	mu   sync.Mutex
	list []string
}

func (e *events) add(ev throttle.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev.Text)
}

// heard waits for an event that holds the part.
func (e *events) heard(t *testing.T, part string) {
	t.Helper()
	pgtest.Eventually(t, patience, func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !slices.ContainsFunc(e.list, func(s string) bool { return strings.Contains(s, part) }) {
			return fmt.Errorf("no event with %q among %q", part, e.list)
		}
		return nil
	})
}
