package pgsql

import (
	"fmt"
	"strings"
)

// missed is true of the rows that a sweep is about: those that [filling.written] speaks of or, where steps read the rows of
// one key together, all rows of a key that has one of them. A part of them would give a part of the sum.
func (f *filling) missed() string {
	if !f.Groups {
		return f.written()
	}
	columns, match := keyColumns(f.Key, "t"), make([]string, len(f.Key))
	for i, k := range f.Key {
		name := fmt.Sprintf("pgbackfill_%d", i+1)
		match[i] = fmt.Sprintf("w.%s OPERATOR(%s) %s", name, k.Equal, columns[i])
		if k.Collation != "" {
			match[i] += " COLLATE " + k.Collation
		}
		columns[i] += " AS " + name
	}
	same := "\n      WHERE " + strings.Join(match, " AND ")
	if f.part.Range.Nulls { // they are one chunk
		same = ""
	}
	return fmt.Sprintf("EXISTS (SELECT FROM (\n      SELECT %s\n      FROM %s AS t\n      WHERE %s\n        AND %s) AS w%s)",
		strings.Join(columns, ", "), f.Table, f.rng(), f.written(), same)
}

// written is true of the rows that the walk may have missed: those written since the run
// was created, by anybody but a chunk of the run. A row that was there before was seen by
// its chunk, and one that a chunk wrote is as it should be, until somebody writes it again.
// The rows of a partition that was attached since then came without being written.
// Ages are compared as the server compares transaction ids, modulo 2³¹; past 2·10⁹
// transactions since the run's start every row counts.
func (f *filling) written() string {
	run := f.b.Bind("run", Int(f.part.Sweep)) + "::pg_catalog.int8"
	walked := f.part.Walked
	if walked == nil {
		walked = []byte("{}")
	}
	horizon := fmt.Sprintf(`(
         SELECT CASE WHEN pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8
                          OPERATOR(pg_catalog.-) r.horizon::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.<) 2000000000
                     THEN pg_catalog.age(r.horizon::pg_catalog.xid) ELSE 2147483647 END
         FROM pgbackfill.runs AS r WHERE r.id OPERATOR(pg_catalog.=) %s)`, run)
	since := "pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) " + horizon
	if f.Partitioned {
		since = fmt.Sprintf(`(%s
         OR t.tableoid OPERATOR(pg_catalog.=) ANY (
         WITH RECURSIVE attached AS (
           SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i WHERE pg_catalog.age(i.xmin) OPERATOR(pg_catalog.<=) %s
           UNION
           SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN attached ON i.inhparent OPERATOR(pg_catalog.=) attached.inhrelid)
         SELECT attached.inhrelid FROM attached))`, since, horizon)
	}
	// As a parameter and with = ANY the list is a hash table on every version; NOT IN is one since 15 only, and
	// a subquery's answer costs four times as much to look up.
	return fmt.Sprintf(`CASE WHEN t.xmin OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.xid[]) THEN false
            ELSE %s END`, f.b.Bind("walked", walked), since)
}

// Walkers is the question, in a sweep, which transactions of the run walked the range. A sweep's
// range ends where a chunk ended, so that a chunk is in it where its end is.
func (w Walk) Walkers(run int64, r Range) Statement {
	b, where := &Binder{}, "c.through IS NULL"
	if !r.Nulls {
		ends := make([]string, len(w.Key))
		for i, k := range w.Key {
			ends[i] = fmt.Sprintf("c.through[%d]::%s", i+1, typeName(k.Type))
			if k.Collation != "" {
				ends[i] += " COLLATE " + k.Collation
			}
		}
		where = r.where(b, w.Key, ends)
	}
	return Statement{
		Name: "walkers",
		SQL: fmt.Sprintf("SELECT COALESCE(pg_catalog.array_agg(c.xid::pg_catalog.xid), '{}')\nFROM pgbackfill.chunks AS c\nWHERE c.run_id OPERATOR(pg_catalog.=) %s::pg_catalog.int8\n  AND %s",
			b.Bind("run", Int(run)), where),
		Args: b.Args(),
	}
}
