// Package pgsql builds the text of every SQL statement the engine sends. It holds no
// connection: it knows names, key ranges and statement shapes, and nothing of runs.
//
// Names are quoted, values are parameters in PostgreSQL's text form, and operators
// and types are schema-qualified, so no search_path and no setting of the session
// can change what a statement of the engine's means.
package pgsql

import (
	"strconv"
	"strings"
)

// Statement is one SQL statement and its parameters.
type Statement struct {
	// Name says what the statement is for: "boundary", "lock", "update", "ledger".
	Name string
	// SQL is the text, with $1, $2 … for the parameters.
	SQL string
	// Args are the parameters in PostgreSQL's text form; a nil slice is NULL.
	Args [][]byte
	// Described is set where the server is only to read the statement, and to say which columns it has.
	Described bool
}

// Text is a text parameter.
func Text(s string) []byte { return []byte(s) }

// Int is an integer parameter.
func Int[T ~int | ~int32 | ~int64](n T) []byte { return strconv.AppendInt(nil, int64(n), 10) }

// TextArray is a text[] parameter; a nil slice is NULL.
func TextArray(ss []string) []byte {
	if ss == nil {
		return nil
	}
	var b strings.Builder
	b.WriteByte('{')
	for i, s := range ss {
		if i > 0 {
			b.WriteByte(',')
		}
		writeElement(&b, s)
	}
	b.WriteByte('}')
	return []byte(b.String())
}

// NullableTextArray is a text[] parameter whose elements may be NULL, which nil is.
func NullableTextArray(ss []*string) []byte {
	var b strings.Builder
	b.WriteByte('{')
	for i, s := range ss {
		if i > 0 {
			b.WriteByte(',')
		}
		if s == nil {
			b.WriteString("NULL")
			continue
		}
		writeElement(&b, *s)
	}
	b.WriteByte('}')
	return []byte(b.String())
}

// writeElement writes an element of an array in quotes.
func writeElement(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, c := range []byte(s) {
		if c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
}

// Ident quotes a name, always: what needs no quotes today may be a keyword tomorrow.
func Ident(parts ...string) string {
	quoted := make([]string, len(parts))
	for i, p := range parts {
		quoted[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
	}
	return strings.Join(quoted, ".")
}

// Literal quotes a string as an SQL literal. It is for DDL and messages; values in
// statements are parameters.
func Literal(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}
