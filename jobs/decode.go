package jobs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
)

// value is where something was written; node is nil where it was not.
type value struct{ node *yaml.Node }

func (v value) given() bool { return v.node != nil }

func (v *value) take(n *yaml.Node) { v.node = n }

// field is a leaf of the job file: it reads itself from a node, or says what is wrong.
type field interface {
	take(n *yaml.Node)
	read(r *reader, n *yaml.Node)
}

// mapping decodes a YAML mapping into a struct of fields and structs, by their JSON
// names. where is the path to it, "" for the job itself.
func (r *reader) mapping(n *yaml.Node, into reflect.Value, where string) {
	if n.Kind != yaml.MappingNode {
		r.refuse(placeOf(n), describe(n), "a mapping with "+orList(r.fields(into.Type())), "")
		return
	}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		name, ok := r.fieldName(key, seen, where)
		if !ok {
			continue
		}
		target, ok := fieldByName(into, name)
		if !ok {
			r.unknown(key, name, into.Type(), where)
			continue
		}
		if where == "" {
			r.later(key, name)
		}
		if leaf, ok := target.Addr().Interface().(field); ok {
			leaf.take(val)
			leaf.read(r, val)
			continue
		}
		if group, ok := target.Addr().Interface().(interface{ take(n *yaml.Node) }); ok {
			group.take(val)
		}
		r.mapping(val, target, strings.TrimPrefix(where+"."+name, "."))
	}
	for _, name := range requiredNames(into.Type()) {
		if seen[name] == nil {
			r.refuse(placeOf(n), "no `"+strings.TrimPrefix(where+"."+name, ".")+"`", "one", missingRemedy[name])
		}
	}
}

var missingRemedy = map[string]string{
	"name":  "give the job a name, as in `name: users-display-name`",
	"table": "say which table is walked, as in `table: public.users`",
	"sql":   "say it as SQL, as in `sql: SELECT …`",
	"by":    "say who writes both, as in `by: application`",
	"drops": "say what the contract migration drops, as in `drops: [users.full_name]`",
	"set":   "say which columns get which values, as in `set: {display_name: initcap(t.full_name)}`",
}

// fieldName is the name of a field, which must be text and there once.
func (r *reader) fieldName(key *yaml.Node, seen map[string]*yaml.Node, where string) (string, bool) {
	if key.Kind != yaml.ScalarNode || key.Tag != "!!str" {
		remedy := ""
		if key.Kind == yaml.ScalarNode && where == "update.set" {
			remedy = "if that is the column's name, write it in quotes"
		}
		r.refuse(placeOf(key), describe(key)+" for a name", "a field's name", remedy)
		return "", false
	}
	if first := seen[key.Value]; first != nil {
		r.refuse(placeOf(key), fmt.Sprintf("`%s` again", key.Value), "each field once",
			fmt.Sprintf("it is in line %d already: remove one of the two", first.Line))
		return "", false
	}
	seen[key.Value] = key
	return key.Value, true
}

// later refuses a field that this version does not carry out, and reports whether it is one.
func (r *reader) later(key *yaml.Node, name string) bool {
	if !slices.Contains(notYet, name) || r.everything && fieldOfFile(name) {
		return false
	}
	r.refuse(placeOf(key), "`"+name+"`: not supported yet", "a field of this version", "a later version will understand it; until then take it out")
	return true
}

func fieldOfFile(name string) bool {
	return slices.Contains(fieldNames(reflect.TypeFor[file]()), name)
}

// unknown refuses a field that is not one, or not yet.
func (r *reader) unknown(key *yaml.Node, name string, t reflect.Type, where string) {
	shown := strings.TrimPrefix(where+"."+name, ".")
	known := r.fields(t)
	if where == "" {
		if r.later(key, name) {
			return
		}
		known = append(known, notYet...)
	}
	remedy := ""
	if parent := elsewhere[name]; parent != "" && parent != where {
		remedy = fmt.Sprintf("`%s` goes under `%s`", name, parent)
	} else if near := catalog.Similar(name, known); len(near) > 0 {
		remedy = fmt.Sprintf("did you mean `%s`?", near[0])
	}
	r.refuse(placeOf(key), "the unknown field `"+shown+"`", "one of "+orList(r.fields(t)), remedy)
}

// fields are the names of a struct's fields, without those of the job that this version does not carry out.
func (r *reader) fields(t reflect.Type) []string {
	return slices.DeleteFunc(fieldNames(t), func(name string) bool {
		return t == reflect.TypeFor[file]() && !r.everything && slices.Contains(notYet, name)
	})
}

func fieldByName(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if f := v.Type().Field(i); !f.Anonymous && tagName(f) == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if f := t.Field(i); !f.Anonymous {
			names = append(names, tagName(f))
		}
	}
	return names
}

// requiredNames are the fields whose tag does not say that they may be left out.
func requiredNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if f := t.Field(i); !f.Anonymous && !strings.HasSuffix(f.Tag.Get("json"), ",omitempty") {
			names = append(names, tagName(f))
		}
	}
	return names
}

func tagName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// orList is "a, b or c".
func orList(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}
