package backfill_test

import (
	"fmt"
	"slices"
	"strings"
)

// The faults, and what people do.
const (
	faultCut = iota
	faultTerminate
	faultCrash
	faultFailover
	faultLongFailover
	faultKill
	faultStop
	faultStart
	faultCancel
	faultAgain
	faultUndo
	faultInsert
	faultFlush
	faultKinds
)

var faultNames = [faultKinds]string{
	"connection cut", "backend terminated", "server crashed", "failover", "failover that loses much", "process killed", "process stopped", "process started",
	"run cancelled", "run started anew", "run taken back", "rows inserted", "log flushed",
}

// faultRates are how often each happens in a step.
var faultRates = [faultKinds]float64{0.02, 0.02, 0.01, 0.01, 0.003, 0.01, 0.02, 0.01, 0.001, 0.003, 0.001, 0.01, 0.02}

// counts64 is how often each happened.
type counts64 [faultKinds]int64

func (c *counts64) add(o counts64) {
	for i := range c {
		c[i] += o[i]
	}
}

func (c counts64) String() string {
	parts := make([]string, len(c))
	for i, n := range c {
		parts[i] = fmt.Sprintf("%s %d", faultNames[i], n)
	}
	return strings.Join(parts, ", ")
}

// fault lets something go wrong, and reports whether it did.
func (s *simulation) fault() bool {
	kind := -1
	for i, p := range s.faults.each {
		if s.happens(p) {
			kind = i
			break
		}
	}
	if kind < 0 || !s.befall(kind) {
		return false
	}
	s.counts[kind]++
	s.trace("%s", faultNames[kind])
	return true
}

func (s *simulation) befall(kind int) bool {
	v := s.server
	pick := func(n int) int { return s.rand.IntN(n) }
	switch kind {
	case faultCut:
		if len(s.connections) == 0 {
			return false
		}
		s.hangUp(s.connections[pick(len(s.connections))])
	case faultTerminate:
		if len(v.sessions) == 0 {
			return false
		}
		gone := v.sessions[pick(len(v.sessions))]
		gone.end()
		for _, c := range s.connections {
			c.broken = c.broken || c.session == gone
		}
	case faultCrash:
		v.restart(v.flushed + pick(len(v.log)-v.flushed+1))
	case faultFailover: // the newest commits are lost, or, as it may come, just those since a split or another plan
		left := max(0, len(v.log)-pick(5))
		for i := len(v.log) - 1; pick(2) == 0 && i >= max(0, len(v.log)-6); i-- {
			if v.log[i].plans {
				left = i
				break
			}
		}
		v.restart(left)
	case faultLongFailover:
		v.restart(pick(len(v.log) + 1))
	case faultKill:
		p := s.processes[pick(len(s.processes))]
		if p.dead {
			return false
		}
		s.kill(p)
	case faultStop:
		s.processes[pick(len(s.processes))].asleep = s.steps + pick(200)
	case faultStart, faultAgain:
		if len(s.actors) > 12 {
			return false
		}
		s.start(kind == faultAgain)
	case faultCancel, faultUndo:
		id := len(v.runs)
		if id == 0 {
			return false
		}
		created, why := v.runs[id-1].created, "cancelled"
		if kind == faultUndo {
			why = "undone"
		}
		s.act("somebody", nil, func(a *actor) { _ = (&client{actor: a}).closeAll(id, created, why, kind == faultUndo) })
	case faultInsert:
		return s.insert()
	case faultFlush:
		v.flushed = len(v.log)
	}
	return true
}

// hangUp breaks a connection. What was sent may have arrived, in part, and is carried out then.
func (s *simulation) hangUp(c *connection) {
	c.broken = true
	if v := c.session; !v.dead {
		v.cut, v.blockedAt = true, 0
		v.queue = v.queue[:s.rand.IntN(len(v.queue)+1)]
	}
	for i, o := range s.connections {
		if o == c {
			s.connections = append(s.connections[:i], s.connections[i+1:]...)
			return
		}
	}
}

// kill ends a process, and its connections.
func (s *simulation) kill(p *process) {
	p.dead = true
	for _, a := range s.actors {
		if a.process == p {
			a.kill()
			s.leave(a)
		}
	}
	s.actors = slices.DeleteFunc(s.actors, func(a *actor) bool { return a.process == p })
}

// insert adds a row above all others, as an application does.
func (s *simulation) insert() bool {
	if s.leaves || s.keys > 40 {
		return false
	}
	s.keys++
	row := simRow{key: keyOf(s.keys)[0]}
	add := func(w *world) { w.rows = append(w.rows, row) }
	add(s.server.world)
	s.server.log = append(s.server.log, commitRecord{does: []func(*world){add}})
	return true
}
