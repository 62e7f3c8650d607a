package configs

import (
	"slices"
	"strings"
)

// key is one thing that can be configured.
type key struct {
	// name is its path in the file: "chunk.target".
	name string
	kind kind
	// pace marks what --set, `set` and job files may say.
	pace bool
}

// keys is every key there is. default.yaml documents each.
var keys = slices.Concat([]key{
	{name: "dsn", kind: connectionString},

	{name: "workers", kind: workersOrChosen, pace: true},
	{name: "rate", kind: rateOrOff, pace: true},
	{name: "chunk.rows", kind: rowsOrOff, pace: true},
	{name: "chunk.target", kind: duration, pace: true},
	{name: "chunk.max_rows", kind: rows, pace: true},
	{name: "timeouts.lock", kind: duration, pace: true},
	{name: "timeouts.statement", kind: duration, pace: true},
	{name: "timeouts.idle", kind: duration, pace: true},
	{name: "timeouts.connect", kind: duration, pace: true},
	{name: "timeouts.transform", kind: duration, pace: true},
	{name: "synchronous_commit", kind: oneOf("on", "off", "local", "remote_write", "remote_apply"), pace: true},
	{name: "max_quarantined", kind: rowsOrNone, pace: true},

	{name: "ceilings.workers", kind: orNone(whole(1, 1000))},
	{name: "ceilings.rate", kind: orNone(rateOrOff)},
	{name: "ceilings.chunk.target", kind: orNone(duration)},
	{name: "ceilings.chunk.max_rows", kind: orNone(rows)},
	{name: "ceilings.timeouts.lock", kind: orNone(duration)},
	{name: "ceilings.timeouts.statement", kind: orNone(duration)},
	{name: "ceilings.timeouts.idle", kind: orNone(duration)},

	{name: "standbys", kind: standbyList},
	{name: "databases", kind: databaseMap},
	{name: "programs.allow", kind: boolean},
	{name: "metrics", kind: listenAddress},
	{name: "accept", kind: words},
	{name: "log.format", kind: oneOf("auto", "console", "json")},
	{name: "log.level", kind: oneOf("debug", "info", "warn", "error")},
	{name: "progress.interval", kind: duration},
	{name: "status.interval", kind: duration},
}, limitKeys())

func findKey(name string) (key, bool) {
	i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
	if i < 0 {
		return key{}, false
	}
	return keys[i], true
}

// variable is the name of the key's environment variable.
func (k key) variable() string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

// isGroup reports whether name is what several keys begin with: "chunk".
func isGroup(name string) bool {
	return slices.ContainsFunc(keys, func(k key) bool { return strings.HasPrefix(k.name, name+".") })
}

// nearest is the candidate that name was most likely meant to be; "" is none.
func nearest(name string, candidates []string) string {
	best, least := "", max(2, len(name)/4)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is Levenshtein's: the fewest letters put in, left out or exchanged.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal, row[j] = row[j], min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// BuiltIn is the built-in value of a key, for help: a [time.Duration] where the key is a duration;
// nil where it has none.
func BuiltIn(key string) any {
	l, err := parseFile(builtIn, []byte(Default))
	if err != nil {
		return nil // a test keeps this from happening
	}
	return l.values[key]
}

// Keys are the names of all keys, for documentation and completion.
func Keys() []string { return keysUnder("") }
