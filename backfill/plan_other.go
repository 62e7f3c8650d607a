package backfill

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
)

// plainTable is a from that names one table and perhaps an alias: issues i, app.issues AS i.
var plainTable = regexp.MustCompile(`^\s*(?:(\w+|"(?:[^"]|"")+")\.)?(\w+|"(?:[^"]|"")+")(?:\s+(?:(?i:AS)\s+)?(\w+|"(?:[^"]|"")+"))?\s*$`)

// otherTable is what a from names, where it is one plain table: schema, table, alias.
func otherTable(from *Expr) (schema, table, alias string, ok bool) {
	if from == nil {
		return "", "", "", false
	}
	m := plainTable.FindStringSubmatch(from.SQL)
	if m == nil {
		return "", "", "", false
	}
	schema, table, alias = folded(m[1]), folded(m[2]), folded(m[3])
	if alias == "" {
		alias = table
	}
	return schema, table, alias, true
}

// folded is an SQL name as PostgreSQL keeps it.
func folded(name string) string {
	if inner, ok := strings.CutPrefix(name, `"`); ok {
		return strings.ReplaceAll(strings.TrimSuffix(inner, `"`), `""`, `"`)
	}
	return strings.ToLower(name)
}

// from is what the job's update joins, where the job is one update.
func (pl *planning) from() *Expr {
	if u := pl.plan.Job.UpdateStep(); u != nil {
		return u.From
	}
	return nil
}

// readOther reads the shape of the other table where from names just one. That it is no table is not an error here:
// a view may be joined.
func (pl *planning) readOther(ctx context.Context) error {
	schema, table, _, ok := otherTable(pl.from())
	if !ok {
		return nil
	}
	t, err := catalog.ReadTable(ctx, pl.conn, pl.plan.Server, schema, table)
	var problem *catalog.Problem
	if errors.As(err, &problem) {
		return nil
	}
	if err != nil {
		return err
	}
	pl.other = &t
	return nil
}

// joinedColumns are the columns of the other table that the join mentions.
func (pl *planning) joinedColumns() []string {
	_, _, alias, _ := otherTable(pl.from())
	var list []string
	for _, ref := range pl.plan.Job.UpdateStep().Join.Columns {
		qualifier, column, dotted := strings.Cut(ref, ".")
		if !dotted {
			qualifier, column = alias, ref
		}
		if qualifier == alias && pl.other.Column(column) != nil && !slices.Contains(list, column) {
			list = append(list, column)
		}
	}
	return list
}

// joinIsUnique reports whether some unique index of the other table is over columns that the join mentions.
func (pl *planning) joinIsUnique() bool {
	joined := pl.joinedColumns()
	return slices.ContainsFunc(pl.other.Indexes, func(x catalog.Index) bool {
		if !x.Unique || !x.Valid || x.Partial {
			return false
		}
		for _, c := range x.Columns {
			if !c.Included && !slices.Contains(joined, c.Name) {
				return false
			}
		}
		return true
	})
}

func secondsOf(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
