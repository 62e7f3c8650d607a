package pgsql

import (
	"fmt"
	"regexp"
	"strings"
)

// SetColumn is one assignment of a change.
type SetColumn struct {
	Name string
	// Type is the column's full type, as format_type gives it. Bare is the type it is made of,
	// domains resolved, without a length or precision: a cast to it cuts nothing.
	Type, Bare string
	Compare    Compare
	// Expr is the new value, an SQL expression over t.
	Expr string
	// Nulls says when Expr is NULL, where that is known; nil is where it is not.
	Nulls *Nulls
}

// Nulls is what is known of an expression over t: it is NULL exactly where one of the columns
// is, and never where none is named.
type Nulls struct{ Columns []string }

// Change is an update of the walked table.
type Change struct {
	Scope
	// Name is the step's, and that of its statement; "" is "update".
	Name string
	Set  []SetColumn
	// From and Join bring in other tables; "" is none.
	From, Join string
	// SkipUnchanged leaves alone the rows that hold the new values already.
	SkipUnchanged bool
	// LockFirst says that the change reads more than the row itself (from, a subquery, a
	// function that reads tables). An UPDATE that waited for a concurrent writer looks at the
	// row's new version but at the other tables as they were, and overwrites a newer value
	// with a stale one; so the rows are locked first, and the change is the next statement,
	// with a snapshot taken when nobody can change them any more. It also evaluates each
	// expression once a row, and never outside the scope.
	LockFirst bool
	// WholeRow names all columns of the table, in order, where the job speaks of t as a whole, as in
	// to_jsonb(t): it is then a value of the table's own row type, with nothing of ours in it. Nil is
	// where it does not.
	WholeRow []string
	// History is what a run kept, for a proof over the rows as they were; nil is the rows as they are.
	History *History
}

func (c Change) name() string {
	if c.Name == "" {
		return "update"
	}
	return c.Name
}

// Statements are the statements of one chunk. The last is the change itself.
func (c Change) Statements(p Part) ([]Statement, error) {
	if !c.LockFirst {
		f := c.filling(p)
		sql := c.update(f)
		return []Statement{{Name: c.name(), SQL: sql, Args: f.b.Args()}}, f.err
	}
	lock, err := c.Lock(p)
	if err != nil {
		return nil, err
	}
	f := c.filling(p)
	sql := c.lockedUpdate(f)
	return []Statement{lock, {Name: c.name(), SQL: sql, Args: f.b.Args()}}, f.err
}

// speaksOfT matches a from that refers to the walked table, as LATERAL and functions may.
var speaksOfT = regexp.MustCompile(`(?i)(^|[^\w.])t\s*\.`)

// Check is the change in the plainest form that PostgreSQL accepts, for preparing: its
// errors are those of the job's own SQL and not of what the engine puts around it.
func (c Change) Check(p Part) (Statement, error) {
	f := c.filling(p)
	var b strings.Builder
	target, lateral := "t", speaksOfT.MatchString(c.From)
	if lateral {
		target = "pgbackfill_target"
	}
	fmt.Fprintf(&b, "UPDATE %s AS %s\nSET ", c.Table, target)
	for i, s := range c.Set {
		if i > 0 {
			b.WriteString(",\n    ")
		}
		fmt.Fprintf(&b, "%s = (%s\n)", Ident(s.Name), f.fill(s.Expr))
	}
	switch {
	case lateral: // it sees what stands in FROM, and not what is updated
		fmt.Fprintf(&b, "\nFROM %s AS t,\n     %s", c.Table, f.fill(c.From))
	case c.From != "":
		fmt.Fprintf(&b, "\nFROM %s", f.fill(c.From))
	}
	b.WriteString("\nWHERE true")
	if c.Where != "" {
		fmt.Fprintf(&b, "\n  AND %s", f.where())
	}
	if c.From != "" {
		fmt.Fprintf(&b, "\n  AND (%s\n)", f.fill(c.Join))
	}
	return Statement{Name: "check", SQL: b.String(), Args: f.b.Args()}, f.err
}

// update is a plain update of rows from themselves: it needs no lock of its own, since
// PostgreSQL evaluates it again on the new row after a wait.
func (c Change) update(f *filling) string {
	rng := f.rng()
	var b strings.Builder
	fmt.Fprintf(&b, "UPDATE %s AS t\nSET ", c.Table)
	for i, s := range c.Set {
		if i > 0 {
			b.WriteString(",\n    ")
		}
		fmt.Fprintf(&b, "%s = (%s\n)", Ident(s.Name), f.fill(s.Expr))
	}
	fmt.Fprintf(&b, "\nWHERE %s\n  AND %s", rng, remembers)
	differs := ""
	if c.SkipUnchanged || f.part.Sweep != 0 {
		differs = c.differs(func(i int) string { return "(" + f.fill(c.Set[i].Expr) + "\n)" })
	}
	// PostgreSQL may test predicates in any order, and an expression may fail on a row
	// outside the scope: CASE is what keeps the order.
	switch scope := f.scope(); {
	case scope != "" && differs != "":
		fmt.Fprintf(&b, "\n  AND CASE WHEN %s\n           THEN %s\n           ELSE false END", scope, differs)
	case scope != "":
		fmt.Fprintf(&b, "\n  AND %s", scope)
	case differs != "":
		fmt.Fprintf(&b, "\n  AND (%s)", differs)
	}
	if len(f.part.Returning) > 0 {
		fmt.Fprintf(&b, "\nRETURNING %s", strings.Join(texts(f.part.Returning), ", "))
	}
	return b.String()
}

// lockedUpdate changes rows that are locked already. What it names begins with pgbackfill_, so
// that no table of the job's is hidden by it. Its answer is one row: the rows in
// scope, those that the join met, those it met more than once, and those changed.
func (c Change) lockedUpdate(f *filling) string {
	rng := f.rng()
	var b strings.Builder
	fmt.Fprintf(&b, "WITH pgbackfill_scoped AS MATERIALIZED (\n  SELECT t.tableoid AS pgbackfill_table, t.ctid AS pgbackfill_row, t.*\n  FROM %s AS t\n  WHERE %s\n  FOR NO KEY UPDATE OF t\n),", c.Table, f.scoped())
	scoped, from := "t", "pgbackfill_scoped AS t"
	if c.WholeRow != nil {
		scoped, from = "pgbackfill_one", c.wholeRow("pgbackfill_scoped")
	}
	fmt.Fprintf(&b, " pgbackfill_new AS MATERIALIZED (\n  SELECT %[1]s.pgbackfill_table, %[1]s.pgbackfill_row", scoped)
	for i, s := range c.Set {
		// The assignment below decides what fits the column; an explicit cast would cut it to size.
		fmt.Fprintf(&b, ",\n         CAST((%s\n) AS %s) AS pgbackfill_%d", f.fill(s.Expr), typeName(s.Bare), i+1)
	}
	b.WriteString("\n  FROM " + from)
	if c.From != "" {
		fmt.Fprintf(&b, ",\n       %s\n  WHERE (%s\n)", f.fill(c.From), f.fill(c.Join))
	}
	fmt.Fprintf(&b, "\n), pgbackfill_changed AS (\n  UPDATE %s AS t\n  SET ", c.Table)
	for i, s := range c.Set {
		if i > 0 {
			b.WriteString(",\n      ")
		}
		fmt.Fprintf(&b, "%s = new.pgbackfill_%d", Ident(s.Name), i+1)
	}
	fmt.Fprintf(&b, "\n  FROM pgbackfill_new AS new\n  WHERE %s\n    AND t.ctid OPERATOR(pg_catalog.=) new.pgbackfill_row", rng)
	if c.Partitioned {
		b.WriteString("\n    AND t.tableoid OPERATOR(pg_catalog.=) new.pgbackfill_table")
	}
	if c.SkipUnchanged || f.part.Sweep != 0 {
		fmt.Fprintf(&b, "\n    AND (%s)", c.differs(func(i int) string { return fmt.Sprintf("new.pgbackfill_%d", i+1) }))
	}
	b.WriteString(`
  RETURNING 1
)
SELECT (SELECT pg_catalog.count(*) FROM pgbackfill_scoped),
       pg_catalog.count(*),
       pg_catalog.count(*) FILTER (WHERE met.times OPERATOR(pg_catalog.>) 1),
       (SELECT pg_catalog.count(*) FROM pgbackfill_changed),
       ` + remember + `
FROM (SELECT pg_catalog.count(*) AS times FROM pgbackfill_new GROUP BY pgbackfill_table, pgbackfill_row) AS met`)
	return b.String()
}

// wholeRow is each of some rows as t, a value of the table's row type. A subquery would give a
// record, which no function of the user's takes; a function gives the type.
func (c Change) wholeRow(rows string) string {
	columns := make([]string, len(c.WholeRow))
	for i, name := range c.WholeRow {
		columns[i] = "pgbackfill_one." + Ident(name)
	}
	return fmt.Sprintf("%s AS pgbackfill_one\n       CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[ROW(%s)::%s]) AS t", rows, strings.Join(columns, ", "), c.Table)
}
