package jobs

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgparse"
)

// script is SQL that is run once: the statements themselves, or {sql, transaction}.
type script struct {
	value
	scriptParts
}

func (s *script) read(r *reader, n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		r.mapping(n, reflect.ValueOf(&s.scriptParts).Elem(), "script")
		return
	}
	s.SQL.take(n)
	s.SQL.read(r, n)
}

// script checks statements that are run once; nil where there are none or they are wrong.
func (r *reader) script(s script, a around) *backfill.Script {
	if !s.given() || !s.SQL.given() || s.SQL.sql == "" {
		return nil
	}
	p, ok := r.plain(s.SQL.sqlText, a)
	if !ok {
		return nil
	}
	out := &backfill.Script{Alone: !s.Transaction.or(true)}
	list, err := pgparse.Script(p.sql, out.Alone)
	if r.parserError(s.SQL.sqlText, p, err) {
		return nil
	}
	for _, one := range list {
		from, _ := p.offset(one.Offset)
		end, _ := p.offset(one.End)
		e := backfill.Expr{
			SQL: s.SQL.sql[from:end], Subquery: one.Subquery, Functions: one.Functions, Columns: one.Columns, Line: s.SQL.at(r, from).line,
		}
		for _, stand := range p.stands {
			if stand.from < from || stand.from >= end {
				continue
			}
			name, isParam := strings.CutPrefix(stand.name, ":")
			switch {
			case !isParam:
				e.Templates = once(e.Templates, templateName(stand.name))
			case !one.Plain:
				r.refuse(s.SQL.at(r, stand.from), stand.name+" in a statement that takes no parameters", "SELECT, INSERT, UPDATE, DELETE, MERGE or CREATE TABLE AS",
					"PostgreSQL has values in these alone: write the value itself")
			default:
				e.Params = once(e.Params, name)
			}
		}
		out.Statements = append(out.Statements, e)
	}
	return out
}
