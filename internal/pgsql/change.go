package pgsql

import (
	"fmt"
	"strings"
)

// Compare says how a column's old and new value are told apart.
type Compare string

// How values are compared.
const (
	// CompareIdentity is for types whose = means the same bytes.
	CompareIdentity Compare = "identity"
	// CompareCollateC is for text: byte for byte, whatever collations the two values bring.
	CompareCollateC Compare = "collate-c"
	// CompareImage compares the stored images: for types whose = is not identity (numeric
	// scale, float -0, jsonb scale, citext, intervals, geometry …) or that have none (json).
	CompareImage Compare = "image"
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
}

// Change is an update of the walked table.
type Change struct {
	Walk
	// Where is the scope, an SQL predicate over t; "" is every row.
	Where string
	Set   []SetColumn
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
	// Sweep is the number of the run whose closing sweep this is: the change is limited to
	// rows that its walk may have missed. 0 is no sweep.
	Sweep int64
	// Walked are, in a sweep, the transactions of the chunks that walked its range: the answer to
	// [Change.Walkers]. Nil is none.
	Walked []byte
}

// Statements are the statements of one chunk. The last is the change itself.
func (c Change) Statements(r Range) ([]Statement, error) {
	e, err := c.expand(r)
	if err != nil {
		return nil, err
	}
	args := r.Args()
	if c.Sweep != 0 {
		walked := c.Walked
		if walked == nil {
			walked = []byte("{}")
		}
		args = append(args, Int(c.Sweep), walked)
	}
	if !c.LockFirst {
		return []Statement{{Name: "update", SQL: e.update(), Args: args}}, nil
	}
	return []Statement{
		{Name: "lock", SQL: e.lock(), Args: args},
		{Name: "update", SQL: e.lockedUpdate(), Args: args},
	}, nil
}

// Walkers is the question, in a sweep, which transactions of the run walked the range. A sweep's
// range ends where a chunk ended, so that a chunk is in it where its end is.
func (c Change) Walkers(r Range) Statement {
	where := "c.through IS NULL"
	args := [][]byte{Int(c.Sweep)}
	if !r.Nulls {
		ends := make([]string, len(c.Key))
		for i, k := range c.Key {
			ends[i] = fmt.Sprintf("c.through[%d]::%s", i+1, k.Type)
			if k.Collation != "" {
				ends[i] += " COLLATE " + k.Collation
			}
		}
		args = append(r.Args(), args...)
		where = r.Where(c.Key, ends)
	}
	return Statement{
		Name: "walkers",
		SQL:  fmt.Sprintf("SELECT COALESCE(pg_catalog.array_agg(c.xid::pg_catalog.xid), '{}')\nFROM pgbackfill.chunks AS c\nWHERE c.run_id OPERATOR(pg_catalog.=) $%d::pg_catalog.int8\n  AND %s", len(args), where),
		Args: args,
	}
}

// Check is the change in the plainest form that PostgreSQL accepts, for preparing: its
// errors are those of the job's own SQL and not of what the engine puts around it.
func (c Change) Check() (Statement, error) {
	e, err := c.expand(Range{})
	if err != nil {
		return Statement{}, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "UPDATE %s AS t\nSET ", c.Table)
	for i, s := range e.Set {
		if i > 0 {
			b.WriteString(",\n    ")
		}
		fmt.Fprintf(&b, "%s = (%s\n)", Ident(s.Name), s.Expr)
	}
	if c.From != "" {
		fmt.Fprintf(&b, "\nFROM %s", e.From)
	}
	b.WriteString("\nWHERE true")
	if c.Where != "" {
		fmt.Fprintf(&b, "\n  AND (%s\n)", e.Where)
	}
	if c.From != "" {
		fmt.Fprintf(&b, "\n  AND (%s\n)", e.Join)
	}
	return Statement{Name: "check", SQL: b.String()}, nil
}

// expanded is a change with its templates filled in for one form of range.
type expanded struct {
	Change
	rng string
	// run is the parameter that holds the run's number in a sweep.
	run string
	// walked is the parameter that holds the transactions of the chunks.
	walked string
}

func (c Change) expand(r Range) (expanded, error) {
	e := expanded{Change: c, rng: r.Where(c.Key, keyColumns(c.Key, "t")), run: fmt.Sprintf("$%d::pg_catalog.int8", len(r.Args())+1), walked: fmt.Sprintf("$%d::pg_catalog.xid[]", len(r.Args())+2)}
	directive := func(d Directive) (string, error) {
		switch d.Name {
		case "range":
			columns, err := rangeColumns(c.Key, d.Arg)
			if err != nil {
				return "", err
			}
			return "(" + r.Where(c.Key, columns) + ")", nil
		case "scope":
			if c.Where == "" {
				return "(true)", nil
			}
			return "(" + e.Where + "\n)", nil
		}
		return "", fmt.Errorf("{{%s}} is not a template of this tool", d.Name)
	}
	var err error
	fill := func(sql string) string {
		if err != nil || sql == "" {
			return sql
		}
		var out string
		out, err = Expand(sql, directive)
		return out
	}
	e.Where = fill(c.Where) // first: {{scope}} is what it has become
	e.From, e.Join = fill(c.From), fill(c.Join)
	e.Set = make([]SetColumn, len(c.Set))
	for i, s := range c.Set {
		s.Expr = fill(s.Expr)
		e.Set[i] = s
	}
	return e, err
}

// rangeColumns are the columns that {{range}}, {{range u}} and {{range d.user_id, d.no}} speak of.
func rangeColumns(key []KeyColumn, arg string) ([]string, error) {
	switch {
	case arg == "":
		return keyColumns(key, "t"), nil
	case !strings.ContainsAny(arg, ".,"):
		return keyColumns(key, arg), nil
	}
	columns := strings.Split(arg, ",")
	if len(columns) != len(key) {
		return nil, fmt.Errorf("{{range %s}} names %d columns; expected %d, one for each column of the key", arg, len(columns), len(key))
	}
	for i := range columns {
		columns[i] = strings.TrimSpace(columns[i])
	}
	return columns, nil
}

// update is a plain update of rows from themselves: it needs no lock of its own, since
// PostgreSQL evaluates it again on the new row after a wait.
func (e expanded) update() string {
	var b strings.Builder
	fmt.Fprintf(&b, "UPDATE %s AS t\nSET ", e.Table)
	for i, s := range e.Set {
		if i > 0 {
			b.WriteString(",\n    ")
		}
		fmt.Fprintf(&b, "%s = (%s\n)", Ident(s.Name), s.Expr)
	}
	fmt.Fprintf(&b, "\nWHERE %s", e.rng)
	differs := ""
	if e.SkipUnchanged || e.Sweep != 0 {
		differs = e.differs(func(i int) string { return "(" + e.Set[i].Expr + "\n)" })
	}
	// PostgreSQL may test predicates in any order, and an expression may fail on a row
	// outside the scope: CASE is what keeps the order.
	switch scope := e.scope(); {
	case scope != "" && differs != "":
		fmt.Fprintf(&b, "\n  AND CASE WHEN %s\n           THEN %s\n           ELSE false END", scope, differs)
	case scope != "":
		fmt.Fprintf(&b, "\n  AND %s", scope)
	case differs != "":
		fmt.Fprintf(&b, "\n  AND (%s)", differs)
	}
	return b.String()
}

// scope is the job's predicate and, in a sweep, that of the sweep; "" is every row.
func (e expanded) scope() string {
	var parts []string
	if e.Sweep != 0 {
		parts = append(parts, e.written())
	}
	if e.Where != "" {
		parts = append(parts, "("+e.Where+"\n)")
	}
	return strings.Join(parts, "\n       AND ")
}

// written is true of the rows that the walk may have missed: those written since the run
// was created, by anybody but a chunk of the run. A row that was there before was seen by
// its chunk, and one that a chunk wrote is as it should be, until somebody writes it again.
// The rows of a partition that was attached since then came without being written.
// Ages are compared as the server compares transaction ids, modulo 2³¹; past 2·10⁹
// transactions since the run's start every row counts.
func (e expanded) written() string {
	horizon := fmt.Sprintf(`(
         SELECT CASE WHEN pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8
                          OPERATOR(pg_catalog.-) r.horizon::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.<) 2000000000
                     THEN pg_catalog.age(r.horizon::pg_catalog.xid) ELSE 2147483647 END
         FROM pgbackfill.runs AS r WHERE r.id OPERATOR(pg_catalog.=) %s)`, e.run)
	since := "pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) " + horizon
	if e.Partitioned {
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
	return fmt.Sprintf(`CASE WHEN t.xmin OPERATOR(pg_catalog.=) ANY (%s) THEN false
            ELSE %s END`, e.walked, since)
}

// differs is true of the rows that do not hold their new values.
func (e expanded) differs(value func(int) string) string {
	parts := make([]string, len(e.Set))
	for i, s := range e.Set {
		old, cast := "t."+Ident(s.Name), fmt.Sprintf("CAST(%s AS %s)", value(i), comparedType(s.Type))
		switch s.Compare {
		case CompareIdentity:
			parts[i] = fmt.Sprintf("%s IS DISTINCT FROM %s", old, cast)
		case CompareCollateC:
			// As text, since for other types the search_path may have an = of somebody's own.
			parts[i] = fmt.Sprintf(`%s::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM %s::pg_catalog.text COLLATE "pg_catalog"."C"`, old, cast)
		default:
			parts[i] = fmt.Sprintf("ROW(%s)::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(%s)::pg_catalog.record", old, cast)
		}
	}
	return strings.Join(parts, "\n        OR ")
}

// comparedType is the type a new value is cast to before it is compared. An explicit cast
// to varchar(5) cuts where an assignment refuses, and would call a value that does not fit
// unchanged; without the length the value differs, and the assignment says what is wrong.
func comparedType(t string) string {
	for _, prefix := range []string{"character varying(", "bit varying("} {
		if rest, ok := strings.CutPrefix(t, prefix); ok {
			if end := strings.IndexByte(rest, ')'); end >= 0 {
				return strings.TrimSuffix(prefix, "(") + rest[end+1:]
			}
		}
	}
	return t
}

// lock takes the chunk's rows, in the key's order, and counts them.
func (e expanded) lock() string {
	return fmt.Sprintf("SELECT pg_catalog.count(*) FROM (\n  SELECT FROM %s AS t\n  WHERE %s\n  ORDER BY %s\n  FOR NO KEY UPDATE OF t) AS locked",
		e.Table, e.scoped(), OrderBy(e.Key, "t", false))
}

func (e expanded) scoped() string {
	if scope := e.scope(); scope != "" {
		return e.rng + "\n    AND " + scope
	}
	return e.rng
}

// lockedUpdate changes rows that are locked already. What it names begins with pgbackfill_, so
// that no table of the job's is hidden by it. Its answer is one row: the rows in
// scope, those that the join met, those it met more than once, and those changed.
func (e expanded) lockedUpdate() string {
	var b strings.Builder
	fmt.Fprintf(&b, "WITH pgbackfill_scoped AS MATERIALIZED (\n  SELECT t.tableoid AS pgbackfill_table, t.ctid AS pgbackfill_row, t.*\n  FROM %s AS t\n  WHERE %s\n  FOR NO KEY UPDATE OF t\n),", e.Table, e.scoped())
	scoped, from := "t", "pgbackfill_scoped AS t"
	if e.WholeRow != nil {
		scoped, from = "pgbackfill_one", e.wholeRow()
	}
	fmt.Fprintf(&b, " pgbackfill_new AS MATERIALIZED (\n  SELECT %[1]s.pgbackfill_table, %[1]s.pgbackfill_row", scoped)
	for i, s := range e.Set {
		// The assignment below decides what fits the column; an explicit cast would cut it to size.
		fmt.Fprintf(&b, ",\n         CAST((%s\n) AS %s) AS pgbackfill_%d", s.Expr, s.Bare, i+1)
	}
	b.WriteString("\n  FROM " + from)
	if e.From != "" {
		fmt.Fprintf(&b, ",\n       %s\n  WHERE (%s\n)", e.From, e.Join)
	}
	fmt.Fprintf(&b, "\n), pgbackfill_changed AS (\n  UPDATE %s AS t\n  SET ", e.Table)
	for i, s := range e.Set {
		if i > 0 {
			b.WriteString(",\n      ")
		}
		fmt.Fprintf(&b, "%s = new.pgbackfill_%d", Ident(s.Name), i+1)
	}
	fmt.Fprintf(&b, "\n  FROM pgbackfill_new AS new\n  WHERE %s\n    AND t.ctid OPERATOR(pg_catalog.=) new.pgbackfill_row", e.rng)
	if e.Partitioned {
		b.WriteString("\n    AND t.tableoid OPERATOR(pg_catalog.=) new.pgbackfill_table")
	}
	if e.SkipUnchanged || e.Sweep != 0 {
		fmt.Fprintf(&b, "\n    AND (%s)", e.differs(func(i int) string { return fmt.Sprintf("new.pgbackfill_%d", i+1) }))
	}
	b.WriteString(`
  RETURNING 1
)
SELECT (SELECT pg_catalog.count(*) FROM pgbackfill_scoped),
       pg_catalog.count(*),
       pg_catalog.count(*) FILTER (WHERE met.times OPERATOR(pg_catalog.>) 1),
       (SELECT pg_catalog.count(*) FROM pgbackfill_changed)
FROM (SELECT pg_catalog.count(*) AS times FROM pgbackfill_new GROUP BY pgbackfill_table, pgbackfill_row) AS met`)
	return b.String()
}

// wholeRow is each scoped row as t, a value of the table's row type. A subquery would give a
// record, which no function of the user's takes; a function gives the type.
func (e expanded) wholeRow() string {
	columns := make([]string, len(e.WholeRow))
	for i, name := range e.WholeRow {
		columns[i] = "pgbackfill_one." + Ident(name)
	}
	return fmt.Sprintf("pgbackfill_scoped AS pgbackfill_one\n       CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[ROW(%s)::%s]) AS t", strings.Join(columns, ", "), e.Table)
}
