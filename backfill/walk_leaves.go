package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Leaf is one of the tables that hold the rows of a partitioned one, as it was when its walk in physical order was planned.
type Leaf struct {
	OID uint32 `json:"oid"`
	// Table is its name then, quoted and qualified.
	Table string `json:"table"`
	// Blocks, RowsPerBlock and Filenode are those of [HeapWalk], of this table.
	Blocks       int64   `json:"blocks"`
	RowsPerBlock float64 `json:"rows_per_block"`
	Filenode     uint32  `json:"filenode"`
}

// leafRow is a leaf as the catalogue has it now.
type leafRow struct {
	Leaf
	// kind and method are what it is, and how its rows are kept.
	kind, method                          string
	mayUse, maySelect, mayChange, secured bool
}

// leavesIn reads the answer to [pgsql.Leaves].
func leavesIn(a answer) []leafRow {
	list := make([]leafRow, len(a.rows))
	for i, r := range a.rows {
		is := func(column int) bool { return r[column] == "t" }
		l := leafRow{
			Leaf: Leaf{OID: uint32(number(r[0])), Table: r[1], Blocks: number(r[2]), Filenode: uint32(number(r[3]))},
			kind: r[6], method: r[7], mayUse: is(8), maySelect: is(9), mayChange: is(10), secured: is(11),
		}
		rows, err := strconv.ParseFloat(r[4], 64)
		if pages := number(r[5]); err == nil && rows >= 0 && pages > 0 {
			l.RowsPerBlock = max(1, rows/float64(pages))
		}
		list[i] = l
	}
	return list
}

// refusal says why a leaf cannot be walked by its pages, and what helps; "" is that it can. Statements name the leaf itself, so that what
// is granted on its parent does not help, and what is set up on it counts.
func (l leafRow) refusal(role string, deletes bool) (why, remedy string) {
	write := "UPDATE"
	if deletes {
		write = "DELETE"
	}
	switch {
	case l.kind != "r":
		return l.Table + " is no ordinary table (a foreign one?), whose pages could be walked", "walk it by key"
	case l.method != "heap":
		return fmt.Sprintf("%s is kept by the access method %s, of whose pages nothing is known", l.Table, l.method), "walk it by key"
	case !l.mayUse || !l.maySelect || !l.mayChange:
		return fmt.Sprintf("role %s may not read and change %s itself, which the statements of such a walk name", role, l.Table),
			fmt.Sprintf("as the owner: GRANT SELECT, %s ON %s TO %s (and USAGE of its schema), or walk it by key", write, l.Table, pgsql.Ident(role))
	case l.secured:
		return fmt.Sprintf("row security of %s applies to role %s: rows that a policy hides would be left out silently", l.Table, role),
			"run as a role with BYPASSRLS, or walk it by key"
	}
	return "", ""
}

// of is what is known of the pages that a segment is in: those of its leaf, or of the whole table. Of a leaf that came later
// it is thought to be like the others.
func (h HeapWalk) of(seg Segment) HeapWalk {
	if seg.Leaf == 0 {
		return h
	}
	var pages int64
	for _, l := range h.Leaves {
		if l.OID == seg.Leaf {
			return HeapWalk{Blocks: l.Blocks, RowsPerBlock: l.RowsPerBlock, Filenode: l.Filenode, Horizon: h.Horizon}
		}
		pages += l.Blocks
	}
	return HeapWalk{RowsPerBlock: max(1, h.RowsPerBlock*float64(h.Blocks)/float64(max(pages, 1))), Horizon: h.Horizon}
}

// largest is the leaf with most pages, or none.
func (h HeapWalk) largest() (Leaf, bool) {
	if len(h.Leaves) == 0 {
		return Leaf{}, false
	}
	return slices.MaxFunc(h.Leaves, func(a, b Leaf) int { return int(a.Blocks - b.Blocks) }), true
}

// leafSegments cuts the pages of leaves into about n segments, each in one leaf, numbered from first. An empty leaf has none.
func (h HeapWalk) leafSegments(pass Pass, leaves []Leaf, n, first int) []Segment {
	var pages int64
	for _, l := range leaves {
		pages += l.Blocks
	}
	var list []Segment
	for _, l := range leaves {
		if l.Blocks == 0 {
			continue
		}
		part := int(int64(n) * l.Blocks / pages)
		own := h.of(Segment{Leaf: l.OID}).segments(pass, l.Blocks, part, first+len(list))
		for i := range own {
			own[i].Leaf = l.OID
		}
		list = append(list, own...)
	}
	return list
}

// level is how many pages the longest leaf has: the pages of a partitioned table are walked side by side where they are walked through
// the parent.
func level(leaves []leafRow) int64 {
	var most int64
	for _, l := range leaves {
		most = max(most, l.Blocks)
	}
	return most
}

// pages asks for what [engine.pagesIn] reads.
func (e *engine) pages() pgsql.Statement { return pagesOf(e.plan) }

func pagesOf(p *Plan) pgsql.Statement {
	if p.Heap != nil && p.Table.Partitioned {
		return pgsql.Leaves(p.Table.OID, nil, false)
	}
	return pgsql.Pages(p.Table.OID)
}

// pagesIn is how many pages the table has now, and whether they were written anew since the walk was planned, by VACUUM FULL for one, so
// that rows have moved which nobody wrote.
func (e *engine) pagesIn(a answer) (blocks int64, rewritten bool) {
	h := e.plan.Heap
	switch {
	case h == nil:
		return 0, false
	case !e.plan.Table.Partitioned:
		return number(a.rows[0][0]), a.rows[0][1] != strconv.FormatUint(uint64(h.Filenode), 10)
	}
	list := leavesIn(a)
	for _, l := range list {
		planned := slices.IndexFunc(h.Leaves, func(p Leaf) bool { return p.OID == l.OID })
		rewritten = rewritten || planned >= 0 && h.Leaves[planned].Filenode != l.Filenode
	}
	return level(list), rewritten
}

// leafTail plans the walk of the leaves that have come since the walk was planned, be it that they were attached, or made for new rows.
func (e *engine) leafTail(ctx context.Context) ([]Segment, error) {
	list, err := e.leavesSince(ctx)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	walked, err := e.segments.List(ctx, PassWalk)
	if err != nil {
		return nil, err
	}
	number := 0
	for _, s := range walked {
		number = max(number, s.No)
	}
	return e.plan.Heap.leafSegments(PassTail, list, 2*e.pace().Workers, number+1), nil
}

// leavesSince are the leaves that the plan does not know. It is an error where one of them cannot be walked.
func (e *engine) leavesSince(ctx context.Context) ([]Leaf, error) {
	writes, deletes := e.plan.Job.writesOf()
	var list []leafRow
	err := e.ask(ctx, func(w *worker) error {
		answers, err := exchange(ctx, w.conn.PgConn(), pgsql.Begin, w.sql.keySettings(Segment{}, w.pace()),
			pgsql.Leaves(w.plan.Table.OID, writes, deletes), pgsql.Commit)
		if err == nil {
			list = leavesIn(answers[2])
		}
		return err
	})
	var since []Leaf
	for _, l := range list {
		if slices.ContainsFunc(e.plan.Heap.Leaves, func(p Leaf) bool { return p.OID == l.OID }) {
			continue
		}
		if why, remedy := l.refusal(e.plan.Server.Role, deletes); why != "" {
			return nil, &Error{
				Place: e.place(), Found: "a partition has come while the table was walked, and " + why, Expected: "partitions that can be walked by their pages",
				Remedy: strings.TrimSuffix(remedy, ", or walk it by key") + "; then run the job again", Kind: ErrIncomplete,
			}
		}
		since = append(since, l.Leaf)
	}
	return since, err
}

// writesOf are the columns of the walked table that the job's updates write, and whether it deletes rows.
func (j Job) writesOf() (columns []string, deletes bool) {
	for _, a := range j.targets() {
		columns = append(columns, a.Column)
	}
	return columns, slices.ContainsFunc(j.Steps, func(s Step) bool { return s.Delete })
}

// leafTable is the leaf that a worker is in: its name now, "" where it belongs to the table no more, and the statements about it.
type leafTable struct {
	oid  uint32
	name string
	sql  statements
}

// errLeafMoved says that a chunk's statements named a leaf that is not one any more, or has another name.
var errLeafMoved = errors.New("the partition was detached, dropped or renamed")

// findLeaf looks where the rows of a segment are, for a segment in one leaf.
func (w *worker) findLeaf(ctx context.Context, seg Segment) error {
	if seg.Leaf == 0 {
		return nil
	}
	answers, err := exchange(ctx, w.conn.PgConn(), pgsql.Leaf(w.plan.Table.OID, seg.Leaf))
	if err != nil {
		return err
	}
	leaf := leafTable{oid: seg.Leaf, name: leafName(answers[0])}
	if leaf.name != "" {
		if leaf.sql, err = w.plan.leafStatements(leaf.name); err != nil {
			return err
		}
		leaf.sql = leaf.sql.of(w.plan, w.run)
	}
	w.leaf = leaf
	return nil
}

// leaveOut makes an empty chunk of what is left of a segment whose leaf belongs to the table no more: its rows are not the table's. Where it
// comes back, it counts as attached since the run began, and all of it is looked at in the end.
func (w *worker) leaveOut(ctx context.Context, seg Segment, chunk *Chunk, begin []pgsql.Statement) error {
	chunk.Range.Through, chunk.last = seg.Range.Through, true
	chunk.RowsChanged = make([]int64, max(len(w.sql.steps), 1))
	table := strconv.FormatUint(uint64(seg.Leaf), 10)
	for _, l := range w.plan.Heap.Leaves {
		if l.OID == seg.Leaf {
			table = l.Table
		}
	}
	w.observe(PartitionGone{Worker: w.id, Segment: seg, Table: table})
	_, err := exchange(ctx, w.conn.PgConn(), begin...)
	return err
}

// leafName reads the answer to [pgsql.Leaf].
func leafName(a answer) string {
	if len(a.rows) == 0 {
		return ""
	}
	return a.rows[0][0]
}

// leafStatements are the plan's statements about one leaf.
func (p *Plan) leafStatements(table string) (statements, error) {
	of := *p
	of.Table.Quoted = table
	return statementsOf(&of)
}

// leafMoved reports whether a chunk failed because its leaf is not where it was: then it is looked for again.
func (w *worker) leafMoved(ctx context.Context, seg Segment, err error) bool {
	if seg.Leaf == 0 || w.conn == nil || w.conn.IsClosed() {
		return false
	}
	if errors.Is(err, errLeafMoved) {
		return true
	}
	if code := pgerr.Code(err); code != "42P01" && code != "3F000" { // no such table, no such schema
		return false
	}
	answers, err := exchange(ctx, w.conn.PgConn(), pgsql.Leaf(w.plan.Table.OID, seg.Leaf))
	return err == nil && leafName(answers[0]) != w.leaf.name
}

// table is what the worker's statements name, for people.
func (w *worker) table(seg Segment) string {
	if seg.Leaf != 0 && w.leaf.name != "" {
		return w.leaf.name
	}
	return w.sql.walk.Table
}
