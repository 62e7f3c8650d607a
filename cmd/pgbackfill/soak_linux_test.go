package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// soakTime is for how many seconds `make soak` lets faults happen to one process.
const soakTime = "PGBACKFILL_SOAK"

// soakRate is how many rows a second the run that is soaked goes over, in chunks of 40.
const soakRate = 400

// soaked is what was read of one process, every few seconds.
type soaked struct {
	mu       sync.Mutex
	readings []soakReading
}

type soakReading struct {
	at       time.Time
	pid      int
	kib, fds int
}

// watch reads how much memory the program has resident, and how many files and connections it has open, until the test ends.
func (s *soaked) watch(w *world, pid func() int) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Second):
			}
			at := pid()
			kib, err := resident(at)
			fds, failed := os.ReadDir(fmt.Sprintf("/proc/%d/fd", at))
			if err != nil || failed != nil {
				continue
			}
			s.mu.Lock()
			s.readings = append(s.readings, soakReading{time.Now(), at, kib, len(fds)})
			s.mu.Unlock()
		}
	}()
	w.Cleanup(func() { close(stop); <-done })
}

// longest are the readings of the process that lived longest.
func (s *soaked) longest() []soakReading {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := map[int][]soakReading{}
	var list []soakReading
	for _, r := range s.readings {
		if by[r.pid] = append(by[r.pid], r); len(by[r.pid]) > len(list) {
			list = by[r.pid]
		}
	}
	return list
}

// middle is the median of what f reads.
func middle(list []soakReading, f func(soakReading) int) int {
	var values []int
	for _, r := range list {
		values = append(values, f(r))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func kibOf(r soakReading) int { return r.kib }
func fdsOf(r soakReading) int { return r.fds }

// One process lives through faults of all kinds but those that end it, for as long as PGBACKFILL_SOAK says, while an application writes: what
// it has resident, and has open, is at the end what it was when the first eighth was over, and everything that holds of a round holds.
//
// Made to fail: with every acknowledged chunk kept in a list, 30 minutes have some 18 000 of them, and the memory grows.
func TestSoak(t *testing.T) {
	t.Parallel()
	seconds, _ := strconv.Atoi(os.Getenv(soakTime))
	if seconds == 0 {
		return // it is no part of `make test`, nor of `make long`
	}
	seed := firstSeed(t)
	list := slices.DeleteFunc(faults(), func(f fault) bool {
		return slices.Contains([]string{"engine killed", "engine terminated", "engine out of memory"}, f.name)
	})
	w := newWorld(t, worldOptions{name: "soak", seed: seed, rows: 1000, rate: soakRate, standby: true, quiet: true})
	for w.rows < seconds*soakRate*6/5 { // no statement that takes long on a machine that is busy
		w.exec(fmt.Sprintf("INSERT INTO counters (id) SELECT g * 3 - 1000 FROM generate_series(%d, %d) AS g ON CONFLICT DO NOTHING", w.rows+1, w.rows+20_000))
		w.rows += 20_000
	}
	w.exec("ANALYZE counters")
	w.app = w.write()
	random := rand.New(rand.NewPCG(seed, 11))
	w.start()
	w.awaits(3, "the beginning")
	var mu sync.Mutex
	now := w.procs[0].cmd.Process.Pid
	var s soaked
	s.watch(w, func() int { mu.Lock(); defer mu.Unlock(); return now })
	for until, n := time.Now().Add(time.Duration(seconds)*time.Second), 0; time.Now().Before(until) && !w.over(); n++ {
		if n%len(list) == 0 {
			random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		}
		f := list[n%len(list)]
		w.note("%s", f.name)
		f.does(w)
		injected(f.name, seed)
		w.lives(f)
		mu.Lock()
		now = w.procs[0].cmd.Process.Pid
		mu.Unlock()
		lasts(w.some(3 * time.Second))
	}
	readings := s.longest()
	if len(readings) < 16 {
		t.Fatalf("%d readings only", len(readings))
	}
	part := len(readings) / 8
	early, late := readings[part:2*part], readings[len(readings)-part:]
	var lines strings.Builder
	for i := range 8 {
		p := readings[i*part : (i+1)*part]
		fmt.Fprintf(&lines, "| %s | %.1f MiB | %d |\n", p[0].at.Sub(readings[0].at).Round(time.Second), float64(middle(p, kibOf))/1024, middle(p, fdsOf))
	}
	t.Logf("process %d, %d readings over %s, %d chunks:\n| from | resident (median) | files and connections |\n|---|---|---|\n%s", readings[0].pid, len(readings),
		readings[len(readings)-1].at.Sub(readings[0].at).Round(time.Second), w.chunks(), lines.String())
	if was, is := middle(early, kibOf), middle(late, kibOf); is > was*5/4+4<<10 {
		t.Errorf("%d KiB were resident at first, and %d at the end", was, is)
	}
	if was, is := middle(early, fdsOf), middle(late, fdsOf); is > was+5 {
		t.Errorf("%d files and connections were open at first, and %d at the end", was, is)
	}
	w.finishes()
	t.Logf("\n%s", tallied())
}
