package backfill

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// ours reports whether a trigger is the engine's own.
func ours(t catalog.Trigger) bool { return strings.HasPrefix(t.Function, "pgbackfill.") }

// installedTriggers are the job's own triggers that are on the table, by name.
func (pl *planning) installedTriggers() []string {
	insert, update := pgsql.DualWriteTriggers(pl.plan.Job.Name)
	var list []string
	for _, t := range pl.plan.Table.Triggers {
		if ours(t) && t.Table == pl.plan.Table.Quoted && (t.Name == insert || t.Name == update) {
			list = append(list, t.Name)
		}
	}
	return list
}

// dualWriteOwner is about a trigger that is still to be installed, by a role that may not.
func (pl *planning) dualWriteOwner() *noticed {
	p := pl.plan
	if p.DualWrite == nil || p.Table.MayAlter || len(pl.installedTriggers()) == 2 {
		return nil
	}
	return &noticed{
		"the dual-write trigger is not installed, and only the table's owner may do it",
		fmt.Sprintf("role %s is not %s, which owns %s", p.Server.Role, p.Table.Owner, p.Table.Quoted),
		"let the owner run:  pgbackfill dual-write install FILE;  or what is printed by:  pgbackfill dual-write install --print FILE",
	}
}

// dualWriteOrder is about BEFORE triggers that fire after ours: what they change, ours does not see.
func (pl *planning) dualWriteOrder() *noticed {
	if pl.plan.DualWrite == nil {
		return nil
	}
	insert, update := pgsql.DualWriteTriggers(pl.plan.Job.Name)
	var names []string
	for _, t := range pl.plan.Table.Triggers {
		if t.Before && t.ForEach == "row" && t.Enabled && !ours(t) && t.Name > min(insert, update) {
			names = append(names, t.Name+" on "+t.Table)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &noticed{
		"a BEFORE trigger fires after the dual-write trigger, which does not see what it changes",
		fmt.Sprintf("%s; triggers fire in the order of their names, and ours are called %s and %s", some(names), insert, update),
		"give it a name that sorts before: ALTER TRIGGER … RENAME TO …",
	}
}

// dualWriteTrigger says how rows come to their values that the walk does not see.
func (pl *planning) dualWriteTrigger() *noticed {
	d := pl.plan.DualWrite
	if d == nil {
		return nil
	}
	state := "it is installed before the first chunk"
	if len(pl.installedTriggers()) == 2 {
		state = "it is installed; where it is not what the job asks for now, it is replaced before the first chunk"
	}
	evidence := fmt.Sprintf("%s computes %s on INSERT, and on an UPDATE that changes %s; %s",
		pgsql.DualWriteFunction(d.Job), strings.Join(pl.written(), ", "), strings.Join(d.Depends, ", "), state)
	if d.ScopeReadsSet {
		evidence += "; a value that the application itself wrote, and that takes the row out of the scope, stays"
	} else {
		evidence += "; the computed value stands where the application writes another one"
	}
	evidence += "; where it cannot be computed the application's statement goes through, the row is as that wrote it, and dual-write status has the error"
	return &noticed{
		"a trigger fills the rows that are written behind the walk; the closing sweep looks at them once more",
		evidence,
		"remove it when the application writes both, or before the contract migration: pgbackfill dual-write remove FILE",
	}
}

// dualWriteSources is about values that come from elsewhere.
func (pl *planning) dualWriteSources() *noticed {
	if pl.plan.DualWrite == nil || !pl.readsElsewhere() {
		return nil
	}
	return &noticed{
		"the dual-write trigger looks at other tables at the moment of the write: what changes there later it does not see",
		"from:, a subquery, or a function that reads tables",
		"have the application bring changes of the other tables over, or run the job --again before verification",
	}
}

// readsElsewhere reports whether a value comes from more than the row itself.
func (pl *planning) readsElsewhere() bool {
	return pl.from() != nil || len(pl.readers()) > 0 || slices.ContainsFunc(pl.plan.Job.exprs(), func(e Expr) bool { return e.Subquery })
}
