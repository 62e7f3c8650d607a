package backfill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
)

// What a [Throttle] may do besides. Each is asked for by its shape.
type (
	// Watched tells why nothing may be written: no reason is that something may. While it may not, it tells again where the
	// reasons read otherwise. It returns when ctx ends.
	Watched interface {
		Watch(ctx context.Context, told func(reasons []Reason))
	}
	// Limited takes limits by name ([Limits]), at once; it refuses those that it does not know.
	Limited interface {
		SetLimits(l Limits) error
	}
	// Holding holds the replicas' lag: it says how many rows the next chunk may have, at most want, and is told of each
	// chunk that is committed: its rows, what was written to the write-ahead log meanwhile (negative is not known), and
	// how long its commit took.
	Holding interface {
		ChunkRows(want int) int
		Committed(rows int, walBytes int64, commit time.Duration)
	}
	// Lagging says how far the worst replica is behind, as of the latest look; it is not known where there is none.
	Lagging interface {
		Lag() (worst time.Duration, known bool)
	}
	// Scaling moves the number of workers, up to a greatest number or fixed to one, and says why it is what it is.
	Scaling interface {
		Workers() (workers int, why string)
		LimitWorkers(most int)
		PinWorkers(workers int)
	}
)

// Reason is why nothing may be written: the signal that says so, and all of it in a line, as "replica_lag 12.4s > 10s
// (standby eu-2)".
type Reason struct{ Signal, Text string }

// Limits are what a throttle's signals are held against, by the names that job files and `set` have for them: "lag.max" is
// "3s". Package throttle knows them.
type Limits map[string]string

// Over lays limits over others.
func (l Limits) Over(base Limits) Limits {
	if len(l) == 0 || len(base) == 0 {
		if len(l) == 0 {
			return base
		}
		return l
	}
	over := maps.Clone(base)
	maps.Copy(over, l)
	return over
}

// Blocked is somebody who waits for a lock that a chunk holds, longer than is borne.
type Blocked struct {
	// Application is the application_name under which the chunk is at work; Waiter says who waits, for people.
	Application, Waiter string
	Waited              time.Duration
}

const (
	// yieldFirst is the wait after a chunk has given way, and yieldMost what it grows to where it has to again and again.
	yieldFirst = 100 * time.Millisecond
	yieldMost  = 5 * time.Second
)

// yieldedError is the error of a chunk that was cancelled since somebody waited for it.
type yieldedError struct {
	to  string
	err error
}

func (e *yieldedError) Error() string { return "gave way to " + e.to + ": " + e.err.Error() }
func (e *yieldedError) Unwrap() error { return e.err }

// throttleEndedError says that the throttle wants the work of this process to end.
type throttleEndedError struct{ err error }

func (e *throttleEndedError) Error() string { return e.err.Error() }
func (e *throttleEndedError) Unwrap() error { return e.err }

// positionsApart is how far a position in the log may be behind another that was heard of before it; one that is further
// back is of another server, after a failover.
const positionsApart = 1 << 30

// cancelPatience bounds the asking for a cancellation, which needs a connection of its own.
const cancelPatience = 5 * time.Second

// yielding cancels chunks that others wait for.
type yielding struct {
	mu sync.Mutex
	// working are the chunks at work, by the application_name that the server shows.
	working map[string]*yieldable
}

// yieldable is a chunk at work. Its connection's own cancel request is what ends it: a pid may be somebody else's behind
// a pooler.
type yieldable struct {
	cancel func()
	// to says who was waiting; "" is nobody.
	to string
}

// enter makes a chunk known while it holds locks; leave ends that, and says who it was cancelled for.
func (y *yielding) enter(application string, cancel func()) (leave func() (to string)) {
	at := &yieldable{cancel: cancel}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.working == nil {
		y.working = map[string]*yieldable{}
	}
	y.working[application] = at
	return func() string {
		y.mu.Lock()
		defer y.mu.Unlock()
		if y.working[application] == at {
			delete(y.working, application)
		}
		return at.to
	}
}

// to cancels the chunk that somebody waits for. It may be in between two statements, where there is nothing to cancel: who
// still waits then is told of again.
func (y *yielding) to(b Blocked) {
	y.mu.Lock()
	at := y.working[b.Application]
	if at != nil {
		at.to = b.Waiter
	}
	y.mu.Unlock()
	if at != nil {
		at.cancel()
	}
}

// asked reports whether somebody waits for the chunk at work under that application_name.
func (y *yielding) asked(application string) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	at := y.working[application]
	return at != nil && at.to != ""
}

// heeding hears why nothing may be written, what else the throttle tells, and who waits for us, until it is stopped: chunks
// that have begun when ctx ends may have to give way yet.
func (e *engine) heeding(ctx context.Context, blocked <-chan Blocked, notices <-chan string) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	if watched, ok := e.throttle.(Watched); ok {
		all.Go(func() { watched.Watch(ctx, e.shut) })
	}
	if blocked != nil {
		all.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case b := <-blocked:
					e.yield.to(b)
				}
			}
		})
	}
	all.Go(func() {
		tick := time.NewTicker(beatEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case text := <-notices:
				e.diary.noticed(text, time.Now())
			case <-tick.C:
			}
			e.writeDown(ctx, false)
		}
	})
	return func() { cancel(); all.Wait() }
}

// shut takes the reasons why nothing may be written; none is that it may.
func (e *engine) shut(reasons []Reason) {
	still := e.diary.shut(reasons, time.Now())
	e.waitsStill("throttle", joinReasons(reasons), still)
}

// waits says why the whole process writes nothing, as one of those who know sees it; "" is no reason. What is told is what
// all of them say.
func (e *engine) waits(who, reason string) { e.waitsStill(who, reason, false) }

// waitsStill is the same, where still is set of what was said before with newer numbers.
func (e *engine) waitsStill(who, reason string, still bool) {
	e.waiting.Lock() // while it is told, so that the last word is the last one said
	defer e.waiting.Unlock()
	if e.waiting.reasons[who] == reason {
		return
	}
	if e.waiting.reasons == nil {
		e.waiting.reasons = map[string]string{}
	}
	if e.waiting.reasons[who] = reason; reason == "" {
		delete(e.waiting.reasons, who)
	}
	say := maps.Clone(e.waiting.reasons)
	if say["task"] != "" { // what has begun is not held up by it
		delete(say, "throttle")
	}
	e.observe(Waiting{Reason: strings.Join(slices.Sorted(maps.Values(say)), "; "), Still: still})
}

// waiting is why the whole process writes nothing, by who knows.
type waiting struct {
	sync.Mutex
	reasons map[string]string
}

// workers is how many there should be now.
func (e *engine) workers() int {
	most := e.pace().Workers
	if s, ok := e.throttle.(Scaling); ok {
		n, _ := s.Workers()
		return max(min(n, most), 1)
	}
	return most
}

// scaled tells where the throttle has moved the number of workers.
func (e *engine) scaled() {
	s, ok := e.throttle.(Scaling)
	if !ok {
		return
	}
	if now := e.workers(); int64(now) != e.wanted.Swap(int64(now)) {
		_, why := s.Workers()
		if now >= e.pace().Workers { // as many as were asked for, whatever the throttle last thought
			why = ""
		}
		e.observe(Scaled{Workers: now, Why: why})
	}
}

// throttled hands a pace to the throttle. pinned is set where somebody has said live how many workers there should be.
func (e *engine) throttled(p Pace, pinned bool) {
	e.throttle.SetRate(p.Rate)
	if s, ok := e.throttle.(Scaling); ok {
		if pinned {
			s.PinWorkers(p.Workers)
		} else {
			s.LimitWorkers(p.Workers)
		}
	}
	if l, ok := e.throttle.(Limited); ok {
		if err := l.SetLimits(p.Limits); err != nil { // they were read before they were kept
			e.waits("limits", "the limits cannot be read: "+err.Error())
		} else {
			e.waits("limits", "")
		}
	}
}

// heldTo is how many rows the next chunk may have for the replicas' sake.
func (e *engine) heldTo(rows int) int {
	if h, ok := e.throttle.(Holding); ok {
		return h.ChunkRows(rows)
	}
	return rows
}

// lag is how far the worst replica is behind; nil where that is not known.
func (e *engine) lag() *time.Duration {
	if l, ok := e.throttle.(Lagging); ok {
		if worst, known := l.Lag(); known {
			return &worst
		}
	}
	return nil
}

// wrote tells the throttle of a chunk. The server's position in its log is about all that is written there, ours and
// others': of the chunks of all workers, one after the other, each is taken to have written what was added since the last.
func (e *engine) wrote(c Chunk, position int64, commit time.Duration) {
	h, ok := e.throttle.(Holding)
	if !ok {
		return
	}
	e.mu.Lock()
	bytes := int64(-1)
	if e.position > 0 && position > e.position {
		bytes = position - e.position
	}
	if position > e.position || position < e.position-positionsApart {
		e.position = position
	}
	e.mu.Unlock()
	h.Committed(int(c.RowsSeen), bytes, commit)
}

// errGiveWay ends what is done bit by bit, or computed, while rows are locked that somebody waits for.
var errGiveWay = errors.New("somebody waits for the rows that are locked")

// yielded makes the chunk that is at work, under that application_name, known to those who may have to end it. What it
// returns ends that, and makes of the chunk's error what it was.
func (w *worker) yielded(application string) func(error) error {
	conn := w.conn.PgConn()
	leave := w.yield.enter(application, func() {
		if stop := w.computing.Load(); stop != nil {
			(*stop)(errGiveWay) // the server has nothing to cancel while it waits for what is computed
		}
		ctx, cancel := context.WithTimeout(context.Background(), cancelPatience)
		defer cancel()
		_ = conn.CancelRequest(ctx) // where it fails, who waits is told of again
	})
	return func(err error) error {
		if to := leave(); to != "" && (pgerr.Code(err) == pgerr.CodeQueryCanceled || errors.Is(err, errGiveWay)) {
			return &yieldedError{to: to, err: err}
		}
		return err
	}
}

// mayGiveWay is the context of what is computed while rows are locked: it ends when somebody waits for them for too long.
func (w *worker) mayGiveWay(ctx context.Context) (context.Context, func()) {
	ctx, stop := context.WithCancelCause(ctx)
	w.computing.Store(&stop)
	return ctx, func() { w.computing.Store(nil); stop(nil) }
}

// gaveWay is what follows a chunk that was cancelled since somebody waited for it: less at a time, after a while. It is no
// failure: the application comes first, for as long as it takes.
func (w *worker) gaveWay(ctx context.Context, chunk Chunk, try *attempts, to string) error {
	if chunk.size > 1 && !try.segment.Nulls {
		try.smaller(chunk)
	}
	w.sizer().shrink(chunk.size)
	return w.givesWay(ctx, chunk, try, to)
}

// givesWay tells that a chunk gave way, and waits.
func (w *worker) givesWay(ctx context.Context, chunk Chunk, try *attempts, to string) error {
	wait := min(yieldFirst<<min(try.yields, 10), yieldMost)
	try.yields++
	w.yields.Add(1)
	w.diary.happened(&w.diary.yields, "gave way", to, time.Now())
	w.observe(Yielded{Worker: w.id, Chunk: chunk, To: to, Backoff: wait})
	return w.wait(ctx, wait, fmt.Sprintf("gave way to %s", to))
}
