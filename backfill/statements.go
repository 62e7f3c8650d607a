package backfill

import (
	"fmt"
	"slices"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// statements are all that a run sends about the table itself: what the workers send is what
// plan prints, because both come from here.
type statements struct {
	job    string
	walk   pgsql.Walk
	change pgsql.Change
	// pins are the settings of the job's statements.
	pins []pgsql.Setting
}

// statementsOf are the statements that carry out a plan.
func statementsOf(p *Plan) (statements, error) {
	u := p.Job.Update
	c := pgsql.Change{
		Walk:          pgsql.Walk{Table: p.Table.Quoted, Key: p.Key, Partitioned: p.Table.Partitioned || len(p.Table.Children) > 0},
		SkipUnchanged: u.SkipUnchanged,
		LockFirst:     p.LockFirst,
	}
	if p.Job.Where != nil {
		c.Where = p.Job.Where.SQL
	}
	if u.From != nil {
		c.From, c.Join = u.From.SQL, u.Join.SQL
	}
	for _, a := range u.Set {
		column := p.Table.Column(a.Column)
		if column == nil {
			return statements{}, Inputf(p.Job.Origin, "name a column that the table has", "table %s has no column %q", c.Table, a.Column)
		}
		c.Set = append(c.Set, pgsql.SetColumn{Name: column.Name, Type: column.Type, Bare: column.BareType, Compare: pgsql.Compare(column.Compare), Expr: a.Value.SQL})
	}
	if p.Job.speaksOfWholeRow() {
		c.WholeRow = p.Table.ColumnNames()
	}
	return statements{job: p.Job.Name, walk: c.Walk, change: c, pins: pgsql.JobPins(p.SearchPath, p.Job.Settings)}, nil
}

// speaksOfWholeRow reports whether an expression may take t as a whole. A column called t looks the
// same, and costs no more than time.
func (j Job) speaksOfWholeRow() bool {
	return slices.ContainsFunc(j.exprs(), func(e Expr) bool {
		return slices.Contains(e.Columns, "t") || slices.Contains(e.Columns, "t.*")
	})
}

// keySettings are those of the transactions that look for keys.
func (s statements) keySettings(seg Segment, p Pace) pgsql.Statement {
	return pgsql.SetLocal(append(pgsql.KeyPins(), s.limits(seg, p)...)...)
}

// jobSettings are those of the transactions that change rows. The job's own settings go over
// what is said here of how rows are read.
func (s statements) jobSettings(seg Segment, p Pace) pgsql.Statement {
	var reading []pgsql.Setting
	switch {
	case s.change.LockFirst:
		// A chunk meets other tables by their indexes. A merge join would read the other table's index
		// from its beginning for every chunk, and random_page_cost's default makes reading all of it
		// look cheaper than a few thousand look-ups of neighbours.
		reading = []pgsql.Setting{{Name: "enable_mergejoin", Value: "off"}, {Name: "random_page_cost", Value: "1.1"}}
	case seg.Pass == PassSweep: // in one go, not row by row
		reading = []pgsql.Setting{{Name: "enable_indexscan", Value: "off"}}
	default: // by the index, whatever stale statistics say
		reading = []pgsql.Setting{{Name: "enable_seqscan", Value: "off"}}
	}
	var memory []pgsql.Setting
	if seg.Pass == PassSweep {
		// Every row is looked up among the transactions of the ledger. Where these do not fit, they
		// are read again for each row.
		memory = []pgsql.Setting{{Name: "work_mem", Value: "256MB"}}
	}
	return pgsql.SetLocal(slices.Concat(reading, s.pins, memory, s.limits(seg, p))...)
}

// limits are the settings that every transaction makes for itself.
func (s statements) limits(seg Segment, p Pace) []pgsql.Setting {
	limits := pgsql.Limits{Lock: p.LockTimeout, Statement: p.StatementTimeout, Idle: p.IdleTimeout, SynchronousCommit: p.SynchronousCommit}
	return append(limits.Settings(), pgsql.Setting{Name: "application_name", Value: applicationName(s.job, seg.No)})
}

// applicationName makes our backends recognisable in pg_stat_activity; the server keeps 63 bytes.
func applicationName(job string, segment int) string {
	suffix := fmt.Sprintf(" %d", segment)
	return "pgbackfill " + job[:min(len(job), 63-len("pgbackfill ")-len(suffix))] + suffix
}

// changes are the statements of a chunk: in a sweep limited to what the walk may have missed.
func (s statements) changes(rng pgsql.Range) ([]pgsql.Statement, error) {
	return s.change.Statements(rng)
}

// sweeps is the change as a sweep makes it.
func (s statements) sweeps(run RunID) pgsql.Change {
	change := s.change
	change.Sweep = int64(run)
	return change
}

// Planned lists every statement that a run of the plan sends about the table, with placeholders
// for its values, in the order of a chunk's life. Those about the ledger and the run are the store's.
func (p *Plan) Planned() ([]PlannedStatement, error) {
	s, err := statementsOf(p)
	if err != nil {
		return nil, err
	}
	var list []PlannedStatement
	add := func(when string, statements ...pgsql.Statement) {
		for _, st := range statements {
			list = append(list, PlannedStatement{Name: st.Name, When: when, SQL: st.SQL})
		}
	}
	key := make([]string, len(p.Key))
	open, closed := pgsql.Range{Through: key}, pgsql.Range{After: key, Through: key}
	walk, sweep := Segment{No: 1, Pass: PassWalk}, Segment{No: 1, Pass: PassSweep}

	add("with each new connection, as the driver asks it", pgsql.Statement{Name: "primary", SQL: "select pg_is_in_recovery()"})
	add("at the start of every transaction", pgsql.Begin)
	add("in the transaction that finds where chunks end", s.keySettings(walk, p.Pace))
	add("once a chunk: finds where it ends; in the first segment", s.walk.Boundary(open, 1))
	add("once a chunk: finds where it ends", s.walk.Boundary(closed, 1))
	add("in each chunk's transaction", s.jobSettings(walk, p.Pace))
	counted := "in a segment's last chunk"
	if !p.Unique {
		counted = "in each chunk: how many rows have these keys"
	}
	ranges := []struct {
		rng  pgsql.Range
		when string
	}{{open, " of the first segment, which has no lower end"}, {closed, ""}}
	for _, r := range ranges {
		add(counted+r.when, s.walk.Count(r.rng))
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
	for _, r := range ranges {
		changes, err := s.changes(r.rng)
		if err != nil {
			return nil, err
		}
		add("each chunk"+r.when, changes...)
	}
	add("at the end of every transaction", pgsql.Commit)
	add("after a statement that failed", pgsql.Rollback)
	add("once, when the walk is done: finds the rows above it", s.walk.Last(pgsql.Range{After: key}), s.walk.Last(pgsql.Range{}))
	if p.Job.Idempotent {
		add("before the closing sweep, until the writers it names are gone", pgsql.Writers(p.Table.OID))
		add("in each transaction of the closing sweep", s.jobSettings(sweep, p.Pace))
		for _, r := range ranges {
			change := s.sweeps(1)
			add("closing sweep: what need not be looked at"+r.when, change.Walkers(r.rng))
			changes, err := change.Statements(r.rng)
			if err != nil {
				return nil, err
			}
			add("closing sweep"+r.when, changes...)
		}
	}
	return list, nil
}
