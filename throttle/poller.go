package throttle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// reopenAt is the hysteresis: a gate that a limit has shut opens when the reading is down to this part of it.
	reopenAt = 0.9
	// nearAt is the part of a gate's limit from which on it is looked at more often.
	nearAt = 0.7
	// staleAfter is how many polls a reading may be old.
	staleAfter = 3
	// readShare bounds the time spent on reading: a reading that takes long is taken less often, but a gate's never so
	// seldom that it would get stale.
	readShare = 10
)

// Status is what a signal's latest reading means now.
type Status int

// The statuses.
const (
	// Unread is a signal before its first reading; a gate is shut.
	Unread Status = iota
	// Fine is within the limit.
	Fine
	// Near is within the limit, and close to it.
	Near
	// Over is past the limit, or not yet far enough back under it; a gate is shut.
	Over
	// Stale is a reading that failed or is too old; a gate is shut, scaling holds.
	Stale
	// Unused is a signal that measures nothing: no limit is set, or there is nothing to measure.
	Unused
)

// String is the word for people and metrics.
func (s Status) String() string {
	return [...]string{"unread", "fine", "near", "over", "stale", "off"}[s]
}

// poller reads one signal in the background and judges what it has read.
type poller struct {
	signal Signal
	pace   *pace

	mu       sync.Mutex // guards what is below
	have     bool
	reading  Reading
	err      error
	at       time.Time     // when the latest reading, or failure, was begun
	good     time.Time     // when the latest reading that did not fail was begun
	interval time.Duration // until the next one
	over     bool          // with hysteresis
	since    time.Time     // when the status became what it is
	was      Status
	poke     chan struct{} // asks for a reading at once
}

// pace is how often signals are read.
type pace struct{ poll, near time.Duration }

func newPoller(s Signal, p *pace) *poller {
	return &poller{signal: s, pace: p, interval: p.poll, since: time.Now(), poke: make(chan struct{}, 1)}
}

// run reads until ctx ends, and tells noticed when the status has changed.
func (p *poller) run(ctx context.Context, noticed func()) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.poke:
		case <-timer.C:
		}
		if p.read(ctx) {
			noticed()
		}
		if ctx.Err() != nil {
			return
		}
		timer.Reset(p.pause())
	}
}

// read takes one reading and reports whether the status has changed.
func (p *poller) read(ctx context.Context) bool {
	begin := time.Now()
	bounded, cancel := context.WithTimeoutCause(ctx, staleAfter*p.pace.poll, errTooLong)
	defer cancel()
	r, err := p.signal.Read(bounded)
	if err != nil && errors.Is(context.Cause(bounded), errTooLong) {
		err = fmt.Errorf("%w (no answer within %s)", err, brief(staleAfter*p.pace.poll))
	}
	if ctx.Err() != nil {
		return false // the end of the poller says nothing of the signal
	}
	return p.take(r, err, begin)
}

var errTooLong = errors.New("the reading took too long")

func (p *poller) take(r Reading, err error, begin time.Time) bool {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.have, p.err, p.at = true, err, begin
	if err == nil {
		p.reading, p.good = r, begin
		u := r.Utilisation()
		p.over = u > 1 || p.over && u > reopenAt && r.Says == ""
	}
	status := p.judge(now)
	p.interval = p.pace.poll
	if paced, ok := p.signal.(Paced); ok {
		if i := paced.Interval(); i > 0 {
			p.interval = min(p.interval, i)
		}
	}
	if p.signal.Class() == Gating && (status == Near || status == Over || status == Stale) {
		p.interval = min(p.interval, p.pace.near)
	}
	took := now.Sub(begin)
	p.interval = max(p.interval, readShare*took)
	if p.signal.Class() == Gating {
		// The next reading is there before this one is stale, and half a poll is to spare.
		p.interval = min(p.interval, max(staleAfter*p.pace.poll-2*took-p.pace.poll/2, p.pace.near))
	}
	return p.became(status, now)
}

// became remembers the status and reports whether it is another one. The caller holds mu.
func (p *poller) became(s Status, now time.Time) bool {
	if s == p.was {
		return false
	}
	p.was, p.since = s, now
	return true
}

// look judges anew, since a reading gets old without anything happening.
func (p *poller) look(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.became(p.judge(now), now)
}

// judge is the status now. The caller holds mu.
func (p *poller) judge(now time.Time) Status {
	switch {
	case !p.have:
		return Unread
	case p.err != nil || now.Sub(p.at) > p.patience():
		return Stale
	case p.reading.Off:
		return Unused
	case p.over:
		return Over
	case p.reading.Utilisation() >= nearAt:
		return Near
	}
	return Fine
}

// patience is how old a reading may be. One that only scales may be taken less often, and then holds for longer. The caller
// holds mu.
func (p *poller) patience() time.Duration {
	if p.signal.Class() == Gradual {
		return staleAfter * max(p.interval, p.pace.poll)
	}
	return staleAfter * p.pace.poll
}

func (p *poller) pause() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.interval
}

// SignalState is what is known of one signal at a moment.
type SignalState struct {
	// Name and Class are the signal's.
	Name  string
	Class Class
	// Status is what the reading means; Since is when that began.
	Status Status
	Since  time.Time
	// Reading is the latest that could be had; Age is how old it is.
	Reading Reading
	Age     time.Duration
	// Err is why the latest attempt failed; nil where it did not.
	Err error
	// Text is the state in one line: "replica_lag 1.2s of 10s (standby eu-2)".
	Text string
	// Shut is set where this signal keeps the gate shut; Text is the reason then.
	Shut bool
}

func (p *poller) state(now time.Time) SignalState {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := SignalState{Name: p.signal.Name(), Class: p.signal.Class(), Status: p.judge(now), Since: p.since, Reading: p.reading, Err: p.err}
	if !p.good.IsZero() {
		s.Age = now.Sub(p.good)
	}
	s.Shut = s.Class == Gating && (s.Status == Unread || s.Status == Over || s.Status == Stale)
	s.Text = s.text(now.Sub(p.at))
	return s
}

func (s SignalState) text(old time.Duration) string {
	switch {
	case s.Status == Unread:
		return s.Name + " not read yet"
	case s.Err != nil:
		return s.Name + " cannot be read: " + oneLine(s.Err)
	case s.Status == Stale:
		return fmt.Sprintf("%s stale: no reading for %s", s.Name, brief(old))
	case s.Status == Over && s.Reading.Says == "" && !s.Reading.over():
		_, back := amounts(s.Reading.Value, s.Reading.Limit*reopenAt, s.Reading.Unit)
		return s.Reading.Text(s.Name) + ", goes on at " + back
	}
	return s.Reading.Text(s.Name)
}

// brief shows a duration as readings show theirs.
func brief(d time.Duration) string { return seconds(d.Seconds(), 1) }

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
