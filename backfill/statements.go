package backfill

import (
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// change is the plan's job as the statements that carry it out.
func (p *Plan) change() (pgsql.Change, error) {
	u := p.Job.Update
	c := pgsql.Change{
		Walk:          pgsql.Walk{Table: p.Table.Quoted, Key: p.Key, Partitioned: p.Table.Partitioned || len(p.Table.Children) > 0},
		SkipUnchanged: u.SkipUnchanged,
		LockFirst:     p.LockFirst,
	}
	if p.Job.Where != nil {
		c.Where = p.Job.Where.SQL
	}
	if u.From != nil {
		c.From, c.Join = u.From.SQL, u.Join.SQL
	}
	for _, a := range u.Set {
		column := p.Table.Column(a.Column)
		if column == nil {
			return c, Inputf(p.Job.Origin, "name a column that the table has", "table %s has no column %q", c.Table, a.Column)
		}
		c.Set = append(c.Set, pgsql.SetColumn{Name: column.Name, Type: column.Type, Compare: pgsql.Compare(column.Compare), Expr: a.Value.SQL})
	}
	return c, nil
}
