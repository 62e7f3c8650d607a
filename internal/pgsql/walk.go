package pgsql

import (
	"fmt"
	"strings"
)

// Walk is what a statement needs to know of a walked table.
type Walk struct {
	// Table is the table's name, quoted and qualified.
	Table string
	Key   []KeyColumn
	// Partitioned is set where rows of several tables are walked through a parent, so that
	// a ctid alone does not name a row.
	Partitioned bool
}

// Boundary finds the end of a chunk: the key of the rows-th row of the range, in the
// key's order, or no row where the range holds fewer. It counts every row of the range
// and not only those in scope, so that a sparse scope cannot make it read on and on.
func (w Walk) Boundary(r Range, rows int) Statement {
	args := r.Args()
	return Statement{
		Name: "boundary",
		SQL: fmt.Sprintf("SELECT %s\nFROM %s AS t\nWHERE %s\nORDER BY %s\nOFFSET $%d::pg_catalog.int8 LIMIT 1",
			strings.Join(keyColumns(w.Key, "t"), ", "), w.Table, r.Where(w.Key, keyColumns(w.Key, "t")),
			OrderBy(w.Key, "t", false), len(args)+1),
		Args: append(args, Int(rows-1)),
	}
}

// Count counts the rows of a range: once a segment, for its last chunk, whose end is the
// segment's and not found by counting.
func (w Walk) Count(r Range) Statement {
	return Statement{
		Name: "count",
		SQL:  fmt.Sprintf("SELECT pg_catalog.count(*)\nFROM %s AS t\nWHERE %s", w.Table, r.Where(w.Key, keyColumns(w.Key, "t"))),
		Args: r.Args(),
	}
}

// Alone counts the rows of a range, and those of them that have the key at: they are as many where the
// range holds no other key. Where at is nil, as for the rows with a NULL in the key, it counts them twice.
func (w Walk) Alone(r Range, at []string) Statement {
	b, columns := &Binder{}, keyColumns(w.Key, "t")
	where, filter := r.where(b, w.Key, columns), ""
	if at != nil {
		filter = " FILTER (WHERE " + Range{At: at}.where(b, w.Key, columns) + ")"
	}
	return Statement{
		Name: "alone",
		SQL:  fmt.Sprintf("SELECT pg_catalog.count(*), pg_catalog.count(*)%s\nFROM %s AS t\nWHERE %s", filter, w.Table, where),
		Args: b.Args(),
	}
}

// Last finds the greatest key of a range, or no row where it holds none.
func (w Walk) Last(r Range) Statement {
	return Statement{
		Name: "last key",
		SQL: fmt.Sprintf("SELECT %s\nFROM %s AS t\nWHERE %s\nORDER BY %s\nLIMIT 1",
			strings.Join(keyColumns(w.Key, "t"), ", "), w.Table, r.Where(w.Key, keyColumns(w.Key, "t")), OrderBy(w.Key, "t", true)),
		Args: r.Args(),
	}
}

// Writers lists the other transactions that have written to a table, its partitions or its
// children, and are still open: each with what to call it. A writer keeps its lock to the
// end of its transaction, and everybody may read the locks.
func Writers(table uint32) Statement {
	return Statement{
		Name: "writers",
		SQL: `WITH RECURSIVE tree AS (
  SELECT $1::pg_catalog.oid AS relid
  UNION
  SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN tree ON i.inhparent OPERATOR(pg_catalog.=) tree.relid
)
SELECT l.virtualtransaction,
       CASE WHEN l.pid IS NULL THEN 'a prepared transaction'
            ELSE pg_catalog.format('pid %s (%s, since %s)', l.pid, CASE WHEN a.application_name OPERATOR(pg_catalog.<>) '' THEN a.application_name ELSE 'no application_name' END, a.xact_start) END
FROM pg_catalog.pg_locks AS l
JOIN tree ON l.relation OPERATOR(pg_catalog.=) tree.relid
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid OPERATOR(pg_catalog.=) l.pid
WHERE l.locktype OPERATOR(pg_catalog.=) 'relation'
  AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
  AND l.granted
  AND l.mode OPERATOR(pg_catalog.=) ANY ('{RowExclusiveLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'::pg_catalog.text[])
  AND (l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) IS NOT TRUE
GROUP BY l.virtualtransaction, l.pid, a.application_name, a.xact_start
ORDER BY a.xact_start`,
		Args: [][]byte{Int(int64(table))},
	}
}
