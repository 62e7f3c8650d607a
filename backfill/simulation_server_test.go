package backfill_test

import (
	"errors"
	"slices"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/ledger"
)

var (
	errSimLost    = errors.New("connection lost")
	errSimRefused = errors.New("refused by the ledger")
	errSimTimeout = errors.New("lock timeout")
	errSimAborted = errors.New("the transaction is aborted")
)

// server is a model of PostgreSQL: transactions, row locks, a unique index whose inserts wait for those of open transactions, commits that are
// asynchronous, and a log of which a crash or a failover takes the end.
type server struct {
	sim *simulation
	*world
	// log are the commits in their order, flushed how many of them a crash leaves.
	log     []commitRecord
	flushed int
	// sessions are those that are connected; ends counts the transactions that have ended, since who waits may go on then.
	sessions []*session
	ends     int
}

// commitRecord is what a transaction did, to be done again after a crash. plans is set where it changed what there is to do: a run was made,
// moved on, or a segment split.
type commitRecord struct {
	does  []func(*world)
	plans bool
}

// session is a server process: it carries out what it was sent, also when the client that sent it is gone.
type session struct {
	*server
	// client names who is connected.
	client  string
	tx      *transaction
	queue   []statement
	answers []string
	err     error
	// cut is set when the client is gone, dead when the session is; blockedAt is the count of ends at which it last waited, 0 is not.
	cut, dead bool
	blockedAt int
}

type transaction struct {
	does   []func(*world)
	failed bool
	// rows are locked, ledger rows are in the index and not committed; run is the run whose row is locked, making whether a run is being made.
	rows   []int
	ledger []ledgerPlace
	run    int
	making bool
	plans  bool
}

type ledgerPlace struct{ run, segment, seq int }

// statement is carried out in one step. Where it has to wait, it is called again.
type statement struct {
	name string
	do   func(*session) (tag string, wait bool, err error)
}

// step carries out the next statement of a session.
func (s *session) step() {
	if len(s.queue) == 0 { // the client is gone
		s.end()
		return
	}
	st := s.queue[0]
	var tag string
	var wait bool
	var err error
	if s.tx != nil && s.tx.failed && st.name != "COMMIT" && st.name != "ROLLBACK" {
		err = errSimAborted
	} else {
		tag, wait, err = st.do(s)
	}
	if wait {
		s.blockedAt = s.ends + 1
		return
	}
	if s.sim.tracing {
		s.sim.trace("  server, for %s: %s: %s%s", s.client, st.name, tag, errText(err))
	}
	s.blockedAt = 0
	if err != nil {
		s.fail(err)
		return
	}
	s.queue, s.answers = s.queue[1:], append(s.answers, tag)
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// fail ends the statements that were sent together.
func (s *session) fail(err error) {
	s.err, s.queue, s.blockedAt = err, nil, 0
	if s.tx != nil {
		s.tx.failed = true
	}
}

func (s *session) ready() bool {
	return len(s.queue) > 0 && s.blockedAt != s.ends+1 || s.cut && len(s.queue) == 0
}

// end rolls back what is open, and the session is gone.
func (s *session) end() {
	s.release()
	s.dead, s.queue = true, nil
	s.sessions = slices.DeleteFunc(s.sessions, func(o *session) bool { return o == s })
}

func (s *session) release() {
	if s.tx != nil {
		s.tx = nil
		s.ends++
	}
}

// others reports whether the transaction of another session is so.
func (s *session) others(so func(*transaction) bool) bool {
	return slices.ContainsFunc(s.sessions, func(o *session) bool { return o != s && o.tx != nil && so(o.tx) })
}

// view is what the session's transaction sees: what is committed, and what it did itself.
func (s *session) view() *world {
	if s.tx == nil || len(s.tx.does) == 0 {
		return s.world
	}
	w := s.world.clone()
	for _, do := range s.tx.does {
		do(w)
	}
	return w
}

func (s *session) will(do func(*world)) { s.tx.does = append(s.tx.does, do) }

var simBegin = statement{"BEGIN", func(s *session) (string, bool, error) {
	s.tx = &transaction{}
	return "BEGIN", false, nil
}}

var simRollback = statement{"ROLLBACK", func(s *session) (string, bool, error) {
	s.release()
	return "ROLLBACK", false, nil
}}

// simCommit commits, and waits for the disk where that is asked for. Now and then it comes as a ROLLBACK, as it does where a transaction has failed.
func simCommit(durable bool) statement {
	return statement{"COMMIT", func(s *session) (string, bool, error) {
		if s.tx == nil || s.tx.failed || s.sim.happens(s.sim.faults.rollback) {
			s.release()
			return "ROLLBACK", false, nil
		}
		if len(s.tx.does) > 0 {
			s.log = append(s.log, commitRecord{s.tx.does, s.tx.plans})
			for _, do := range s.tx.does {
				do(s.world)
			}
			if durable {
				s.flushed = len(s.log)
			}
			s.sim.changed = true
		}
		s.release()
		return "COMMIT", false, nil
	}}
}

// simChangeRows changes the rows of a chunk, as a worker does who takes its segment for that one: a sweep has nothing to change, since nobody
// else has written.
func simChangeRows(run int, seg backfill.Segment, c backfill.Chunk) statement {
	return statement{"change", func(s *session) (string, bool, error) {
		var rows []int
		if !seg.Pass.Sweeps() {
			for i := range s.rows {
				if s.rows[i].in(seg, c.Range) {
					rows = append(rows, i)
				}
			}
		}
		if s.others(func(t *transaction) bool {
			return slices.ContainsFunc(rows, func(i int) bool { return slices.Contains(t.rows, i) })
		}) {
			return "", true, nil
		}
		s.tx.rows = rows
		s.will(func(w *world) {
			for _, i := range rows {
				w.rows[i].by = append(w.rows[i].by, simChange{run, seg.No, c.Seq})
			}
		})
		return "UPDATE", false, nil
	}}
}

// simLedger adds a row to the ledger. The rule is held against what is committed when the statement begins; then the index waits for who has put
// in the same number and is not done.
func simLedger(run, created int, seg backfill.Segment, seq int, fence string, rng backfill.KeyRange) statement {
	judged, taken := false, false
	at := ledgerPlace{run, seg.No, seq}
	return statement{"ledger", func(s *session) (string, bool, error) {
		if !judged {
			w := s.view()
			standing := w.standing(run, seg.No, seq)
			standing.Taken = false
			taken, judged = ledger.Takes(ledger.Row{Created: stamp(created), Segment: seg, Seq: seq, Range: rng}, standing), true
		}
		switch {
		case !taken || s.standing(run, seg.No, seq).Taken:
			return "", false, errSimRefused
		case s.inserting(at):
			return "", true, nil
		}
		s.insert(at, simLedgerRow{seq: seq, fence: fence, rng: rng, by: created})
		return "INSERT", false, nil
	}}
}

// inserting reports whether another transaction has put in a row there.
func (s *session) inserting(at ledgerPlace) bool {
	return s.others(func(t *transaction) bool { return slices.Contains(t.ledger, at) })
}

func (s *session) insert(at ledgerPlace, row simLedgerRow) {
	s.tx.ledger = append(s.tx.ledger, at)
	s.will(func(w *world) {
		if seg := w.segment(at.run, at.segment); seg != nil {
			seg.ledger = append(seg.ledger, row)
		}
	})
}

// simLock locks the row of a run, and tells what is in it to found: nil where it is not there.
func simLock(run, created int, found func(*simRun)) statement {
	return statement{"lock run", func(s *session) (string, bool, error) {
		if s.others(func(t *transaction) bool { return t.run == run }) {
			return "", true, nil
		}
		r := s.world.run(run, created)
		if r != nil {
			s.tx.run = run
		}
		found(r)
		return "SELECT", false, nil
	}}
}

// simFences closes every segment that is open when it begins, but where somebody else's row is first.
func simFences(run, created int, why string) statement {
	var open []backfill.SegmentState
	began := false
	return statement{"fences", func(s *session) (string, bool, error) {
		if !began {
			open, began = s.view().runs[run-1].open(0), true
		}
		for ; len(open) > 0; open = open[1:] {
			seg := open[0]
			at := ledgerPlace{run, seg.No, seg.Seq + 1}
			if s.standing(run, seg.No, seg.Seq+1).Taken {
				continue
			}
			if s.inserting(at) {
				return "", true, nil
			}
			end := ledger.Watermark(seg)
			s.insert(at, simLedgerRow{seq: at.seq, fence: why, rng: backfill.KeyRange{After: end, Through: end}, by: created})
		}
		return "INSERT", false, nil
	}}
}

// simDo does something to the world, as the transaction sees it.
func simDo(name string, do func(w *world)) statement {
	return statement{name, func(s *session) (string, bool, error) {
		s.tx.plans = true
		s.will(do)
		return name, false, nil
	}}
}

// simAsk reads what the transaction sees.
func simAsk(name string, ask func(w *world)) statement {
	return statement{name, func(s *session) (string, bool, error) {
		ask(s.view())
		return "SELECT", false, nil
	}}
}

// restart is a crash, or a failover, that leaves so many commits. Over a pooler, only those clients notice it who have something under way.
func (v *server) restart(left int) {
	v.log = v.log[:left:left]
	v.world = &world{rows: v.sim.rows()}
	for _, c := range v.log {
		for _, do := range c.does {
			do(v.world)
		}
	}
	for _, s := range slices.Clone(v.sessions) {
		idle := s.tx == nil && len(s.queue) == 0
		s.end()
		for _, c := range v.sim.connections {
			if c.session == s {
				c.broken = c.broken || !c.pooled || !idle
				if !c.broken {
					c.session = v.accept(s.client)
				}
			}
		}
	}
	v.ends++
	v.flushed = left
	v.sim.changed = true
}

func (v *server) accept(client string) *session {
	s := &session{server: v, client: client}
	v.sessions = append(v.sessions, s)
	return s
}
