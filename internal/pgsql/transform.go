package pgsql

import (
	"fmt"
	"slices"
	"strings"
)

// Transform is what is read of a chunk's rows to be computed outside of the database, and how what came back is
// written.
type Transform struct {
	Scope
	// ByRow is set where a row is not named by its key: keys are not unique, or may be NULL.
	ByRow bool
	// KeyForms and Forms say how the values of the key and of Read are handed over.
	KeyForms, Forms []Form
	// Read are the items of a select list over t.
	Read []string
	// Write are the columns of the walked table that get what came back, in its order; Expr means nothing. Returns has
	// their names and the types of what comes back, and no values.
	Write   []SetColumn
	Returns Out
	// Then is a change with a history: the rows are read as they were, and only for reading. Nil is as they are.
	Then *Change
	// SkipUnchanged leaves alone the rows that hold the new values already.
	SkipUnchanged bool
}

// Form is how a value is handed over.
type Form int

// The forms: as the type prints it, in hexadecimal, or as JSON has times, which no setting changes.
const (
	AsText Form = iota
	AsHex
	AsTime
)

func (f Form) of(value string) string {
	switch f {
	case AsHex:
		return fmt.Sprintf("pg_catalog.encode(%s, 'hex')", value)
	case AsTime:
		return fmt.Sprintf("pg_catalog.to_json(%s)", value)
	}
	return value
}

// Rows are rows as they were read, by name: their key and the transaction that wrote them, which together are one
// version of one row. Without a key that names one, their place does instead, with the file it is in: a table that
// was rewritten meanwhile has other rows in the same places, and by the same transactions.
type Rows struct {
	// Columns hold, as [Transform.identity] has them, a value for each row; nil is NULL.
	Columns [][]*string
}

// identity are the columns that name a version of a row, in the walked table under an alias, and their types: its
// writer; then its key, or its place.
func (t Transform) identity(alias string) (columns, types []string) {
	columns, types = []string{alias + ".xmin"}, []string{"pg_catalog.xid"}
	if t.ByRow {
		return append(columns, alias+".ctid", alias+".tableoid", fmt.Sprintf("pg_catalog.pg_relation_filenode(%s.tableoid)", alias)),
			append(types, "pg_catalog.tid", "pg_catalog.oid", "pg_catalog.oid")
	}
	for i, c := range keyColumns(t.Key, alias) {
		columns, types = append(columns, c), append(types, t.Key[i].Type)
	}
	return columns, types
}

// Types looks types up by their names or numbers: each one's name without a length, and the number and name of the
// type that it is made of, domains resolved.
func Types(names []string) Statement {
	return Statement{
		Name: "types",
		SQL: `SELECT pg_catalog.format_type(given.oid, -1), base.oid, pg_catalog.format_type(base.oid, -1)
FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS n (name, place)
     CROSS JOIN LATERAL (SELECT n.name::pg_catalog.regtype::pg_catalog.oid AS oid) AS given
     CROSS JOIN LATERAL (
       WITH RECURSIVE down(oid, depth) AS (
         SELECT given.oid, 0
         UNION ALL
         SELECT y.typbasetype, depth OPERATOR(pg_catalog.+) 1 FROM down
         JOIN pg_catalog.pg_type AS y ON y.oid OPERATOR(pg_catalog.=) down.oid AND y.typtype OPERATOR(pg_catalog.=) 'd'
       )
       SELECT down.oid FROM down ORDER BY depth DESC LIMIT 1) AS base
ORDER BY n.place`,
		Args: [][]byte{TextArray(append([]string{}, names...))},
	}
}

// Named is how many columns name a version of a row: those that [Transform.Select] and [Transform.Lock] answer first.
func (t Transform) Named() int {
	columns, _ := t.identity("t")
	return len(columns)
}

// Describe is the reading in the plainest form, for preparing: its columns are the key's and those that are read.
func (t Transform) Describe() (Statement, error) {
	f := t.filling(Part{})
	sql := fmt.Sprintf("SELECT %s\nFROM %s AS t\nWHERE true", strings.Join(append(keyColumns(t.Key, "t"), t.items(f)...), ",\n       "), t.Table)
	if t.Where != "" {
		sql += "\n  AND " + f.where()
	}
	return Statement{Name: "check", SQL: sql, Args: f.b.Args()}, f.err
}

func (t Transform) items(f *filling) []string {
	items := make([]string, len(t.Read))
	for i, item := range t.Read {
		items[i] = f.fill(item) + "\n      "
	}
	return items
}

// Select reads the rows of a chunk in the key's order: what names their versions, the key where that is not the same,
// and what is read.
func (t Transform) Select(p Part) (Statement, error) {
	f := t.filling(p)
	columns, _ := t.identity("t")
	forms := slices.Concat([]Form{AsText}, t.KeyForms, t.Forms)
	if t.ByRow {
		forms = slices.Concat(make([]Form, len(columns)), t.KeyForms, t.Forms)
		columns = append(columns, keyColumns(t.Key, "t")...)
	}
	names, values := make([]string, len(forms)), make([]string, len(forms))
	for i, form := range forms {
		names[i] = fmt.Sprintf("pgbackfill_%d", i+1)
		values[i] = form.of("r." + names[i])
	}
	if t.Then != nil {
		return t.selectThen(f, columns, names, values)
	}
	rng := f.rng() // the range's parameters come first, as everywhere
	sql := fmt.Sprintf("SELECT %s\nFROM (\n  SELECT %s\n  FROM %s AS t\n  WHERE %s\n  ORDER BY %s) AS r (%s)",
		strings.Join(values, ", "), strings.Join(append(columns, t.items(f)...), ", "), t.Table, and(rng, f.scope()),
		OrderBy(t.Key, "t", false), strings.Join(names, ", "))
	return Statement{Name: "read", SQL: sql, Args: f.b.Args()}, f.err
}

// selectThen is [Transform.Select] of the rows as they were. No transaction has written these: they are named by their key alone.
func (t Transform) selectThen(f *filling, columns, names, values []string) (Statement, error) {
	from := "pgbackfill_scoped AS t"
	if t.Then.WholeRow != nil {
		from = t.Then.wholeRow("pgbackfill_scoped")
	}
	columns[0] = "NULL"
	then := strings.TrimSuffix(t.Then.then(f), ",")
	sql := fmt.Sprintf("%s\nSELECT %s\nFROM (\n  SELECT %s\n  FROM %s\n  ORDER BY %s) AS r (%s)",
		then, strings.Join(values, ", "), strings.Join(append(columns, t.items(f)...), ", "), from, OrderBy(t.Key, "t", false), strings.Join(names, ", "))
	return Statement{Name: "read", SQL: sql, Args: f.b.Args()}, f.err
}

func and(a, b string) string {
	if b == "" {
		return a
	}
	return a + "\n    AND " + b
}

// Lock takes the rows of a chunk in the key's order and says which versions they are.
func (t Transform) Lock(p Part) (Statement, error) {
	f := t.filling(p)
	columns, _ := t.identity("t")
	if !t.ByRow {
		for i, form := range t.KeyForms {
			columns[1+i] = form.of(columns[1+i])
		}
	}
	sql := fmt.Sprintf("SELECT %s\nFROM %s AS t\nWHERE %s\nORDER BY %s\nFOR NO KEY UPDATE OF t",
		strings.Join(columns, ", "), t.Table, f.scoped(), OrderBy(t.Key, "t", false))
	return Statement{Name: "lock", SQL: sql, Args: f.b.Args()}, f.err
}

// Update writes what came back to the rows that are as they were read. It needs no lock of its own: after a wait for
// somebody who changed a row, PostgreSQL looks at the row's new version, which another transaction wrote.
func (t Transform) Update(p Part, rows Rows, out Out) (Statement, error) {
	f := t.filling(p)
	rng := f.rng()
	source, match := t.source(f, rows, &out)
	var b strings.Builder
	fmt.Fprintf(&b, "UPDATE %s AS t\nSET ", t.Table)
	values := make([]string, len(t.Write))
	for i, c := range t.Write {
		if i > 0 {
			b.WriteString(",\n    ")
		}
		values[i] = t.returned(i)
		fmt.Fprintf(&b, "%s = %s", Ident(c.Name), values[i])
	}
	fmt.Fprintf(&b, "\nFROM %s\nWHERE %s\n  AND %s\n  AND %s", source, rng, match, remembers)
	if t.SkipUnchanged {
		differs := Change{Scope: t.Scope, Set: t.Write}.differs(func(i int) string { return values[i] })
		fmt.Fprintf(&b, "\n  AND (%s)", differs)
	}
	return Statement{Name: "write", SQL: b.String(), Args: f.b.Args()}, f.err
}

// returned is a value that came back, in the source's row.
func (t Transform) returned(i int) string {
	return element(fmt.Sprintf("pgbackfill_out.v%d", i+1), t.Returns.Types[i], t.Returns.made(i))
}

// Straight is the writing as a change over {{out}}, by the key: it can be proved by what a run kept.
func (t Transform) Straight() Change {
	c := Change{Scope: t.Scope, From: "{{out}} AS pgbackfill_out"}
	for _, s := range t.Write {
		s.Expr = "pgbackfill_out." + Ident(s.Name)
		c.Set = append(c.Set, s)
	}
	match := make([]string, len(t.Key))
	for i, k := range t.Key {
		match[i] = fmt.Sprintf("t.%[1]s OPERATOR(%[2]s) pgbackfill_out.%[1]s", Ident(k.Name), k.Equal)
		if k.Collation != "" {
			match[i] += " COLLATE " + k.Collation
		}
	}
	c.Join = strings.Join(match, " AND ")
	return c
}

// Unwritten counts the rows of a chunk that are in scope and not of this transaction's writing. Only among these can [Transform.Stale]
// find one, which takes several times as long.
func (t Transform) Unwritten(p Part) (Statement, error) {
	f := t.filling(p)
	return Statement{Name: "unwritten", SQL: t.unwritten(f), Args: f.b.Args()}, f.err
}

func (t Transform) unwritten(f *filling) string {
	return fmt.Sprintf(`SELECT pg_catalog.count(*)
FROM %s AS t
WHERE %s
  AND t.xmin OPERATOR(pg_catalog.<>) COALESCE(pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.xid, '0'::pg_catalog.xid)`, t.Table, f.scoped())
}

// Stale counts the rows that have become others since they were read, or came into scope: those that are neither as
// they were read nor written by this transaction.
func (t Transform) Stale(p Part, rows Rows) (Statement, error) {
	f := t.filling(p)
	unwritten := t.unwritten(f)
	source, match := t.source(f, rows, nil)
	sql := fmt.Sprintf("%s\n  AND NOT EXISTS (SELECT FROM %s WHERE %s)", unwritten, source, match)
	return Statement{Name: "stale", SQL: sql, Args: f.b.Args()}, f.err
}

// source is the rows, with what came back, as a table called pgbackfill_out, and match the predicate by which it meets
// the versions that were read.
func (t Transform) source(f *filling, rows Rows, out *Out) (source, match string) {
	columns, types := t.identity("t")
	var arrays, names, conditions []string
	for i, typ := range types {
		name := fmt.Sprintf("k%d", i)
		arrays = append(arrays, f.b.Bind("row "+name, NullableTextArray(rows.Columns[i]))+"::"+elements(typ, made(typ)))
		names = append(names, name)
		equal, collate := "pg_catalog.=", ""
		if i > 0 && !t.ByRow {
			equal = t.Key[i-1].Equal
			if c := t.Key[i-1].Collation; c != "" {
				collate = " COLLATE " + c
			}
		}
		conditions = append(conditions, fmt.Sprintf("%s OPERATOR(%s) %s%s", columns[i], equal, element("pgbackfill_out."+name, typ, made(typ)), collate))
	}
	if out != nil {
		for i := range out.Values {
			name := fmt.Sprintf("v%d", i+1)
			arrays = append(arrays, f.b.Bind("out "+name, NullableTextArray(out.Values[i]))+"::"+elements(t.Returns.Types[i], t.Returns.made(i)))
			names = append(names, name)
		}
	}
	return fmt.Sprintf("%s AS pgbackfill_out (%s)", unnest(arrays), strings.Join(names, ", ")),
		strings.Join(conditions, "\n  AND ")
}

// elements is the type of an array of a type's values, which are then read by the type's own input: a cast from text
// may be another thing, and cuts what is too long without a word. An array's elements would come apart in unnest; so
// arrays are text at first, and element makes them what they are.
//
// So would a composite value, and from a type's name nobody sees that it is one: made says that it is not the server's own.
func elements(typ string, made bool) string {
	if made || strings.HasSuffix(typ, "[]") {
		return "pg_catalog.text[]"
	}
	return typeName(typ) + "[]"
}

// made reports whether a full type, as a [KeyColumn] has it, is not one of the server's own.
func made(typ string) bool { return strings.Contains(strings.TrimPrefix(typ, "pg_catalog."), ".") }

func element(value, typ string, made bool) string {
	if made || strings.HasSuffix(typ, "[]") {
		return fmt.Sprintf("CAST(%s AS %s)", value, typeName(typ))
	}
	return value
}
