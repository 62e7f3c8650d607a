package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// written is a table that the job writes, and what it may do to it.
type written struct {
	table                     *catalog.Table
	inserts, updates, deletes bool
	// columns are those that updates assign; nil where the job's own SQL says which.
	columns []string
}

// readCaptures finds out, for undo: capture, which tables the job writes and how their rows are kept.
func (pl *planning) readCaptures(ctx context.Context) error {
	job := pl.plan.Job
	if job.Undo == nil || !job.Undo.Capture {
		return nil
	}
	own := &written{table: &pl.plan.Table, columns: []string{}}
	pl.captured = []*written{own}
	for _, step := range job.Steps {
		switch {
		case step.Update != nil:
			own.assigns(step.Update.Set)
		case step.Delete:
			own.deletes = true
		case step.SQL != nil:
			if err := pl.readTarget(ctx, step.SQL); err != nil {
				return err
			}
		}
	}
	if job.Transform != nil && len(job.Transform.Write) > 0 {
		own.updates, own.columns = true, append(own.columns, job.Transform.Write...)
	}
	pl.captured = slices.DeleteFunc(pl.captured, func(w *written) bool { return !w.inserts && !w.updates && !w.deletes })
	for i, w := range pl.captured {
		capture, err := pl.capture(w, i+1)
		if err != nil {
			return err
		}
		pl.plan.Captures = append(pl.plan.Captures, capture)
	}
	return nil
}

func (w *written) assigns(set []Assignment) {
	w.updates = true
	for _, a := range set {
		if w.columns != nil {
			w.columns = append(w.columns, a.Column)
		}
	}
}

// readTarget reads the table that a step's statement writes.
func (pl *planning) readTarget(ctx context.Context, c *Command) error {
	t, err := catalog.ReadTable(ctx, pl.conn, pl.plan.Server, c.Target.Schema, c.Target.Name)
	if err != nil {
		var missing *catalog.Problem
		if pl.tolerant() && errors.As(err, &missing) && missing.Missing {
			pl.unresolved("undo: capture: %s", missing.Found)
			return nil
		}
		return pl.problem("undo: capture keeps the rows of every table that is written", err)
	}
	at := slices.IndexFunc(pl.captured, func(w *written) bool { return w.table.OID == t.OID })
	if at < 0 {
		at = len(pl.captured)
		pl.captured = append(pl.captured, &written{table: &t})
	}
	w := pl.captured[at]
	w.inserts = w.inserts || c.Kind == "insert" || c.Kind == "merge"
	w.deletes = w.deletes || c.Kind == "delete" || c.Kind == "merge"
	if c.Kind != "delete" { // INSERT … ON CONFLICT DO UPDATE
		w.updates, w.columns = true, nil
	}
	return nil
}

// capture says how the rows of a table are kept, or why they cannot be.
func (pl *planning) capture(w *written, no int) (pgsql.Capture, error) {
	t := w.table
	if err := pl.refuseCapture(t); err != nil {
		return pgsql.Capture{}, err
	}
	// That there is no key is told here: what the catalogue advises is about walking, and is no remedy.
	key, err := t.ResolveKey(nil)
	if err != nil || !key.Unique || key.Nullable() {
		return pgsql.Capture{}, Inputf("table "+t.Quoted, "give it a primary key, or take the job back with undo: {set: …}",
			"undo: capture finds rows again by a unique key, and it has none")
	}
	c := pgsql.Capture{No: no, OID: t.OID, Table: t.Quoted, Inserts: w.inserts, Updates: w.updates, Deletes: w.deletes}
	isKey := map[string]bool{}
	for _, k := range key.Parts {
		isKey[k.Name] = true
		c.Key = append(c.Key, pgsql.KeyColumn{
			Name: k.Name, Type: k.Type, Collation: k.Collation,
			Less: k.Less, LessEqual: k.LessEqual, Equal: k.Equal, GreaterEqual: k.GreaterEqual, Greater: k.Greater,
		})
	}
	// A trigger that sees a row before it is updated may change any column of it.
	all := w.columns == nil || slices.ContainsFunc(t.Triggers, func(g catalog.Trigger) bool { return g.Enabled && g.OnUpdate && g.Before && !ours(g) })
	for _, col := range t.Columns {
		assigned := slices.Contains(w.columns, col.Name)
		if isKey[col.Name] {
			if assigned {
				return pgsql.Capture{}, Inputf(pl.place(), "leave the column out, or take the job back with undo: {set: …}",
					"undo: capture finds rows of %s again by %s, which the job writes", t.Quoted, col.Name)
			}
			continue
		}
		updated := w.updates && (all || assigned || col.Generated)
		if updated || w.inserts || w.deletes {
			k := pgsql.KeptColumn{
				Number: col.Number, Name: col.Name, Type: col.Type, Bare: col.BareType, Collation: col.Collation,
				Updated: updated, Generated: col.Generated, Always: col.IdentityAlways,
			}
			if col.Virtual {
				k.Computed = col.Default
			}
			c.Kept = append(c.Kept, k)
		}
	}
	return c, nil
}

// refuseCapture says why nothing can keep the rows of a table, whatever is accepted.
func (pl *planning) refuseCapture(t *catalog.Table) error {
	place, role := "table "+t.Quoted, pl.plan.Server.Role
	switch {
	case !t.MayAlter:
		return Inputf(place, fmt.Sprintf("run as its owner: GRANT %s TO %s; or take the job back with undo: {set: …}", pgsql.Ident(t.Owner), pgsql.Ident(role)),
			"undo: capture makes triggers on it, and role %s has not the rights of its owner, %s", role, t.Owner)
	case pl.activity.Schema && !pl.activity.MayMake:
		return Inputf("schema pgbackfill", "as its owner: GRANT CREATE ON SCHEMA pgbackfill TO "+pgsql.Ident(role),
			"undo: capture makes tables in it, and role %s may not", role)
	case len(t.Children) > 0:
		return Inputf(place, "run one job for each of the tables, or take the job back with undo: {set: …}",
			"undo: capture does not follow rows into tables that inherit from it: %s", some(t.Children))
	case len(t.Foreign) > 0:
		return Inputf(place, "take the job back with undo: {set: …}", "undo: capture does not see rows of foreign tables: %s", some(t.Foreign))
	case len(t.Rules) > 0:
		return Inputf(place, "take the job back with undo: {set: …}", "rewrite rules change what statements on it mean, and undo: capture cannot tell what: %s", some(t.Rules))
	case t.RowSecurityApplies:
		return Inputf(place, "run as a role with BYPASSRLS", "row security applies to role %s, and undo would not see all rows", role)
	}
	return nil
}

// undoTriggers are user triggers that fire for what the job does, or for what taking it back does.
func (pl *planning) undoTriggers() *noticed {
	var names []string
	for _, w := range pl.captured {
		for _, g := range w.table.Triggers {
			fires := w.updates && g.OnUpdate && (w.columns == nil || len(g.Of) == 0 || slices.ContainsFunc(g.Of, func(c string) bool { return slices.Contains(w.columns, c) })) ||
				(w.inserts || w.deletes) && (g.OnInsert || g.OnDelete)
			if g.Enabled && fires && !ours(g) {
				names = append(names, g.Name+" on "+g.Table)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &noticed{
		"triggers fire for what the job does, and again for its undo: what they write elsewhere is not taken back",
		some(names),
		"look at what they do; disable them for the run, or --accept undo-triggers where it does no harm",
	}
}

// keptAlong reports whether what a foreign key to w does elsewhere is kept: the job writes that table too, and in that way.
func (pl *planning) keptAlong(w *written, key catalog.Constraint, action string, deleted bool) bool {
	return slices.ContainsFunc(pl.captured, func(o *written) bool {
		if o.table.Quoted != key.Other {
			return false
		}
		if deleted && action == "cascade" {
			return o.deletes
		}
		return o.updates && slices.ContainsFunc(o.table.Constraints, func(k catalog.Constraint) bool {
			return k.Kind == catalog.ForeignKey && k.Name == key.Name && k.Other == w.table.Quoted &&
				!slices.ContainsFunc(k.Columns, func(c string) bool { return o.columns != nil && !slices.Contains(o.columns, c) })
		})
	})
}

// undoCascades are foreign keys by which other tables are changed along, where that is not kept.
func (pl *planning) undoCascades() *noticed {
	var names []string
	acts := func(action string) bool { return action != "no action" && action != "restrict" && action != "" }
	for _, w := range pl.captured {
		for _, k := range w.table.Constraints {
			if k.Kind != catalog.Referenced || !k.Enforced {
				continue
			}
			hit := w.columns == nil || slices.ContainsFunc(k.Columns, func(c string) bool { return slices.Contains(w.columns, c) })
			if w.updates && hit && acts(k.OnUpdate) && !pl.keptAlong(w, k, k.OnUpdate, false) {
				names = append(names, fmt.Sprintf("%s of %s, ON UPDATE %s", k.Name, k.Other, strings.ToUpper(k.OnUpdate)))
			}
			if w.deletes && acts(k.OnDelete) && !pl.keptAlong(w, k, k.OnDelete, true) {
				names = append(names, fmt.Sprintf("%s of %s, ON DELETE %s", k.Name, k.Other, strings.ToUpper(k.OnDelete)))
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &noticed{
		"rows of other tables are changed along by foreign keys, and undo does not bring them back",
		some(names),
		"delete or change those rows in a step of their own, before: what the job writes itself is kept, also where a foreign key does it",
	}
}

func (pl *planning) undoPublished() *noticed {
	if len(pl.captured) == 0 || len(pl.activity.AllTables) == 0 {
		return nil
	}
	return &noticed{
		"a publication would publish the tables that keep the rows, and stop a subscriber that lacks them",
		"publication " + strings.Join(pl.activity.AllTables, ", "),
		"publish named tables or schemas instead; or make the tables on the subscriber too (plan shows them) and --accept undo-published",
	}
}

// storedRow is what a row takes in the table that keeps it, apart from its values: header, number, kind, and two index entries.
const storedRow = 28 + 8 + 1 + 2*24

// undoCost says what keeping the rows costs.
func (pl *planning) undoCost() *noticed {
	if len(pl.captured) == 0 {
		return nil
	}
	names := make([]string, len(pl.captured))
	for i, w := range pl.captured {
		names[i] = w.table.Quoted
	}
	return &noticed{
		fmt.Sprintf("undo: capture keeps what was there: about %s more, written with the change and again to the write-ahead log", bytesText(pl.plan.EstimatedUndo)),
		"a row with two index entries for each row that is changed, of " + some(names) + "; a guess from statistics",
		"it stays until the schema is removed; a job that can be taken back by expressions costs nothing with undo: {set: …}",
	}
}

// estimateUndo guesses how much is kept, as if every step wrote each row in scope once.
func (pl *planning) estimateUndo() {
	rows := min(pl.scope, pl.plan.EstimatedRows)
	for _, c := range pl.plan.Captures {
		w := pl.captured[c.No-1]
		width := int64(storedRow)
		for _, k := range c.Key {
			if col := w.table.Column(k.Name); col != nil {
				width += 2 * min(col.Width, 2000)
			}
		}
		for _, k := range c.Kept {
			col := w.table.Column(k.Name)
			if k.Updated && w.updates { // the old value and the new one
				width += 2 * min(col.Width, 2000)
			} else {
				width += min(col.Width, 2000)
			}
		}
		pl.plan.EstimatedUndo += rows * width
	}
}

// CapturesOf are the plan's captures as those of a run.
func (p *Plan) CapturesOf(run RunID) []pgsql.Capture {
	list := slices.Clone(p.Captures)
	for i := range list {
		list[i].Run = int64(run)
	}
	return list
}

// Before is what {{before}} stands for, for [pgsql.Scope]: the walked table's rows in a range as they were before the
// run. It is nil where the job does not keep them, and where the walk is one in physical order: a range of that does
// not say which rows were there.
func (p *Plan) Before(run RunID) func(pgsql.Range, *pgsql.Binder) string {
	if p.Heap != nil {
		return nil
	}
	for _, c := range p.CapturesOf(run) {
		if c.OID == p.Table.OID {
			return func(r pgsql.Range, b *pgsql.Binder) string { return c.Before(p.Key, p.Table.ColumnNames(), r, b) }
		}
	}
	return nil
}
