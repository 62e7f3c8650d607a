package pgsql

import "fmt"

// Outside counts the rows of a part and those that are not in scope but hold a value in a column that will be dropped: how many
// rows there are, how many are in scope, and of the others those with no value in any of the columns that replace those
// ("alone": theirs is the only copy) and the rest ("beside"). Where nothing replaces them all are alone.
func (s Scope) Outside(p Part, dropped, replaced []string) (Statement, error) {
	f := s.filling(p)
	where := f.where()
	if where == "" {
		where = "(true)"
	}
	sql := fmt.Sprintf(`SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE o.inside),
       pg_catalog.count(*) FILTER (WHERE NOT o.inside AND o.kept AND NOT o.filled), pg_catalog.count(*) FILTER (WHERE NOT o.inside AND o.kept AND o.filled)
  FROM (SELECT COALESCE(%s, false) AS inside, %s AS kept, %s AS filled
          FROM %s AS t
         WHERE %s) AS o`, where, nonNulls(dropped), nonNulls(replaced), s.Table, f.rng())
	return Statement{Name: "outside", SQL: sql, Args: f.b.Args()}, f.err
}

// nonNulls reports whether any of the columns has a value. Of a composite one that is made of NULLs it is a value, too; no column has none.
func nonNulls(columns []string) string {
	if len(columns) == 0 {
		return "(false)"
	}
	list := ""
	for i, c := range columns {
		if i > 0 {
			list += ", "
		}
		list += "t." + Ident(c)
	}
	return "(pg_catalog.num_nonnulls(" + list + ") OPERATOR(pg_catalog.>) 0)"
}
