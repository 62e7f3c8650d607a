package pgsql

import (
	"fmt"
	"strings"
)

// Scope is what the SQL of a job speaks of, the same for all of its chunks: the walked table, the rows of it that are
// meant, and the names that stand for something.
type Scope struct {
	Walk
	// Where is the job's predicate over t; "" is every row.
	Where  string
	Params []Param
	// Helpers are the tables that {{helper x}} stands for, quoted and qualified, by x; where they are not built yet,
	// their queries in parentheses, which have the same columns.
	Helpers map[string]string
	// Groups is set where the walked key is not unique and a step reads the rows of one key together, as a sum or a rank:
	// a sweep then speaks of all rows of a key of which one was missed.
	Groups bool
	// Before is the query that {{before}} stands for, over a range of its own; nil where nothing keeps what was there.
	Before func(r Range, b *Binder) string
}

// Part is what one chunk is about.
type Part struct {
	Range Range
	// Stripe limits the range to the rows of one stripe; nil is all of them.
	Stripe *Stripe
	// Sweep is the number of the run whose closing sweep this is: the change is limited to rows that its walk may
	// have missed. 0 is no sweep.
	Sweep int64
	// Walked are, in a sweep, the transactions of the chunks that walked the range: the answer to [Walk.Walkers].
	// Nil is none.
	Walked []byte
	// Since, for [Checkable], is a transaction: what it and later ones wrote is counted apart. "" is none. All counts the rows too
	// that a sweep passes by.
	Since string
	All   bool
	// Row limits the range to one row; nil is all of them.
	Row *Row
	// Apart, for [Checkable], leaves out the rows that a run has set aside; nil is none.
	Apart *Apart
	// Returning are columns of the rows that a change has written, as text, which an update that needs no lock of its own answers with.
	Returning []string
	// Members fixes the chunk's rows; nil is those that are in scope when a statement looks.
	Members *Members
	// Out is what {{out}} stands for; nil where nothing was computed.
	Out *Out
	// Reading is set where nothing is changed and so nothing locked: a verification.
	Reading bool
	// Sample limits a verification to some of the rows; nil is all.
	Sample *Sample
}

// Row is a row by a key that need not be the walked one.
type Row struct {
	Key    []KeyColumn
	Values []string
}

// Apart are the rows that a run has set aside, by the columns by which it knows them.
type Apart struct {
	Run     int64
	Columns []string
}

// Members are the rows of a chunk by name: those that were in scope when they were locked, for all of its steps.
type Members struct {
	// Key is the key that names them, where it is not the one that is walked; nil is that one.
	Key []KeyColumn
	// Columns hold, for each column of the key, its values in text form; for a table without a unique key one
	// column of ctids, and for a partitioned one the table's oid after it.
	Columns [][]string
	// ByRow is set where rows are named by ctid.
	ByRow bool
}

// Out are rows that were computed outside of the database: columns with a name, a type, and a value for each row.
type Out struct {
	// Types are without a length or a precision: what a value is written to says whether it fits.
	Names, Types []string
	// Made marks the types that somebody made; nil is none.
	Made []bool
	// Values are the columns, each a text[] with a value a row; a nil value is NULL.
	Values [][]*string
}

// filling is a scope in one statement of one chunk. The first error stays, and what is rendered after it means nothing.
type filling struct {
	Scope
	part Part
	b    *Binder
	err  error
	// inWhere is set while the scope's own predicate is filled in.
	inWhere bool
}

func (s Scope) filling(p Part) *filling { return &filling{Scope: s, part: p, b: &Binder{}} }

// fill returns a fragment with its templates and parameters replaced.
func (f *filling) fill(sql string) string {
	if sql == "" || f.err != nil {
		return sql
	}
	out, err := ExpandAll(sql, f.directive, func(name string, _ int) (string, bool) {
		for _, p := range f.Params {
			if p.Name == name {
				return p.bind(f.b), true
			}
		}
		return "", false
	})
	if err != nil {
		f.err = err
		return sql
	}
	return out
}

func (f *filling) directive(d Directive) (string, error) {
	switch d.Name {
	case "range":
		columns, err := rangeColumns(f.Key, d.Arg)
		if err != nil {
			return "", err
		}
		return "(" + f.part.Range.where(f.b, f.Key, columns) + ")", nil
	case "scope":
		if f.inWhere {
			return "", fmt.Errorf("{{scope}} within the scope itself")
		}
		if where := f.where(); where != "" {
			return where, nil
		}
		return "(true)", nil
	case "chunk":
		if d.Arg != "" && d.Arg != "nolock" {
			return "", fmt.Errorf("%s: expected {{chunk}} or {{chunk nolock}}", d)
		}
		return f.chunk(d.Arg == "nolock"), nil
	case "helper":
		if table, ok := f.Helpers[d.Arg]; ok {
			return f.fill(table), nil
		}
		return "", fmt.Errorf("%s: the job has no helper of that name", d)
	case "out":
		if f.part.Out == nil {
			return "", fmt.Errorf("{{out}} without a transform")
		}
		return f.part.Out.table(f.b), nil
	case "before":
		if f.Before == nil {
			return "", fmt.Errorf("{{before}} without undo: capture")
		}
		return "(" + f.Before(f.part.Range, f.b) + ")", nil
	}
	return "", fmt.Errorf("%s is not a template of this tool", d)
}

// rng is the chunk's range over the walked table.
func (f *filling) rng() string {
	rng := f.part.Range.where(f.b, f.Key, keyColumns(f.Key, "t"))
	if f.part.Stripe != nil {
		rng += "\n  AND " + f.part.Stripe.where(f.b)
	}
	if row := f.part.Row; row != nil {
		rng += "\n  AND " + Range{At: row.Values}.where(f.b, row.Key, keyColumns(row.Key, "t"))
	}
	return rng
}

// where is the job's predicate in parentheses; "" is every row.
func (f *filling) where() string {
	if f.Where == "" {
		return ""
	}
	f.inWhere = true
	defer func() { f.inWhere = false }()
	return "(" + f.fill(f.Where) + "\n)"
}

// scope is which rows of the range are meant: those of the chunk where it names them, and else, in a sweep, those that
// its walk may have missed, and those of the job's predicate; "" is every row.
func (f *filling) scope() string {
	if f.part.Members != nil {
		return f.members("t")
	}
	var parts []string
	if f.part.Sweep != 0 && !f.part.All {
		parts = append(parts, f.missed())
	}
	if f.part.Sample != nil {
		parts = append(parts, f.part.Sample.where(f.b, f.Key))
	}
	if where := f.where(); where != "" {
		parts = append(parts, where)
	}
	return strings.Join(parts, "\n       AND ")
}

func (f *filling) scoped() string {
	rng := f.rng()
	if scope := f.scope(); scope != "" {
		return rng + "\n    AND " + scope
	}
	return rng
}

// chunk is the chunk's rows as a subquery. Its rows were locked by a statement before this one, and are locked again:
// a row that came into scope in between is not to be read while somebody changes it.
func (f *filling) chunk(nolock bool) string {
	lock := "\n  FOR NO KEY UPDATE OF t"
	if nolock || f.part.Reading {
		lock = ""
	}
	return fmt.Sprintf("(\n  SELECT t.*\n  FROM %s AS t\n  WHERE %s%s)", f.Table, f.scoped(), lock)
}

// members is true of the chunk's rows.
func (f *filling) members(alias string) string {
	m := f.part.Members
	key := m.Key
	if key == nil {
		key = f.Key
	}
	params := make([]string, len(m.Columns))
	for i, values := range m.Columns {
		params[i] = f.b.Bind(fmt.Sprintf("member %d", i), TextArray(append([]string{}, values...)))
	}
	if m.ByRow {
		if len(params) == 1 {
			return fmt.Sprintf("%s.ctid OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.tid[])", alias, params[0])
		}
		return fmt.Sprintf("(%[1]s.ctid, %[1]s.tableoid) OPERATOR(pg_catalog.=) ANY (SELECT m.* FROM %s AS m)", alias,
			unnest([]string{params[0] + "::pg_catalog.tid[]", params[1] + "::pg_catalog.oid[]"}))
	}
	arrays, match := make([]string, len(params)), make([]string, len(params))
	for i, k := range key {
		arrays[i] = params[i] + "::" + elements(k.Type, made(k.Type))
		match[i] = fmt.Sprintf("%s.%s OPERATOR(%s) %s", alias, Ident(k.Name), k.Equal, element(fmt.Sprintf("m.pgbackfill_%d", i+1), k.Type, made(k.Type)))
		if k.Collation != "" {
			match[i] += " COLLATE " + k.Collation
		}
	}
	if k := key[0]; len(params) == 1 && k.Collation == "" && elements(k.Type, made(k.Type)) == typeName(k.Type)+"[]" {
		return fmt.Sprintf("%s.%s OPERATOR(%s) ANY (%s)", alias, Ident(k.Name), k.Equal, arrays[0])
	}
	names := make([]string, len(params))
	for i := range names {
		names[i] = fmt.Sprintf("pgbackfill_%d", i+1)
	}
	return fmt.Sprintf("EXISTS (SELECT FROM %s AS m (%s) WHERE %s)", unnest(arrays), strings.Join(names, ", "), strings.Join(match, " AND "))
}

// unnest makes one table of arrays side by side. unnest of several arrays is syntax and takes no schema's name.
func unnest(arrays []string) string {
	parts := make([]string, len(arrays))
	for i, a := range arrays {
		parts[i] = "pg_catalog.unnest(" + a + ")"
	}
	return "ROWS FROM (" + strings.Join(parts, ", ") + ")"
}

// table is the rows as a table, to be aliased.
func (o *Out) table(b *Binder) string {
	columns := make([]string, len(o.Names))
	for i := range o.Names {
		columns[i] = b.Bind(fmt.Sprintf("out %d", i), NullableTextArray(o.Values[i])) + "::" + elements(o.Types[i], o.made(i))
	}
	casts, names := make([]string, len(o.Names)), make([]string, len(o.Names))
	for i, name := range o.Names {
		names[i] = fmt.Sprintf("c%d", i+1)
		casts[i] = fmt.Sprintf("%s AS %s", element(fmt.Sprintf("u.c%d", i+1), o.Types[i], o.made(i)), Ident(name))
	}
	return fmt.Sprintf("(SELECT %s FROM %s AS u (%s))", strings.Join(casts, ", "), unnest(columns), strings.Join(names, ", "))
}

func (o *Out) made(i int) bool { return o.Made != nil && o.Made[i] }

// Lock takes the rows of a chunk in the key's order, for a job whose steps read them as {{chunk}}, and counts them.
func (s Scope) Lock(p Part) (Statement, error) {
	f := s.filling(p)
	sql := fmt.Sprintf("SELECT pg_catalog.count(*) FROM (\n  SELECT FROM %s AS t\n  WHERE %s\n  ORDER BY %s\n  FOR NO KEY UPDATE OF t) AS locked",
		s.Table, f.scoped(), OrderBy(s.Key, "t", false))
	return Statement{Name: "lock", SQL: sql, Args: f.b.Args()}, f.err
}

// Keys names the rows of a part by a key that need not be the walked one, in scope or not.
func (s Scope) Keys(p Part, key []KeyColumn) (Statement, error) {
	f := s.filling(p)
	names := make([]string, len(key))
	for i, k := range key {
		names[i] = k.Name
	}
	sql := fmt.Sprintf("SELECT %s\nFROM %s AS t\nWHERE %s\nORDER BY t.ctid", strings.Join(texts(names), ", "), s.Table, f.rng())
	return Statement{Name: "rows", SQL: sql, Args: f.b.Args()}, f.err
}

// Take is [Scope.Lock] that also says which rows they are, for [Members]: by the key that is walked, by another that names
// them, or, where keys are not unique or may be NULL, by ctid.
func (s Scope) Take(p Part, by Members) (Statement, error) {
	f := s.filling(p)
	columns := keyColumns(s.Key, "t")
	switch {
	case by.Key != nil:
		columns = keyColumns(by.Key, "t")
	case by.ByRow:
		if columns = []string{"t.ctid"}; s.Partitioned {
			columns = append(columns, "t.tableoid")
		}
	}
	sql := fmt.Sprintf("SELECT %s\nFROM %s AS t\nWHERE %s\nORDER BY %s\nFOR NO KEY UPDATE OF t",
		strings.Join(columns, ", "), s.Table, f.scoped(), OrderBy(s.Key, "t", false))
	return Statement{Name: "lock", SQL: sql, Args: f.b.Args()}, f.err
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
