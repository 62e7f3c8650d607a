package configs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// ParseLimits reads limits as --set and `pgbackfill set` write them: "workers=4", "rate=5k",
// "chunk.target=50ms". rate=0 says that there is no limit and chunk.rows=0 that pgbackfill
// finds the size; both are [backfill.Off] in the pace. Everything else that is not mentioned
// is zero. All errors are returned at once; they are of kind [backfill.ErrInput].
func ParseLimits(list []string) (backfill.Pace, error) {
	l := newLayer()
	if err := sayLimits(l, list, "set"); err != nil {
		return backfill.Pace{}, err
	}
	v, _, err := merge(l)
	if err != nil {
		return backfill.Pace{}, err
	}
	if v.GetInt("workers") < 0 {
		return backfill.Pace{}, &backfill.Error{
			Place: "set workers", Found: "workers is 0, which lets a plan choose, and the run is planned",
			Expected: "a whole number from 1 to 1000", Kind: backfill.ErrInput,
		}
	}
	return paceOf(v, ""), nil
}

// LimitKeys are the keys that ParseLimits knows, for help and completion.
func LimitKeys() []string {
	var names []string
	for _, k := range keys {
		if k.pace {
			names = append(names, k.name)
		}
	}
	return names
}

// sayLimits takes limits into a layer; by is what said them: "--set".
func sayLimits(l layer, list []string, by string) error {
	var errs []error
	for _, limit := range list {
		name, text, found := strings.Cut(limit, "=")
		name = strings.TrimSpace(name)
		k, known := findKey(name)
		switch {
		case !found:
			errs = append(errs, &backfill.Error{
				Place: by, Found: fmt.Sprintf("%q has no value", limit),
				Expected: "key=value, as in rate=5000", Kind: backfill.ErrInput,
			})
		case !known || !k.pace:
			errs = append(errs, unknown(by, name, LimitKeys(), func(s string) string { return s + "=" + text }))
		default:
			errs = append(errs, l.say(k, text, by+" "+k.name))
		}
	}
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool { return err == nil })...)
}
