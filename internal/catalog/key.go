package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Key is what a table is walked by, with the index that serves the walk.
type Key struct {
	Parts []KeyPart
	// Index is the index, or nil where none serves the walk; then NoIndex says why not.
	Index   *Index
	NoIndex string
	// Unique is set where no two rows have the same key, by the walk's own idea of the same.
	Unique bool
	// Reason says why it is this key and this index.
	Reason string
}

// KeyPart is one column of a key, with what a statement needs to compare it as the index does.
type KeyPart struct {
	Name string
	// Type is the full type, and Collation the one that orders the walk, qualified; "" where the type has none.
	Type, Collation, CollationVersion string
	// Deterministic is set where equal keys are equal byte for byte as far as the collation goes.
	Deterministic bool
	// Less, LessEqual, Equal, GreaterEqual, Greater are qualified operators.
	Less, LessEqual, Equal, GreaterEqual, Greater string
	Nullable                                      bool
}

// Nullable reports whether a part of the key may be NULL.
func (k Key) Nullable() bool {
	return slices.ContainsFunc(k.Parts, func(p KeyPart) bool { return p.Nullable })
}

// ResolveKey decides what the table is walked by: the named columns, or, where none are named, the primary key, else
// the narrowest unique index on NOT NULL columns. What cannot be a key is a *[Problem].
func (t *Table) ResolveKey(names []string) (Key, error) {
	if len(names) == 0 {
		return t.defaultKey()
	}
	for i, name := range names {
		c := t.Column(name)
		switch {
		case c == nil:
			return Key{}, t.noColumn(name)
		case slices.Contains(names[:i], name):
			return Key{}, &Problem{Found: fmt.Sprintf("key names the column %s twice", name), Expected: "each column once", Remedy: "remove one of the two"}
		case c.Virtual: // no index can hold it
			return Key{}, &Problem{
				Found:    fmt.Sprintf("key names the column %s, which is computed when it is read", name),
				Expected: "columns that are stored", Remedy: "walk by a column that it is computed from: " + c.Default,
			}
		}
	}
	if x := t.bestIndex(names); x != nil {
		return t.keyBy(x, names, "key: names it"), nil
	}
	k := Key{Reason: "key: names it", NoIndex: t.whyNoIndex(names)}
	for _, name := range names {
		p, problem := t.partWithoutIndex(name)
		if problem != nil {
			return Key{}, problem
		}
		k.Parts = append(k.Parts, p)
	}
	k.Unique = t.unique(k.Parts)
	return k, nil
}

// defaultKey is the key of a job that names none.
func (t *Table) defaultKey() (Key, error) {
	var best *Index
	for i := range t.Indexes {
		x := &t.Indexes[i]
		if !x.Unique || x.Deferrable || !t.walkable(x, len(x.keyColumns())) || t.nullable(x) {
			continue
		}
		if best == nil || t.preferred(x, best) < 0 {
			best = x
		}
	}
	if best == nil {
		return Key{}, t.noKey()
	}
	names := make([]string, 0, len(best.Columns))
	for _, c := range best.keyColumns() {
		names = append(names, c.Name)
	}
	reason := "the narrowest unique index on NOT NULL columns"
	if best.Primary {
		reason = "the primary key"
	}
	return t.keyBy(best, names, reason), nil
}

// preferred orders unique indexes: the primary key, then few columns, then narrow ones, then the older.
func (t *Table) preferred(a, b *Index) int {
	rank := func(x *Index) int {
		if x.Primary {
			return 0
		}
		return 1
	}
	width := func(x *Index) (sum int64) {
		for _, c := range x.keyColumns() {
			sum += t.Column(c.Name).Width
		}
		return sum
	}
	return cmp.Or(
		cmp.Compare(rank(a), rank(b)),
		cmp.Compare(len(a.keyColumns()), len(b.keyColumns())),
		cmp.Compare(width(a), width(b)),
		cmp.Compare(a.OID, b.OID),
	)
}

// bestIndex is the index that serves a walk by the named columns, or nil.
func (t *Table) bestIndex(names []string) *Index {
	var best *Index
	for i := range t.Indexes {
		x := &t.Indexes[i]
		if !leads(x, names) || !t.walkable(x, len(names)) {
			continue
		}
		exact := func(x *Index) int {
			if x.Unique && len(x.keyColumns()) == len(names) {
				return 0
			}
			return 1
		}
		if best == nil || cmp.Or(cmp.Compare(exact(x), exact(best)), cmp.Compare(len(x.Columns), len(best.Columns)), cmp.Compare(x.OID, best.OID)) < 0 {
			best = x
		}
	}
	return best
}

// walkable reports whether a walk by its first n columns can follow the index: a complete btree over all rows, and
// plain columns in one direction.
func (t *Table) walkable(x *Index, n int) bool {
	if x.Method != "btree" || !x.Valid || x.Partial {
		return false
	}
	for _, c := range x.keyColumns()[:n] {
		if c.Name == "" || len(c.Operators) != 5 || t.Column(c.Name) == nil {
			return false
		}
	}
	return uniform(x.keyColumns()[:n])
}

// leads reports whether the index begins with the columns, in their order.
func leads(x *Index, names []string) bool {
	columns := x.keyColumns()
	if len(columns) < len(names) {
		return false
	}
	for i, name := range names {
		if columns[i].Name != name {
			return false
		}
	}
	return true
}

// uniform reports whether the columns all run in one direction, and put NULLs where a walk expects them: read in
// ascending order, last. An index of another order would be sorted again at every step.
func uniform(columns []IndexColumn) bool {
	for _, c := range columns {
		if c.Descending != columns[0].Descending || c.NullsFirst != c.Descending {
			return false
		}
	}
	return true
}

func (t *Table) nullable(x *Index) bool {
	return slices.ContainsFunc(x.keyColumns(), func(c IndexColumn) bool { return !t.Column(c.Name).NotNull })
}

// keyBy is the key over the first columns of an index.
func (t *Table) keyBy(x *Index, names []string, reason string) Key {
	k := Key{Index: x, Reason: reason + "; index " + x.Name}
	for i, name := range names {
		c, xc := t.Column(name), x.keyColumns()[i]
		k.Parts = append(k.Parts, part(c, xc.Operators, xc.Collation, xc.CollationVersion, xc.Deterministic))
	}
	k.Unique = t.unique(k.Parts)
	return k
}

func part(c *Column, ops []string, collation, version string, deterministic bool) KeyPart {
	return KeyPart{
		Name: c.Name, Type: c.Type, Collation: collation, CollationVersion: version, Deterministic: deterministic,
		Less: ops[0], LessEqual: ops[1], Equal: ops[2], GreaterEqual: ops[3], Greater: ops[4], Nullable: !c.NotNull,
	}
}

func (t *Table) partWithoutIndex(name string) (KeyPart, error) {
	c := t.Column(name)
	if len(c.Operators) != 5 {
		return KeyPart{}, &Problem{
			Found:    fmt.Sprintf("column %s of %s is of type %s, which has no order", name, t.Quoted, c.Type),
			Expected: "a type with a btree operator class",
			Remedy:   t.sayKey(),
		}
	}
	return part(c, c.Operators, c.Collation, "", c.Compare != CompareCollateC), nil
}

// unique reports whether some unique index keeps two rows from having the same key: one over columns of the key, whose
// idea of equal is the walk's or a coarser one. NULLs are no matter, for they are not walked by key.
func (t *Table) unique(parts []KeyPart) bool {
	if len(t.Children) > 0 {
		return false // an index of the parent says nothing of rows in the tables that inherit from it
	}
	return slices.ContainsFunc(t.Indexes, func(x Index) bool {
		if !x.Unique || x.Deferrable || !x.Valid || x.Partial {
			return false
		}
		return !slices.ContainsFunc(x.keyColumns(), func(c IndexColumn) bool {
			return !slices.ContainsFunc(parts, func(p KeyPart) bool {
				return p.Name == c.Name && c.Name != "" && len(c.Operators) == 5 && c.Operators[2] == p.Equal &&
					(p.Deterministic || p.Collation == c.Collation)
			})
		})
	})
}

// whyNoIndex says why no index serves a walk by the columns, and which one nearly does.
func (t *Table) whyNoIndex(names []string) string {
	for i := range t.Indexes {
		x := &t.Indexes[i]
		if !leads(x, names) {
			continue
		}
		switch {
		case x.Method != "btree":
			return fmt.Sprintf("index %s is a %s index and has no order", x.Name, x.Method)
		case !x.Valid:
			return fmt.Sprintf("index %s is invalid: it was left behind unfinished", x.Name)
		case x.Partial:
			return fmt.Sprintf("index %s is partial: it does not hold every row", x.Name)
		case !uniform(x.keyColumns()[:len(names)]):
			return fmt.Sprintf("index %s mixes directions, or has its NULLs first: %s", x.Name, x.Definition)
		}
	}
	return "no btree index begins with (" + strings.Join(names, ", ") + ")"
}

// noColumn says that the table has no such column.
func (t *Table) noColumn(name string) error {
	p := &Problem{Found: fmt.Sprintf("table %s has no column %s", t.Quoted, name), Expected: "one of its columns", Remedy: "its columns are " + t.someColumns()}
	if similar := Similar(name, t.ColumnNames()); len(similar) > 0 {
		p.Remedy = "did you mean " + orList(similar) + "?"
	}
	return p
}

func (t *Table) someColumns() string {
	names := t.ColumnNames()
	if len(names) > 20 {
		return strings.Join(names[:20], ", ") + fmt.Sprintf(" and %d more", len(names)-20)
	}
	return strings.Join(names, ", ")
}

// noKey says that there is nothing a table can be walked by unless the user says so.
func (t *Table) noKey() error {
	p := &Problem{
		Found:    fmt.Sprintf("table %s has no primary key and no unique index on NOT NULL columns", t.Quoted),
		Expected: "columns to walk the table by", Remedy: t.sayKey(),
	}
	return p
}

// sayKey says how a key is named, with the columns that would do.
func (t *Table) sayKey() string {
	var indexed, ordered []string
	for i := range t.Indexes {
		x := &t.Indexes[i]
		if !t.walkable(x, 1) {
			continue
		}
		if name := x.keyColumns()[0].Name; !slices.Contains(indexed, name) {
			indexed = append(indexed, name)
		}
	}
	for _, c := range t.Columns {
		if c.NotNull && len(c.Operators) == 5 && !c.Virtual {
			ordered = append(ordered, c.Name)
		}
	}
	switch {
	case len(indexed) > 0:
		return fmt.Sprintf("name a column that has an index, as in  key: %s  (a key need not be unique; it could be %s)", indexed[0], orList(indexed))
	case len(ordered) > 0:
		return fmt.Sprintf("make an index and name its column: CREATE INDEX CONCURRENTLY ON %s (%s), then  key: %s  (it could be %s)",
			t.Quoted, ordered[0], ordered[0], orList(ordered[:min(5, len(ordered))]))
	}
	return "add a column that tells rows apart, with an index, and name it under  key:"
}
