package configs

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// Config is the configuration of the process. It is made by [Load] and not changed afterwards.
type Config struct {
	// File is the configuration file that was read; "" is none.
	File string
	// DSN is how to reach the primary; the zero DSN leaves it to libpq's variables.
	DSN DSN
	// Log says what is written about the work.
	Log Log
	// ProgressInterval is how often a line of progress is written where there is no live display.
	ProgressInterval time.Duration
	// StatusInterval is how often `status --watch` looks again.
	StatusInterval time.Duration
	// AllowPrograms lets jobs run the programs that they name.
	AllowPrograms bool
	// Metrics is the address at which Prometheus metrics are shown while a command works; "" is nowhere.
	Metrics string
	// Accept holds the ids of findings that are accepted without a question, sorted.
	Accept []string

	// asked is the pace that flags and variables of this invocation ask for, base what holds
	// where the job does not say otherwise. asked stands above a job, base below it.
	asked, base backfill.Pace
	// askedBy and baseBy say where each of those stands, by key.
	askedBy, baseBy map[string]string
	ceilings        ceilings
	// standbys are those to be asked themselves, and variable looks into the environment for their connection strings.
	standbys []standby
	// databases are those that checks call by name.
	databases []database
	variable  func(name string) string
}

// Log says what is written about the work.
type Log struct {
	// Format is "auto", "console" or "json".
	Format string
	// Level is "debug", "info", "warn" or "error".
	Level string
}

// Load reads the configuration. All that is wrong, in whichever place, is returned at once,
// in errors of kind [backfill.ErrInput].
func Load(s Sources) (Config, error) {
	builtin, err := parseFile(builtIn, []byte(Default))
	if err != nil {
		return Config{}, err // a test keeps this from happening
	}
	for name := range builtin.origin {
		builtin.origin[name] = builtIn
	}
	flags, flagErr := s.flagLayer()
	variables, variableErr := s.variableLayer()
	path, pathErr := s.file()
	file, fileErr := newLayer(), error(nil)
	if path != "" {
		file, fileErr = readFile(path)
		fileErr = errors.Join(fileErr, s.trusted(path, file, flags, variables))
	}
	system, systemErr := s.systemLayer(path)
	if err := errors.Join(flagErr, variableErr, pathErr, fileErr, systemErr); err != nil {
		return Config{}, err
	}
	c, err := build(path, builtin, file, variables, flags, system, s.variable(databaseURL))
	c.standbys, c.variable = everyStandby(system, variables, file), s.variable
	c.databases = everyDatabase(system, variables, file)
	return c, err
}

// systemLayer is the operator's file where another file is read: its ceilings hold all the same.
func (s Sources) systemLayer(read string) (layer, error) {
	if read == s.system() {
		return newLayer(), nil
	}
	if _, err := os.Stat(s.system()); errors.Is(err, fs.ErrNotExist) {
		return newLayer(), nil
	}
	return readFile(s.system())
}

func build(path string, builtin, file, variables, flags, system layer, url string) (Config, error) {
	if dsn := variables.values["dsn"]; dsn == nil && url != "" {
		variables.values["dsn"], variables.origin["dsn"] = url, databaseURL
	}
	all, by, err := merge(flags, variables, file, builtin)
	if err != nil {
		return Config{}, err
	}
	c := Config{
		File:             path,
		DSN:              NewDSN(all.GetString("dsn"), by["dsn"]),
		Log:              Log{Format: all.GetString("log.format"), Level: all.GetString("log.level")},
		ProgressInterval: all.GetDuration("progress.interval"),
		StatusInterval:   all.GetDuration("status.interval"),
		AllowPrograms:    all.GetBool("programs.allow"),
		Metrics:          all.GetString("metrics"),
		ceilings:         lowest(builtin, file, variables, flags, system),
	}
	asked, askedBy, err := merge(flags, variables)
	if err != nil {
		return Config{}, err
	}
	base, baseBy, err := merge(file, builtin)
	if err != nil {
		return Config{}, err
	}
	c.asked, c.askedBy, c.base, c.baseBy = paceOf(asked, ""), askedBy, paceOf(base, ""), baseBy
	for _, l := range []layer{file, variables, flags} {
		if list, ok := l.values["accept"].([]string); ok {
			c.Accept = append(c.Accept, list...)
		}
	}
	slices.Sort(c.Accept)
	c.Accept = slices.Compact(c.Accept)
	return c, nil
}

// Asked is the pace that flags and variables of this invocation ask for; fields they do not
// mention are zero. It stands above a job's.
func (c Config) Asked() backfill.Pace { return c.asked }

// Resolve is the pace that a job is worked at: what this invocation asks for, over the job's,
// over the configuration's, lowered to the ceilings. Each lowering is a note for people.
func (c Config) Resolve(job backfill.Job) (backfill.Pace, []string) {
	p := c.asked.Over(job.Pace).Over(c.base)
	return c.ceilings.clamp(p, func(name string) string {
		switch {
		case c.askedBy[name] != "":
			return c.askedBy[name]
		case said(job.Pace, name):
			return job.Origin
		}
		return c.baseBy[name]
	})
}

// Clamp lowers a pace to the operator's ceilings and settles it (see [backfill.Pace.Settled]).
// A job, a flag or a live change can ask for less than a ceiling, never for more: each
// lowering is a note for people. What p leaves unsaid, and would have no bound, is at its
// ceiling, without a note; so a live change alone may be clamped to see whether it asks for
// too much.
func (c Config) Clamp(p backfill.Pace) (backfill.Pace, []string) {
	return c.ceilings.clamp(p, func(string) string { return "" })
}
