package throttle

import (
	"context"
	"math"
	"sync"
	"time"
)

const (
	// pacerBudget is the part of a limit that may be added between two looks, and pacerChunk the part of that which one
	// chunk may be: the rest is the rate's, whose burst is one chunk.
	pacerBudget = 1.0 / lagTenth
	pacerChunk  = 0.25
	// pacerSlow is the part of a limit from which on the pace drops, and pacerLeast what is left of it at the limit.
	pacerSlow  = 0.5
	pacerLeast = 0.05
	// pacerTarget is the part of a limit that a standby which cannot keep up is held at, and pacerSteep how quickly the pace
	// drops beyond it: what is under way then takes four times as long where the standby becomes four times slower, which
	// must fit below the limit.
	pacerTarget = 0.1
	pacerSteep  = 6
	pacerMost   = 1.2
	// pacerWay is how much a standby that keeps up may be behind: the way there and back, and what it does until it says so.
	// From pacerBusy on it has had something to replay for long enough that the speed at which it does is its own, and not
	// that of who writes.
	pacerWay  = 300 * time.Millisecond
	pacerBusy = 600 * time.Millisecond
	// pacerStart is what a standby is first taken to replay, in bytes a second for each second of the limit. While it keeps
	// up it is taken to replay twice as much after a second, as TCP begins; but no more than pacerAhead times what it
	// does replay, so that what was never tried is not let through at once.
	pacerStart = 100 << 10
	pacerGrow  = 2
	pacerAhead = 4
	// Once it has been seen what a standby can replay, that grows by pacerProbe a second while it keeps up, and each second
	// by twice as much as in the one before, up to pacerGrow.
	pacerProbe = 1.1
	// pacerFloor is the part of pacerStart that is always tried, while the gate is open.
	pacerFloor = 0.125
	// pacerFlow is over what time the speed of a standby that keeps up is taken.
	pacerFlow = 2 * time.Second
	// pacerGuess is what a row is taken to make of the log before one was written, in bytes.
	pacerGuess = 1000
	// pacerMemory is over what time the speed of a standby is taken that is behind.
	pacerMemory = 400 * time.Millisecond
	// pacerKeeps is what is left of what earlier chunks wrote, and of their rows, after each further one: bytes a row are
	// those of some ten chunks, in which a large one counts for what it is.
	pacerKeeps = 0.9
	// pacerRows is the least that a chunk is made for the replicas' sake: in fewer rows, what each chunk costs, and the
	// page that its first row is on, would be taken for what a row costs, and the chunks be made smaller yet.
	pacerRows = 100
)

// Pressure is how far behind the replicas are, against what limits.
type Pressure struct {
	// Lag and Bytes are those of the worst standby; MaxLag and MaxBytes their limits, 0 where there is none.
	Lag, MaxLag     time.Duration
	Bytes, MaxBytes int64
	// Queue is for how long it has had something to replay without a break: Lag without what the primary had not on its
	// disk yet, since only that is sent.
	Queue time.Duration
	// Blur is by how much it may be behind besides Queue, where that is measured so coarsely, as by a heartbeat.
	Blur time.Duration
	// Replayed is how much it has replayed since the look before, which was Since ago; 0 where that is not known.
	Replayed int64
	Since    time.Duration
	// Poll is the time until the next look.
	Poll time.Duration
	// None is set where there is no standby to be heeded: nothing is paced then.
	None bool
}

// used is the greatest part of a limit that is used.
func (p Pressure) used() float64 {
	used := 0.0
	if p.MaxLag > 0 {
		used = p.Lag.Seconds() / p.MaxLag.Seconds()
	}
	if p.MaxBytes > 0 {
		used = max(used, float64(p.Bytes)/float64(p.MaxBytes))
	}
	return used
}

// worstPressure hands on what one of several lookers sees, where it is the worst that any of them saw last. The zero
// value is ready once saw is set.
type worstPressure struct {
	saw func(Pressure)

	mu     sync.Mutex // guards latest, and saw is called under it
	latest []Pressure
}

// from is what a looker tells; each has a number of its own, from 0 on. It begins with nothing to be heeded.
func (w *worstPressure) from(looker int) func(Pressure) {
	for len(w.latest) <= looker {
		w.latest = append(w.latest, Pressure{None: true})
	}
	return func(p Pressure) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.latest[looker] = p
		worst := looker
		for i, other := range w.latest {
			better := w.latest[worst].None || other.used() > w.latest[worst].used() || i < worst && other.used() == w.latest[worst].used()
			if !other.None && better {
				worst = i
			}
		}
		if worst == looker { // else it is told when that one looks
			w.saw(p)
		}
	}
}

// none forgets what was seen: nothing is to be heeded.
func (w *worstPressure) none() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.latest {
		w.latest[i] = Pressure{None: true}
	}
	w.saw(Pressure{None: true})
}

// Pacer holds the lag instead of chasing it. It learns how much of the write-ahead log a row makes, and lets through no
// more of it between two looks at the replicas than a tenth of the limit: in bytes, and in the time that the worst standby
// takes to replay it, which is found out by beginning slowly. From half of the limit on the pace drops, so that the gate
// seldom has to shut. [NewPacer] makes one, which lets everything through until the first look.
type Pacer struct {
	rate *Rate // in bytes of the log a second

	mu     sync.Mutex // guards what is below
	perRow float64    // bytes of the log a row
	// bytes and rows are what chunks wrote of late; none is not learned yet.
	bytes, rows float64
	capacity    float64 // bytes a second that the worst standby is taken to replay; 0 is unknown, and no bound
	growth      float64 // by what part capacity grows in a second, while the standby keeps up
	flow        float64 // bytes a second that it has replayed of late
	chunk       float64 // bytes that one chunk may make; 0 is no bound
}

// NewPacer makes a pacer that knows nothing yet.
func NewPacer() *Pacer {
	rate, err := NewRate(0)
	if err != nil {
		panic(err) // 0 is a rate
	}
	return &Pacer{rate: rate, perRow: pacerGuess}
}

// Wrote tells what a chunk made of the log. An overestimate, such as what the whole server wrote meanwhile, makes the pace
// slower than it must be; nothing else.
func (p *Pacer) Wrote(rows int, walBytes int64) {
	if rows <= 0 || walBytes < 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes, p.rows = pacerKeeps*p.bytes+float64(walBytes), pacerKeeps*p.rows+float64(rows)
	p.perRow = p.bytes / p.rows
}

// Saw takes a look at the replicas.
func (p *Pacer) Saw(now Pressure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rate := math.Inf(1)
	p.chunk = 0
	if now.None || now.Poll <= 0 {
		p.capacity = 0
		p.rate.SetRate(0)
		return
	}
	p.learn(now)
	used := now.used()
	slower := 1.0
	if used > pacerSlow {
		slower = max(1-(used-pacerSlow)/(1-pacerSlow), pacerLeast)
	}
	budget := math.Inf(1)
	if now.MaxBytes > 0 {
		budget = pacerBudget * float64(now.MaxBytes)
		rate = slower * budget * (1 - pacerChunk) / now.Poll.Seconds()
	}
	if p.capacity > 0 && now.MaxLag > 0 {
		budget = min(budget, pacerBudget*p.capacity*now.MaxLag.Seconds())
		// Under what it replays by as much as it is behind, so that it catches up.
		rate = min(rate, p.capacity*min(max(1+pacerSteep*(now.target()-p.behind(now)), pacerLeast), pacerMost))
	}
	if math.IsInf(rate, 1) {
		p.rate.SetRate(0)
		return
	}
	p.chunk = pacerChunk * budget * slower
	p.rate.SetRate(max(rate, 1))
}

// busy reports whether the standby has had something to replay for so long that the speed at which it does is its own.
func (p Pressure) busy() bool { return p.Since > 0 && p.Queue >= max(pacerBusy, p.Since) }

// target is the part of the limit at which the standby is held.
func (p Pressure) target() float64 { return max(pacerTarget, pacerWay.Seconds()/p.MaxLag.Seconds()) }

// behind is how much of the limit the standby is behind by what it was sent. What is written now will be behind by all that
// is before it, at the speed at which that is replayed now.
func (p *Pacer) behind(now Pressure) float64 {
	queue := (now.Queue + now.Blur).Seconds()
	if now.busy() {
		queue = max(queue, float64(now.Bytes)/p.capacity)
	}
	return queue / now.MaxLag.Seconds()
}

// learn is what the worst standby can replay.
func (p *Pacer) learn(now Pressure) {
	if now.MaxLag <= 0 {
		p.capacity = 0
		return
	}
	start := pacerStart * now.MaxLag.Seconds()
	if p.capacity == 0 {
		p.capacity, p.flow, p.growth = start, 0, pacerGrow-1
	}
	if now.Since <= 0 {
		return
	}
	since := now.Since.Seconds()
	speed := float64(now.Replayed) / since
	p.flow += (1 - math.Exp(-since/pacerFlow.Seconds())) * (speed - p.flow)
	if now.busy() {
		p.capacity += (1 - math.Exp(-since/pacerMemory.Seconds())) * (speed - p.capacity)
		p.growth = pacerProbe - 1
	} else if p.behind(now) < now.target() {
		p.capacity = min(p.capacity*math.Pow(1+p.growth, since), max(pacerAhead*p.flow, start))
		p.growth = min(p.growth*math.Pow(2, since), pacerGrow-1)
	}
	p.capacity = max(p.capacity, pacerFloor*start)
}

// ChunkRows is how many rows a chunk may have: at most want, and no fewer than a hundred where that many are wanted.
func (p *Pacer) ChunkRows(want int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.chunk == 0 || p.perRow == 0 {
		return want
	}
	return min(max(int(p.chunk/p.perRow), pacerRows), want)
}

// Wait returns when rows more rows may be written, or with ctx's error, and then nothing has been taken.
func (p *Pacer) Wait(ctx context.Context, rows int) error {
	p.mu.Lock()
	bytes := p.perRow * float64(rows)
	p.mu.Unlock()
	return p.rate.Wait(ctx, int(min(math.Ceil(bytes), math.MaxInt32)))
}

// Pace is what is held now.
type Pace struct {
	// BytesPerRow of the write-ahead log, as learned, or guessed before the first chunk.
	BytesPerRow float64
	// BytesPerSecond of it that are let through; 0 is no bound. ChunkBytes is what one chunk may make of it.
	BytesPerSecond, ChunkBytes float64
	// Replay is how many bytes a second the worst standby can replay; 0 is unknown.
	Replay float64
}

// Pace is what is held now, for status and metrics.
func (p *Pacer) Pace() Pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Pace{BytesPerRow: p.perRow, BytesPerSecond: p.rate.current(), ChunkBytes: p.chunk, Replay: p.capacity}
}
