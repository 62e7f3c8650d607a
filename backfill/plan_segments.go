package backfill

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

const (
	// segmentsPerWorker keeps the workers from idling at the end, when the last segments are worked.
	segmentsPerWorker = 8
	// segmentChunks is how many chunks a segment should have at least; a smaller table gets fewer segments.
	segmentChunks = 4
	// samplePages bounds the pages that sampling reads, whatever the table's size. A table that is not larger is read
	// whole, so that its rows are counted and not estimated.
	samplePages = 400
	// staleGrowth is by how much a table may have grown since it was analyzed for its histogram still to be believed.
	staleGrowth = 1.2
)

// The types whose values have distances: int2, int4, int8.
var integers = []string{"smallint", "integer", "bigint"}

// cut divides the table's keys into segments of about the same number of rows, by what statistics know.
func (pl *planning) cut(ctx context.Context) error {
	p := pl.plan
	if p.Heap != nil {
		pl.cutHeap()
		return nil
	}
	n := pl.segments()
	var rows [][]string
	var from source
	for _, try := range pl.sources(n) {
		answers, err := pl.ask(ctx, pl.keySettings(), pl.sql.walk.Bounds(try.from, n))
		if err != nil {
			return err
		}
		if len(answers[0].rows) > len(rows) || rows == nil {
			rows, from = answers[0].rows, try
		}
		if len(rows)*2 >= n {
			break
		}
	}
	bounds, counted := readBounds(rows, len(p.Key))
	switch {
	case p.Table.CurrentPages <= samplePages:
		p.EstimatedRows = counted
	case from.percent > 0: // statistics as old as that take dead rows, as those of a run before, for live ones
		p.EstimatedRows = int64(float64(counted) * 100 / from.percent)
		pl.scope = min(pl.scope, p.EstimatedRows)
	}
	if pl.key.Nullable() {
		if err := pl.nulls(ctx); err != nil {
			return err
		}
	}
	var after Key
	for _, b := range bounds {
		p.Segments = append(p.Segments, Segment{
			No: len(p.Segments) + 1, Pass: PassWalk, Range: KeyRange{After: after, Through: b.key},
			EstimatedRows: int64(b.part * float64(p.EstimatedRows)),
		})
		after = b.key
	}
	if len(bounds) > 1 {
		p.WalkReason += fmt.Sprintf("; %d segments from %s", len(bounds), from.how)
	}
	pl.estimateWork()
	return nil
}

// segments is how many segments to aim at.
func (pl *planning) segments() int {
	chunk := pl.plan.Pace.ChunkRows
	if chunk == 0 {
		chunk = firstChunkRows
	}
	most := pl.plan.EstimatedRows / int64(chunk*segmentChunks)
	return int(max(1, min(most, int64(segmentsPerWorker*max(pl.plan.Pace.Workers, 1)))))
}

type source struct {
	how  string
	from pgsql.Source
	// percent is how many of all rows it shows, where it shows a part of them; 0 is not known.
	percent float64
}

// sources are the ways to find bounds, the best first. The next is tried where one gave too few.
func (pl *planning) sources(n int) []source {
	p, w := pl.plan, pl.sql.walk
	if p.Table.CurrentPages <= samplePages {
		return []source{{how: "all keys of a small table", from: w.Sampled(100)}}
	}
	var list []source
	single := len(p.Key) == 1
	fresh := float64(p.Table.CurrentPages) <= staleGrowth*float64(p.Table.Pages)
	if single && p.Unique && fresh && !strings.HasSuffix(p.Key[0].Type, "[]") {
		list = append(list, source{how: "the histogram in pg_stats", from: w.Histogram(p.Table.Schema, p.Table.Name)})
	}
	percent := 100 * samplePages / float64(p.Table.CurrentPages)
	list = append(list, source{fmt.Sprintf("a sample of %d pages", samplePages), w.Sampled(percent), percent})
	if single && slices.Contains(integers, p.Key[0].Type) {
		list = append(list, source{how: "the least and the greatest key", from: w.Spread(n)})
	}
	return list
}

type bound struct {
	key Key
	// part is the segment's part of all rows.
	part float64
}

// readBounds reads the answer to Walk.Bounds, and how many candidates there were.
func readBounds(rows [][]string, columns int) ([]bound, int64) {
	var list []bound
	var before, counted int64
	for _, row := range rows {
		place := number(row[columns])
		counted = number(row[columns+1])
		part := 1.0
		if counted > 0 {
			part = float64(place-before) / float64(counted)
		}
		list = append(list, bound{key: row[:columns], part: part})
		before = place
	}
	return list, counted
}

// nulls adds the segment of the rows with a NULL in the key. It comes first, so that the last segment is the one
// that ends at the greatest key.
func (pl *planning) nulls(ctx context.Context) error {
	p := pl.plan
	answers, err := pl.ask(ctx, pl.keySettings(), pgsql.Statement{Name: "empty", SQL: "SELECT FROM " + p.Table.Quoted + " LIMIT 1"})
	if err != nil || len(answers[0].rows) == 0 {
		return err
	}
	var part float64
	for _, k := range p.Key {
		part = max(part, p.Table.Column(k.Name).NullFraction)
	}
	p.Segments = append(p.Segments, Segment{No: 1, Pass: PassWalk, Nulls: true, EstimatedRows: int64(part * float64(p.EstimatedRows))})
	return nil
}

// estimate reads how many rows there may be, from what the server's planner thinks.
func (pl *planning) estimate(ctx context.Context) error {
	rows, err := pl.estimateOf(ctx, pl.keySettings(), pgsql.Statement{Name: "estimate", SQL: "SELECT FROM " + pl.plan.Table.Quoted})
	if err != nil {
		return err
	}
	pl.plan.EstimatedRows, pl.scope = rows, rows
	if where := pl.plan.Job.Where; where != nil && !strings.Contains(where.SQL, "{{") {
		all, err := pl.sql.scope.All()
		if err != nil {
			return err
		}
		if pl.scope, err = pl.estimateOf(ctx, pl.readSettings(), all); err != nil && (pl.later("where", err) || pl.helperInTheWay(err)) {
			pl.scope = rows
			return nil
		}
		return err
	}
	return nil
}

func (pl *planning) estimateOf(ctx context.Context, settings, query pgsql.Statement) (int64, error) {
	told, err := pl.explainAll(ctx, settings, query)
	if err != nil || len(told[0].nodes) == 0 {
		return 0, err
	}
	return int64(told[0].nodes[0].Rows), nil
}

// keySettings and jobSettings are those that the workers will make.
func (pl *planning) keySettings() pgsql.Statement { return pl.sql.keySettings(Segment{}, pl.plan.Pace) }

func (pl *planning) readSettings() pgsql.Statement {
	return pl.sql.readSettings(Segment{}, pl.plan.Pace)
}
