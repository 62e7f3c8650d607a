package throttle_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// fake is a signal whose readings a test sets.
type fake struct {
	name  string
	class throttle.Class
	every time.Duration

	mu      sync.Mutex
	reading throttle.Reading
	err     error
	hangs   bool // without regard to its context
	reads   []time.Time
}

func (f *fake) Name() string            { return f.name }
func (f *fake) Class() throttle.Class   { return f.class }
func (f *fake) Interval() time.Duration { return f.every }

func (f *fake) Read(context.Context) (throttle.Reading, error) {
	f.mu.Lock()
	f.reads = append(f.reads, time.Now())
	reading, err, hangs := f.reading, f.err, f.hangs
	f.mu.Unlock()
	for hangs {
		time.Sleep(10 * time.Millisecond) // of a test's own time, within synctest
		f.mu.Lock()
		hangs = f.hangs
		f.mu.Unlock()
	}
	return reading, err
}

func (f *fake) set(r throttle.Reading) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading, f.err, f.hangs = r, nil, false
}

func (f *fake) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fake) hang(yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hangs = yes
}

// readsSince counts the readings taken since a moment.
func (f *fake) readsSince(t time.Time) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, at := range f.reads {
		if !at.Before(t) {
			n++
		}
	}
	return n
}

// lag is a reading of so many seconds against 10.
func lag(s float64) throttle.Reading {
	return throttle.Reading{Value: s, Limit: 10, Unit: throttle.Seconds, Detail: "standby eu-2"}
}

// gate runs a gate of the signals until the test ends.
func gate(t *testing.T, signals ...throttle.Signal) *throttle.Gate {
	t.Helper()
	g, err := throttle.NewGate(throttle.GateOptions{}, signals...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { g.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return g
}

// nobody is a server that cannot be asked.
type nobody struct{}

func (nobody) Query(context.Context, pgsql.Statement) ([][]*string, error) {
	return nil, errors.New("nobody is there")
}

// running runs a throttle until stop is called.
func running(t *testing.T, th *throttle.Throttle) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { th.Run(ctx); close(done) }()
	return func() { cancel(); <-done }
}
