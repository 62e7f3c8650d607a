package throttle

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Options say what a [Throttle] looks at.
type Options struct {
	GateOptions
	// Limits are what the signals are held against; fields that are zero have their defaults. They are to be clamped
	// before ([Limits.Clamp]).
	Limits Limits
	// Rate is rows a second over all workers; 0 is no limit.
	Rate float64
	// Workers is the greatest number of workers, with which it begins; default 1.
	Workers int
	// Primary reaches the server that is written to; it is required. See [NewSession].
	Primary Querier
	// Custom reaches the same server for the operator's own queries, over a connection of its own so that a slow one holds
	// nothing else up; default is Primary.
	Custom Querier
	// Standbys are those that are asked themselves.
	Standbys []Standby
	// Table is the oid of the walked table, for the signals about its vacuum; 0 leaves them out.
	Table uint32
	// ReadsOnly is set where the rows are only read, as by a verification: the gate counts, and nothing is held back for
	// what rows would make of the log.
	ReadsOnly bool
	// Replies is for how long a standby may say nothing to the primary; default [DefaultReplies].
	Replies time.Duration
	// HTTP asks the addresses; default is a client of its own that keeps no connection.
	HTTP *http.Client
	// OnEvent is told of standbys that are forgotten, come back, or are promoted. OnBlocked is told, at every reading
	// where there are any, who has waited for us longer than yield_after: the chunks of those sessions of ours are to be
	// cancelled and tried again smaller. OnWorkers is told a new number of workers. All may be nil; they are called from the
	// signals' goroutines and must return quickly.
	OnEvent   func(Event)
	OnBlocked func([]Blocked)
	OnWorkers func(workers int)
	// Signals are further ones, for programs that embed the engine.
	Signals []Signal
}

// Throttle says when the next chunk may start, how many rows it may have, and how many workers there should be: a [Gate]
// of all signals, a [Rate], a [Pacer] that holds the replicas' lag, and [Zones]. [New] makes one; [Throttle.Run] keeps it
// informed.
type Throttle struct {
	*Gate
	rate    *Rate
	pacer   *Pacer
	zones   *Zones
	commits *commitLatency
	lag     *replicas
	direct  []*direct
	worst   worstPressure
	o       Options
	limits  atomic.Pointer[Limits]
	waits   waits
}

// New makes a throttle. What is wrong with the options is said at once, all of it.
func New(o Options) (*Throttle, error) {
	var errs []error
	if o.Primary == nil {
		errs = append(errs, errors.New("a throttle without a way to the primary"))
	}
	for i, s := range o.Standbys {
		if s.Name == "" || s.Query == nil {
			errs = append(errs, fmt.Errorf("standby number %d has no name, or no way to it", i+1))
		}
	}
	rate, err := NewRate(o.Rate)
	if err := errors.Join(append(errs, err, o.Limits.Validate())...); err != nil {
		return nil, err
	}
	if o.Custom == nil {
		o.Custom = o.Primary
	}
	if o.Replies == 0 {
		o.Replies = DefaultReplies
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	}
	t := &Throttle{rate: rate, pacer: NewPacer(), zones: NewZones(o.Workers), o: o}
	limits := o.Limits.WithDefaults()
	t.limits.Store(&limits)
	t.commits = &commitLatency{limits: t.Limits}
	// Until the replicas have been looked at, the pace is that of a standby nothing is known of.
	t.pacer.Saw(Pressure{MaxLag: max(limits.Lag.Max, 0), MaxBytes: max(limits.Lag.MaxBytes, 0), Poll: busyLook, None: limits.Lag.Max <= 0 && limits.Lag.MaxBytes <= 0})
	t.Gate, err = NewGate(o.GateOptions, t.signals()...)
	return t, err
}

// signals are all there are. Those whose limit is off stay, since it can be set while they run; so do the lists of those
// that are made of one.
func (t *Throttle) signals() []Signal {
	primary, clock := t.o.Primary, &walClock{}
	tell := func(text string) {
		if t.o.OnEvent != nil {
			t.o.OnEvent(Event{At: time.Now(), Signal: lagTime{}.Name(), Text: text})
		}
	}
	t.worst.saw = t.pacer.Saw
	lag := newReplicas(primary, t.Limits, clock, t.o.Replies, tell, t.worst.from(0))
	lag.others, t.lag = len(t.o.Standbys) > 0, lag
	list := []Signal{
		lagTime{lag},
		lagBytes{lag},
		slotRetention{primary, t.Limits},
		archiveBacklog{primary, t.Limits},
		blockedSessions{primary, t.Limits, t.o.OnBlocked},
		oldSnapshot{primary, t.Limits},
		&windowSignal{limits: t.Limits},
		activeSessions{primary, t.Limits},
		t.commits, &walRate{query: primary, limits: t.Limits},
	}
	if t.o.Table != 0 {
		list = append(list, wraparoundVacuum{primary, t.Limits, t.o.Table}, deadRows{primary, t.Limits, t.o.Table})
	}
	poll := t.o.Poll
	if poll == 0 {
		poll = DefaultPoll
	}
	for i, s := range t.o.Standbys {
		d := &direct{Standby: s, limits: t.Limits, clock: clock, flushed: lag.flushed, primary: &lag.server, oldest: staleAfter * poll, tell: tell, pressed: t.worst.from(i + 1)}
		t.direct = append(t.direct, d)
		list = append(list, directTime{d}, directBytes{d})
	}
	l := t.Limits()
	for _, q := range l.Queries {
		list = append(list, customQuery{q, t.o.Custom})
	}
	for _, address := range l.HTTP {
		list = append(list, httpSignal{address, t.o.HTTP})
	}
	for _, path := range l.FlagFiles {
		list = append(list, flagFile{path})
	}
	return append(list, t.o.Signals...)
}

// Limits are those in force.
func (t *Throttle) Limits() Limits { return *t.limits.Load() }

// SetLimits changes the limits at once: every signal is read anew. Limits with other queries, addresses or flag files are
// refused, and nothing is changed: see [Name].
func (t *Throttle) SetLimits(l Limits) error {
	if err := l.Validate(); err != nil {
		return err
	}
	if list := Changed(t.o.Limits, l); len(list) > 0 {
		return fmt.Errorf("%s: fixed while a process is at work; start it anew to change that", strings.Join(list, ", "))
	}
	l = l.WithDefaults()
	t.limits.Store(&l)
	if l.Lag.Max <= 0 && l.Lag.MaxBytes <= 0 {
		t.worst.none() // nobody looks any more
	}
	t.Refresh()
	return nil
}

// Run reads the signals and moves the workers until ctx ends.
func (t *Throttle) Run(ctx context.Context) {
	done := make(chan struct{})
	go func() { t.Gate.Run(ctx); close(done) }()
	tick := time.NewTicker(DefaultPoll)
	defer tick.Stop()
	workers := t.zones.Workers()
	for {
		select {
		case <-tick.C:
			if now := t.zones.Step(t.Load()); now != workers {
				workers = now
				if t.o.OnWorkers != nil {
					t.o.OnWorkers(now)
				}
			}
		case <-ctx.Done():
			<-done
			return
		}
	}
}

// Wait returns when a chunk of so many rows may begin. It returns ctx's error, or one that wraps [ErrEnds] where the
// process should end. The gate is looked at last, since the rate may take its time.
func (t *Throttle) Wait(ctx context.Context, rows int) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if !t.o.ReadsOnly {
		end := t.waits.begin(forReplicas)
		err := t.pacer.Wait(ctx, rows)
		end()
		if err != nil {
			return err
		}
	}
	end := t.waits.begin(forRate)
	err := t.rate.Wait(ctx, rows)
	end()
	if err != nil {
		return err
	}
	return t.open(ctx)
}

// open returns when the gate is open.
func (t *Throttle) open(ctx context.Context) error {
	defer t.waits.begin(atGate)()
	return t.Gate.Wait(ctx)
}

// Waited is for how long chunks have been kept waiting so far.
func (t *Throttle) Waited() Waited { return t.waits.waited() }

// SetRate changes the limit of rows a second; 0 is none.
func (t *Throttle) SetRate(rowsPerSecond float64) { t.rate.SetRate(rowsPerSecond) }

// ChunkRows is how many rows the next chunk may have for the replicas' sake, at most want.
func (t *Throttle) ChunkRows(want int) int {
	if t.o.ReadsOnly {
		return want
	}
	return t.pacer.ChunkRows(want)
}

// Committed tells of a chunk: its rows, what it made of the write-ahead log (see [Pacer.Wrote]; negative is unknown), and
// how long its commit took.
func (t *Throttle) Committed(rows int, walBytes int64, commit time.Duration) {
	t.pacer.Wrote(rows, walBytes)
	t.commits.took(commit)
}

// Workers is how many workers there should be, and the load by which that was decided; PinWorkers fixes it, as
// `set workers=` does, and LimitWorkers lets it move again, up to a greatest number.
func (t *Throttle) Workers() (workers int, why string) { return t.zones.Workers(), t.Load().Signal }

// PinWorkers fixes the number of workers.
func (t *Throttle) PinWorkers(workers int) { t.zones.Pin(workers) }

// LimitWorkers sets the greatest number of workers and lets the zones move it.
func (t *Throttle) LimitWorkers(most int) { t.zones.Limit(most) }

// Pace is what is held for the replicas' sake.
func (t *Throttle) Pace() Pace { return t.pacer.Pace() }

// Lag is how far the worst replica that counts is behind, as of the latest look; it is not known where there is none.
func (t *Throttle) Lag() (worst time.Duration, known bool) {
	for _, r := range t.Replicas() {
		if !r.Ignored {
			worst, known = max(worst, r.Lag), true
		}
	}
	return worst, known
}

// Replicas is what is known of each replica that the primary sees, and of those that are asked themselves and that it does
// not see, as of the latest look; nil before the first, and where both limits of lag are off.
func (t *Throttle) Replicas() []Replica {
	if l := t.Limits().Lag; l.Max <= 0 && l.MaxBytes <= 0 {
		return nil
	}
	var all []Replica
	if list := t.lag.known.Load(); list != nil {
		all = slices.Clone(*list)
	}
	for _, d := range t.direct {
		one := d.found.Load()
		if one != nil && !slices.ContainsFunc(all, func(r Replica) bool { return r.Name == one.Name }) {
			all = append(all, *one)
		}
	}
	return all
}
