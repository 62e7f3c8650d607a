package configs

import (
	"fmt"
	"strings"

	"github.com/spf13/viper"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// layer is what one place says: typed values by key, and where exactly each stands.
type layer struct {
	values map[string]any
	origin map[string]string
}

func newLayer() layer { return layer{values: map[string]any{}, origin: map[string]string{}} }

// say takes in a value as text.
func (l layer) say(k key, text, origin string) error {
	value, err := k.kind.parse(strings.TrimSpace(text))
	if err != nil {
		return complaint(k, text, origin)
	}
	if before, twice := l.origin[k.name]; twice {
		return &backfill.Error{
			Place: origin, Found: fmt.Sprintf("%s is said twice, here and by %s", k.name, before),
			Remedy: "say it once", Kind: backfill.ErrInput,
		}
	}
	l.origin[k.name] = origin
	if value != nil {
		l.values[k.name] = value
	}
	return nil
}

// complaint is the error of a value that its key cannot have.
func complaint(k key, text, origin string) error {
	found := fmt.Sprintf("%s is %q", k.name, text)
	if k.kind.secret {
		found = k.name + " has a value that cannot be read"
	}
	return &backfill.Error{Place: origin, Found: found, Expected: k.kind.expected, Kind: backfill.ErrInput}
}

// unknown is the error of a name that is no key; form writes the right name as the place would.
func unknown(origin, name string, candidates []string, form func(string) string) error {
	e := &backfill.Error{Place: origin, Found: fmt.Sprintf("unknown key %q", name), Kind: backfill.ErrInput}
	switch near := nearest(name, candidates); {
	case near != "":
		e.Remedy = "did you mean " + form(near) + "?"
	default:
		e.Remedy = "the keys are " + strings.Join(candidates, ", ")
	}
	return e
}

// merge lays places over one another, the first one on top.
func merge(layers ...layer) (*viper.Viper, map[string]string, error) {
	v, origin := viper.New(), map[string]string{}
	for i := len(layers) - 1; i >= 0; i-- {
		for name, value := range layers[i].values {
			if err := v.MergeConfigMap(nested(strings.Split(name, "."), value)); err != nil {
				return nil, nil, fmt.Errorf("merging %s: %w", name, err)
			}
			origin[name] = layers[i].origin[name]
		}
	}
	return v, origin, nil
}

func nested(path []string, value any) map[string]any {
	if len(path) == 1 {
		return map[string]any{path[0]: value}
	}
	return map[string]any{path[0]: nested(path[1:], value)}
}

// paceOf reads the pace under a prefix: "" or "ceilings.". What is not said stays zero.
func paceOf(v *viper.Viper, prefix string) backfill.Pace {
	return backfill.Pace{
		Workers:           max(v.GetInt(prefix+"workers"), 0), // chosen is as good as not said
		Rate:              v.GetFloat64(prefix + "rate"),
		ChunkRows:         v.GetInt(prefix + "chunk.rows"),
		ChunkTarget:       v.GetDuration(prefix + "chunk.target"),
		ChunkMaxRows:      v.GetInt(prefix + "chunk.max_rows"),
		LockTimeout:       v.GetDuration(prefix + "timeouts.lock"),
		StatementTimeout:  v.GetDuration(prefix + "timeouts.statement"),
		TransformTimeout:  v.GetDuration(prefix + "timeouts.transform"),
		IdleTimeout:       v.GetDuration(prefix + "timeouts.idle"),
		ConnectTimeout:    v.GetDuration(prefix + "timeouts.connect"),
		SynchronousCommit: v.GetString(prefix + "synchronous_commit"),
		MaxQuarantined:    v.GetInt(prefix + "max_quarantined"),
		Limits:            limitsOf(v),
	}
}
