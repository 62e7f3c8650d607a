package backfill

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// planNode is one node of a plan of the server's.
type planNode struct {
	Type     string     `json:"Node Type"`
	Schema   string     `json:"Schema"`
	Relation string     `json:"Relation Name"`
	Index    string     `json:"Index Name"`
	Rows     float64    `json:"Plan Rows"`
	Width    int64      `json:"Plan Width"`
	Plans    []planNode `json:"Plans"`
}

// explained is how the server would run a statement: its own text, and the nodes, outermost first.
type explained struct {
	text  string
	nodes []planNode
}

// explainAll asks the server how it would run statements, in one round trip. With an error it says how it would run those before the one that
// it refuses.
func (pl *planning) explainAll(ctx context.Context, settings pgsql.Statement, list ...pgsql.Statement) ([]explained, error) {
	var asked []pgsql.Statement
	for _, s := range list {
		for _, format := range []string{"TEXT", "JSON"} {
			asked = append(asked, pgsql.Statement{Name: "explain " + s.Name, SQL: "EXPLAIN (VERBOSE, FORMAT " + format + ") " + s.SQL, Args: s.Args})
		}
	}
	answers, err := pl.ask(ctx, settings, asked...)
	var told []explained
	for ; len(answers) >= 2; answers = answers[2:] {
		e, unread := explainedIn(answers[0], answers[1])
		if unread != nil {
			return nil, unread
		}
		told = append(told, e)
	}
	return told, err
}

// explainedIn reads what the server says of one statement, as text and as JSON.
func explainedIn(text, tree answer) (explained, error) {
	var e explained
	var lines []string
	for _, row := range text.rows {
		lines = append(lines, row[0])
	}
	e.text = strings.Join(lines, "\n")
	var plans []struct{ Plan planNode }
	if err := json.Unmarshal([]byte(tree.rows[0][0]), &plans); err != nil {
		return e, fmt.Errorf("reading the server's plan: %w", err)
	}
	var flatten func(planNode)
	flatten = func(n planNode) {
		children := n.Plans
		n.Plans = nil
		e.nodes = append(e.nodes, n)
		for _, c := range children {
			flatten(c)
		}
	}
	for _, p := range plans {
		flatten(p.Plan)
	}
	return e, nil
}

// explain lists every statement that a run sends, and asks the server how it would run those that touch the user's
// tables, for a chunk that is there. The sweep reads the engine's own tables, which need not be there yet, so it is
// not explained.
func (pl *planning) explain(ctx context.Context) error {
	p := pl.plan
	var err error
	if p.Statements, err = p.Planned(); err != nil {
		return err
	}
	if err := pl.findProbe(ctx); err != nil {
		return err
	}
	changes, err := pl.sample(pgsql.Part{Range: pl.probe, Stripe: pl.striped})
	if err != nil {
		return err
	}
	pl.nodes = map[string][]planNode{}
	type asked struct {
		settings   pgsql.Statement
		statements []pgsql.Statement
	}
	var list []asked
	if p.Heap == nil {
		list = append(list, asked{pl.keySettings(), []pgsql.Statement{pl.sql.walk.Boundary(pl.probe, pl.chunkRows()), pl.sql.walk.Last(pgsql.Range{After: pl.probe.After})}})
		changes = append([]pgsql.Statement{pl.sql.walk.Count(pl.probe)}, changes...)
	}
	for _, e := range append(list, asked{pl.readSettings(), changes}) {
		for left := e.statements; len(left) > 0; {
			told, err := pl.explainAll(ctx, e.settings, left...)
			for i, t := range told {
				pl.shows(left[i], t)
			}
			left = left[len(told):]
			if err == nil {
				continue
			}
			if len(left) == 0 || !pl.later("statement "+left[0].Name, err) && !pl.helperInTheWay(err) {
				return pl.unexplained(left, err)
			}
			left = left[1:]
		}
	}
	return nil
}

// shows puts into the plan how the server would run a statement.
func (pl *planning) shows(s pgsql.Statement, e explained) {
	pl.nodes[s.Name] = e.nodes
	for i := range pl.plan.Statements {
		if pl.plan.Statements[i].SQL == s.SQL {
			pl.plan.Statements[i].Explain = e.text
		}
	}
}

// sample are the statements of one chunk that touch the user's tables.
func (pl *planning) sample(part pgsql.Part) ([]pgsql.Statement, error) {
	if leaf, ok := pl.probedLeaf(); ok {
		sql, err := pl.plan.leafStatements(leaf.Table)
		if err != nil {
			return nil, err
		}
		list, _, err := sql.changes(part)
		return list, err
	}
	if pl.sql.transform != nil {
		list, err := pl.sql.transformed(part)
		return append([]pgsql.Statement{list.read, list.lock}, list.write...), err
	}
	list, _, err := pl.sql.changes(part)
	return list, err
}

// probedLeaf is the leaf that stands for all of them, where each is walked by itself.
func (pl *planning) probedLeaf() (Leaf, bool) {
	if pl.plan.Heap == nil {
		return Leaf{}, false
	}
	return pl.plan.Heap.largest()
}

// findProbe looks for a chunk in the middle of the table, so that the statements are explained with values that
// are there.
func (pl *planning) findProbe(ctx context.Context) error {
	p := pl.plan
	var walked []Segment
	leaf, _ := pl.probedLeaf()
	for _, s := range p.Segments {
		if !s.Nulls && s.Leaf == leaf.OID {
			walked = append(walked, s)
		}
	}
	if len(walked) == 0 { // there is no key to name
		return nil
	}
	middle := walked[len(walked)/2].Range
	pl.probe = pgsql.Range{After: middle.After, Through: middle.Through}
	if p.Heap != nil {
		next := p.Heap.boundary(middle.After, walked[len(walked)/2], pl.chunkRows(), func() bool { return true })
		part := p.Heap.pages(KeyRange{After: middle.After, Through: next.through})
		pl.probe, pl.striped = part.Range, part.Stripe
		pl.probed = p.Heap.of(walked[len(walked)/2]).rowsIn(KeyRange{After: middle.After, Through: next.through})
		return nil
	}
	answers, err := pl.ask(ctx, pl.keySettings(), pl.sql.walk.Boundary(pl.probe, pl.chunkRows()))
	if err != nil {
		return err
	}
	if rows := answers[0].rows; len(rows) > 0 {
		pl.probe.Through, pl.probed = rows[0], int64(pl.chunkRows())
	} else {
		pl.probed = walked[len(walked)/2].EstimatedRows
	}
	return nil
}

// chunkRows is the size of chunk that the plan reckons with.
func (pl *planning) chunkRows() int {
	if n := pl.plan.Pace.ChunkRows; n > 0 {
		return n
	}
	return firstChunkRows
}

// unexplained is the error of the first of statements that the server does not run although it accepts the job's own SQL: a privilege on
// another table, most of all.
func (pl *planning) unexplained(left []pgsql.Statement, err error) error {
	if pgerr.Class(err) != pgerr.Fatal || len(left) == 0 {
		return err
	}
	s := left[0]
	remedy := "mend the job: pgbackfill plan shows the statement"
	if pgerr.Code(err) == "42501" {
		remedy = "grant what is missing to role " + pl.plan.Server.Role
	}
	return &Error{Place: pl.place(), Found: "the statement " + s.Name + " cannot be run", Err: describedError{err}, Remedy: remedy, Kind: ErrInput}
}

const (
	// guessedRate is how many rows a second one worker is thought to change before any was measured.
	guessedRate = 100_000
	// tupleBytes and entryBytes are what the write-ahead log takes for a new row version and for an index entry,
	// apart from what is in them.
	tupleBytes = 70
	entryBytes = 70
)

// estimateWork guesses chunks, time and write-ahead log.
func (pl *planning) estimateWork() {
	p := pl.plan
	pl.estimateUndo()
	chunk := float64(p.Pace.ChunkRows)
	if chunk == 0 {
		chunk = max(1, min(guessedRate*p.Pace.ChunkTarget.Seconds(), float64(p.Pace.ChunkMaxRows)))
	}
	for _, s := range p.Segments {
		p.EstimatedChunks += int64(max(1, math.Ceil(float64(s.EstimatedRows)/chunk)))
	}
	workers := max(p.Pace.Workers, 1)
	rate := float64(guessedRate * workers)
	if p.Pace.Rate > 0 {
		rate = min(rate, p.Pace.Rate)
	}
	p.EstimatedTime = secondsOf(float64(p.EstimatedRows) / rate)
	changed := float64(min(pl.scope, p.EstimatedRows))
	if p.EstimatedRows == 0 {
		return
	}
	wal := changed * (float64(pl.rowWidth()) + tupleBytes + float64(len(p.Table.Indexes))*entryBytes)
	if p.Server.FullPageWrites {
		wal += float64(p.Table.CurrentPages*p.Server.BlockSize) * changed / float64(p.EstimatedRows)
	}
	p.EstimatedWAL = int64(wal)
}

// rowWidth is about how many bytes a row has, TOASTed values apart.
func (pl *planning) rowWidth() int64 {
	var sum int64
	for _, c := range pl.plan.Table.Columns {
		sum += min(c.Width, 2000)
	}
	return sum
}
