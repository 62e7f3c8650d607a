package configs

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// Standby is one that is asked itself how far it has replayed, besides what the primary says of it: one that the primary
// does not see, since it restores from an archive or is fed by another standby, or since the role may not see it.
type Standby struct {
	// Name is what it is called in reasons, and in lag.ignore and lag.require.
	Name string
	// Connect makes connections to it.
	Connect backfill.Connect
	// Heartbeat, where it is not empty, is a SELECT of one number: its lag in seconds.
	Heartbeat string
}

// standby is what a place says of one.
type standby struct {
	name, heartbeat string
	// One of these is said: the connection string, the environment variable that holds it, or a service of libpq's.
	dsn, env, service string
	// place is where it stands.
	place string
}

var standbyName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,62}$`)

const standbysExpected = "a list of {name, dsn or service, heartbeat}: [{name: eu-3, dsn: postgres://monitor@eu-3/app}]"

// standbyList is the kind of the key standbys.
var standbyList = kind{
	expected: standbysExpected,
	secret:   true,
	parse: func(text string) (any, error) { // of the environment
		var document yaml.Node
		if err := yaml.Unmarshal([]byte(text), &document); err != nil || len(document.Content) == 0 {
			return nil, errValue
		}
		r := reader{file: variablePrefix + "STANDBYS"}
		list := r.standbys(document.Content[0])
		if len(r.errs) > 0 {
			return nil, errValue
		}
		return list, nil
	},
	node: func(r *reader, k key, n *yaml.Node) {
		if list := r.standbys(n); len(list) > 0 {
			r.says.values[k.name], r.says.origin[k.name] = list, r.place(n)
		}
	},
}

// standbys reads the list. What is wrong is said without any value: it may be a part of a connection string.
func (r *reader) standbys(n *yaml.Node) []standby {
	if n.Kind != yaml.SequenceNode {
		r.wrong(n, "standbys is "+shape(n), standbysExpected)
		return nil
	}
	var list []standby
	for _, item := range n.Content {
		s, ok := r.standby(item)
		if !ok {
			continue
		}
		if i := slices.IndexFunc(list, func(o standby) bool { return o.name == s.name }); i >= 0 {
			r.wrong(item, fmt.Sprintf("standbys: %s stands here a second time", s.name), "it once; the first is at "+list[i].place)
			continue
		}
		list = append(list, s)
	}
	return list
}

func (r *reader) standby(n *yaml.Node) (standby, bool) {
	s, before := standby{place: r.place(n)}, len(r.errs)
	if n.Kind != yaml.MappingNode {
		r.wrong(n, "standbys: an entry is "+shape(n), "{name, dsn or service, heartbeat}")
		return s, false
	}
	fields := map[string]*string{"name": &s.name, "dsn": &s.dsn, "service": &s.service, "heartbeat": &s.heartbeat}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		into, known := fields[name.Value]
		switch {
		case !known:
			r.errs = append(r.errs, unknown(r.place(name), "standbys."+name.Value, []string{"standbys.name", "standbys.dsn", "standbys.service", "standbys.heartbeat"}, func(s string) string { return s }))
		case *into != "":
			r.wrong(name, fmt.Sprintf("standbys.%s stands here a second time", name.Value), "it once")
		case name.Value == "dsn" && value.Kind == yaml.MappingNode:
			if len(value.Content) != 2 || value.Content[0].Value != "env" || value.Content[1].Kind != yaml.ScalarNode || value.Content[1].Value == "" {
				r.wrong(value, "standbys.dsn is a group of keys", "a connection string, or {env: NAME} of the variable that holds it")
				continue
			}
			s.env = value.Content[1].Value
		case value.Kind != yaml.ScalarNode || value.Tag == "!!null" || strings.TrimSpace(value.Value) == "":
			r.wrong(value, "standbys."+name.Value+" says nothing", "a text")
		default:
			*into = strings.TrimSpace(value.Value)
		}
	}
	ways := 0
	for _, way := range []string{s.dsn, s.env, s.service} {
		if way != "" {
			ways++
		}
	}
	switch {
	case len(r.errs) > before:
	case !standbyName.MatchString(s.name):
		r.wrong(n, "standbys: an entry has no name, or one with other characters", "a name of letters, digits and _ . : @ -, as reasons and lag.ignore have it")
	case ways != 1:
		r.wrong(n, fmt.Sprintf("standbys: %s has %d ways to reach it", s.name, ways), "one: dsn, or service")
	}
	return s, len(r.errs) == before
}

// everyStandby are those of all places; of a name that several places say, the first place counts.
func everyStandby(places ...layer) []standby {
	var all []standby
	for _, place := range places {
		list, _ := place.values["standbys"].([]standby)
		for _, s := range list {
			if !slices.ContainsFunc(all, func(o standby) bool { return o.name == s.name }) {
				all = append(all, s)
			}
		}
	}
	return all
}

// Standbys are those that the configuration says are to be asked themselves. A standby is connected to as the primary is
// (see [Connection]), but that it need not be one. All that is wrong is returned at once; it shows nothing of connection
// strings.
func Standbys(c Config) ([]Standby, error) {
	var list []Standby
	var errs []error
	for _, s := range c.standbys {
		cc, err := s.connection(c.variable, c.asked.Over(c.base).ConnectTimeout)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, Standby{Name: s.name, Connect: Dial(cc), Heartbeat: s.heartbeat})
	}
	return list, errors.Join(errs...)
}

func (s standby) connection(variable func(string) string, timeout time.Duration) (*pgx.ConnConfig, error) {
	text, origin := s.dsn, s.place
	switch {
	case s.service != "":
		text = "service='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s.service) + "'"
	case s.env != "":
		if text, origin = variable(s.env), s.place+" ("+s.env+")"; text == "" {
			return nil, &backfill.Error{
				Place: s.place, Found: fmt.Sprintf("standby %s: the environment variable %s is not set", s.name, s.env),
				Expected: "the connection string of the standby", Kind: backfill.ErrInput,
			}
		}
	}
	if !namesServer(text) {
		return nil, &backfill.Error{
			Place: origin, Found: fmt.Sprintf("standby %s: its connection string names no server, and would lead to the one of libpq's variables", s.name),
			Expected: "postgres://user@host:5432/database or host=… user=… dbname=…", Kind: backfill.ErrInput,
		}
	}
	cc, err := connection(NewDSN(text, origin), timeout)
	if err != nil {
		return nil, err
	}
	if len(hosts(&cc.Config)) > 1 {
		return nil, &backfill.Error{
			Place: origin, Found: fmt.Sprintf("standby %s: its connection string names several servers", s.name),
			Expected: "one server; each standby has an entry of its own", Kind: backfill.ErrInput,
		}
	}
	if !strings.Contains(text, "target_session_attrs") { // what PGTARGETSESSIONATTRS says is about the primary
		cc.ValidateConnect = nil
	}
	return cc, nil
}

var hostKeyword = regexp.MustCompile(`(^|\s)(host|hostaddr|service)\s*=\s*\S`)

// namesServer reports whether a connection string says itself which server is meant.
func namesServer(dsn string) bool {
	for _, scheme := range []string{"postgres://", "postgresql://"} {
		rest, isURL := strings.CutPrefix(dsn, scheme)
		if !isURL {
			continue
		}
		authority, query, _ := strings.Cut(rest, "?")
		authority, _, _ = strings.Cut(authority, "/")
		host := authority[strings.LastIndex(authority, "@")+1:]
		return host != "" && !strings.HasPrefix(host, ":") || hostKeyword.MatchString(strings.NewReplacer("&", " ", "?", " ").Replace(query))
	}
	return hostKeyword.MatchString(dsn)
}

// StandbyConnector makes connections to one standby: that of the configuration's with this name, or the one that on, a
// connection string, names. origin is where it was said, as "--on-standby". Nothing of a connection string is shown.
func StandbyConnector(c Config, on, origin string) (backfill.Connect, error) {
	for _, s := range c.standbys {
		if s.name == on {
			cc, err := s.connection(c.variable, c.asked.Over(c.base).ConnectTimeout)
			if err != nil {
				return nil, err
			}
			return Dial(cc), nil
		}
	}
	cc, err := standby{name: "given", dsn: on, place: origin}.connection(c.variable, c.asked.Over(c.base).ConnectTimeout)
	if err != nil {
		return nil, err
	}
	return Dial(cc), nil
}
