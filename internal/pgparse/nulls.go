package pgparse

import (
	"slices"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// Nulls says when an expression over a row is NULL: exactly where one of Columns is, and
// never where there are none.
type Nulls struct {
	// Columns are columns of t, each once, in the order of the text.
	Columns []string
	// Functions, Operators and Types are the names by which the expression calls PostgreSQL's
	// own; it is only true where they mean these, and not something of the user's of that name.
	Functions, Operators, Types []string
	// Calls is how many functions, operators and casts are evaluated for a row.
	Calls int
}

// NullsOf proves when the expression sql, cast to the type as, is NULL. ok is false where it
// cannot be proved, which says nothing about the expression.
//
// Types go by their names in pg_type: "int4", "varchar". column gives that of a column of t,
// as it is in the table, and "" for what is none, is not built in, or is a domain.
//
// The proof holds for the value and for the errors: where one of Columns is NULL, evaluating
// the expression does not fail either.
func NullsOf(sql, as string, column func(name string) string) (n Nulls, ok bool) {
	f := &fragment{sql: sql, expected: "exactly one SQL expression"}
	value, e := f.expression()
	if e != nil {
		return Nulls{}, false
	}
	p := &prover{column: column}
	part, ok := p.part(value)
	if ok {
		part, ok = p.cast(part, as)
	}
	p.Columns = part.columns
	return p.Nulls, ok
}

// prover goes through a tree and notes what its proof rests on.
type prover struct {
	Nulls
	column func(string) string
}

// part is what is known of a part of an expression.
type part struct {
	// typ is its type, or unknown.
	typ string
	// columns are those of which one is NULL exactly where the part is.
	columns []string
	// fails is set where its value may be an error that depends on the row.
	fails bool
	// texts are the columns whose collations it may have: several may have none together.
	texts []string
}

// of adds what is known of the arguments of a part, whatever it is.
func (o *part) of(args []part) {
	for _, a := range args {
		o.fails = o.fails || a.fails
		for _, name := range a.texts {
			if isText(o.typ) {
				o.texts = note(o.texts, name)
			}
		}
	}
}

// unknown is the type of a bare string constant.
const unknown = "unknown"

// part is false for what nothing is known of.
func (p *prover) part(n *pg_query.Node) (part, bool) {
	switch {
	case n.GetColumnRef() != nil:
		return p.columnRef(n.GetColumnRef())
	case n.GetAConst() != nil:
		return constant(n.GetAConst())
	case n.GetTypeCast() != nil:
		return p.typeCast(n.GetTypeCast())
	case n.GetCollateClause() != nil:
		inner, ok := p.part(n.GetCollateClause().GetArg())
		inner.texts = nil
		return inner, ok && isText(inner.typ)
	case n.GetFuncCall() != nil:
		return p.call(n.GetFuncCall())
	case n.GetAExpr() != nil:
		return p.operation(n.GetAExpr())
	case n.GetCoalesceExpr() != nil:
		return p.coalesce(n.GetCoalesceExpr())
	}
	return part{}, false
}

func (p *prover) columnRef(c *pg_query.ColumnRef) (part, bool) {
	fields := c.GetFields()
	if len(fields) == 2 && fields[0].GetString_().GetSval() == "t" {
		fields = fields[1:]
	}
	if len(fields) != 1 || fields[0].GetString_() == nil {
		return part{}, false
	}
	name := fields[0].GetString_().GetSval()
	typ := p.column(name)
	out := part{typ: typ, columns: []string{name}}
	if isText(typ) {
		out.texts = out.columns
	}
	return out, known[typ]
}

func constant(c *pg_query.A_Const) (part, bool) {
	switch {
	case c.GetIsnull():
	case c.GetSval() != nil:
		return part{typ: unknown}, true
	case c.GetIval() != nil:
		return part{typ: "int4"}, true
	case c.GetBoolval() != nil:
		return part{typ: "bool"}, true
	case c.GetFval() != nil: // an int8 where it is whole and fits, else a numeric
		return part{typ: "numeric"}, !isWhole(c.GetFval().GetFval())
	}
	return part{}, false
}

func isWhole(digits string) bool {
	return !slices.ContainsFunc([]rune(digits), func(r rune) bool { return r < '0' || r > '9' })
}

// strict is what a strict function or operator that never makes a NULL gives. Where one of its
// columns is NULL it is not called, but the arguments are evaluated that do not have this column:
// so those that can fail must have them all.
func strict(typ string, fails bool, args ...part) (part, bool) {
	out := part{typ: typ, fails: fails}
	for _, a := range args {
		for _, c := range a.columns {
			if !slices.Contains(out.columns, c) {
				out.columns = append(out.columns, c)
			}
		}
	}
	out.of(args)
	for _, a := range args {
		if a.fails && len(a.columns) < len(out.columns) {
			return part{}, false
		}
	}
	return out, true
}

// never is what is not NULL even where its arguments are.
func never(typ string, args ...part) (part, bool) {
	out := part{typ: typ}
	out.of(args)
	return out, true
}

func (p *prover) typeCast(c *pg_query.TypeCast) (part, bool) {
	t := c.GetTypeName()
	names := t.GetNames()
	if t.GetSetof() || t.GetPctType() || len(t.GetArrayBounds()) > 0 || len(names) == 0 || !builtIn(names) {
		return part{}, false
	}
	arg, ok := p.part(c.GetArg())
	if !ok {
		return part{}, false
	}
	if len(names) == 1 {
		p.Types = note(p.Types, lastName(names))
	}
	return p.cast(arg, lastName(names))
}

func (p *prover) cast(arg part, to string) (part, bool) {
	keeps, fails := castKeepsNulls(arg.typ, to)
	if !keeps {
		return part{}, false
	}
	if arg.typ != to && arg.typ != unknown {
		p.Calls++
	}
	return strict(to, fails, arg)
}

// builtIn reports whether a name is unqualified or PostgreSQL's own.
func builtIn(names []*pg_query.Node) bool {
	return len(names) == 1 || len(names) == 2 && names[0].GetString_().GetSval() == "pg_catalog"
}

func note(list []string, name string) []string {
	if slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

func (p *prover) call(c *pg_query.FuncCall) (part, bool) {
	plain := !c.GetAggStar() && !c.GetAggDistinct() && !c.GetAggWithinGroup() && !c.GetFuncVariadic() &&
		c.GetAggFilter() == nil && len(c.GetAggOrder()) == 0 && c.GetOver() == nil
	if !plain || !builtIn(c.GetFuncname()) {
		return part{}, false
	}
	args, ok := p.parts(c.GetArgs())
	if !ok {
		return part{}, false
	}
	name := lastName(c.GetFuncname())
	p.Functions = note(p.Functions, name)
	p.Calls++
	switch {
	case name == "concat" && len(args) > 0:
		return never("text", args...)
	case name == "concat_ws" && len(args) > 1: // NULL where the separator is
		out, _ := never("text", args...)
		return out, args[0].typ == unknown
	}
	for _, s := range strictFunctions[name] {
		if s.takes(args) {
			return strict(s.result, s.fails || collated[name] && len(args[0].texts) > 1, args...)
		}
	}
	return part{}, false
}

func (p *prover) parts(nodes []*pg_query.Node) ([]part, bool) {
	list := make([]part, len(nodes))
	for i, n := range nodes {
		var ok bool
		if list[i], ok = p.part(n); !ok {
			return nil, false
		}
	}
	return list, true
}

func (p *prover) operation(e *pg_query.A_Expr) (part, bool) {
	if e.GetKind() != pg_query.A_Expr_Kind_AEXPR_OP || e.GetLexpr() == nil || !builtIn(e.GetName()) {
		return part{}, false
	}
	args, ok := p.parts([]*pg_query.Node{e.GetLexpr(), e.GetRexpr()})
	if !ok {
		return part{}, false
	}
	name, l, r := lastName(e.GetName()), args[0].typ, args[1].typ
	p.Operators = note(p.Operators, name)
	p.Calls++
	switch name {
	case "||":
		texts := isText(l) && (isText(r) || r == unknown) || l == unknown && isText(r)
		if !texts {
			return part{}, false
		}
		return strict("text", false, args...)
	case "+", "-", "*", "/":
		if widest(l) == 0 || widest(r) == 0 {
			return part{}, false
		}
		return strict(sum(l, r), true, args...)
	}
	return part{}, false
}

// coalesce is known only where one of its arguments is never NULL, and all are of one type, or
// all texts.
func (p *prover) coalesce(c *pg_query.CoalesceExpr) (part, bool) {
	args, ok := p.parts(c.GetArgs())
	if !ok || len(args) == 0 {
		return part{}, false
	}
	p.Calls++
	typ, filled := args[0].typ, false
	for _, a := range args {
		switch {
		case a.typ == typ || a.typ == unknown && isText(typ):
		case isText(a.typ) && isText(typ):
			typ = "text"
		default:
			return part{}, false
		}
		filled = filled || len(a.columns) == 0
	}
	if !filled {
		return part{}, false
	}
	return never(typ, args...)
}
