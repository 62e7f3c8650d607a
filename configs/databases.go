package configs

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// database is what a place says of one that checks name with in:, and where that stands.
type database struct{ name, text, origin string }

// databaseMap is the kind of the key databases.
var databaseMap = kind{
	expected: "names with connection strings, or env: and the variable that holds one: {legacy: env:LEGACY_DSN}",
	json:     true,
	secret:   true,
	parse: func(text string) (any, error) {
		var named map[string]string
		if err := json.Unmarshal([]byte(text), &named); err != nil {
			return nil, errValue
		}
		for name, connection := range named {
			if !standbyName.MatchString(name) || strings.TrimSpace(connection) == "" {
				return nil, errValue
			}
		}
		return named, nil
	},
}

// everyDatabase are those of all places; of a name that several places say, the first place counts.
func everyDatabase(places ...layer) []database {
	var all []database
	for _, place := range places {
		named, _ := place.values["databases"].(map[string]string)
		for name, text := range named {
			if !slices.ContainsFunc(all, func(o database) bool { return o.name == name }) {
				all = append(all, database{name, text, place.origin["databases"]})
			}
		}
	}
	return all
}

// Database makes connections to the database that the configuration calls by a name; nil where there is none. It need not be
// one that can be written to.
func Database(c Config, name string) (backfill.Connect, error) {
	i := slices.IndexFunc(c.databases, func(d database) bool { return d.name == name })
	if i < 0 {
		return nil, nil
	}
	return DatabaseConnector(c, name, c.databases[i].text, c.databases[i].origin)
}
