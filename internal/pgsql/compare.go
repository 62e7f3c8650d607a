package pgsql

import (
	"fmt"
	"strings"
)

// Compare says how a column's old and new value are told apart.
type Compare string

// How values are compared.
const (
	// CompareIdentity is for types whose = means the same bytes. Like the next one it takes its = from the search_path: for where
	// pg_catalog is the first on it.
	CompareIdentity Compare = "identity"
	// CompareCollateC is for text: byte for byte, whatever collations the two values bring.
	CompareCollateC Compare = "collate-c"
	// CompareImage compares the stored images: for types whose = is not identity (numeric
	// scale, float -0, jsonb scale, citext, intervals, geometry …) or that have none (json).
	CompareImage Compare = "image"
)

// present is true of the rows whose new value is not NULL.
func (n *Nulls) present() string {
	if len(n.Columns) == 0 {
		return "true"
	}
	list := make([]string, len(n.Columns))
	for i, name := range n.Columns {
		list[i] = "t." + Ident(name) + " IS NOT NULL"
	}
	return strings.Join(list, " AND ")
}

// differs is true of the rows that do not hold their new values. Where a column is filled for the
// first time it need only be known whether the new value is NULL, and where that can be told from the
// row, the expression is not evaluated once more for it.
func (c Change) differs(value func(int) string) string {
	return strings.Join(c.differences(func(i int) string { return "t." + Ident(c.Set[i].Name) }, value), "\n        OR ")
}

// differences says of each column whether its old value is another than the new one.
func (c Change) differences(held, value func(int) string) []string {
	parts := make([]string, len(c.Set))
	for i, s := range c.Set {
		parts[i] = s.difference(held(i), func() string { return value(i) })
		if s.Nulls != nil {
			parts[i] = fmt.Sprintf("CASE WHEN %s IS NULL THEN %s\n             ELSE %s END", held(i), s.Nulls.present(), parts[i])
		}
	}
	return parts
}

// difference is true where a value that the column holds is another than the one that it would hold after the new one is
// assigned, and where that cannot be assigned because it is too long.
//
// An explicit cast to varchar(5), char(5) or bit(5) cuts what is longer where an assignment refuses it, also by way of a
// domain, and would call a value that does not fit unchanged. So these are compared without their length. What char(5) pads
// is no part of a text, and what else may be different is seen by the column's own type.
func (s SetColumn) difference(held string, value func() string) string {
	cast := func(v, typ string) string { return fmt.Sprintf("CAST(%s AS %s)", v, typeName(typ)) }
	bare, array := strings.CutSuffix(s.Bare, "[]")
	switch {
	case cuts[bare] && s.Compare == CompareCollateC: // as text in any case
		return s.Compare.differ(held, cast(value(), s.Bare))
	case cuts[bare]:
		return s.Compare.differ(cast(held, s.Bare), cast(value(), s.Bare))
	case bare == padded:
		text := "pg_catalog.text"
		if array {
			text += "[]"
		}
		return s.Compare.differ(held, cast(value(), s.Type)) + "\n        OR " + CompareImage.differ(cast(held, text), cast(cast(value(), s.Bare), text))
	}
	return s.Compare.differ(held, cast(value(), s.Type))
}

// uncut is the type that a new value is shown as: the column's, or that without a length where a cast to it cuts.
func (s SetColumn) uncut() string {
	if bare, _ := strings.CutSuffix(s.Bare, "[]"); cuts[bare] || bare == padded {
		return s.Bare
	}
	return s.Type
}

// cuts are the types that a cast cuts to their length, as format_type has them without one; padded is the one that is
// also filled up.
var cuts = map[string]bool{"character varying": true, "bit varying": true, `"bit"`: true}

const padded = "bpchar"

// stored is a value, a column of a query, as a column of a type holds it, where it fits; else it is as it was. typ is as
// format_type has it, with a length or precision.
func stored(value, typ string) string {
	bare, _ := strings.CutSuffix(typ, "[]")
	name, _, sized := strings.Cut(bare, "(")
	brackets := typ[len(bare):]
	switch {
	case sized && (name == "character varying" || name == "bit varying"):
		return fmt.Sprintf("CAST(%s AS %s%s)", value, name, brackets)
	case sized && name == "bit":
		return fmt.Sprintf(`CAST(%s AS pg_catalog."bit"%s)`, value, brackets)
	case sized && name == "character":
		text := "pg_catalog.text" + brackets
		return fmt.Sprintf("CASE WHEN %s THEN %[2]s ELSE CAST(%[2]s AS %[3]s) END",
			CompareImage.differ(fmt.Sprintf("CAST(%s AS %s)", value, text), fmt.Sprintf("CAST(CAST(%s AS %s) AS %s)", value, typ, text)), value, typ)
	}
	return fmt.Sprintf("CAST(%s AS %s)", value, typeName(typ))
}

// differ is true of two values that are not the same, of one type.
func (c Compare) differ(a, b string) string {
	switch c {
	case CompareIdentity:
		return fmt.Sprintf("%s IS DISTINCT FROM %s", a, b)
	case CompareCollateC:
		// As text, since for other types the search_path may have an = of somebody's own.
		return fmt.Sprintf(`%s::pg_catalog.text COLLATE "pg_catalog"."C" IS DISTINCT FROM %s::pg_catalog.text COLLATE "pg_catalog"."C"`, a, b)
	}
	return fmt.Sprintf("ROW(%s)::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(%s)::pg_catalog.record", a, b)
}
