package backfill

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

const (
	// stripesOf is into how many stripes the rows of a page are told apart. With two a half of the rows stays on its page, with three
	// two thirds; a fourth pass costs about what it saves.
	stripesOf = 3
	// stripedPages is how large a table must be to be walked in stripes, and chosenPages to be walked so though nobody has asked for a walk
	// in physical order: smaller ones are done in a second anyway.
	stripedPages, chosenPages = 64, 4096
	// windowPages is how many pages a window has at most; where the server's cache is small, a windowShare-th of it for all workers together.
	windowPages, windowShare = 4096, 4
	// evenPages is how many pages are looked at for how evenly stripes split them, and roomWanted which part of the rows must be expected to
	// find room.
	evenPages  = 100
	roomWanted = 0.5
	// roomBetter is the part of the rows by which one way to tell them apart must be better than another, so that a sample's chance decides nothing.
	roomBetter = 0.05
	// leastFill is the fillfactor from which on pages have so much room that rows need no other's.
	leastFill = 67
)

// chooseStripes decides whether a walk in physical order is one in stripes; and whether a table that nobody has said how to walk is walked
// so, since that is the fastest way and writes least, where it is as good as the walk by key in all else.
func (pl *planning) chooseStripes(ctx context.Context) error {
	p := pl.plan
	chosen := p.Heap == nil
	if pl.known.Walk != "" || chosen && !pl.mayChooseHeap() { // what is begun goes on in the stripes that it was begun in
		return nil
	}
	if chosen && pl.scope*2 < p.EstimatedRows {
		return pl.chooseWholePages(ctx)
	}
	why, stripes := pl.noStripes(), (*Striping)(nil)
	if why == "" && chosen {
		why = pl.needsKey()
	}
	if why == "" && chosen {
		var err error
		if why, _, err = pl.readLeaves(ctx); err != nil {
			return err
		}
	}
	if why == "" {
		var err error
		if stripes, why, err = pl.evenStripes(ctx); err != nil {
			return err
		}
	}
	switch {
	case stripes == nil && chosen:
		p.WalkReason += "; not in stripes of pages, which writes less: " + why
		return nil
	case stripes == nil:
		p.WalkReason += "; whole pages at once: " + why
		return nil
	case chosen:
		if err := pl.turnToHeap(ctx, "most of its rows find room on their own pages so"); err != nil {
			return err
		}
	}
	p.Heap.Stripes = stripes
	p.WalkReason += fmt.Sprintf("; the rows of a page in %d stripes, by %s: of a sample %.0f %% will find room where they are, in windows of up to %d pages",
		stripes.Of, stripes.Stripes, 100*stripes.Room, stripes.Window)
	return nil
}

// chooseWholePages decides whether a table is walked by its pages of which few rows are in scope: reading them all, twice, is what takes the time,
// and pages are read faster than the entries of an index (1.5 times, see docs/benchmarks.md).
func (pl *planning) chooseWholePages(ctx context.Context) error {
	p := pl.plan
	why := pl.needsKey()
	if where := p.Job.Where; why == "" && where != nil && pl.bounds(*where) {
		why = "where speaks of the key, whose index may find its rows without reading the others"
	}
	if why == "" && p.Job.UpdateStep() == nil {
		why = "rows are deleted"
	}
	if why == "" {
		var err error
		if why, _, err = pl.readLeaves(ctx); err != nil {
			return err
		}
	}
	if why != "" {
		p.WalkReason += "; not in physical order: " + why
		return nil
	}
	return pl.turnToHeap(ctx, "where leaves less than half of the rows, and pages are read faster than an index's entries")
}

// bounds reports whether an expression speaks of the first column of the key, or may.
func (pl *planning) bounds(e Expr) bool {
	job := pl.plan.Job
	return len(e.Columns) == 0 || job.speaksOf(e, Dropped{Table: job.Table, Column: pl.key.Parts[0].Name})
}

// turnToHeap makes a walk by key one in physical order.
func (pl *planning) turnToHeap(ctx context.Context, reason string) error {
	pl.key = catalog.Key{}
	if err := pl.byHeap(ctx, reason); err != nil {
		return err
	}
	return pl.all(ctx, pl.readOverriding, pl.prepare)
}

// mayChooseHeap reports whether a table that would be walked by key may be walked in physical order instead: where the job leaves that open,
// and the table is large enough for it to matter.
func (pl *planning) mayChooseHeap() bool {
	p, job := pl.plan, pl.plan.Job
	open := (job.Walk == WalkAuto || job.Walk == "") && len(job.Key) == 0
	return open && !p.Pending && !p.Table.Partitioned && p.Table.CurrentPages >= chosenPages && pl.noHeap() == ""
}

// needsKey says what a walk by key has that a job needs, or may need; "" is nothing.
func (pl *planning) needsKey() string {
	p := pl.plan
	switch {
	case p.LockFirst:
		return "new values come from more than the row, whose order may be that of the key"
	case p.Job.Undo != nil && p.Job.Undo.Capture:
		return "undo: capture keeps rows in the order of the key"
	case len(pl.firing()) > 0:
		return "trigger " + pl.firing()[0].Name + " fires, and may move rows that the walk has not come to"
	case slices.ContainsFunc(pl.functions, func(f catalog.Function) bool { return f.Volatility == "volatile" }):
		return "new values are others each time, and a row that moves ahead of the walk would be given a second one"
	}
	return ""
}

// noStripes says why changing the rows of a page in several passes would not help; "" is that it may.
func (pl *planning) noStripes() string {
	p := pl.plan
	t := &p.Table
	_, deletes := p.Job.writesOf()
	switch {
	case deletes:
		return "a deletion needs no room"
	case t.CurrentPages < stripedPages:
		return "the table is small"
	case t.FillFactor < leastFill:
		return fmt.Sprintf("with a fillfactor of %d its pages have room", t.FillFactor)
	case len(t.Rules) > 0:
		return "it has rewrite rules"
	}
	written := slices.Clone(pl.written())
	for _, c := range t.Columns {
		if c.Generated {
			written = append(written, c.Name)
		}
	}
	for _, x := range t.Indexes {
		if x.Touches(written) && (x.Method != "brin" || p.Server.Version < 160000) { // it summarizes, and does not stand in the way since
			return "index " + x.Name + " is on what is written, or generated of it, so that no row can stay on its page"
		}
	}
	for _, trigger := range pl.firing() {
		if trigger.Before && trigger.ForEach == "row" {
			return "trigger " + trigger.Name + " may change what rows are told apart by, or what is indexed"
		}
	}
	if len(pl.tellingApart()) == 0 {
		return "it has no unique key that stays, by which the rows of a page could be told apart"
	}
	return ""
}

// hashes are the functions that hash the types which most keys have, by what [typeNames] calls them.
var hashes = map[string]string{
	"int2": "hashint2", "int4": "hashint4", "int8": "hashint8", "text": "hashtext", "varchar": "hashtext", "bpchar": "hashbpchar", "uuid": "uuid_hash",
}

// tellingApart are ways to tell the rows of a page apart: by the columns of a unique key that the job does not write.
func (pl *planning) tellingApart() []pgsql.Stripes {
	t := &pl.plan.Table
	key, err := t.ResolveKey(nil)
	if err != nil || !key.Unique {
		return nil
	}
	var list []pgsql.Stripes
	var all []string
	for _, k := range key.Parts {
		c := t.Column(k.Name)
		if slices.Contains(pl.written(), k.Name) {
			return nil
		}
		all = append(all, k.Name)
		if !c.NotNull { // it would be in no stripe
			continue
		}
		name := typeName(c)
		if slices.Contains([]string{"int2", "int4", "int8"}, name) {
			list = append(list, pgsql.Stripes{Of: stripesOf, Columns: []string{k.Name}})
		}
		if hash := hashes[name]; hash != "" {
			list = append(list, pgsql.Stripes{Of: stripesOf, Columns: []string{k.Name}, Hash: hash})
		}
	}
	if len(list) == 0 || len(all) > 1 {
		list = append(list, pgsql.Stripes{Of: stripesOf, Columns: all, Record: true})
	}
	return list
}

// evenStripes finds what splits the pages of the table most evenly, by a sample of them; nil, and why, is that nothing does it well.
func (pl *planning) evenStripes(ctx context.Context) (*Striping, string, error) {
	p := pl.plan
	candidates := pl.tellingApart()
	evenness, err := pl.sql.scope.Evenness(candidates, 100*evenPages/float64(p.Table.CurrentPages))
	if err != nil {
		return nil, "where speaks of more than the row", nil //nolint:nilerr // that is all that it says
	}
	answers, err := pl.ask(ctx, pl.readSettings(), evenness)
	switch {
	case err != nil && (pl.conn.IsClosed() || pgerr.Class(err) == pgerr.Retry):
		return nil, "", err
	case err != nil: // where cannot be evaluated, or a type has no hash
		return nil, "it could not be found out how evenly its pages are split: " + pgerr.Describe(err), nil
	}
	row := answers[0].rows[0]
	rows, scoped := number(row[0]), number(row[1])
	if scoped == 0 {
		return nil, "a sample of its pages has no row to be changed", nil
	}
	best, most := 0, int64(-1)
	for i := range candidates { // the first are the cheapest, and a little less room is their price
		if room := number(row[2+i]); most < 0 || float64(room-most) > roomBetter*float64(scoped) {
			best, most = i, room
		}
	}
	if float64(most) < roomWanted*float64(rows) { // those out of scope stay where they are, and leave no room
		return nil, fmt.Sprintf("of a sample of its rows %.0f %% would find room on their own pages", 100*float64(most)/float64(rows)), nil
	}
	workers := max(p.Pace.Workers, 1)
	cache := p.Server.SharedBuffers / max(p.Server.BlockSize, 1) / int64(windowShare*workers)
	return &Striping{
		Stripes: candidates[best], Window: max(windowChunks, min(windowPages, cache)),
		Room: math.Round(100*float64(most)/float64(scoped)) / 100,
	}, "", nil
}
