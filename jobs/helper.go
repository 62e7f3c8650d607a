package jobs

import (
	"errors"
	"reflect"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgparse"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// helperTables are the tables that are built once, in the order they were written.
type helperTables struct {
	value
	list []helper
}

type helper struct {
	name string
	helperParts
}

// helperName leaves room for what the engine puts before it in the table's name.
var helperName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

func (h *helperTables) read(r *reader, n *yaml.Node) {
	r.named(n, "helpers", "a mapping of names to queries, as in {dupes: {sql: SELECT …, key: [token]}}", func(key, val *yaml.Node) {
		one := helper{name: key.Value}
		if !helperName.MatchString(one.name) {
			r.refuse(placeOf(key), describe(key), "1 to 40 lower-case letters, digits and _, beginning with a letter", "")
			return
		}
		r.mapping(val, reflect.ValueOf(&one.helperParts).Elem(), "helpers."+one.name)
		h.list = append(h.list, one)
	})
}

// helpers checks the helpers, each with those before it.
func (r *reader) helpers(list []helper, a around) []backfill.Helper {
	var out []backfill.Helper
	a = a.at("`helpers`", "scope", "helper")
	a.helpers, a.later = nil, nil
	for _, h := range list {
		a.later = append(a.later, h.name)
	}
	for _, h := range list {
		if e := r.query(h.SQL, a); e != nil {
			out = append(out, backfill.Helper{Name: h.name, Query: *e, Key: h.Key.names})
		}
		a.helpers, a.later = append(a.helpers, h.name), a.later[1:]
	}
	return out
}

// query checks that a fragment is one query that only reads; nil where it was not given or is wrong.
func (r *reader) query(s queryText, a around) *backfill.Expr {
	end := 0
	e, p := r.parsed(s.sqlText, a, func(sql string) (facts pgparse.Facts, err error) {
		facts, end, err = pgparse.Query(sql)
		return facts, err
	})
	if e != nil {
		e.SQL = s.upTo(p, end)
	}
	return e
}

// template reads a table's name that is a template: the helper that is walked.
func (t *tableName) template(r *reader, n *yaml.Node, sql string) {
	const expected = "a table's name or {{helper x}} alone"
	whole := false
	_, err := pgsql.Expand(sql, func(d pgsql.Directive) (string, error) {
		whole = d.Name == "helper" && d.Offset == 0 && d.End == len(sql)
		t.helper = d
		return "", nil
	})
	var te *pgsql.TemplateError
	switch {
	case errors.As(err, &te):
		r.refuse(r.source.within(n, te.Offset), te.Found, te.Expected, "")
	case !whole:
		r.refuse(placeOf(n), describe(n), expected, "")
	default:
		return
	}
	t.helper = pgsql.Directive{}
}

// walkedHelper checks a job that walks a helper.
func (r *reader) walkedHelper(f file, a around) string {
	if f.Table.helper.Name == "" {
		return ""
	}
	r.helperName(placeOf(f.Table.node), f.Table.helper, a)
	for _, p := range []part{{"update", f.Update.node}, {"delete", f.Delete.node}} {
		if p.node != nil {
			r.refuse(placeOf(p.node), "`"+p.name+"` of a helper", "`steps` that change other tables by it", "a helper is built once, to be read")
		}
	}
	return f.Table.helper.Arg
}
