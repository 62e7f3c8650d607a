package backfill_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// Schedules of workers, processes, people and faults, each chosen by its seed alone, over a model of the server. The workers are the
// production state machine (protocol.go), and so is what the ledger takes, how a segment is closed and when a run is covered
// (internal/ledger). After every commit and every crash the rows and the ledger must be as the product promises, and when the faults are over
// each schedule must come to an end. It goes on for a second; PGBACKFILL_SIMULATE=10m for so long, PGBACKFILL_SIMULATE_SEED=7 tells what happens in that one.
//
// Made to fail: by each of the bugs of internal/planted, see [TestSimulationFindsPlantedBugs].
func TestSimulation(t *testing.T) {
	t.Parallel()
	if text := os.Getenv("PGBACKFILL_SIMULATE_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s := simulate(seed, true)
		t.Logf("schedule %d:\n%s\n%s", seed, strings.Join(s.told, "\n"), s.wrong)
		return
	}
	length := time.Second
	if text := os.Getenv("PGBACKFILL_SIMULATE"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	began, steps := time.Now(), 0
	var sums counts64
	n := uint64(0)
	for ; n < 20 || time.Since(began) < length; n++ {
		s := simulate(n+1, false)
		if s.wrong != "" {
			reportSimulation(t, n+1)
		}
		steps += s.steps
		sums.add(s.counts)
	}
	t.Logf("%d schedules (seeds 1 to %d), %.0f a second, %d steps each; in all %s", n, n, float64(n)/time.Since(began).Seconds(), steps/int(n), sums)
	for i, count := range sums {
		if count == 0 && n >= 1000 {
			t.Errorf("no schedule had this: %s", faultNames[i])
		}
	}
}

// reportSimulation fails the test with the shortest schedule, of those from a seed on, that breaks a promise.
func reportSimulation(t *testing.T, seed uint64) {
	t.Helper()
	shortest := simulate(seed, true)
	for other := seed + 1; other < seed+2000; other++ {
		if s := simulate(other, false); s.wrong != "" && s.steps < shortest.steps {
			seed, shortest = other, simulate(other, true)
		}
	}
	t.Fatalf("schedule %d (PGBACKFILL_SIMULATE_SEED=%d tells it again): %s\n%s", seed, seed, shortest.wrong, strings.Join(shortest.told, "\n"))
}

// simulation is one schedule.
type simulation struct {
	rand        *rand.Rand
	server      *server
	connections []*connection
	actors      []*actor
	processes   []*process
	steps       int
	// calm is set when no more faults happen. changed is set where the world is to be looked at again, and wrong says what is not as it must be.
	calm, changed bool
	wrong         string
	tracing       bool
	told          []string
	// made counts the runs that were ever made, keys the keys that were ever given, initial of them at the beginning, and started the processes.
	made, keys, initial, started int
	counts                       counts64
	// buffers are for [simulation.step].
	buffers struct {
		actors            []*actor
		sessions, blocked []*session
	}

	// What the schedule is of: how the table is, how commits are made, and how often what happens in a step.
	leaves, nulls, sweeps, asynchronous, pooled bool
	workers, cuts                               int
	splits, waits                               float64
	faults                                      struct {
		rollback float64
		each     [faultKinds]float64
	}
}

// simulate carries out a schedule.
func simulate(seed uint64, tracing bool) *simulation {
	s := &simulation{rand: rand.New(rand.NewPCG(seed, 7)), tracing: tracing}
	r := s.rand
	s.leaves, s.sweeps, s.asynchronous, s.pooled = r.IntN(4) == 0, r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0
	s.sweeps, s.nulls = s.sweeps && !s.leaves, !s.leaves && r.IntN(4) == 0
	s.workers = 1 + r.IntN(3)
	if r.IntN(4) == 0 {
		s.faults.rollback = 0.05
	}
	for i := range s.faults.each { // each schedule has some kinds of faults, and those often
		if r.IntN(3) == 0 {
			s.faults.each[i] = faultRates[i] * (0.2 + r.Float64())
		}
	}
	s.initial, s.splits, s.waits, s.cuts = 3+r.IntN(6), 0.25, 0.05, 3
	switch r.IntN(3) {
	case 0: // what is taken back, behind a pooler, is done another way while somebody sleeps
		s.pooled, s.splits, s.waits, s.initial, s.cuts = true, 0.7, 0.4, 4+r.IntN(5), 1
		s.faults.each = [faultKinds]float64{faultFailover: 0.02, faultStart: 0.02, faultStop: 0.01, faultKill: 0.005, faultCancel: 0.003, faultAgain: 0.003}
	case 1: // the run is ended while it is at work
		s.splits = 0.5
		s.faults.each[faultStart], s.faults.each[faultCancel], s.faults.each[faultAgain] = 0.02, 0.004, 0.006
	}
	s.keys = s.initial
	s.server = &server{sim: s}
	s.server.world = &world{rows: s.rows()}
	s.start(false)
	for faulty := r.IntN(700); s.wrong == ""; s.steps++ {
		if s.steps == faulty {
			s.calmDown()
		}
		if s.steps > faulty+20_000 {
			s.fail("it does not come to an end")
		}
		if !s.step() {
			break
		}
		if s.changed {
			s.changed = false
			if why := s.server.broken(); why != "" {
				s.fail("%s", why)
			}
		}
	}
	for _, a := range s.actors {
		a.kill()
	}
	return s
}

// step lets something happen, and reports whether there is anything left that could.
func (s *simulation) step() bool {
	if !s.calm && s.fault() {
		return true
	}
	actors, sessions, blocked, asleep := s.buffers.actors[:0], s.buffers.sessions[:0], s.buffers.blocked[:0], false
	for _, a := range s.actors {
		switch {
		case a.process != nil && a.process.asleep > s.steps, a.until > s.steps:
			asleep = true
		case a.ready == nil || a.ready():
			actors = append(actors, a)
		}
	}
	for _, v := range s.server.sessions {
		switch {
		case v.ready():
			sessions = append(sessions, v)
		case v.blockedAt > 0:
			blocked = append(blocked, v)
		}
	}
	s.buffers.actors, s.buffers.sessions, s.buffers.blocked = actors, sessions, blocked
	n := len(actors) + len(sessions)
	if len(blocked) > 0 && (n == 0 && !asleep || s.happens(0.01)) {
		blocked[s.rand.IntN(len(blocked))].fail(errSimTimeout)
		return true
	}
	switch i := s.rand.IntN(max(n, 1)); {
	case n == 0 && asleep:
	case n == 0:
		return s.idle()
	case i < len(actors):
		s.resume(actors[i])
	default:
		sessions[i-len(actors)].step()
	}
	return true
}

func (s *simulation) resume(a *actor) {
	if _, more := a.resume(); more {
		return
	}
	s.actors = slices.DeleteFunc(s.actors, func(o *actor) bool { return o == a })
	s.leave(a)
}

// leave ends the connections of somebody who is gone.
func (s *simulation) leave(a *actor) {
	for i := len(s.connections) - 1; i >= 0; i-- {
		if c := s.connections[i]; c.owner == a {
			s.hangUp(c)
		}
	}
}

// idle is that everybody has gone home: a run that is not over is begun again, by whoever finds it so.
func (s *simulation) idle() bool {
	runs := s.server.runs
	if len(s.actors) > 0 {
		s.fail("%s waits for what does not come", s.actors[0].name)
		return false
	}
	if !s.calm {
		return true
	}
	if len(runs) > 0 && runs[len(runs)-1].state.Over() {
		if r := runs[len(runs)-1]; r.state == backfill.StateFinished && r.pass != s.lastPass() {
			s.fail("the run is finished in the %s", r.pass)
		}
		return false
	}
	s.start(false)
	return true
}

// calmDown ends the faults: who sleeps wakes up.
func (s *simulation) calmDown() {
	s.calm = true
	s.faults.rollback = 0
	for _, p := range s.processes {
		p.asleep = 0
	}
	for _, a := range s.actors {
		a.until = 0
	}
	s.trace("no more faults")
}

func (s *simulation) start(again bool) {
	s.started++
	p := &process{sim: s, name: fmt.Sprintf("process %d", s.started)}
	s.processes = append(s.processes, p)
	s.act(p.name, p, func(a *actor) { p.main(a, again) })
}

func (s *simulation) happens(p float64) bool { return p > 0 && s.rand.Float64() < p }

func (s *simulation) trace(format string, args ...any) {
	if s.tracing {
		s.told = append(s.told, fmt.Sprintf("%5d ", s.steps)+fmt.Sprintf(format, args...))
	}
}

func (s *simulation) fail(format string, args ...any) {
	if s.wrong == "" {
		s.wrong = fmt.Sprintf(format, args...)
	}
}

func (s *simulation) lastPass() backfill.Pass {
	switch {
	case s.leaves:
		return backfill.PassWalk
	case s.sweeps:
		return backfill.PassSweep
	}
	return backfill.PassTail
}

func keyOf(n int) backfill.Key { return backfill.Key{fmt.Sprintf("%02d", n)} }

// rows are those of the table at the beginning.
func (s *simulation) rows() []simRow {
	var list []simRow
	for leaf := uint32(0); leaf <= 2; leaf++ {
		for n := 1; n <= s.initial && s.leaves == (leaf > 0); n++ {
			list = append(list, simRow{leaf: leaf, key: keyOf(n)[0]})
		}
	}
	if s.nulls {
		list = append(list, simRow{})
	}
	return list
}

// key is one of the next few in a range, or its end.
func (s *simulation) key(after, through backfill.Key) backfill.Key {
	from := 0
	if after != nil {
		from, _ = strconv.Atoi(after[0])
	}
	to, _ := strconv.Atoi(through[0])
	return keyOf(min(from+1+s.rand.IntN(3), to))
}

// cut divides a range at so many keys.
func (s *simulation) cut(whole backfill.Segment, cuts int) []backfill.Segment {
	var list []backfill.Segment
	for ; cuts > 0; cuts-- {
		part := whole
		if part.Range.Through = s.key(part.Range.After, whole.Range.Through); slices.Equal(part.Range.Through, whole.Range.Through) {
			break
		}
		list, whole.Range.After = append(list, part), part.Range.Through
	}
	return append(list, whole)
}

// planned is a new run over the rows that there are.
func (s *simulation) planned(w *world) simRun {
	s.made++
	r := simRun{created: s.made, state: backfill.StateRunning, pass: backfill.PassWalk, nulls: s.nulls}
	for leaf := uint32(0); leaf <= 2; leaf++ {
		if last := w.greatest(leaf); last != nil {
			for _, seg := range s.cut(backfill.Segment{Pass: backfill.PassWalk, Leaf: leaf, Range: backfill.KeyRange{Through: last}}, s.rand.IntN(s.cuts)) {
				r.add(seg)
			}
		}
	}
	if s.nulls {
		r.add(backfill.Segment{Pass: backfill.PassWalk, Nulls: true})
	}
	r.planned = len(r.segments)
	return r
}
