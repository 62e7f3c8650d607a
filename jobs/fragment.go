package jobs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgparse"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// plain is a fragment as PostgreSQL's parser takes it: something of the same kind stands for each template and
// parameter.
type plain struct {
	sql       string
	stands    []stand
	templates []string
	params    []string
}

// stand is what stands for what: size bytes at an offset of the plain text for [from, to) of the fragment.
type stand struct {
	at, size, from, to int
	// name is what was written; kind is what belongs in its place.
	name, kind string
}

// What stands for a parameter, in parentheses as its value will be.
const standParam = "(NULL)"

// put adds a stand-in and returns it.
func (p *plain) put(text string, from, to int, name, kind string) string {
	at := from
	for _, s := range p.stands {
		at += s.size - (s.to - s.from)
	}
	p.stands = append(p.stands, stand{at, len(text), from, to, name, kind})
	return text
}

// offset is where in the fragment an offset of the plain text is, with what stands there; nil where nothing does.
func (p *plain) offset(at int) (int, *stand) {
	shift := 0
	for i := range p.stands {
		s := &p.stands[i]
		if at < s.at {
			break
		}
		if at < s.at+s.size {
			return s.from, s
		}
		shift = s.to - (s.at + s.size)
	}
	return at + shift, nil
}

// plain replaces the templates and parameters of a fragment and refuses those that cannot be meant; false where it did.
func (r *reader) plain(s sqlText, a around) (*plain, bool) {
	p, before := &plain{}, len(r.errors)
	var err error
	p.sql, err = pgsql.ExpandAll(s.sql, func(d pgsql.Directive) (string, error) {
		r.directive(s.at(r, d.Offset), d, a)
		p.templates = once(p.templates, templateName(d.String()))
		text, kind := standIn(d)
		return p.put(text, d.Offset, d.End, d.String(), kind), nil
	}, func(name string, offset int) (string, bool) {
		r.param(s, a, name, offset)
		p.params = once(p.params, name)
		return p.put(standParam, offset, offset+1+len(name), ":"+name, "a value"), true
	})
	var te *pgsql.TemplateError
	if errors.As(err, &te) {
		r.refuse(s.at(r, te.Offset), te.Found, te.Expected, "")
	}
	return p, len(r.errors) == before
}

// templateName is what a template is known by: the directive without braces, with single white space.
func templateName(directive string) string {
	return strings.Join(strings.Fields(strings.Trim(directive, "{}")), " ")
}

// once is list with s in it once.
func once(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// param checks one parameter.
func (r *reader) param(s sqlText, a around, name string, offset int) {
	known := slices.Contains(a.params, name)
	switch {
	case offset > 0 && touches(s.sql[offset-1]):
		r.refuse(s.at(r, offset), fmt.Sprintf(":%s directly behind %q", name, s.sql[offset-1:offset]), "white space before it", "")
	case slices.Contains(a.later, name):
		r.refuse(s.at(r, offset), "the parameter :"+name+", which is declared later", "a parameter above this one", "parameters are evaluated in the order in which they are written")
	case !known:
		remedy := "declare it, as in `params: {" + name + ": 5}`; a colon that means something else has a space behind it"
		if near := catalog.Similar(name, a.params); len(near) > 0 {
			remedy = "did you mean :" + near[0] + "?"
		}
		r.refuse(s.at(r, offset), "the parameter :"+name+", which `params` does not declare", "a parameter of the job", remedy)
	}
}

// touches reports whether what follows c directly would be taken for a part of it.
func touches(c byte) bool {
	return c == '_' || c == '$' || c == '\'' || c == '"' || c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// expression checks that a fragment is one expression; nil where it was not given or is wrong.
func (r *reader) expression(s sqlText, a around) *backfill.Expr {
	return r.parse(s, a, pgparse.Expression)
}

// parse checks a fragment and says what the parser saw in it; nil where it was not given or is wrong.
func (r *reader) parse(s sqlText, a around, parse func(string) (pgparse.Facts, error)) *backfill.Expr {
	e, _ := r.parsed(s, a, parse)
	return e
}

// parsed is parse, with what the parser was given.
func (r *reader) parsed(s sqlText, a around, parse func(string) (pgparse.Facts, error)) (*backfill.Expr, *plain) {
	if !s.given() || s.sql == "" {
		return nil, nil
	}
	p, ok := r.plain(s, a)
	if !ok {
		return nil, nil
	}
	facts, err := parse(p.sql)
	if r.parserError(s, p, err) {
		return nil, nil
	}
	return r.expr(s, p, facts), p
}

// expr is a fragment with what the parser saw in it.
func (r *reader) expr(s sqlText, p *plain, facts pgparse.Facts) *backfill.Expr {
	return &backfill.Expr{
		SQL: s.sql, Subquery: facts.Subquery, Functions: facts.Functions, Columns: facts.Columns,
		Templates: p.templates, Params: p.params, Line: s.at(r, 0).line,
	}
}

// parserError reports what the parser refuses, at its place in the file; false where it refuses nothing.
func (r *reader) parserError(s sqlText, p *plain, err error) bool {
	var e *pgparse.Error
	if !errors.As(err, &e) {
		return false
	}
	offset, stand := p.offset(e.Offset)
	if stand != nil && strings.HasPrefix(e.Found, "syntax error") {
		r.refuse(s.at(r, offset), stand.name+" where it cannot stand", "it where "+stand.kind+" may", "")
		return true
	}
	r.refuse(s.at(r, offset), e.Found, e.Expected, e.Remedy)
	return true
}
