package pgsql

import (
	"fmt"
	"strings"
)

// Binder numbers the parameters of one statement, in the order in which its text first speaks of them: a
// parameter that a statement never speaks of has no type, and the server refuses it. The zero value is ready.
type Binder struct {
	args  [][]byte
	known map[string]string
	// literal is set where values are written into the text instead.
	literal bool
}

// Bind returns how the statement says the parameter of that name: "$3". The first call gives it its value,
// in PostgreSQL's text form; nil is NULL.
func (b *Binder) Bind(name string, value []byte) string {
	if b.literal {
		return strings.TrimSpace(Literal(string(value)))
	}
	if p, ok := b.known[name]; ok {
		return p
	}
	if b.known == nil {
		b.known = map[string]string{}
	}
	b.args = append(b.args, value)
	p := fmt.Sprintf("$%d", len(b.args))
	b.known[name] = p
	return p
}

// Args are the values, in the order of their numbers.
func (b *Binder) Args() [][]byte { return b.args }

// Param is a named constant of a job's, as its SQL speaks of it: :name.
type Param struct {
	Name string
	// Type is the SQL type that the value is given: "text", "numeric(8,2)".
	Type string
	// Value is its text form; nil is NULL.
	Value []byte
}

// bind is in parentheses, for what follows could belong to the type: x::int4[] and [1], x::interval and second.
func (p Param) bind(b *Binder) string {
	return "(" + b.Bind(":"+p.Name, p.Value) + "::" + typeName(p.Type) + ")"
}
