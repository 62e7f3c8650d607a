package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// Sources is where a configuration comes from.
type Sources struct {
	// Flags holds the flags that [Flags], [RunFlags] and [MetricsFlag] defined; nil is none.
	Flags *pflag.FlagSet
	// Environ is the environment as os.Environ gives it.
	Environ []string
	// Dir is where ./pgbackfill.yaml is looked for; "" is the working directory.
	Dir string
	// SystemFile is the operator's file; "" is /etc/pgbackfill/config.yaml.
	SystemFile string
}

const (
	variablePrefix  = "PGBACKFILL_"
	fileVariable    = variablePrefix + "CONFIG"
	databaseURL     = "DATABASE_URL"
	localFile       = "pgbackfill.yaml"
	systemFile      = "/etc/pgbackfill/config.yaml"
	flagConfig      = "config"
	flagSet         = "set"
	flagAccept      = "accept"
	flagPrograms    = "allow-programs"
	flagMetrics     = "metrics"
	userFileInXDG   = "pgbackfill/config.yaml"
	userFileInHome  = ".config/" + userFileInXDG
	environmentName = "the environment"
)

// foreign are the beginnings of PGBACKFILL_ variables that other parts of the program read:
// which PostgreSQL demo and the tests start.
var foreign = []string{variablePrefix + "PG_", variablePrefix + "TEST_"}

// flagKeys are the flags that stand for a key.
var flagKeys = []struct{ flag, key, usage string }{
	{"dsn", "dsn", "the database: a URL or keywords (default DATABASE_URL, then libpq's PG* variables)"},
	{"log-format", "log.format", "auto, console or json"},
	{"log-level", "log.level", "debug, info, warn or error"},
	{"workers", "workers", "how many chunks are worked at the same time"},
	{"chunk-rows", "chunk.rows", "the rows of every chunk; 0 finds the number"},
	{"chunk-target", "chunk.target", "how long a chunk should take: 100ms"},
	{"rate", "rate", "the most rows walked a second; 0 is no limit"},
}

// processFlags is how many of flagKeys concern every command; the others are about pace.
const processFlags = 3

// Flags defines the flags of every command: --config, --dsn, --log-format, --log-level.
// They are text: [Load] reads and checks them.
func Flags(fs *pflag.FlagSet) {
	fs.String(flagConfig, "", "the configuration file, instead of the usual places")
	for _, f := range flagKeys[:processFlags] {
		fs.String(f.flag, "", f.usage)
	}
}

// RunFlags defines the flags of commands that work or plan to: --workers, --chunk-rows,
// --chunk-target, --rate, --set, --allow-programs and --accept.
func RunFlags(fs *pflag.FlagSet) {
	for _, f := range flagKeys[processFlags:] {
		fs.String(f.flag, "", f.usage)
	}
	fs.StringArray(flagSet, nil, "a limit as key=value, as in timeouts.lock=500ms; may be repeated")
	fs.Bool(flagPrograms, false, "let jobs run the programs that they name (transform: command)")
	AcceptFlag(fs)
}

// AcceptFlag defines the flag that accepts a finding, for commands that run no job.
func AcceptFlag(fs *pflag.FlagSet) {
	fs.StringSlice(flagAccept, nil, "the id of a finding that is accepted; may be repeated")
}

// MetricsFlag defines the flag of commands that can be scraped while they work.
func MetricsFlag(fs *pflag.FlagSet) {
	fs.String(flagMetrics, "", "where to show Prometheus metrics: :9187 is on every interface, localhost:9187 for this machine alone; off is nowhere")
}

// flagLayer is what the flags say.
func (s Sources) flagLayer() (layer, error) {
	l := newLayer()
	if s.Flags == nil {
		return l, nil
	}
	var errs []error
	for _, f := range flagKeys {
		if given := s.Flags.Lookup(f.flag); given != nil && given.Changed {
			k, _ := findKey(f.key)
			errs = append(errs, l.say(k, given.Value.String(), "--"+f.flag))
		}
	}
	if given := s.Flags.Lookup(flagSet); given != nil && given.Changed {
		list, err := s.Flags.GetStringArray(flagSet)
		errs = append(errs, err, sayLimits(l, list, "--"+flagSet))
	}
	if given := s.Flags.Lookup(flagAccept); given != nil && given.Changed {
		list, err := s.Flags.GetStringSlice(flagAccept)
		k, _ := findKey(flagAccept)
		errs = append(errs, err, l.say(k, strings.Join(list, ","), "--"+flagAccept))
	}
	for _, f := range []struct{ flag, key string }{{flagPrograms, "programs.allow"}, {flagMetrics, "metrics"}} {
		if given := s.Flags.Lookup(f.flag); given != nil && given.Changed {
			k, _ := findKey(f.key)
			errs = append(errs, l.say(k, given.Value.String(), "--"+f.flag))
		}
	}
	return l, errors.Join(errs...)
}

// variableLayer is what the environment says.
func (s Sources) variableLayer() (layer, error) {
	l := newLayer()
	var errs []error
	names := []string{fileVariable}
	byName := map[string]key{}
	for _, k := range keys {
		names = append(names, k.variable())
		byName[k.variable()] = k
	}
	for _, entry := range slices.Sorted(slices.Values(s.Environ)) {
		name, text, _ := strings.Cut(entry, "=")
		k, known := byName[name]
		switch {
		case known && text != "":
			errs = append(errs, l.say(k, text, name))
		case known, name == fileVariable, !strings.HasPrefix(name, variablePrefix), isForeign(name):
		default:
			errs = append(errs, unknownVariable(name, names))
		}
	}
	return l, errors.Join(errs...)
}

func isForeign(name string) bool {
	return slices.ContainsFunc(foreign, func(f string) bool { return strings.HasPrefix(name, f) })
}

func unknownVariable(name string, names []string) error {
	e := &backfill.Error{
		Place: environmentName, Found: "unknown variable " + name, Kind: backfill.ErrInput,
		Remedy: "the variables are the keys of the configuration in capitals with _ for each dot, as in PGBACKFILL_CHUNK_TARGET",
	}
	if near := nearest(name, names); near != "" {
		e.Remedy = "did you mean " + near + "?"
	}
	return e
}

// variable is the value of an environment variable; "" is not set.
func (s Sources) variable(name string) string {
	for _, entry := range s.Environ {
		if n, text, _ := strings.Cut(entry, "="); n == name {
			return text
		}
	}
	return ""
}

func (s Sources) system() string {
	if s.SystemFile != "" {
		return s.SystemFile
	}
	return systemFile
}

// file is the configuration file to read; "" where there is none. One that somebody named
// must be there.
func (s Sources) file() (string, error) {
	if s.Flags != nil {
		if named := s.Flags.Lookup(flagConfig); named != nil && named.Changed {
			return exists(named.Value.String(), "--"+flagConfig)
		}
	}
	if named := s.variable(fileVariable); named != "" {
		return exists(named, fileVariable)
	}
	places := []string{filepath.Join(s.Dir, localFile)}
	if xdg := s.variable("XDG_CONFIG_HOME"); xdg != "" {
		places = append(places, filepath.Join(xdg, userFileInXDG))
	} else if home := s.variable("HOME"); home != "" {
		places = append(places, filepath.Join(home, userFileInHome))
	}
	for _, place := range append(places, s.system()) {
		if _, err := os.Stat(place); !errors.Is(err, fs.ErrNotExist) {
			return place, nil // one that is there and cannot be read is reported when it is read
		}
	}
	return "", nil
}

// named reports whether somebody named the configuration file.
func (s Sources) named() bool {
	if s.Flags != nil {
		if f := s.Flags.Lookup(flagConfig); f != nil && f.Changed {
			return true
		}
	}
	return s.variable(fileVariable) != ""
}

// trusted refuses a file that allows programs and only happens to lie in the working directory: whoever writes job files in a
// repository can write that file as well.
func (s Sources) trusted(path string, file, flags, variables layer) error {
	const key = "programs.allow"
	allowed, _ := file.values[key].(bool)
	if !allowed || s.named() || path != filepath.Join(s.Dir, localFile) || flags.values[key] != nil || variables.values[key] != nil {
		return nil
	}
	return &backfill.Error{
		Place: file.origin[key], Found: key + " in the file of the working directory", Expected: "the operator's word", Kind: backfill.ErrInput,
		Remedy: "say --allow-programs, or PGBACKFILL_PROGRAMS_ALLOW=true, or name the file with --config; a repository's own file lets no programs run",
	}
}

func exists(path, by string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", &backfill.Error{
			Place: by, Found: fmt.Sprintf("the configuration file %q cannot be read", path), Err: unpath(err),
			Expected: "a file", Remedy: "correct the name or leave it out", Kind: backfill.ErrInput,
		}
	}
	return path, nil
}
