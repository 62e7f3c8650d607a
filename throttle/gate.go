package throttle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// The intervals that apply where a [GateOptions] says none.
const (
	DefaultPoll = time.Second
	DefaultNear = 250 * time.Millisecond
)

// ErrEnds is what [Gate.Wait] returns where the process should end, resumable, and not wait: at the end of a schedule's
// window.
var ErrEnds = errors.New("the time to work is over")

// GateOptions say how a gate reads its signals.
type GateOptions struct {
	// Poll is the time between two readings of a signal; the default is [DefaultPoll]. A reading older than three polls
	// is stale.
	Poll time.Duration
	// Near is the same while a gate is shut, or near to it; the default is [DefaultNear].
	Near time.Duration
}

// Gate combines signals: it is open when every one of them that can shut it has been read of late and is within its
// limit. [NewGate] makes one, and [Gate.Run] keeps it informed: until that has read every signal once, and after it has
// ended, the gate is shut.
type Gate struct {
	pace    pace
	pollers []*poller

	mu      sync.Mutex // guards changed
	changed chan struct{}
}

// NewGate makes a gate of signals. Without any it is open.
func NewGate(o GateOptions, signals ...Signal) (*Gate, error) {
	if o.Poll == 0 {
		o.Poll = DefaultPoll
	}
	if o.Near == 0 {
		o.Near = min(DefaultNear, o.Poll)
	}
	if o.Poll < 0 || o.Near < 0 || o.Near > o.Poll {
		return nil, fmt.Errorf("polls every %s, %s near a limit: expected positive times, the second no longer than the first", o.Poll, o.Near)
	}
	g := &Gate{pace: pace{poll: o.Poll, near: o.Near}, changed: make(chan struct{})}
	for _, s := range signals {
		g.pollers = append(g.pollers, newPoller(s, &g.pace))
	}
	return g, nil
}

// Run reads the signals until ctx ends, and returns when every reader has.
func (g *Gate) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, p := range g.pollers {
		all.Go(func() { p.run(ctx, g.notify) })
	}
	// Readings get old while a reader hangs, and nobody would hear of it.
	tick := time.NewTicker(g.pace.poll)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case now := <-tick.C:
			stir := false
			for _, p := range g.pollers {
				stir = p.look(now) || stir
			}
			if stir {
				g.notify()
			}
		}
	}
	all.Wait()
}

// Read reads every signal once, as where there is nothing to wait for: by a doctor, before a run. It must not be called
// while Run is at work.
func (g *Gate) Read(ctx context.Context) []SignalState {
	var all sync.WaitGroup
	for _, p := range g.pollers {
		all.Go(func() { p.read(ctx) })
	}
	all.Wait()
	return g.State()
}

func (g *Gate) notify() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.changed)
	g.changed = make(chan struct{})
}

// Changed is closed when the status of a signal is another one. Take it before looking at what it may change.
func (g *Gate) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

// Refresh has every signal read at once, as after a change of limits.
func (g *Gate) Refresh() {
	for _, p := range g.pollers {
		select {
		case p.poke <- struct{}{}:
		default: // asked already
		}
	}
}

// State is what is known of every signal now, in the order they were given.
func (g *Gate) State() []SignalState {
	now := time.Now()
	list := make([]SignalState, len(g.pollers))
	for i, p := range g.pollers {
		list[i] = p.state(now)
	}
	return list
}

// Reason is why the gate is shut: the signal that says so, and all of it in a line.
type Reason struct{ Signal, Text string }

// Reasons says why the gate is shut, one reason a signal; none is open.
func (g *Gate) Reasons() []string {
	var list []string
	for _, r := range g.reasons(Unread, Over, Stale) {
		list = append(list, r.Text)
	}
	return list
}

func (g *Gate) reasons(of ...Status) []Reason {
	var list []Reason
	for _, s := range g.State() {
		if s.Shut && slices.Contains(of, s.Status) {
			list = append(list, Reason{s.Name, s.Text})
		}
	}
	return list
}

// Wait returns when the gate is open. It returns ctx's error when ctx ends first, and one that wraps [ErrEnds] where the
// process should end.
func (g *Gate) Wait(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		changed, shut := g.Changed(), false
		for _, s := range g.State() {
			if s.Shut && s.Status == Over && s.Reading.Ends {
				return fmt.Errorf("%w: %s", ErrEnds, s.Text)
			}
			shut = shut || s.Shut
		}
		if !shut {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// Watch calls told with the reasons when the gate shuts, at most once a poll with others when they read otherwise, and with
// none when it opens, until ctx ends. It does not call it while the gate stays open, nor while all that is missing is a
// first reading: that takes a moment, or fails and is a reason then.
func (g *Gate) Watch(ctx context.Context, told func(reasons []Reason)) {
	var before []Reason
	tick := time.NewTicker(g.pace.poll)
	defer tick.Stop()
	for ctx.Err() == nil {
		changed := g.Changed()
		if reasons := g.reasons(Over, Stale); !slices.Equal(reasons, before) {
			told(reasons)
			before = reasons
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-tick.C:
		}
	}
}

// Load is how much of the limits of the gradual signals is used.
type Load struct {
	// Utilisation is that of the signal that is worst off, 0 where none measures anything; Signal is its state in a line.
	Utilisation float64
	Signal      string
	// Stale is set where one of them cannot be read: nothing should be changed then.
	Stale bool
	// Known is set where at least one measures something.
	Known bool
}

// Load looks at the gradual signals.
func (g *Gate) Load() Load {
	var l Load
	for _, s := range g.State() {
		if s.Class != Gradual {
			continue
		}
		switch s.Status {
		case Unread, Stale:
			l.Stale = true
		case Fine, Near, Over:
			l.Known = true
			if u := s.Reading.Utilisation(); u >= l.Utilisation {
				l.Utilisation, l.Signal = u, s.Text
			}
		case Unused:
		}
	}
	return l
}
