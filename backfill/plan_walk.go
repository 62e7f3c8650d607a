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
	asked := job.Walk == WalkHeap || slices.Equal(job.Key, []string{"ctid"})
	if asked {
		if why := pl.noHeap(); why != "" {
			return Inputf(pl.place()+": walk", "walk it by key", "the table cannot be walked in physical order: %s", why)
		}
		return pl.byHeap(ctx, "the job asks for it")
	}
	key, err := p.Table.ResolveKey(job.Key)
	if job.Walk == WalkAuto || job.Walk == "" {
		switch cache := p.Server.SharedBuffers; {
		case pl.noHeap() != "":
		case err != nil && len(job.Key) == 0:
			return pl.byHeap(ctx, "the table has no key to walk it by")
		case err == nil && len(job.Key) == 0 && p.Table.CurrentPages*p.Server.BlockSize > cache && pl.scatters(key):
			return pl.byHeap(ctx, fmt.Sprintf("rows lie scattered as to %s, and the table is larger than shared_buffers", key.Parts[0].Name))
		}
	}
	if err != nil {
		return pl.problem("key", err)
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
	for _, k := range key.Parts {
		p.Key = append(p.Key, pgsql.KeyColumn{
			Name: k.Name, Type: k.Type, Collation: k.Collation, Nullable: k.Nullable,
			Less: k.Less, LessEqual: k.LessEqual, Equal: k.Equal, GreaterEqual: k.GreaterEqual, Greater: k.Greater,
		})
	}
}

// scatters reports whether following a key means jumping about in the table, as statistics know.
func (pl *planning) scatters(key catalog.Key) bool {
	c := pl.plan.Table.Column(key.Parts[0].Name)
	return c.Correlation != nil && max(*c.Correlation, -*c.Correlation) < scattered
}

func (pl *planning) byHeap(ctx context.Context, reason string) error {
	p := pl.plan
	p.Walk, p.WalkReason, p.Unique, p.Key = string(WalkHeap), reason, true, []pgsql.KeyColumn{tidColumn}
	p.Index = ""
	answers, err := exchange(ctx, pl.conn.PgConn(), pgsql.Pages(p.Table.OID))
	if err != nil {
		return err
	}
	p.Heap = &HeapWalk{Blocks: number(answers[0].rows[0][0]), RowsPerBlock: 1, Filenode: uint32(number(answers[0].rows[0][1])), Horizon: answers[0].rows[0][2]}
	return nil
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
	case t.Partitioned || len(t.Children) > 0:
		return "it has partitions or children, whose rows have no common physical order"
	case slices.ContainsFunc(job.exprs(), Expr.speaksOfRange):
		return "its SQL speaks of {{range}}, which is one of keys"
	}
	return ""
}

// cutHeap divides the pages.
func (pl *planning) cutHeap() {
	p := pl.plan
	if p.Heap.Blocks > 0 {
		p.Heap.RowsPerBlock = max(1, float64(p.EstimatedRows)/float64(p.Heap.Blocks))
		p.Segments = p.Heap.segments(PassWalk, p.Heap.Blocks, pl.segments(), 1)
		p.WalkReason += fmt.Sprintf("; %d segments of %d pages", len(p.Segments), p.Heap.Blocks)
	}
	pl.estimateWork()
}

// speaksOfRange reports whether an expression has {{range}} in it, of whatever columns.
func (e Expr) speaksOfRange() bool {
	return strings.Contains(e.SQL, "{{range") || slices.ContainsFunc(e.Templates, func(t string) bool { return t == "range" || strings.HasPrefix(t, "range ") })
}
