package pgsql

import "fmt"

// Versions says of the rows with these keys, a column of values for each column of the key, by their place from 1 on, who wrote
// them, and how many there are. A row's writer is its version: whoever writes it again is another.
func (w Walk) Versions(columns [][]*string) Statement {
	b := &Binder{}
	_, _, wrong, match := w.named(b, columns, false)
	return Statement{Name: "versions", SQL: fmt.Sprintf(`WITH wrong AS MATERIALIZED (
  SELECT m.n, %s
)
SELECT wrong.n, pg_catalog.min(t.xmin::pg_catalog.text), pg_catalog.count(*)
FROM wrong JOIN %s AS t ON %s
GROUP BY wrong.n`, wrong, w.Table, match), Args: b.Args()}
}

// Version says who wrote the rows of a range as they are, a line each, and with lock keeps others from changing them until
// the transaction ends. Under READ COMMITTED it then waits for who is changing one, and answers of what they have left.
func (w Walk) Version(r Range, lock bool) Statement {
	b := &Binder{}
	sql := fmt.Sprintf("SELECT t.xmin\nFROM %s AS t\nWHERE %s", w.Table, r.where(b, w.Key, keyColumns(w.Key, "t")))
	if lock {
		sql += "\nFOR NO KEY UPDATE OF t"
	}
	return Statement{Name: "version", SQL: sql, Args: b.Args()}
}
