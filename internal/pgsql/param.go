package pgsql

import "fmt"

// Read asks the server to read a parameter's value as its type. It answers with one row: the value in the form in
// which the server itself writes it, which means the same tomorrow where "now" does not.
func (p Param) Read() Statement {
	b := &Binder{}
	return Statement{Name: "parameter " + p.Name, SQL: fmt.Sprintf("SELECT (%s)::pg_catalog.text", p.bind(b)), Args: b.Args()}
}

// Evaluate asks for the value of an expression that may speak of the parameters before it. It answers with a row for
// each value that the expression has: its text form, whether it is NULL, and its type. typ is the type that it is
// given; with "" it keeps its own.
func Evaluate(name, expr, typ string, before []Param) (Statement, error) {
	f := Scope{Params: before}.filling(Part{})
	// White space ends a comment that the expression ends with.
	value := "(" + f.plain(expr) + "\n)"
	if typ != "" {
		value += "::" + typ
	}
	sql := fmt.Sprintf("SELECT v::pg_catalog.text, v::pg_catalog.text IS NULL, pg_catalog.format_type(pg_catalog.pg_typeof(v)::pg_catalog.oid, NULL)\nFROM (SELECT %s AS v) AS p", value)
	return Statement{Name: "parameter " + name, SQL: sql, Args: f.b.Args()}, f.err
}

// plain is fill for SQL that is about no chunk.
func (f *filling) plain(sql string) string {
	_, err := Expand(sql, func(d Directive) (string, error) {
		return "", fmt.Errorf("%s: it is about no chunk", d)
	})
	if err != nil {
		f.err = err
		return sql
	}
	return f.fill(sql)
}

// Names are the parameters that a fragment speaks of, in order, each as often as it does.
func Names(sql string) []string {
	var list []string
	_, _ = ExpandAll(sql, // what cannot be read is for whoever fills it in to say
		func(Directive) (string, error) { return "", nil },
		func(name string, _ int) (string, bool) {
			list = append(list, name)
			return "", false
		})
	return list
}

// All asks for every row in scope. It is for asking the server how many there may be, not for reading them.
func (s Scope) All() (Statement, error) {
	f := s.filling(Part{})
	sql := "SELECT FROM " + s.Table + " AS t"
	if s.Where != "" {
		sql += " WHERE " + f.where()
	}
	return Statement{Name: "estimate", SQL: sql, Args: f.b.Args()}, f.err
}
