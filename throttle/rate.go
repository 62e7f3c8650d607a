// Package throttle says when the next chunk may start. It knows nothing of jobs.
package throttle

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rate bounds the rows a second that all its callers take together.
//
// It is a token bucket (golang.org/x/time/rate) whose burst is one chunk, the one that is
// asked for: over any window the rows let through are at most the limit times the window
// plus one chunk. Callers are served whole chunks, in the order they came. [NewRate] makes one.
type Rate struct {
	// turn is held by the caller who is next. It is a channel and not a mutex, so that a
	// caller whose context ends can leave the queue. Only its holder touches reservations,
	// so the newest one can always be cancelled in full.
	turn chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// limit is in rows a second; 0 is none.
	limit float64
	// limiter is nil until the first chunk under a limit.
	limiter *rate.Limiter
	// changed is closed, and made anew, when the limit changes.
	changed chan struct{}
	// invalid is why the limit last set is none at all.
	invalid error
}

// NewRate makes a limit of so many rows a second; 0 is no limit. A negative number, NaN and
// infinity are errors.
func NewRate(rowsPerSecond float64) (*Rate, error) {
	if err := check(rowsPerSecond); err != nil {
		return nil, err
	}
	return &Rate{turn: make(chan struct{}, 1), changed: make(chan struct{}), limit: rowsPerSecond}, nil
}

func check(rowsPerSecond float64) error {
	if rowsPerSecond >= 0 && !math.IsInf(rowsPerSecond, 1) { // false for NaN
		return nil
	}
	return fmt.Errorf("rate %v: expected a number of rows a second, or 0 for no limit", rowsPerSecond)
}

// SetRate changes the limit, also for those who wait already; 0 is no limit. A number that
// is no limit (negative, NaN, infinite) lets nothing through: [Rate.Wait] returns an error
// that says so until a valid one is set.
func (r *Rate) SetRate(rowsPerSecond float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.invalid = check(rowsPerSecond); r.invalid == nil {
		r.limit = rowsPerSecond
		if r.limit == 0 {
			r.limiter = nil // what was owed under the old limit is forgiven
		} else if r.limiter != nil {
			r.limiter.SetLimit(rate.Limit(rowsPerSecond))
		}
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// Wait returns when rows more rows may be walked. It returns ctx's error when ctx ends
// first, and then nothing has been taken.
func (r *Rate) Wait(ctx context.Context, rows int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		pass, changed, err := r.reserve(rows)
		if err != nil || pass == nil {
			return err
		}
		again, err := wait(ctx, pass, changed)
		if !again {
			return err
		}
	}
}

// reserve takes rows from the bucket and returns when they may be used; nil is now. The
// channel is closed when the limit changes.
func (r *Rate) reserve(rows int) (*rate.Reservation, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.invalid != nil:
		return nil, nil, r.invalid
	case r.limit == 0 || rows <= 0:
		return nil, nil, nil
	case r.limiter == nil:
		r.limiter = rate.NewLimiter(rate.Limit(r.limit), rows)
	default:
		r.limiter.SetBurst(rows)
	}
	return r.limiter.ReserveN(time.Now(), rows), r.changed, nil
}

// wait waits for the reservation's time. It gives the rows back and returns true where the
// limit changed before, and gives them back with ctx's error where ctx ended.
func wait(ctx context.Context, pass *rate.Reservation, changed <-chan struct{}) (again bool, err error) {
	timer := time.NewTimer(pass.Delay())
	defer timer.Stop()
	select {
	case <-timer.C:
		return false, nil
	case <-changed:
		pass.Cancel()
		return true, nil
	case <-ctx.Done():
		pass.Cancel()
		return false, ctx.Err()
	}
}

// current is the limit, in rows a second; 0 is none.
func (r *Rate) current() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limit
}
