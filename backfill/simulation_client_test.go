package backfill_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/ledger"
)

// errSimGone is a run that is not there any more, or was never this one.
var errSimGone = errors.New("the run is gone")

// actor is somebody who does one thing after the other, and whom the scheduler lets go on one step at a time.
type actor struct {
	sim  *simulation
	name string
	// process is where it runs: they stop, and die, together. Nil is one of its own.
	process *process
	resume  func() (struct{}, bool)
	kill    func()
	yield   func(struct{}) bool
	// ready is what it waits for; nil is nothing. until is the step before which it does not go on.
	ready func() bool
	until int
}

// killed unwinds an actor that is no more.
type killed struct{}

func (s *simulation) act(name string, p *process, do func(*actor)) *actor {
	a := &actor{sim: s, name: name, process: p}
	a.resume, a.kill = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if r := recover(); r != nil && r != (killed{}) {
				panic(r)
			}
		}()
		a.yield = yield
		do(a)
	})
	s.actors = append(s.actors, a)
	return a
}

// pause lets others go on, until something is so.
func (a *actor) pause(until func() bool) {
	if a.ready = until; !a.yield(struct{}{}) {
		panic(killed{})
	}
	a.ready = nil
}

// client is what an actor talks to the server through.
type client struct {
	*actor
	conn *connection
}

// connection is a client's end of a session.
type connection struct {
	owner          *actor
	session        *session
	broken, pooled bool
}

func (c *client) connected() bool { return c.conn != nil && !c.conn.broken }

func (c *client) connect() {
	c.pause(nil)
	c.conn = &connection{owner: c.actor, session: c.sim.server.accept(c.name), pooled: c.sim.pooled}
	c.sim.connections = append(c.sim.connections, c.conn)
}

// exchange sends statements in one round trip, and returns the tags of those that were answered. Where the connection is lost, that may be
// fewer than were carried out.
func (c *client) exchange(list ...statement) ([]string, error) {
	c.pause(nil)
	on := c.conn
	if on.broken {
		return nil, errSimLost
	}
	s := on.session
	s.queue, s.answers, s.err = list, nil, nil
	c.pause(func() bool { return on.broken || s.err != nil || len(s.answers) == len(list) })
	if on.broken {
		return s.answers[:c.sim.rand.IntN(len(s.answers)+1)], errSimLost
	}
	return s.answers, s.err
}

// ask is [client.exchange], again on a new connection where the old one is lost, and where a lock is not had.
func (c *client) ask(list func() []statement) error {
	return c.transact(func() error {
		_, err := c.exchange(list()...)
		return err
	})
}

// transact does work, which is a transaction, and again where it meets with what passes.
func (c *client) transact(work func() error) error {
	for {
		if !c.connected() {
			c.connect()
		}
		err := work()
		if err != nil && c.connected() && c.conn.session.tx != nil {
			_, _ = c.exchange(simRollback)
		}
		if !errors.Is(err, errSimLost) && !errors.Is(err, errSimTimeout) {
			return err
		}
	}
}

// process is a program: some workers at a run.
type process struct {
	sim  *simulation
	name string
	// run is the run that it takes part in, by number and by when it was made.
	run, created int
	// asleep is up to which step it is stopped.
	asleep int
	dead   bool
}

// main begins or joins the run of the job, and works on it with some workers. again ends the run that there is, and makes another.
func (p *process) main(a *actor, again bool) {
	if p.attach(&client{actor: a}, again) {
		for i := range p.sim.workers {
			p.sim.act(fmt.Sprintf("%s, worker %d", p.name, i+1), p, (&simWorker{process: p}).main)
		}
	}
}

// attach reports whether there is a run to work on.
func (p *process) attach(c *client, again bool) bool {
	newest := 0
	over := false
	if c.ask(func() []statement {
		return []statement{simAsk("find", func(w *world) {
			if newest = len(w.runs); newest > 0 {
				r := w.runs[newest-1]
				p.run, p.created, over = newest, r.created, r.state.Over()
			}
		})}
	}) != nil {
		return false
	}
	switch {
	case newest > 0 && !again:
		return !over
	case newest > 0 && !over:
		if err := c.closeAll(p.run, p.created, "superseded", false); err != nil {
			return false
		}
	}
	made := false
	err := c.transact(func() error {
		_, err := c.exchange(simBegin, simMake(p, newest, &made), simCommit(true))
		return err
	})
	return err == nil && made
}

// simMake makes a run where none of the job is unfinished, and takes the one that is there otherwise. Where another was made, and ended, since, or
// one is being taken back, it does neither.
func simMake(p *process, newest int, made *bool) statement {
	return statement{"make run", func(s *session) (string, bool, error) {
		if s.others(func(t *transaction) bool { return t.making }) {
			return "", true, nil
		}
		s.tx.making, s.tx.plans, *made = true, true, false
		runs := s.world.runs
		for i, r := range runs {
			if !r.state.Over() {
				p.run, p.created, *made = i+1, r.created, true
				return "INSERT 0 0", false, nil
			}
			if r.undoing {
				return "INSERT 0 0", false, nil
			}
		}
		if len(runs) != newest {
			return "INSERT 0 0", false, nil
		}
		r := s.sim.planned(s.world)
		p.run, p.created, *made = len(runs)+1, r.created, true
		s.will(func(w *world) {
			r := r
			r.segments = slices.Clone(r.segments)
			w.runs = append(w.runs, r)
		})
		return "INSERT 0 1", false, nil
	}}
}

// closeAll ends a run: cancelled, replaced, or taken back.
func (c *client) closeAll(run, created int, why string, undo bool) error {
	return c.transact(func() error {
		var found *simRun
		if _, err := c.exchange(simBegin, simLock(run, created, func(r *simRun) { found = r })); err != nil {
			return err
		}
		if found == nil {
			return errSimGone
		}
		if found.state.Over() && !undo {
			_, err := c.exchange(simCommit(true))
			return err
		}
		err := ledger.CloseAll(
			func() error {
				_, err := c.exchange(simFences(run, created, why))
				return err
			},
			func() (left int, err error) {
				_, err = c.exchange(simAsk("open segments", func(w *world) { left = len(w.runs[run-1].open(0)) }))
				return left, err
			})
		if err != nil {
			return err
		}
		_, err = c.exchange(simDo("cancelled", func(w *world) {
			r := &w.runs[run-1]
			if !r.state.Over() {
				r.state = backfill.StateCancelled
			}
			r.undoing = r.undoing || undo
		}), simCommit(true))
		return err
	})
}
