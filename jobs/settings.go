package jobs

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// settings are PostgreSQL settings, by lower-case name: PostgreSQL does not tell cases apart.
type settings struct {
	value
	values map[string]string
}

var settingName = regexp.MustCompile(`^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$`)

// owned are the settings that the engine needs for itself, with what to do instead. A
// name that ends in * stands for all that begin like it.
var owned = map[string]string{
	"lock_timeout":                        "write `timeouts: {lock: …}`",
	"statement_timeout":                   "write `timeouts: {statement: …}`",
	"idle_in_transaction_session_timeout": "write `timeouts: {idle: …}`",
	"idle_session_timeout":                "the engine ends its own sessions",
	"transaction_*":                       "a chunk is one transaction, READ COMMITTED, read and write",
	"default_transaction_*":               "a chunk is one transaction, READ COMMITTED, read and write",
	"synchronous_commit":                  "it is a matter of pace, not of the job: set it in the configuration of the process",
	"session_replication_role":            "it would turn off triggers and foreign keys; disable a trigger where it can be seen, with ALTER TABLE",
	"role":                                "connect as that role",
	"session_authorization":               "connect as that role",
	"row_security":                        "a backfill must see every row: connect as a role that row security does not apply to",
	"application_name":                    "it is how the sessions of a run are recognised",
	"client_encoding":                     "the engine speaks UTF-8",
	"lc_monetary":                         "the engine reads and writes keys under its own",
	"standard_conforming_strings":         "the job's SQL was read with it on",
	"backslash_quote":                     "the job's SQL was read with the default",
	"escape_string_warning":               "the job's SQL was read with the default",
}

func (s *settings) read(r *reader, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.refuse(placeOf(n), describe(n), "a mapping of settings to values, as in {work_mem: 64MB}", "")
		return
	}
	s.values = map[string]string{}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if _, ok := r.fieldName(key, seen, "settings"); !ok {
			continue
		}
		name := strings.ToLower(key.Value)
		if _, twice := s.values[name]; twice {
			r.refuse(placeOf(key), fmt.Sprintf("`%s` again", key.Value), "each setting once", "PostgreSQL does not tell upper from lower case in their names")
			continue
		}
		if !settingName.MatchString(name) {
			r.refuse(placeOf(key), describe(key), "the name of a setting, such as work_mem or my_app.mode", "")
			continue
		}
		if instead := ownedBy(name); instead != "" {
			r.refuse(placeOf(key), "the setting `"+key.Value+"`, which the engine sets itself", "another setting", instead)
			continue
		}
		if value, ok := r.settingValue(val); ok {
			s.values[name] = value
		}
	}
}

// settingValue is a setting's value as text: PostgreSQL reads true, 64 and 64MB alike.
func (r *reader) settingValue(n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Tag == "!!timestamp" || strings.ContainsRune(n.Value, 0) {
		r.refuse(placeOf(n), describe(n), "the value of a setting, such as 64MB", "an empty value is written ''")
		return "", false
	}
	return n.Value, true
}

func ownedBy(name string) string {
	for known, instead := range owned {
		if prefix, all := strings.CutSuffix(known, "*"); name == known || all && strings.HasPrefix(name, prefix) {
			return instead
		}
	}
	return ""
}
