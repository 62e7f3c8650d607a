package jobs

import (
	"encoding/json"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// limit is what a signal is held against: a text, a number or a list. What it may be is package throttle's to say.
type limit struct {
	value
	text string
}

func (l *limit) read(r *reader, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		if n.Tag == "!!null" {
			r.refuse(placeOf(n), describe(n), "a limit", "leave it out for its default, or say off")
			return
		}
		l.text = n.Value
		return
	}
	var list any
	if err := n.Decode(&list); err != nil {
		r.refuse(placeOf(n), describe(n), "a limit", "")
		return
	}
	text, err := json.Marshal(list)
	if err != nil {
		r.refuse(placeOf(n), describe(n), "a limit", "")
	}
	l.text = string(text)
}

// limits are those that a file says, by the names under which `set` knows them.
func (r *reader) limits(f file) backfill.Limits {
	var limits backfill.Limits
	take := func(name string, l limit) {
		if !l.given() || l.text == "" {
			return
		}
		read, err := throttle.ParseLimits(map[string]string{name: l.text})
		if err != nil {
			r.refuse(placeOf(l.node), describe(l.node), expected(name), "")
			return
		}
		if limits == nil {
			limits = backfill.Limits{}
		}
		if text := read.Named()[name]; text != "" {
			limits[name] = text
		}
	}
	eachLimit(reflect.ValueOf(f.Throttle), "", take)
	take("window", f.Window)
	take("window_end", f.WindowEnd)
	if both, err := throttle.ParseLimits(limits); err != nil { // each is right by itself
		r.refuse(placeOf(f.Throttle.node), "limits that do not go together", "others", err.Error())
	} else if len(both.Windows) == 0 && f.WindowEnd.given() {
		r.refuse(placeOf(f.WindowEnd.node), "`window_end` without `window`", "both", "say when to work, as in `window: Mon-Fri 22:00-06:00 Europe/Berlin`")
	}
	return limits
}

func expected(name string) string {
	for _, n := range throttle.Names() {
		if n.Name == name {
			return n.Expected
		}
	}
	return "no such limit"
}

// eachLimit hands over the limits of a struct and of those in it, by their paths.
func eachLimit(v reflect.Value, prefix string, take func(name string, l limit)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			continue
		}
		name := strings.TrimPrefix(prefix+"."+tagName(f), ".")
		if l, ok := v.Field(i).Interface().(limit); ok {
			take(name, l)
			continue
		}
		eachLimit(v.Field(i), name, take)
	}
}
