package backfill

import (
	"fmt"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Planned lists every statement that a run of the plan sends about the table, with placeholders
// for its values, in the order of a chunk's life. Those about the ledger and the run are the store's.
func (p *Plan) Planned() ([]PlannedStatement, error) {
	s, err := statementsOf(p)
	if err != nil {
		return nil, err
	}
	s = s.of(p, 0)
	var list []PlannedStatement
	add := func(when string, statements ...pgsql.Statement) {
		for _, st := range statements {
			list = append(list, PlannedStatement{Name: st.Name, When: when, SQL: st.SQL})
		}
	}
	if p.DualWrite != nil {
		install, err := p.DualWrite.Install()
		if err != nil {
			return nil, err
		}
		for i := range install {
			install[i].Name = "dual-write: " + install[i].Name
		}
		add("before a run is made, in one transaction, where the trigger is not there as it is to be", install...)
	}
	if p.Tripwire != nil {
		install, err := p.Tripwire.Install(nil)
		if err != nil {
			return nil, err
		}
		for i := range install {
			install[i].Name = "tripwire: " + install[i].Name
		}
		add("before a run is made, in one transaction, where the tripwire is not there as it is to be", install...)
		for _, s := range pgsql.RemoveTripwire(p.Job.Name, p.Tripwire.Values.Tables()) {
			if s.Name == "trigger" {
				s.Name = "tripwire: drop"
				add("in the same transaction, where an older one is there", s)
			}
		}
	}
	for _, part := range []TaskPart{PartPrepare, PartHelper} {
		if err := s.plannedTasks(p, part, add); err != nil {
			return nil, err
		}
	}
	key := make([]string, len(p.Key))
	open, closed := pgsql.Range{Through: key}, pgsql.Range{After: key, Through: key}
	walk, sweep := Segment{No: 1, Pass: PassWalk}, Segment{No: 1, Pass: PassSweep}

	add("once, when the run is made; its number stands in place of 0", pgsql.Install(s.captures)...)
	add("once, when the run has ended; its number stands in place of 0", pgsql.Uninstall(s.captures)...)
	add("with each new connection", pgsql.Statement{Name: "primary", SQL: "SELECT pg_catalog.pg_is_in_recovery()"})
	add("at the start of every transaction", pgsql.Begin)
	if p.Heap == nil {
		add("in the transaction that finds where chunks end", s.keySettings(walk, p.Pace))
		add("once a chunk: finds where it ends; in the first segment", s.walk.Boundary(open, 1))
		add("once a chunk: finds where it ends", s.walk.Boundary(closed, 1))
	}
	add("in each chunk's transaction", s.jobSettings(walk, p.Pace))
	if s.transform != nil {
		add("in each transaction that reads what is sent", s.readSettings(walk, p.Pace))
	}
	counted := "in a segment's last chunk"
	if !p.Unique {
		counted = "in each chunk: how many rows have these keys"
	}
	ranges := []struct {
		rng  pgsql.Range
		when string
	}{{open, " of the first segment, which has no lower end"}, {closed, ""}}
	for _, r := range ranges {
		if p.Heap == nil {
			add(counted+r.when, s.walk.Count(r.rng))
		}
	}
	for _, k := range p.Key {
		if k.Nullable {
			ranges = append(ranges, struct {
				rng  pgsql.Range
				when string
			}{pgsql.Range{Nulls: true}, " of the rows with a NULL in the key"})
			add("in the chunk of the rows with a NULL in the key", s.walk.Count(pgsql.Range{Nulls: true}))
			break
		}
	}
	chunk, of := s, "each chunk"
	if p.Heap != nil {
		if leaf, ok := p.Heap.largest(); ok { // the others are named in its place
			if chunk, err = p.leafStatements(leaf.Table); err != nil {
				return nil, err
			}
			chunk, of = chunk.of(p, 0), fmt.Sprintf("each chunk of a partition, here of %s", leaf.Table)
			add("when a worker takes a segment, and in each chunk: whether its partition is one of the table's", pgsql.Leaf(p.Table.OID, leaf.OID))
			columns, deletes := p.Job.writesOf()
			add("when the walk is done: which partitions have come meanwhile", pgsql.Leaves(p.Table.OID, columns, deletes))
		}
	}
	for _, r := range ranges {
		if err := chunk.planChunk(pgsql.Part{Range: r.rng}, of+r.when, add); err != nil {
			return nil, err
		}
	}
	if p.Heap != nil {
		if err := chunk.planOneByOne(p, []pgsql.Range{ranges[0].rng, closed}, add); err != nil {
			return nil, err
		}
	}
	if p.Heap != nil && p.Heap.Stripes != nil {
		if err := chunk.planStripes(p, ranges[0].rng, closed, add); err != nil {
			return nil, err
		}
	}
	add("at the end of every transaction", pgsql.Commit)
	add("after a statement that failed", pgsql.Rollback)
	if p.Heap == nil {
		if err := s.planAside(key, p.Key, add); err != nil {
			return nil, err
		}
	}
	if p.Heap != nil {
		if err := s.planLook(ranges[0].rng, closed, p, add); err != nil {
			return nil, err
		}
	} else {
		add("once, when the walk is done: finds the rows above it", s.walk.Last(pgsql.Range{After: key}), s.walk.Last(pgsql.Range{}))
	}
	if p.sweeps() {
		if p.Heap != nil {
			add("in the transactions that look at the catalogue", s.keySettings(walk, p.Pace))
		}
		add("before the closing sweep, until the writers it names are gone", pgsql.Writers(p.Table.OID))
		add("in each transaction of the closing sweep: whether the table was rewritten", pagesOf(p))
		add("in each transaction of the closing sweep", s.jobSettings(sweep, p.Pace))
		for _, r := range ranges {
			walked := r.rng
			if p.Heap != nil {
				walked = pgsql.Range{}
			}
			add("closing sweep: what need not be looked at"+r.when, s.walk.Walkers(1, walked))
			part := pgsql.Part{Range: r.rng, Sweep: 1}
			if err := s.planChunk(part, "closing sweep"+r.when, add); err != nil {
				return nil, err
			}
			if p.repays() {
				part.Returning = p.Heap.Identity
				if err := s.planChunk(part, "closing sweep"+r.when+", where it is known which rows it is for", add); err != nil {
					return nil, err
				}
			}
		}
	}
	if err := s.plannedTasks(p, PartFinish, add); err != nil {
		return nil, err
	}
	return list, nil
}

// planChunk adds the statements of one chunk.
func (s statements) planChunk(part pgsql.Part, when string, add func(string, ...pgsql.Statement)) error {
	if s.transform != nil {
		return s.planTransform(part, when, add)
	}
	if s.fixed {
		take, err := s.scope.Take(part, s.named())
		if err != nil {
			return err
		}
		add(when+": which rows its steps are about", take)
		part.Members = s.noMembers()
	}
	changes, _, err := s.changes(part)
	if err != nil {
		return err
	}
	add(when, changes...)
	return nil
}

// noMembers are the rows of a chunk by name, without one.
func (s statements) noMembers() *pgsql.Members {
	m := s.named()
	n := len(s.walk.Key)
	switch {
	case m.Key != nil:
		n = len(m.Key)
	case s.byRow && s.walk.Partitioned:
		n = 2
	case s.byRow:
		n = 1
	}
	m.Columns = make([][]string, n)
	return &m
}
