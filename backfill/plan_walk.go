package backfill

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// scattered is the correlation between a key's order and the rows' on disk under which a walk by the key reads a page
// again and again. (1 is the same order, 0 none.)
const scattered = 0.5

// chooseWalk decides how the table is walked: as the job says, else by key where there is one that is not scattered over
// a table larger than the server's cache, else in physical order where that is right for the job.
func (pl *planning) chooseWalk(ctx context.Context) error {
	job, p := pl.plan.Job, pl.plan
	_, _, job.Key = pl.walkedTable()
	known := pl.known.Walk // what is begun goes on as it is, whatever the table has come to look like
	if job.Walk == WalkHeap || slices.Equal(job.Key, []string{"ctid"}) || known == WalkHeap {
		why, remedy := pl.noHeap(), "walk it by key"
		if why == "" {
			var err error
			if why, remedy, err = pl.readLeaves(ctx); err != nil {
				return err
			}
		}
		if why != "" {
			return Inputf(pl.place()+": walk", remedy, "the table cannot be walked in physical order: %s", why)
		}
		return pl.byHeap(ctx, "the job asks for it")
	}
	key, err := p.Table.ResolveKey(job.Key)
	if (job.Walk == WalkAuto || job.Walk == "") && known == "" {
		switch cache := p.Server.SharedBuffers; {
		case len(job.Key) > 0 || pl.noHeap() != "":
		case err != nil:
			return pl.byHeapIfPossible(ctx, key, err, "the table has no key to walk it by")
		case p.Table.CurrentPages*p.Server.BlockSize > cache && pl.scatters(key):
			return pl.byHeapIfPossible(ctx, key, nil, fmt.Sprintf("rows lie scattered as to %s, and the table is larger than shared_buffers", key.Parts[0].Name))
		}
	}
	if err != nil {
		return pl.problem("key", err)
	}
	pl.byKey(key)
	return nil
}

// byHeapIfPossible walks in physical order where nothing about the tables that hold the rows speaks against it, and else by the
// key, or says why there is none.
func (pl *planning) byHeapIfPossible(ctx context.Context, key catalog.Key, noKey error, reason string) error {
	why, _, err := pl.readLeaves(ctx)
	switch {
	case err != nil:
		return err
	case why == "":
		return pl.byHeap(ctx, reason)
	case noKey != nil:
		return pl.problem("key", noKey)
	}
	pl.byKey(key)
	return nil
}

func (pl *planning) byKey(key catalog.Key) {
	p := pl.plan
	pl.key, p.Walk = key, string(WalkKey)
	p.Unique, p.WalkReason = key.Unique, key.Reason
	if key.Index != nil {
		p.Index = key.Index.Name
	} else {
		p.WalkReason += "; " + key.NoIndex
	}
	p.Key = append(p.Key, keyColumnsOf(key)...)
}

// keyColumnsOf is a key as statements compare it.
func keyColumnsOf(key catalog.Key) []pgsql.KeyColumn {
	var list []pgsql.KeyColumn
	for _, k := range key.Parts {
		list = append(list, pgsql.KeyColumn{
			Name: k.Name, Type: k.Type, Collation: k.Collation, Nullable: k.Nullable,
			Less: k.Less, LessEqual: k.LessEqual, Equal: k.Equal, GreaterEqual: k.GreaterEqual, Greater: k.Greater,
		})
	}
	return list
}

// scatters reports whether following a key means jumping about in the table, as statistics know: those of a partitioned table
// do not say how rows lie within its partitions.
func (pl *planning) scatters(key catalog.Key) bool {
	c := pl.plan.Table.Column(key.Parts[0].Name)
	return !pl.plan.Table.Partitioned && c.Correlation != nil && max(*c.Correlation, -*c.Correlation) < scattered
}

func (pl *planning) byHeap(ctx context.Context, reason string) error {
	p := pl.plan
	p.Walk, p.WalkReason, p.Unique, p.Key = string(WalkHeap), reason, true, []pgsql.KeyColumn{tidColumn}
	p.Index = ""
	if p.Table.Partitioned {
		answers, err := exchange(ctx, pl.conn.PgConn(), pgsql.Horizon)
		if err != nil {
			return err
		}
		p.Heap = &HeapWalk{Blocks: level(pl.leaves), RowsPerBlock: 1, Horizon: answers[0].rows[0][0]}
		for _, l := range pl.leaves {
			p.Heap.Leaves = append(p.Heap.Leaves, l.Leaf)
		}
		return nil
	}
	answers, err := exchange(ctx, pl.conn.PgConn(), pgsql.Pages(p.Table.OID))
	if err != nil {
		return err
	}
	p.Heap = &HeapWalk{Blocks: number(answers[0].rows[0][0]), RowsPerBlock: 1, Filenode: uint32(number(answers[0].rows[0][1])), Horizon: answers[0].rows[0][2]}
	return nil
}

// identify finds the key by which rows are known again wherever they lie: one that the job does not write.
func (pl *planning) identify() {
	key, err := pl.plan.Table.ResolveKey(nil)
	if err != nil || !key.Unique {
		return
	}
	writes, _ := pl.plan.Job.writesOf()
	var names []string
	for _, k := range key.Parts {
		if slices.Contains(writes, k.Name) {
			return
		}
		names = append(names, k.Name)
	}
	pl.plan.Heap.Identity = names
}

// noHeap says why rows may not be walked in physical order; "" is that they may.
func (pl *planning) noHeap() string {
	job, t := pl.plan.Job, &pl.plan.Table
	other := slices.ContainsFunc(job.Steps, func(s Step) bool { return s.SQL != nil })
	switch {
	case !job.Idempotent:
		return "rows move while they are walked and some are met twice, which is wrong for a job that is not idempotent"
	case other || job.Transform != nil || len(job.Steps) != 1:
		return "rows that move are found again by looking for those that do not hold their new values, and only an update or a deletion says which these are"
	case job.Undo != nil && len(job.Undo.Set) > 0:
		return "it says undo: {set}, which goes back over the ranges of keys that were walked"
	case t.Partitioned && job.Undo != nil && job.Undo.Capture:
		return "it says undo: capture, whose triggers are for each statement on the table: such a walk names the partitions"
	case len(t.Children) > 0:
		return "other tables inherit from it (" + some(t.Children) + "), whose rows have no common physical order"
	case t.Partitioned && pl.statementTriggers():
		return "it has triggers for each statement, which fire for the table that a statement names: such a walk names the partitions"
	case t.Partitioned && len(t.Rules) > 0:
		return "it has rewrite rules, which are about the table that a statement names: such a walk names the partitions"
	case t.Partitioned && job.speaksOfWholeRow():
		return "its SQL speaks of t as a whole, which is of another type in each partition"
	case slices.ContainsFunc(job.exprs(), Expr.speaksOfRange):
		return "its SQL speaks of {{range}}, which is one of keys"
	}
	return ""
}

// statementTriggers reports whether a trigger for each statement may fire, on the table or below it.
func (pl *planning) statementTriggers() bool {
	_, deletes := pl.plan.Job.writesOf()
	return slices.ContainsFunc(pl.plan.Table.Triggers, func(t catalog.Trigger) bool {
		return t.Enabled && t.ForEach == "statement" && (t.OnUpdate || t.OnDelete && deletes)
	})
}

// readLeaves reads the tables that hold the rows, and says why they may not be walked by their pages, and what helps; "" is
// that they may.
func (pl *planning) readLeaves(ctx context.Context) (why, remedy string, err error) {
	p := pl.plan
	writes, deletes := p.Job.writesOf()
	if !p.Table.Partitioned {
		writes = nil // what may be done to the table itself is looked at elsewhere
	}
	// What the job writes and the table lacks is told elsewhere, or made by prepare.
	writes = slices.DeleteFunc(writes, func(c string) bool { return p.Table.Column(c) == nil })
	answers, err := exchange(ctx, pl.conn.PgConn(), pgsql.Leaves(p.Table.OID, writes, deletes), pgsql.PartitionColumns(p.Table.OID))
	if err != nil {
		return "", "", err
	}
	leaves := leavesIn(answers[0])
	for _, l := range leaves {
		if !p.Table.Partitioned {
			l.mayUse, l.maySelect, l.mayChange, l.secured = true, true, true, false
		}
		if why, remedy := l.refusal(p.Server.Role, deletes); why != "" {
			return why, remedy, nil
		}
	}
	if !p.Table.Partitioned {
		return "", "", nil
	}
	for _, row := range answers[1].rows {
		if slices.Contains(writes, row[0]) {
			return fmt.Sprintf("column %s chooses the partition of a row, and a row cannot leave the partition that a statement names", row[0]), "walk it by key", nil
		}
	}
	pl.leaves = leaves
	return "", "", nil
}

// cutHeap divides the pages.
func (pl *planning) cutHeap() {
	p := pl.plan
	pl.identify()
	if len(p.Heap.Leaves) > 0 {
		pl.cutLeaves()
	} else if p.Heap.Blocks > 0 {
		p.Heap.RowsPerBlock = max(1, float64(p.EstimatedRows)/float64(p.Heap.Blocks))
		p.Segments = p.Heap.segments(PassWalk, p.Heap.Blocks, pl.segments(), 1)
		p.WalkReason += fmt.Sprintf("; %d segments of %d pages", len(p.Segments), p.Heap.Blocks)
	}
	pl.estimateWork()
}

// cutLeaves divides the pages of the partitions.
func (pl *planning) cutLeaves() {
	p, h := pl.plan, pl.plan.Heap
	var pages int64
	for _, l := range h.Leaves {
		pages += l.Blocks
	}
	if pages == 0 {
		return
	}
	h.RowsPerBlock = max(1, float64(p.EstimatedRows)/float64(h.Blocks))
	for i := range h.Leaves {
		if h.Leaves[i].RowsPerBlock == 0 { // nobody has counted its rows
			h.Leaves[i].RowsPerBlock = max(1, float64(p.EstimatedRows)/float64(pages))
		}
	}
	p.Segments = h.leafSegments(PassWalk, h.Leaves, pl.segments(), 1)
	p.WalkReason += fmt.Sprintf("; %d segments of %d pages in %d partitions, each of which is named itself", len(p.Segments), pages, len(h.Leaves))
}

// speaksOfRange reports whether an expression has {{range}} in it, of whatever columns.
func (e Expr) speaksOfRange() bool {
	return strings.Contains(e.SQL, "{{range") || slices.ContainsFunc(e.Templates, func(t string) bool { return t == "range" || strings.HasPrefix(t, "range ") })
}
