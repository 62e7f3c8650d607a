package pgsql

import (
	"fmt"
	"slices"
	"strings"
)

// Range is the part of a walk that a statement is about: the keys in (After, Through],
// each side open where it is nil; or the rows with the one key At; or those with a NULL in the key.
type Range struct {
	After, Through []string
	// At is exactly this key, all parts of it; nil is no such. After and Through mean nothing beside it.
	At    []string
	Nulls bool
}

// Args are the parameters of every statement over the range: the parts of At, or else those of After,
// then those of Through.
func (r Range) Args() [][]byte {
	if r.At != nil {
		r.After, r.Through = r.At, nil
	}
	args := make([][]byte, 0, len(r.After)+len(r.Through))
	for _, part := range slices.Concat(r.After, r.Through) {
		args = append(args, Text(part))
	}
	return args
}

// Where is the range as a predicate over the given columns: those of the key itself, or
// others of the same types in the key's order. Its parameters are [Range.Args].
func (r Range) Where(key []KeyColumn, columns []string) string {
	return r.where(&Binder{}, key, columns)
}

func (r Range) where(b *Binder, key []KeyColumn, columns []string) string {
	var parts []string
	if r.Nulls {
		for i, k := range key {
			if k.Nullable {
				parts = append(parts, columns[i]+" IS NULL")
			}
		}
		if len(parts) == 0 {
			return "false"
		}
		return "(" + strings.Join(parts, " OR ") + ")"
	}
	if r.At != nil {
		at := end{b: b, name: "at", parts: r.At}
		for i, param := range at.params(key) {
			parts = append(parts, fmt.Sprintf("%s OPERATOR(%s) %s", columns[i], key[i].Equal, param))
		}
		return strings.Join(parts, " AND ")
	}
	if r.After != nil {
		parts = append(parts, compare(key, columns, end{b: b, name: "after", parts: r.After},
			func(k KeyColumn) string { return k.Greater }, func(k KeyColumn) string { return k.Greater }, func(k KeyColumn) string { return k.GreaterEqual }))
	}
	if r.Through != nil {
		parts = append(parts, compare(key, columns, end{b: b, name: "through", parts: r.Through},
			func(k KeyColumn) string { return k.Less }, func(k KeyColumn) string { return k.LessEqual }, func(k KeyColumn) string { return k.LessEqual }))
	}
	// A row with a NULL in one part satisfies some row comparisons and loses others, so
	// that it would be in one chunk, in two, or in none. It belongs to the nulls segment.
	for i, k := range key {
		if k.Nullable {
			parts = append(parts, columns[i]+" IS NOT NULL")
		}
	}
	if len(parts) == 0 {
		return "true"
	}
	return strings.Join(parts, " AND ")
}

// end is one end of a range, as parameters, or as expressions where exprs has them.
type end struct {
	b     *Binder
	name  string
	parts []string
	exprs []string
}

// params are the parts as values of the key's types, which compare as the key's index does.
func (e end) params(key []KeyColumn) []string {
	if e.exprs != nil {
		return e.exprs
	}
	params := make([]string, len(e.parts))
	for i, part := range e.parts {
		params[i] = e.b.Bind(fmt.Sprintf("%s %d", e.name, i), Text(part)) + "::" + typeName(key[i].Type)
		if key[i].Collation != "" {
			params[i] += " COLLATE " + key[i].Collation
		}
	}
	return params
}

// compare renders "columns op parameters" for a tuple. strict is the operator of the parts
// before the last, last that of the last, and weak what holds of the first part in any case.
// Where all columns have operators of one name a row comparison says it, which an index serves;
// else it is spelled out, and an index serves what is said of the first part.
func compare(key []KeyColumn, columns []string, bound end, strict, last, weak func(KeyColumn) string) string {
	params := bound.params(key)
	end := len(key) - 1
	if end == 0 {
		return fmt.Sprintf("%s OPERATOR(%s) %s", columns[0], last(key[0]), params[0])
	}
	same := !slices.ContainsFunc(key, func(k KeyColumn) bool { return last(k) != last(key[0]) })
	if same {
		return fmt.Sprintf("ROW(%s) OPERATOR(%s) ROW(%s)", strings.Join(columns, ", "), last(key[0]), strings.Join(params, ", "))
	}
	// a < x OR (a = x AND (b < y OR (b = y AND c <= z)))
	sql := fmt.Sprintf("%s OPERATOR(%s) %s", columns[end], last(key[end]), params[end])
	for i := end - 1; i >= 0; i-- {
		sql = fmt.Sprintf("(%s OPERATOR(%s) %s OR (%s OPERATOR(%s) %s AND %s))",
			columns[i], strict(key[i]), params[i], columns[i], key[i].Equal, params[i], sql)
	}
	return fmt.Sprintf("%s OPERATOR(%s) %s AND %s", columns[0], weak(key[0]), params[0], sql)
}

// keyColumns are the key's columns under an alias.
func keyColumns(key []KeyColumn, alias string) []string {
	columns := make([]string, len(key))
	for i, k := range key {
		columns[i] = alias + "." + Ident(k.Name)
	}
	return columns
}

// OrderBy is the key's order, by the operators of its index. Descending is the same
// order backwards.
func OrderBy(key []KeyColumn, alias string, descending bool) string {
	parts := keyColumns(key, alias)
	for i, k := range key {
		op := k.Less
		if descending {
			op = k.Greater
		}
		if k.Collation != "" {
			parts[i] += " COLLATE " + k.Collation
		}
		parts[i] += fmt.Sprintf(" USING OPERATOR(%s)", op)
	}
	return strings.Join(parts, ", ")
}
