package pgsql

import (
	"fmt"
	"strings"
)

// A proof is two questions about one part of the walk, asked in one snapshot: how many rows there are and how many of
// them are wrong, and, only where some are, which. The first one keeps nothing in memory or on disk.

// BeginReading opens a transaction that sees the database as of one moment and cannot write.
var BeginReading = BeginSnapshot

// Proof counts the rows that do not hold the change's new values. Its answer is one row: the rows in scope, those that
// the join met, those it met more than once, and those that are wrong: met, and holding none of the values that
// were met. What is compared, and how, is what [Change.Statements] compares to leave rows alone.
func (c Change) Proof(p Part) (Statement, error) {
	f := c.filling(p)
	var sql string
	if c.History != nil {
		sql = c.proofOfHistory(f)
		return Statement{Name: "proof", SQL: sql, Args: f.b.Args()}, f.err
	}
	if c.From == "" {
		// A filter is tested after the WHERE, so that no expression sees a row outside the scope.
		sql = fmt.Sprintf(`SELECT pg_catalog.count(*), pg_catalog.count(*), 0,
       pg_catalog.count(*) FILTER (WHERE %s)
FROM %s AS t
WHERE %s`, c.differs(func(i int) string { return "(" + f.fill(c.Set[i].Expr) + "\n)" }), c.Table, f.scoped())
		return Statement{Name: "proof", SQL: sql, Args: f.b.Args()}, f.err
	}
	met := c.met(f)
	sql = fmt.Sprintf(`%s
SELECT (SELECT pg_catalog.count(*) FROM pgbackfill_scoped),
       pg_catalog.count(*),
       pg_catalog.count(*) FILTER (WHERE met.times OPERATOR(pg_catalog.>) 1),
       pg_catalog.count(*) FILTER (WHERE met.wrong)
FROM (
  SELECT pg_catalog.count(*) AS times, pg_catalog.bool_and(%s) AS wrong
  FROM pgbackfill_new AS new GROUP BY pgbackfill_table, pgbackfill_row) AS met`,
		met, strings.Join(c.differences(metOld, metNew), "\n        OR "))
	return Statement{Name: "proof", SQL: sql, Args: f.b.Args()}, f.err
}

// Wrong names up to most of the rows that [Change.Proof] counts as wrong, the first ones in the key's order: the
// columns of the key, then for each column of the change whether it is wrong, and with values what it holds and
// what it should.
func (c Change) Wrong(p Part, most int, values bool) (Statement, error) {
	f := c.filling(p)
	switch {
	case c.History != nil:
		sql := c.wrongOfHistory(f, most, values)
		return Statement{Name: "wrong rows", SQL: sql, Args: f.b.Args()}, f.err
	case c.From != "":
		return c.wrongMet(f, most, values)
	}
	value := func(i int) string { return "(" + f.fill(c.Set[i].Expr) + "\n)" }
	old := func(i int) string { return "t." + Ident(c.Set[i].Name) }
	differ := c.differences(old, value)
	columns := append(keyColumns(c.Key, "t"), differ...)
	for i := range c.Set {
		if values {
			columns = append(columns, old(i)+"::pg_catalog.text", fmt.Sprintf("CAST(%s AS %s)::pg_catalog.text", value(i), typeName(c.Set[i].uncut())))
		}
	}
	condition := strings.Join(differ, "\n        OR ")
	rng := f.rng()
	if scope := f.scope(); scope != "" {
		condition = fmt.Sprintf("CASE WHEN %s\n           THEN %s\n           ELSE false END", scope, condition)
	}
	sql := fmt.Sprintf("SELECT %s\nFROM %s AS t\nWHERE %s\n  AND (%s)\nORDER BY %s\nLIMIT %d",
		strings.Join(columns, ",\n       "), c.Table, rng, condition, OrderBy(c.Key, "t", false), most)
	return Statement{Name: "wrong rows", SQL: sql, Args: f.b.Args()}, f.err
}

func (c Change) wrongMet(f *filling, most int, values bool) (Statement, error) {
	met := c.met(f)
	differ := c.differences(metOld, metNew)
	keys, columns := make([]string, len(c.Key)), make([]string, 0, len(c.Key)+3*len(c.Set))
	named := make([]KeyColumn, len(c.Key))
	for i, k := range c.Key {
		keys[i] = fmt.Sprintf("new.pgbackfill_key_%d", i+1)
		named[i] = k
		named[i].Name = fmt.Sprintf("pgbackfill_key_%d", i+1)
	}
	columns = append(columns, keys...)
	for i := range c.Set {
		columns = append(columns, "pg_catalog.bool_or("+differ[i]+")")
	}
	for i := range c.Set {
		if values {
			columns = append(columns, fmt.Sprintf("pg_catalog.min(%s::pg_catalog.text COLLATE \"pg_catalog\".\"C\")", metOld(i)),
				fmt.Sprintf("pg_catalog.min(%s::pg_catalog.text COLLATE \"pg_catalog\".\"C\")", metNew(i)))
		}
	}
	sql := fmt.Sprintf("%s\nSELECT %s\nFROM pgbackfill_new AS new\nGROUP BY pgbackfill_table, pgbackfill_row, %s\nHAVING pg_catalog.bool_and(%s)\nORDER BY %s\nLIMIT %d",
		met, strings.Join(columns, ",\n       "), strings.Join(keys, ", "), strings.Join(differ, "\n        OR "), OrderBy(named, "new", false), most)
	return Statement{Name: "wrong rows", SQL: sql, Args: f.b.Args()}, f.err
}

func metOld(i int) string { return fmt.Sprintf("new.pgbackfill_old_%d", i+1) }
func metNew(i int) string { return fmt.Sprintf("new.pgbackfill_%d", i+1) }

// met is what the join meets, row by row, with what each row holds and what it should: as [Change.lockedUpdate] has it,
// and without its locks. Rows outside the scope come near no expression.
func (c Change) met(f *filling) string {
	var b strings.Builder
	held := func(scoped, name string, _ int) string { return scoped + "." + Ident(name) }
	if c.History != nil {
		b.WriteString(c.then(f))
		held = func(scoped, _ string, i int) string { return fmt.Sprintf("%s.pgbackfill_now_%d", scoped, i+1) }
	} else {
		fmt.Fprintf(&b, "WITH pgbackfill_scoped AS MATERIALIZED (\n  SELECT t.tableoid AS pgbackfill_table, t.ctid AS pgbackfill_row, t.*\n  FROM %s AS t\n  WHERE %s\n),", c.Table, f.scoped())
	}
	scoped, from := "t", "pgbackfill_scoped AS t"
	if c.WholeRow != nil {
		scoped, from = "pgbackfill_one", c.wholeRow("pgbackfill_scoped")
	}
	fmt.Fprintf(&b, " pgbackfill_new AS MATERIALIZED (\n  SELECT %[1]s.pgbackfill_table, %[1]s.pgbackfill_row", scoped)
	if c.History != nil {
		fmt.Fprintf(&b, ", %s.pgbackfill_over", scoped)
	}
	for i, k := range c.Key {
		fmt.Fprintf(&b, ",\n         %s.%s AS pgbackfill_key_%d", scoped, Ident(k.Name), i+1)
	}
	for i, s := range c.Set {
		fmt.Fprintf(&b, ",\n         %s AS pgbackfill_old_%d,\n         CAST((%s\n) AS %s) AS pgbackfill_%d", held(scoped, s.Name, i), i+1, f.fill(s.Expr), typeName(s.Bare), i+1)
	}
	b.WriteString("\n  FROM " + from)
	if c.From != "" {
		fmt.Fprintf(&b, ",\n       %s\n  WHERE (%s\n)", f.fill(c.From), f.fill(c.Join))
	}
	b.WriteString("\n)")
	return b.String()
}

// Proof counts the rows that are as they were read, and of these the ones that do not hold what came back for them. It is
// to be asked in the snapshot in which they were read: each of them is met then.
func (t Transform) Proof(p Part, rows Rows, out Out) (Statement, error) {
	f := t.filling(p)
	rng := f.rng()
	source, match := t.source(f, rows, &out)
	sql := fmt.Sprintf("SELECT pg_catalog.count(*),\n       pg_catalog.count(*) FILTER (WHERE %s)\nFROM %s AS t, %s\nWHERE %s\n  AND %s",
		Change{Scope: t.Scope, Set: t.Write}.differs(t.returned), t.Table, source, rng, match)
	return Statement{Name: "proof", SQL: sql, Args: f.b.Args()}, f.err
}

// Wrong names up to most of the rows that [Transform.Proof] counts as wrong, as [Change.Wrong] does.
func (t Transform) Wrong(p Part, rows Rows, out Out, most int, values bool) (Statement, error) {
	f := t.filling(p)
	rng := f.rng()
	source, match := t.source(f, rows, &out)
	held := func(i int) string { return "t." + Ident(t.Write[i].Name) }
	differ := Change{Scope: t.Scope, Set: t.Write}.differences(held, t.returned)
	columns := append(keyColumns(t.Key, "t"), differ...)
	for i, c := range t.Write {
		if values {
			columns = append(columns, held(i)+"::pg_catalog.text", fmt.Sprintf("CAST(%s AS %s)::pg_catalog.text", t.returned(i), typeName(c.uncut())))
		}
	}
	sql := fmt.Sprintf("SELECT %s\nFROM %s AS t, %s\nWHERE %s\n  AND %s\n  AND (%s)\nORDER BY %s\nLIMIT %d",
		strings.Join(columns, ",\n       "), t.Table, source, rng, match, strings.Join(differ, "\n        OR "), OrderBy(t.Key, "t", false), most)
	return Statement{Name: "wrong rows", SQL: sql, Args: f.b.Args()}, f.err
}

// Left counts the rows in scope: those that are still to be deleted.
func (s Scope) Left(p Part) (Statement, error) {
	f := s.filling(p)
	sql := fmt.Sprintf("SELECT pg_catalog.count(*)\nFROM %s AS t\nWHERE %s", s.Table, f.scoped())
	return Statement{Name: "left", SQL: sql, Args: f.b.Args()}, f.err
}

// LeftKeys are the keys of up to most of the rows that [Scope.Left] counts, the first ones in the key's order.
func (s Scope) LeftKeys(p Part, most int) (Statement, error) {
	f := s.filling(p)
	sql := fmt.Sprintf("SELECT %s\nFROM %s AS t\nWHERE %s\nORDER BY %s\nLIMIT %d",
		strings.Join(keyColumns(s.Key, "t"), ", "), s.Table, f.scoped(), OrderBy(s.Key, "t", false), most)
	return Statement{Name: "rows left", SQL: sql, Args: f.b.Args()}, f.err
}

// Query is a SELECT of the job's own, for reading.
type Query struct {
	Scope
	SQL string
}

// Statement is the query over one part, for preparing.
func (q Query) Statement(p Part) (Statement, error) {
	f := q.filling(p)
	sql := f.fill(q.SQL)
	return Statement{Name: "query", SQL: sql, Args: f.b.Args()}, f.err
}

// Count counts what the query returns.
func (q Query) Count(p Part) (Statement, error) {
	f := q.filling(p)
	sql := fmt.Sprintf("SELECT pg_catalog.count(*)\nFROM (\n%s\n) AS pgbackfill_query", f.fill(q.SQL))
	return Statement{Name: "query", SQL: sql, Args: f.b.Args()}, f.err
}

// First is up to most of the rows that the query returns.
func (q Query) First(p Part, most int) (Statement, error) {
	f := q.filling(p)
	sql := fmt.Sprintf("SELECT pgbackfill_query.*\nFROM (\n%s\n) AS pgbackfill_query\nLIMIT %d", f.fill(q.SQL), most)
	return Statement{Name: "query rows", SQL: sql, Args: f.b.Args()}, f.err
}
