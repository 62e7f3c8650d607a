package backfill_test

import (
	"errors"
	"slices"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/ledger"
)

// simWorker carries out what the production state machine wants, as worker.segment does, and what is between segments.
type simWorker struct {
	*process
	client
	began bool
	// store is another connection, as a process has one for what is not a chunk.
	store client
	// markOf is the connection over which the mark at hand was read, or moved on.
	markOf *connection
}

// main works until the run is over or gone.
func (w *simWorker) main(a *actor) {
	w.client, w.store = client{actor: a}, client{actor: a}
	for w.turn() == nil {
	}
}

var errSimOver = errors.New("the run is over")

// turn takes a segment and works it, or moves the run on.
func (w *simWorker) turn() error {
	var pass backfill.Pass
	var list []backfill.SegmentState
	err := w.store.ask(func() []statement {
		return []statement{simAsk("orders and segments", func(v *world) {
			r := v.run(w.run, w.created)
			if pass = 0; r != nil && !r.state.Over() {
				pass, list = r.pass, r.list(r.pass)
			}
		})}
	})
	if err != nil || pass == 0 {
		return errSimOver
	}
	open := slices.DeleteFunc(slices.Clone(list), func(s backfill.SegmentState) bool { return s.Closed() })
	if len(open) == 0 {
		return w.goOn(pass, list)
	}
	random := w.actor.sim.rand
	if w.actor.sim.happens(w.actor.sim.splits) {
		if err := w.split(open[random.IntN(len(open))]); err != nil {
			return err
		}
	}
	return w.segment(open[random.IntN(len(open))].Segment)
}

// segment is [worker.segment], in short.
func (w *simWorker) segment(seg backfill.Segment) error {
	at := backfill.NewPosition(seg, !w.began)
	w.began = true
	for {
		switch at.Wants(w.connected()) {
		case backfill.ToConnect:
			w.connect()
		case backfill.ToLook:
			there, err := w.look(seg)
			if err != nil {
				return err
			}
			at.Looked(there)
		case backfill.ToRead:
			w.read(at, seg)
		case backfill.ToYield, backfill.ToLeave:
			return nil
		case backfill.ToGiveUp:
			w.actor.sim.fail("%s: the ledger refuses what follows its last row in segment %d", w.actor.name, seg.No)
			return errSimOver
		case backfill.ToChange:
			if sim := w.actor.sim; !sim.calm && sim.happens(sim.waits) { // for the throttle, or while it is paused
				w.until = sim.steps + sim.rand.IntN(150)
				w.pause(nil)
				if !w.connected() {
					continue
				}
			}
			if w.chunk(at, seg); w.actor.sim.happens(0.15) { // there are more workers than are wanted
				return nil
			}
		}
	}
}

func (w *simWorker) look(seg backfill.Segment) (there bool, err error) {
	gone := false
	err = w.store.ask(func() []statement {
		return []statement{simAsk("segments", func(v *world) {
			r := v.run(w.run, w.created)
			if gone = r == nil; !gone {
				there = backfill.StillThere(r.list(seg.Pass), seg)
			}
		})}
	})
	if gone {
		return false, errSimGone
	}
	return there, err
}

func (w *simWorker) read(at *backfill.Position, seg backfill.Segment) {
	var mark backfill.Mark
	there := false
	_, err := w.exchange(simAsk("mark", func(v *world) {
		if s := v.segment(w.run, seg.No); s != nil {
			mark, there = s.mark(), true
		}
	}))
	switch {
	case err != nil:
	case !there:
		at.Unread()
	default:
		at.Read(mark)
		w.markOf = w.conn
	}
}

// chunk changes some keys and commits them with their ledger row, in two round trips.
func (w *simWorker) chunk(at *backfill.Position, seg backfill.Segment) {
	sim := w.actor.sim
	if w.markOf != w.conn {
		sim.fail("%s: a chunk of segment %d begins where memory of a lost connection says", w.actor.name, seg.No)
		return
	}
	c := at.Chunk()
	last := seg.Nulls
	if !seg.Nulls {
		c.Range.Through = sim.key(c.Range.After, seg.Range.Through)
		last = slices.Equal(c.Range.Through, seg.Range.Through)
	}
	of, attempt := w.sent(seg, c)
	if sim.tracing {
		sim.trace("%s: chunk %d of segment %d, %s: %s", w.actor.name, c.Seq, seg.No, c.Range, outcomes[of])
	}
	before := at.Mark()
	at.Came(of, c, last)
	if at.Mark().Seq > before.Seq {
		w.markOf = w.conn
		if !attempt.committed {
			sim.fail("%s: takes chunk %d of segment %d for committed, which is not", w.actor.name, c.Seq, seg.No)
		}
	}
	if w.connected() && w.conn.session.tx != nil {
		_, _ = w.exchange(simRollback)
	}
}

var outcomes = map[backfill.Outcome]string{
	backfill.WasCommitted: "committed", backfill.WasRefused: "refused", backfill.WasRolledBack: "rolled back", backfill.WasUnheard: "not heard of",
}

// attempt is whether a chunk was committed, whatever its worker heard.
type attempt struct{ committed bool }

// sent is what its worker hears of a chunk.
func (w *simWorker) sent(seg backfill.Segment, c backfill.Chunk) (backfill.Outcome, *attempt) {
	a := &attempt{}
	_, err := w.exchange(simBegin, simChangeRows(w.created, seg, c))
	if err != nil {
		return w.became(err), a
	}
	known := backfill.Segment{No: c.Segment, Pass: c.SegmentPass, Leaf: c.SegmentLeaf, Nulls: seg.Nulls, Range: backfill.KeyRange{Through: c.SegmentThrough}}
	commit := simCommit(!w.actor.sim.asynchronous)
	commit.do = noting(commit.do, a)
	list := backfill.Ending(simBegin, simLedger(w.run, w.created, known, c.Seq, "", c.Range), commit)
	answers, err := w.exchange(list...)
	tag := ""
	if len(answers) == len(list) {
		tag = answers[len(answers)-1]
	}
	return backfill.Heard(len(answers), len(list), tag, errors.Is(err, errSimRefused), !w.connected()), a
}

// noting notes that a transaction that has written to the ledger was committed.
func noting(do func(*session) (string, bool, error), a *attempt) func(*session) (string, bool, error) {
	return func(s *session) (string, bool, error) {
		writes := s.tx != nil && len(s.tx.ledger) > 0
		tag, wait, err := do(s)
		a.committed = a.committed || writes && tag == "COMMIT"
		return tag, wait, err
	}
}

func (w *simWorker) became(err error) backfill.Outcome {
	if errors.Is(err, errSimLost) {
		return backfill.WasUnheard
	}
	return backfill.WasRolledBack
}

// split divides a segment, as it was seen, at a key in what is left of it.
func (w *simWorker) split(s backfill.SegmentState) error {
	if s.Nulls {
		return nil
	}
	from := ledger.Watermark(s)
	at := w.actor.sim.key(from, s.Range.Through)
	if slices.Equal(at, s.Range.Through) || slices.Equal(at, from) {
		return nil
	}
	err := w.store.transact(func() error {
		gone := false
		if _, err := w.store.exchange(simBegin, simLock(w.run, w.created, func(r *simRun) { gone = r == nil })); err != nil {
			return err
		}
		if gone {
			return errSimGone
		}
		fence := simLedger(w.run, w.created, s.Segment, s.Seq+1, backfill.FenceSplit, backfill.KeyRange{After: from, Through: from})
		parts := simDo("parts", func(v *world) {
			r := &v.runs[w.run-1]
			for _, rng := range []backfill.KeyRange{{After: from, Through: at}, {After: at, Through: s.Range.Through}} {
				r.add(backfill.Segment{Pass: s.Pass, Parent: s.No, Leaf: s.Leaf, Range: rng})
			}
		})
		_, err := w.store.exchange(append(ledger.Split(fence, parts), simCommit(true))...)
		return err
	})
	if errors.Is(err, errSimRefused) { // it has moved on
		return nil
	}
	return err
}

func (r *simRun) add(s backfill.Segment) {
	s.No = len(r.segments) + 1
	r.segments = append(r.segments, simSegment{Segment: s})
}

// goOn moves the run, whose pass is done, to the next one; where there is none it finishes the run.
func (w *simWorker) goOn(pass backfill.Pass, list []backfill.SegmentState) error {
	sim := w.actor.sim
	if pass == sim.lastPass() {
		return w.inRun(pass, func(v *world) error {
			r := &v.runs[w.run-1]
			return ledger.Covered(r.planned, r.nulls, r.list(0))
		}, func(r *simRun) { r.state = backfill.StateFinished })
	}
	next := backfill.Segment{Pass: pass + 1}
	if pass == backfill.PassWalk {
		for _, s := range list {
			if s.Parent == 0 && !s.Nulls {
				next.Range.After = s.Range.Through
			}
		}
	}
	err := w.store.ask(func() []statement {
		return []statement{simAsk("greatest", func(v *world) { next.Range.Through = v.greatest(0) })}
	})
	if err != nil {
		return err
	}
	segments := []backfill.Segment{next}
	if next.Range.After != nil && next.Range.Through[0] <= next.Range.After[0] {
		segments = nil
	} else if next.Pass.Sweeps() {
		segments = sim.cut(next, sim.rand.IntN(3))
		if sim.nulls {
			segments = append(segments, backfill.Segment{Pass: next.Pass, Nulls: true})
		}
	}
	return w.inRun(pass, func(v *world) error {
		if len(v.runs[w.run-1].open(pass)) > 0 {
			return errSimOpen
		}
		return nil
	}, func(r *simRun) {
		r.pass = next.Pass
		for _, s := range segments {
			r.add(s)
		}
	})
}

var errSimOpen = errors.New("a segment is open")

// inRun changes the run while it is in a pass, where it may be.
func (w *simWorker) inRun(pass backfill.Pass, may func(*world) error, change func(*simRun)) error {
	err := w.store.transact(func() error {
		var found *simRun
		var refused error
		_, err := w.store.exchange(simBegin, simLock(w.run, w.created, func(r *simRun) { found = r }), simAsk("whether it may", func(v *world) {
			if v.run(w.run, w.created) != nil {
				refused = may(v)
			}
		}))
		switch {
		case err != nil:
			return err
		case found == nil, found.state.Over():
			return errSimOver
		case found.pass != pass, refused != nil: // another was first, or a crash has opened a segment again
			_, err := w.store.exchange(simRollback)
			return err
		}
		_, err = w.store.exchange(simDo("run", func(v *world) { change(&v.runs[w.run-1]) }), simCommit(true))
		return err
	})
	if errors.Is(err, errSimLost) {
		return nil
	}
	return err
}
