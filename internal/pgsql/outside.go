package pgsql

import "fmt"

// Outside counts the rows of a part and those that are not in scope but hold a value in a column that will be dropped: how many
// rows there are, how many are in scope, and of the others those that have one such column with no value in any of the columns that
// replace it ("alone": it is the only copy) and the rest of those with a value there ("beside"); then for each of dropped how many of
// the others have the only copy in it. replaced are, for each of dropped, the columns that replace it; where nothing does all are alone.
func (s Scope) Outside(p Part, dropped []string, replaced [][]string) (Statement, error) {
	f := s.filling(p)
	where := f.where()
	if where == "" {
		where = "(true)"
	}
	alone, counts, columns := "false", "", ""
	for i, d := range dropped {
		name := fmt.Sprintf("o.only_%d", i+1)
		alone += " OR " + name
		counts += fmt.Sprintf(",\n       pg_catalog.count(*) FILTER (WHERE NOT o.inside AND %s)", name)
		columns += fmt.Sprintf(",\n               %s AND NOT %s AS only_%d", nonNulls([]string{d}), nonNulls(replaced[i]), i+1)
	}
	sql := fmt.Sprintf(`SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE o.inside),
       pg_catalog.count(*) FILTER (WHERE NOT o.inside AND (%[1]s)), pg_catalog.count(*) FILTER (WHERE NOT o.inside AND o.kept AND NOT (%[1]s))%[2]s
  FROM (SELECT COALESCE(%[3]s, false) AS inside, %[4]s AS kept%[5]s
          FROM %[6]s AS t
         WHERE %[7]s) AS o`, alone, counts, where, nonNulls(dropped), columns, s.Table, f.rng())
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
