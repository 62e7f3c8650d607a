package throttle_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbackfill/pgbackfill/throttle"
)

// backfill is workers that write chunks as an engine would, through a throttle, to a scripted primary.
type backfill struct {
	th      *throttle.Throttle
	s       *scripted
	rowWAL  int64         // bytes of the log a row
	chunk   int           // rows that the engine would like
	perRow  time.Duration // how long a row takes
	mu      sync.Mutex
	bytes   int64
	latest  time.Time // of the latest commit
	largest int64
}

func (b *backfill) run(ctx context.Context, workers int) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				rows := b.th.ChunkRows(b.chunk)
				if b.th.Wait(ctx, rows) != nil {
					return
				}
				time.Sleep(time.Duration(rows) * b.perRow)
				wal := int64(rows) * b.rowWAL
				b.s.write(wal)
				b.th.Committed(rows, wal, time.Millisecond)
				b.mu.Lock()
				b.bytes, b.latest, b.largest = b.bytes+wal, time.Now(), max(b.largest, wal)
				b.mu.Unlock()
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

func (b *backfill) written() (int64, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes, b.latest
}

// A standby that replays more slowly than we could write: its lag stays under the limit, which the gate hardly has to say,
// and it is kept busy.
//
// That holds also where the primary does not see it and it is asked itself, by what it has replayed or by a heartbeat.
//
// Made to fail: with capacity learned only from a fifth of the limit on, and what is behind already not reckoned at the new
// speed (as it was), the lag is 7 s where the speed falls to a quarter; without capacity, or without the first Saw in New, the lag of the slowest is many times the limit; with
// nobody told of the pressure that a standby that is asked is under, that of the last two is.
func TestLagIsHeld(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		speed     int64
		asked     bool
		heartbeat string
		falls     int64 // to which part of the speed, after a minute
	}{
		"256 KiB/s": {speed: 256 << 10}, "1 MiB/s": {speed: mib}, "10 MiB/s": {speed: 10 * mib}, "60 MiB/s": {speed: 60 * mib},
		"1 MiB/s, asked": {speed: mib, asked: true}, "10 MiB/s by heartbeat": {speed: 10 * mib, asked: true, heartbeat: "SELECT lag"},
		"2 MiB/s that falls to 512 KiB/s": {speed: 2 * mib, falls: 4}, "20 MiB/s that falls to 7 MiB/s, asked": {speed: 20 * mib, falls: 3, asked: true},
	} {
		speed := c.speed
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &replica{app: "eu-2", started: true, speed: speed, unseen: c.asked}
				s := &scripted{replicas: []*replica{r}}
				const limit = 3 * time.Second
				var o throttle.Options
				if c.asked {
					o.Standbys = []throttle.Standby{{Name: "eu-2", Query: asked{s, r}, Heartbeat: c.heartbeat}}
				}
				th, stop := watching(t, s, throttle.LagLimits{Max: limit}, o)
				defer stop()
				ctx, cancel := context.WithCancel(context.Background())
				replaying := make(chan struct{})
				go func() { s.replay(ctx); close(replaying) }()
				b := &backfill{th: th, s: s, rowWAL: 500, chunk: 10_000, perRow: 10 * time.Microsecond} // up to 190 MiB/s with four
				stopWriting := b.run(ctx, 4)
				worst, shutFor, at30, at60 := time.Duration(0), 0, int64(0), int64(0)
				for i := range 1200 { // two minutes
					time.Sleep(100 * time.Millisecond)
					worst = max(worst, s.lag(r))
					if len(th.Reasons()) > 0 {
						shutFor++
					}
					if i == 300 {
						at30, _ = b.written()
					}
					if i == 600 && c.falls > 0 {
						at60, _ = b.written()
						s.do(func() { r.speed = speed / c.falls })
					}
				}
				bytes, _ := b.written()
				if c.falls > 0 { // both halves at their own speed
					bytes = at30 + 3*(at60-at30)
					if late, _ := b.written(); float64(late-at60)/60 < 0.6*float64(speed/c.falls) {
						t.Errorf("%d bytes a second after the fall", (late-at60)/60)
					}
				}
				stopWriting()
				cancel()
				<-replaying
				if worst > limit*12/10 {
					t.Errorf("the lag was up to %v", worst)
				}
				if rate := float64(bytes-at30) / 90; rate < 0.8*float64(speed) || rate > 1.05*float64(speed) {
					t.Errorf("%.0f bytes a second; the standby could do %d; %+v", rate, speed, th.Pace())
				}
				if shutFor > 60 {
					t.Errorf("the gate was shut for %d of 1200 tenths of a second", shutFor)
				}
			})
		})
	}
}

// A standby that keeps up bounds nothing but what is written between two looks.
//
// Made to fail: with Poll at two seconds in pressure, the rate is a tenth.
func TestStandbyThatKeepsUpCostsLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &replica{app: "eu-2", started: true, speed: 1 << 30}
		s := &scripted{replicas: []*replica{r}}
		th, stop := watching(t, s, throttle.LagLimits{}, throttle.Options{})
		defer stop()
		ctx, cancel := context.WithCancel(context.Background())
		replaying := make(chan struct{})
		go func() { s.replay(ctx); close(replaying) }()
		b := &backfill{th: th, s: s, rowWAL: 250, chunk: 10_000, perRow: 10 * time.Microsecond}
		stopWriting := b.run(ctx, 2) // up to 48 MiB/s
		time.Sleep(20 * time.Second) // it begins slowly
		before, _ := b.written()
		time.Sleep(time.Minute)
		bytes, _ := b.written()
		stopWriting()
		cancel()
		<-replaying
		if rate := float64(bytes-before) / 60 / mib; rate < 44 {
			t.Errorf("%.1f MiB/s; %+v", rate, th.Pace())
		}
		if b.largest > 10_000*250 {
			t.Errorf("a chunk of %d bytes", b.largest)
		}
	})
}

// A standby that stops replaying: nothing is written later than a poll and a chunk after the limit is reached, and it goes
// on by itself. What comes to be behind between two looks is at most a tenth of the limit in bytes.
//
// Made to fail: with a gate that shuts at 1.2 times the limit, the writes go on for more than half a second.
func TestNothingIsWrittenPastTheLimit(t *testing.T) {
	t.Parallel()
	for _, limits := range []throttle.LagLimits{{Max: 3 * time.Second, MaxBytes: throttle.Off}, {Max: 3 * time.Second}, {Max: throttle.Off, MaxBytes: 64 * mib}} {
		synctest.Test(t, func(t *testing.T) {
			r := &replica{app: "eu-2", started: true, speed: 120 * mib}
			s := &scripted{replicas: []*replica{r}}
			th, stop := watching(t, s, limits, throttle.Options{})
			defer stop()
			ctx, cancel := context.WithCancel(context.Background())
			replaying := make(chan struct{})
			go func() { s.replay(ctx); close(replaying) }()
			b := &backfill{th: th, s: s, rowWAL: 500, chunk: 10_000, perRow: 10 * time.Microsecond}
			stopWriting := b.run(ctx, 4)
			time.Sleep(20 * time.Second)
			stopped, _ := b.written()
			s.do(func() { r.stopped = true })
			reached := time.Time{}
			for range 3000 {
				time.Sleep(10 * time.Millisecond)
				bytes, _ := b.written()
				if limits.Max > 0 && s.lag(r) >= limits.Max || limits.MaxBytes > 0 && bytes-stopped >= limits.MaxBytes {
					reached = time.Now()
					break
				}
			}
			if reached.IsZero() {
				t.Errorf("%+v: the limit was never reached: %+v, %v", limits, th.Pace(), s.lag(r))
			}
			time.Sleep(20 * time.Second)
			bytes, latest := b.written()
			if after := latest.Sub(reached); after > 300*time.Millisecond+100*time.Millisecond+10*time.Millisecond {
				t.Errorf("%+v: written %v after the limit was reached", limits, after)
			}
			if limits.MaxBytes > 0 && bytes-stopped > limits.MaxBytes*12/10 {
				t.Errorf("%+v: %d bytes behind", limits, bytes-stopped)
			}
			if len(th.Reasons()) == 0 {
				t.Error("the gate is open")
			}
			s.do(func() { r.stopped = false })
			time.Sleep(10 * time.Second)
			if more, _ := b.written(); more == bytes {
				t.Errorf("%+v: it did not go on: %q", limits, th.Reasons())
			}
			stopWriting()
			cancel()
			<-replaying
		})
	}
}

// Made to fail: with the pacer in Wait for those who read too.
func TestReadingIsNotPaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{replicas: []*replica{{app: "eu-2", started: true}}}
		th, stop := watching(t, s, throttle.LagLimits{}, throttle.Options{ReadsOnly: true})
		defer stop()
		begin := time.Now()
		for range 1000 {
			if rows := th.ChunkRows(50_000); rows != 50_000 {
				t.Fatalf("%d rows", rows)
			}
			if err := th.Wait(t.Context(), 50_000); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// The rate takes its time, and the gate may have shut meanwhile.
//
// Made to fail: with the second look at the gate left out of Wait.
func TestGateThatShutsWhileTheRateIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		signal := &fake{name: "mine", reading: lag(1)}
		th, stop := watching(t, &scripted{}, throttle.LagLimits{Max: throttle.Off, MaxBytes: throttle.Off}, throttle.Options{Rate: 100, Signals: []throttle.Signal{signal}})
		defer stop()
		begin := time.Now()
		time.AfterFunc(2*time.Second, func() { signal.set(lag(11)) })
		time.AfterFunc(time.Minute, func() { signal.set(lag(1)) })
		for range 2 { // the second is due in ten seconds
			if err := th.Wait(t.Context(), 1000); err != nil {
				t.Fatal(err)
			}
		}
		if after := time.Since(begin); after < time.Minute {
			t.Errorf("let through after %v", after)
		}
	})
}

// Made to fail: with the newest chunk taken for all of it, one row of 20 kB makes all chunks small.
func TestPacerLearns(t *testing.T) {
	t.Parallel()
	p := throttle.NewPacer()
	if got := p.ChunkRows(5000); got != 5000 {
		t.Errorf("it knows nothing, and allows %d rows", got)
	}
	look := throttle.Pressure{MaxBytes: 100_000_000, Poll: time.Second}
	p.Saw(look)
	if got := p.ChunkRows(50_000); got != 2500 { // a quarter of a tenth of the limit, for rows of a thousand bytes
		t.Errorf("it knows nothing of rows, and allows %d", got)
	}
	p.Wrote(5000, 2_500_000)
	if got := p.ChunkRows(50_000); got != 5000 {
		t.Errorf("%d rows of 500 bytes", got)
	}
	p.Wrote(1, 20_000)
	p.Wrote(0, 20_000)
	p.Wrote(10, -1)
	if got := p.ChunkRows(50_000); got < 4900 {
		t.Errorf("%d rows after a chunk of one", got)
	}
	for range 20 {
		p.Wrote(5000, 1_000_000)
	}
	if got := p.ChunkRows(50_000); got < 12_000 || got > 12_500 {
		t.Errorf("%d rows of 200 bytes", got)
	}
	look.Bytes = 90_000_000
	p.Saw(look)
	if got, pace := p.ChunkRows(50_000), p.Pace(); got > 2600 || pace.BytesPerSecond > 1_600_000 {
		t.Errorf("close to the limit, %d rows, %+v", got, pace)
	}
	look.MaxBytes = 1
	p.Saw(look)
	if got := p.ChunkRows(50_000); got != 100 {
		t.Errorf("past the limit, %d rows", got)
	}
	p.Saw(throttle.Pressure{None: true})
	if got, pace := p.ChunkRows(50_000), p.Pace(); got != 50_000 || pace.BytesPerSecond != 0 {
		t.Errorf("without a standby, %d rows, %+v", got, pace)
	}
}

// What a chunk costs whatever it holds is not taken for what its rows cost: chunks that are small for it would cost as much
// a row, and stay small for ever.
//
// Made to fail: with chunks of one row allowed, and the newest weighed by its rows (as it was), the pace never recovers
// from a first chunk that was small.
func TestPacerDoesNotTakeChunksForRows(t *testing.T) {
	t.Parallel()
	p := throttle.NewPacer()
	look := throttle.Pressure{MaxBytes: 256 << 20, MaxLag: time.Second, Poll: time.Second, Since: time.Second, Replayed: 10_000}
	p.Saw(look)
	rows := p.ChunkRows(2)
	for n := range 60 {
		written := int64(9000 + 150*rows) // a page, the ledger's row, and the rows
		p.Wrote(rows, written)
		look.Replayed = int64(p.Pace().BytesPerSecond)
		p.Saw(look)
		if rows = p.ChunkRows(5000); rows < 100 {
			t.Fatalf("chunk %d has %d rows", n, rows)
		}
	}
	if rows < 2000 {
		t.Errorf("after a minute a chunk has %d rows", rows)
	}
}
