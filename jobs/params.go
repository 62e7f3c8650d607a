package jobs

import (
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// params are the named constants, in the order they were written.
type params struct {
	value
	list []param
}

type param struct {
	key  *yaml.Node
	name string
	paramParts
}

var (
	paramName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)
	envName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (p *params) read(r *reader, n *yaml.Node) {
	r.named(n, "params", "a mapping of names to constants, as in {cutoff: 2024-01-01, batch: {value: 5, type: int4}}", func(key, val *yaml.Node) {
		one := param{key: key, name: key.Value}
		if !paramName.MatchString(one.name) {
			r.refuse(placeOf(key), describe(key), "a name of 1 to 63 letters, digits and _, which SQL can speak of as :name", "")
			return
		}
		one.take(val)
		if val.Kind == yaml.MappingNode {
			r.mapping(val, reflect.ValueOf(&one.paramParts).Elem(), "params."+one.name)
			r.oneOf(val, "a parameter", []part{{"value", one.Value.node}, {"sql", one.SQL.node}, {"env", one.Env.node}}, "say what its value is, as in {value: 5, type: int4}")
		} else {
			one.Value.take(val)
			one.Value.read(r, val)
		}
		p.list = append(p.list, one)
	})
}

// named calls each for every field of a mapping whose names the user chooses.
func (r *reader) named(n *yaml.Node, where, expected string, each func(key, val *yaml.Node)) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		found := describe(n)
		if n.Kind == yaml.MappingNode {
			found = "an empty mapping"
		}
		r.refuse(placeOf(n), found, expected, "leave `"+where+"` out where there is none")
		return
	}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if _, ok := r.fieldName(n.Content[i], seen, where); ok {
			each(n.Content[i], n.Content[i+1])
		}
	}
}

// constant is a YAML scalar as a value: its text form, nil for NULL, and the SQL type that YAML's gives it.
type constant struct {
	value
	text *string
	typ  string
}

func (c *constant) read(r *reader, n *yaml.Node) {
	switch {
	case n.Kind != yaml.ScalarNode:
		r.refuse(placeOf(n), describe(n), "a text, number, true, false, null or time", `other values are written as text, with their type: {value: "{1,2}", type: "int4[]"}`)
		return
	case n.Tag == "!!null" && n.Value == "":
		r.refuse(placeOf(n), "nothing", "a value", "write null for NULL, and '' for a text that is empty")
		return
	case strings.ContainsRune(n.Value, 0):
		r.refuse(placeOf(n), "a NUL character", "a text that PostgreSQL can hold", "")
		return
	}
	switch n.Tag {
	case "!!null":
		c.typ = "text"
		return
	case "!!str":
		c.set(n.Value, "text")
		return
	case "!!timestamp":
		var at time.Time
		if n.Decode(&at) == nil {
			c.set(at.UTC().Format("2006-01-02 15:04:05.999999999+00"), "timestamptz")
			return
		}
	}
	text, ok := literal(n)
	if !ok {
		r.refuse(placeOf(n), describe(n), "a number in decimal", fmt.Sprintf("write it as text, with its type: {value: %q, type: float8}", strings.TrimPrefix(n.Value, ".")))
		return
	}
	switch n.Tag {
	case "!!bool":
		c.set(text, "boolean")
	case "!!int":
		if v, ok := new(big.Int).SetString(text, 10); ok && v.IsInt64() {
			c.set(text, "bigint")
			return
		}
		fallthrough
	default:
		c.set(text, "numeric")
	}
}

func (c *constant) set(text, typ string) { c.text, c.typ = &text, typ }

// params checks the parameters, each with those before it.
func (r *reader) params(list []param, a around) []backfill.Param {
	var out []backfill.Param
	a = a.at("`params`")
	a.params, a.later = nil, nil
	for _, p := range list {
		a.later = append(a.later, p.name)
	}
	for _, p := range list {
		one := backfill.Param{Name: p.name, Type: p.Type.sql, Value: p.Value.text, Env: p.Env.text, Line: p.key.Line}
		switch {
		case p.SQL.given():
			one.SQL = r.expression(p.SQL, a)
		case p.Env.given():
			if one.Type == "" {
				one.Type = "text"
			}
		case p.Value.given() && p.Type.given():
			if p.Value.node.Tag == "!!timestamp" { // as it was written: the type says what it means
				one.Value = &p.Value.node.Value
			}
		default:
			one.Type = p.Value.typ
		}
		if p.Env.given() && p.Env.node.Tag == "!!str" && !envName.MatchString(p.Env.text) {
			r.refuse(placeOf(p.Env.node), describe(p.Env.node), "the name of an environment variable, such as API_KEY", "")
		}
		out = append(out, one)
		a.params, a.later = append(a.params, p.name), a.later[1:]
	}
	return out
}
