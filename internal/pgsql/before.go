package pgsql

import (
	"fmt"
	"strings"
)

// Before is the query of the table's rows in a range of the walked key as they were before the run, without those
// that it inserted and with those that it deleted. columns are all of the table's, in order. Where others have
// changed rows, what the run did not write is as it is now, and rows that they deleted are not there.
func (c Capture) Before(walked []KeyColumn, columns []string, r Range, b *Binder) string {
	byName := map[string]KeptColumn{}
	for _, k := range c.Kept {
		byName[k.Name] = k
	}
	stored := map[string]string{}
	for i, k := range c.Key {
		stored[k.Name] = c.key(i)
	}
	there, gone := make([]string, len(columns)), make([]string, len(columns))
	for i, name := range columns {
		quoted := Ident(name)
		if key, ok := stored[name]; ok {
			there[i], gone[i] = "t."+quoted, fmt.Sprintf("d.%s AS %s", key, quoted)
			continue
		}
		k, ok := byName[name]
		if !ok { // the job does not touch it, and no row is deleted
			there[i], gone[i] = "t."+quoted, "NULL AS "+quoted
			continue
		}
		if k.Updated {
			there[i] = fmt.Sprintf("CASE WHEN e.op IS NULL THEN t.%[1]s ELSE e.%[2]s::%[3]s END AS %[1]s", quoted, k.before(), typeName(k.Type))
			gone[i] = fmt.Sprintf("e.%s::%s AS %s", k.before(), typeName(k.Type), quoted)
			continue
		}
		there[i] = fmt.Sprintf("CASE WHEN e.op OPERATOR(pg_catalog.=) 'd' THEN e.%[2]s::%[3]s ELSE t.%[1]s END AS %[1]s", quoted, k.before(), typeName(k.Type))
		gone[i] = fmt.Sprintf("CASE WHEN e.op OPERATOR(pg_catalog.=) 'd' THEN e.%[2]s::%[3]s ELSE d.%[2]s::%[3]s END AS %[1]s", quoted, k.before(), typeName(k.Type))
	}
	first := func(alias string, isStored bool) string {
		return fmt.Sprintf("LEFT JOIN LATERAL (SELECT u.* FROM %s AS u WHERE %s ORDER BY u.id LIMIT 1) AS e ON true", c.Store(), c.same("u", alias, true, isStored))
	}
	sql := fmt.Sprintf("SELECT %s\n  FROM %s AS t\n  %s\n  WHERE %s AND (e.op IS NULL OR e.op OPERATOR(pg_catalog.<>) 'i')",
		strings.Join(there, ", "), c.Table, first("t", false), r.where(b, walked, keyColumns(walked, "t")))
	if !c.Deletes {
		return sql
	}
	walkedStored := make([]string, len(walked))
	for i, k := range walked {
		if key, ok := stored[k.Name]; ok {
			walkedStored[i] = "u." + key
		} else {
			walkedStored[i] = "u." + byName[k.Name].before()
		}
	}
	return sql + fmt.Sprintf("\n  UNION ALL\n  SELECT %s\n  FROM (SELECT DISTINCT ON (%s) u.* FROM %s AS u WHERE u.op OPERATOR(pg_catalog.=) 'd' AND %s ORDER BY %s, u.id DESC) AS d\n  %s\n  WHERE e.op OPERATOR(pg_catalog.<>) 'i' AND NOT EXISTS (SELECT FROM %s AS t WHERE %s)",
		strings.Join(gone, ", "), c.keys("u."), c.Store(), r.where(b, walked, walkedStored), c.keys("u."), first("d", true), c.Table, c.same("t", "d", false, true))
}
