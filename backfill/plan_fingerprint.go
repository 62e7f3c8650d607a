package backfill

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
)

// fingerprint records what the run depends on and what must not change under it: the columns that it reads and
// writes, how its key is ordered, the triggers that fire and the functions that it calls. What changes by itself, as
// statistics do, is left out; so are columns that it has nothing to do with.
func (pl *planning) fingerprint() {
	p := pl.plan
	f := map[string]string{"table": fmt.Sprintf("%s, oid %d", p.Table.Quoted, p.Table.OID)}
	used := pl.usedColumns()
	if h := pl.heap(); h != nil && len(h.Identity) > 0 {
		f["rows known by"] = pl.describeIdentity(h.Identity)
	}
	for _, c := range p.Table.Columns {
		if used == nil || slices.Contains(used, c.Name) {
			f["column "+c.Name] = describeColumn(c)
		}
	}
	for i, k := range pl.key.Parts {
		line := fmt.Sprintf("%s ordered by %s", k.Name, k.Less)
		if k.Collation != "" {
			line += fmt.Sprintf(" collation %s version %s", k.Collation, k.CollationVersion)
		}
		f[fmt.Sprintf("key %d", i+1)] = line
	}
	if pl.key.Index != nil {
		f["key index"] = pl.key.Index.Definition
	}
	for _, fn := range pl.functions {
		if !fn.BuiltIn {
			f["function "+fn.Name] = strings.TrimSpace(fn.Volatility + " " + fn.Hash)
		}
	}
	for _, t := range pl.firing() {
		f["trigger "+t.Name+" on "+t.Table] = t.Definition
	}
	p.Fingerprint = f
}

// heap is how the table is walked in physical order: as it was begun, whatever would be chosen by now; nil is that it is not.
func (pl *planning) heap() *HeapWalk { return cmp.Or(pl.known.Heap, pl.plan.Heap) }

// describeIdentity says whether a key still tells the rows apart that a walk in physical order knows again by it. Which index sees to
// that is no matter.
func (pl *planning) describeIdentity(names []string) string {
	text := "(" + strings.Join(names, ", ") + ")"
	if key, err := pl.plan.Table.ResolveKey(names); err != nil || !key.Unique || key.Nullable() {
		return text + ", of which there may be several"
	}
	return text + ", unique"
}

func describeColumn(c catalog.Column) string {
	// The number tells a column from one of the same name that was made after it was dropped.
	text := fmt.Sprintf("number %d: %s", c.Number, c.Type)
	if c.Collation != "" && c.Collation != `pg_catalog."default"` {
		text += " COLLATE " + c.Collation
	}
	if c.NotNull {
		text += " NOT NULL"
	}
	if c.Generated {
		text += " GENERATED AS " + c.Default
		if c.Virtual {
			text += " VIRTUAL"
		}
	}
	return text
}

// usedColumns are the columns of the walked table that the job may mention; nil is all of them.
func (pl *planning) usedColumns() []string {
	var used []string
	for _, k := range pl.plan.Key {
		used = append(used, k.Name)
	}
	if h := pl.heap(); h != nil {
		used = append(used, h.Identity...) // of which stripes go by one or all
	}
	for _, a := range pl.plan.Job.targets() {
		used = append(used, a.Column)
	}
	for _, e := range pl.plan.Job.exprs() {
		for _, ref := range e.Columns {
			parts := strings.Split(ref, ".")
			last := parts[len(parts)-1]
			switch {
			case last == "*" || ref == "t": // the whole row
				return nil
			case len(parts) == 1 || parts[0] == "t":
				used = append(used, parts[len(parts)-1])
			}
		}
	}
	return used
}
