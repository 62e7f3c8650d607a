package configs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// limitKeys are the limits of the throttle's signals, and the operator's ceilings of them. What their names and values are
// is package throttle's to say.
func limitKeys() []key {
	var list []key
	for _, n := range throttle.Names() {
		of := func(none any) kind {
			return kind{
				expected: n.Expected,
				json:     n.List,
				parse: func(text string) (any, error) {
					l, err := throttle.ParseLimits(map[string]string{n.Name: text})
					if err != nil {
						return nil, errValue
					}
					if canonical := l.Named()[n.Name]; canonical != "" {
						return canonical, nil
					}
					return none, nil
				},
			}
		}
		// An empty list takes away what another place says; as a ceiling it says nothing.
		list = append(list, key{name: n.Name, kind: of("off"), pace: true}, key{name: ceilingPrefix + n.Name, kind: of(nil)})
	}
	return list
}

// asJSON is the value of a node as the limits have it: a text as it is, anything else as JSON.
func asJSON(n *yaml.Node) (string, error) {
	if n.Kind == yaml.ScalarNode {
		return n.Value, nil
	}
	var value any
	if err := n.Decode(&value); err != nil {
		return "", err
	}
	text, err := json.Marshal(value)
	return string(text), err
}

// limitsOf reads the limits that are said; nil is none.
func limitsOf(v *viper.Viper) backfill.Limits {
	var limits backfill.Limits
	for _, n := range throttle.Names() {
		if text := v.GetString(n.Name); text != "" {
			if limits == nil {
				limits = backfill.Limits{}
			}
			limits[n.Name] = text
		}
	}
	return limits
}

// limitCeilings are what each place says that limits may not exceed.
func limitCeilings(places []layer) []throttle.Limits {
	var list []throttle.Limits
	for _, place := range places {
		named := map[string]string{}
		for _, n := range throttle.Names() {
			if text, ok := place.values[ceilingPrefix+n.Name].(string); ok {
				named[n.Name] = text
			}
		}
		if most, err := throttle.ParseLimits(named); err == nil && len(named) > 0 { // each was read before
			list = append(list, most)
		}
	}
	return list
}

// clampLimits holds limits against all ceilings, and notes of those that were said what is lowered. Limits that cannot be
// read stay what they are: whoever uses them refuses them.
func (c ceilings) clampLimits(said backfill.Limits) (backfill.Limits, []string) {
	if len(c.limits) == 0 {
		return said, nil
	}
	l, err := throttle.ParseLimits(said)
	if err != nil {
		return said, nil
	}
	var notes []string
	for _, most := range c.limits {
		var more []string
		l, more = l.Clamp(most)
		notes = append(notes, more...)
	}
	notes = slices.DeleteFunc(notes, func(note string) bool {
		name, _, _ := strings.Cut(note, ":")
		_, asked := said[name]
		return !asked
	})
	held := l.Named()
	for _, n := range throttle.Names() {
		if n.List && said[n.Name] == "off" && held[n.Name] != "" {
			notes = append(notes, fmt.Sprintf("%s: off asked for, and the operator's holds in any case: using %s", n.Name, held[n.Name]))
		}
	}
	return held, notes
}
