package backfill

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// statements are all that a run sends about the table itself: what the workers send is what
// plan prints, because both come from here.
type statements struct {
	job   string
	owner string // see [Job.owner]
	walk  pgsql.Walk
	scope pgsql.Scope
	steps []pgsql.Step
	// lockFirst is set where a step reads more than the rows that it changes.
	lockFirst bool
	// chunkLock is set where a step reads the chunk's rows as {{chunk}}: they are locked before.
	chunkLock bool
	// fixed is set where several steps speak of the chunk's rows: which these are is settled before the first one.
	// They are named by the walked key, by another one, names, or, with byRow, by where they are.
	fixed, byRow bool
	names        []pgsql.KeyColumn
	// transform is what is computed outside of the database, nil is nothing; out is {{out}} without a row.
	transform *pgsql.Transform
	out       *pgsql.Out
	// pins are the settings of the job's statements.
	pins []pgsql.Setting
	// run is the run that the chunks belong to, 0 before there is one; captures are the tables whose rows it keeps.
	run      RunID
	captures []pgsql.Capture
}

// of are the statements as the run sends them.
func (s statements) of(p *Plan, run RunID) statements {
	s.run, s.captures = run, p.CapturesOf(run)
	return s
}

// statementsOf are the statements that carry out a plan.
func statementsOf(p *Plan) (statements, error) {
	s := statements{
		job: p.Job.Name, owner: p.Job.owner(), lockFirst: p.LockFirst, pins: pgsql.JobPins(p.SearchPath, p.Job.Settings),
		walk: walkOf(p),
	}
	s.scope = scopeOf(p)
	for _, step := range p.Job.Steps {
		made, err := s.step(p, step)
		if err != nil {
			return statements{}, err
		}
		s.steps = append(s.steps, made)
		locks, _ := step.readsChunk()
		s.chunkLock = s.chunkLock || locks
	}
	s.fixed, s.byRow, s.names = p.Job.fixesRows(), p.placesRows(), p.names()
	if p.Transform != nil {
		s.transform, s.out = s.transformOf(p), p.Transform.out()
	}
	return s, nil
}

// fixesRows reports whether several steps speak of a chunk's rows, so that which these are is settled before the first.
func (j Job) fixesRows() bool {
	speak := 0
	for _, step := range j.Steps {
		if _, reads := step.readsChunk(); reads {
			speak++
		}
	}
	return speak > 1
}

// placesRows reports whether no key names a row, so that where it lies does.
func (p *Plan) placesRows() bool {
	return !p.Unique || slices.ContainsFunc(p.Key, func(k pgsql.KeyColumn) bool { return k.Nullable })
}

// names is the key that tells the rows of a chunk apart where the walked one does not, so that a step finds them after another
// has moved them: one that no step assigns. Nil where there is none, and where none is needed.
func (p *Plan) names() []pgsql.KeyColumn {
	if !p.placesRows() || p.Transform != nil || len(p.Table.Children) > 0 {
		return nil
	}
	key, err := p.Table.ResolveKey(nil)
	if err != nil || !key.Unique {
		return nil
	}
	written, _ := p.Job.writesOf()
	for _, step := range p.Job.Steps {
		if step.SQL != nil && p.targets(step.SQL) {
			written = append(written, step.SQL.Assigned...)
		}
	}
	if slices.ContainsFunc(key.Parts, func(k catalog.KeyPart) bool { return k.Nullable || slices.Contains(written, k.Name) }) {
		return nil
	}
	return keyColumnsOf(key)
}

// named is how the rows of a chunk are named, without one.
func (s statements) named() pgsql.Members {
	return pgsql.Members{Key: s.names, ByRow: s.byRow && s.names == nil}
}

// walkOf is what the statements of a plan know of its table.
func walkOf(p *Plan) pgsql.Walk {
	return pgsql.Walk{Table: p.Table.Quoted, Key: p.Key, Partitioned: p.Table.Partitioned || len(p.Table.Children) > 0}
}

// scopeOf is what the job's SQL in a plan speaks of.
func scopeOf(p *Plan) pgsql.Scope {
	s := pgsql.Scope{Walk: walkOf(p), Params: p.Params(), Helpers: p.helperTables()}
	s.Groups = !p.Unique && slices.ContainsFunc(p.Job.Steps, func(step Step) bool { return step.SQL != nil })
	if p.Job.Where != nil {
		s.Where = p.Job.Where.SQL
	}
	return s
}

// readsChunk reports whether a step speaks of the chunk's rows in scope, and whether they must be locked before it.
func (s Step) readsChunk() (locks, reads bool) {
	if s.SQL == nil {
		return false, true // it locks them itself
	}
	locks = slices.Contains(s.SQL.Templates, "chunk")
	return locks, locks || slices.Contains(s.SQL.Templates, "chunk nolock")
}

// step makes a step of the job's.
func (s statements) step(p *Plan, step Step) (pgsql.Step, error) {
	switch {
	case step.SQL != nil:
		return pgsql.Command{Scope: s.scope, Name: step.Name, SQL: step.SQL.SQL}, nil
	case step.Delete:
		return pgsql.Delete{Scope: s.scope, Name: step.Name, LockFirst: p.LockFirst}, nil
	}
	return s.change(p, step, p.Job.speaksOfWholeRow())
}

// change makes an update step; whole is set where an expression may take t as a whole.
func (s statements) change(p *Plan, step Step, whole bool) (pgsql.Change, error) {
	u := step.Update
	c := pgsql.Change{Scope: s.scope, Name: step.Name, SkipUnchanged: u.SkipUnchanged, LockFirst: p.LockFirst}
	if u.From != nil {
		c.From, c.Join = u.From.SQL, u.Join.SQL
	}
	for _, a := range u.Set {
		column := p.Table.Column(a.Column)
		if column == nil {
			return c, Inputf(p.Job.Origin, "name a column that the table has", "table %s has no column %q", c.Table, a.Column)
		}
		c.Set = append(c.Set, pgsql.SetColumn{
			Name: column.Name, Type: column.Type, Bare: column.BareType, Compare: p.compare(column), Expr: a.Value.SQL,
			Nulls: p.nulls[assigned{a.Column, a.Value.SQL}],
		})
	}
	if whole {
		c.WholeRow = p.Table.ColumnNames()
	}
	return c, nil
}

// compare is how the values of a column are told apart: not by an = where the search_path has something before pg_catalog,
// which could be somebody's own.
func (p *Plan) compare(c *catalog.Column) pgsql.Compare {
	if strings.Contains(p.SearchPath, `"pg_catalog"`) && !strings.HasPrefix(p.SearchPath, `"pg_catalog"`) {
		return pgsql.CompareImage
	}
	return pgsql.Compare(c.Compare)
}

// speaksOfWholeRow reports whether an expression may take t as a whole. A column called t looks the
// same, and costs no more than time.
func (j Job) speaksOfWholeRow() bool { return speakOfWholeRow(j.exprs()) }

func speakOfWholeRow(exprs []Expr) bool {
	return slices.ContainsFunc(exprs, func(e Expr) bool {
		return slices.Contains(e.Columns, "t") || slices.Contains(e.Columns, "t.*")
	})
}

// keySettings are those of the transactions that look for keys.
func (s statements) keySettings(seg Segment, p Pace) pgsql.Statement {
	return pgsql.SetLocal(append(pgsql.KeyPins(), s.limits(seg, p)...)...)
}

// jobSettings are those of the transactions that change rows: with them our own triggers leave alone what a chunk writes, or keep what
// it changes. They give the transaction a number, to which all new snapshots of the server reach back: who only reads has [statements.readSettings].
func (s statements) jobSettings(seg Segment, p Pace) pgsql.Statement {
	own := []pgsql.Setting{{Name: pgsql.RunSetting, Value: strconv.FormatInt(int64(s.run), 10)}, {Name: pgsql.JobSetting, Value: s.owner}, {Name: pgsql.XIDSetting}}
	return pgsql.SetLocal(append(s.reading(seg, p), own...)...)
}

// readSettings are those of the transactions that evaluate the job's SQL and change nothing.
func (s statements) readSettings(seg Segment, p Pace) pgsql.Statement {
	return pgsql.SetLocal(s.reading(seg, p)...)
}

// reading are the settings under which the job's SQL is read. The job's own go over what is said here of how rows are read.
func (s statements) reading(seg Segment, p Pace) []pgsql.Setting {
	var reading []pgsql.Setting
	switch {
	case s.lockFirst || s.readsOthers():
		// A chunk meets other tables by their indexes. A merge join would read the other table's index
		// from its beginning for every chunk, and random_page_cost's default makes reading all of it
		// look cheaper than a few thousand look-ups of neighbours.
		reading = []pgsql.Setting{{Name: "enable_mergejoin", Value: "off"}, {Name: "random_page_cost", Value: "1.1"}}
	case seg.Pass.Sweeps(): // in one go, not row by row
		reading = []pgsql.Setting{{Name: "enable_indexscan", Value: "off"}}
	default: // by the index, whatever stale statistics say
		reading = []pgsql.Setting{{Name: "enable_seqscan", Value: "off"}}
	}
	var memory []pgsql.Setting
	if seg.Pass.Sweeps() {
		// Every row is looked up among the transactions of the ledger. Where these do not fit, they
		// are read again for each row.
		memory = []pgsql.Setting{{Name: "work_mem", Value: "256MB"}}
	}
	return slices.Concat(reading, s.pins, memory, s.limits(seg, p))
}

// readsOthers reports whether a step is SQL of the job's own, which most often meets other tables.
func (s statements) readsOthers() bool {
	return slices.ContainsFunc(s.steps, func(step pgsql.Step) bool { _, own := step.(pgsql.Command); return own })
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

// changes are the statements of a chunk's steps, and for each which step it is the last of; -1 is one that locks.
func (s statements) changes(part pgsql.Part) (list []pgsql.Statement, of []int, err error) {
	if s.chunkLock && part.Members == nil {
		lock, err := s.scope.Lock(part)
		if err != nil {
			return nil, nil, err
		}
		list, of = append(list, lock), append(of, -1)
	}
	for i, step := range s.steps {
		made, err := step.Statements(part)
		if err != nil {
			return nil, nil, err
		}
		for range made[1:] {
			of = append(of, -1)
		}
		list, of = append(list, made...), append(of, i)
	}
	for _, keeping := range s.keeping() {
		list, of = append(list, keeping), append(of, checksKeeping)
	}
	return list, of, nil
}

// keeping is the question whether rows were kept for undo, where they are to be. It comes last, when every table is
// locked against those who might take its triggers away.
func (s statements) keeping() []pgsql.Statement {
	if len(s.captures) == 0 {
		return nil
	}
	keeping, _ := pgsql.Keeping(s.captures)
	return []pgsql.Statement{keeping}
}

const (
	// checksKeeping says of a statement that it looks whether rows were kept for undo, checksLeaf that it looks whether the table
	// that was written belongs to the walked one, checksRoom that it counts what has found room.
	checksKeeping = -2
	checksLeaf    = -3
	checksRoom    = -4
)

// sweeps reports whether the run ends with a closing sweep: where everything that the steps do follows from the
// rows of the walked table that they speak of, and doing it again is right.
func (p *Plan) sweeps() bool {
	if !p.Job.Idempotent || p.Job.Transform != nil {
		return false
	}
	return !slices.ContainsFunc(p.Job.Steps, func(s Step) bool {
		if s.SQL == nil {
			return false
		}
		_, reads := s.readsChunk()
		return !reads || slices.ContainsFunc(s.SQL.Templates, func(t string) bool {
			return t == "scope" || t == "range" || strings.HasPrefix(t, "range ")
		})
	})
}
