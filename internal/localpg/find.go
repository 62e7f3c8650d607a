package localpg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// MinMajor is the oldest major version of PostgreSQL that is accepted.
const MinMajor = pgsql.MinMajor

const (
	// EnvBin names the variable that holds the directory of PostgreSQL's programs. When it is set,
	// nothing else is looked at.
	EnvBin = "PGBACKFILL_PG_BIN"
	// EnvFetch names the variable that, set to "never", keeps [Ensure] from installing or downloading.
	EnvFetch = "PGBACKFILL_PG_FETCH"
	// EnvVersion names the variable that asks for one major version, such as "18": no other is found, and [Ensure]
	// downloads that one where it is not on this machine.
	EnvVersion = "PGBACKFILL_PG_VERSION"
)

// Installation is one PostgreSQL on this machine.
type Installation struct {
	BinDir  string // the directory of initdb, pg_ctl and postgres, symbolic links resolved
	Version string // as `postgres --version` says it, such as "15.14"
	Major   int
	Source  string // how it was found, for people
}

// String names the version, the directory and how it was found.
func (i Installation) String() string {
	return fmt.Sprintf("PostgreSQL %s in %s (%s)", i.Version, i.BinDir, i.Source)
}

func (i Installation) program(name string) string { return filepath.Join(i.BinDir, name) }

// Program is the path of a client program, such as pgbench: beside the server, else of PATH, since not every
// installation has all of them.
func (i Installation) Program(name string) (string, error) {
	if i.has(name) {
		return i.program(name), nil
	}
	found, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("there is no %s beside %s, nor in PATH: %w\n  → install it (Debian, Ubuntu: apt-get install postgresql-contrib; Fedora: dnf install postgresql-contrib)", name, i, err)
	}
	return found, nil
}

// has reports whether an optional program, such as pg_basebackup, is there.
func (i Installation) has(name string) bool { return isExecutable(i.program(name)) }

// NotFoundError says that no usable PostgreSQL was found, where it was looked for, and what to do.
type NotFoundError struct {
	Looked []string // one line for each place, with what was wrong with it
	Fetch  []error  // what was tried to obtain one, if anything
}

// Error lists every place and the remedy.
func (e *NotFoundError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no PostgreSQL %d or newer found (needed: the programs initdb, pg_ctl and postgres in one directory)", MinMajor)
	for _, l := range e.Looked {
		b.WriteString("\n  looked at " + l)
	}
	for _, err := range e.Fetch {
		b.WriteString("\n  tried to obtain it: " + err.Error())
	}
	b.WriteString("\ninstall the PostgreSQL server (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; " +
		"macOS: brew install postgresql@17), or set " + EnvBin + " to the directory that holds initdb")
	return b.String()
}

// Unwrap gives what went wrong while obtaining one.
func (e *NotFoundError) Unwrap() []error { return e.Fetch }

// candidate is a directory that may hold PostgreSQL's programs.
type candidate struct{ dir, source string }

// finder holds what Find looks at, so that a test can look at something else.
type finder struct {
	getenv   func(string) string
	lookPath func(string) (string, error)
	pgConfig func(context.Context) (string, error) // the answer of pg_config --bindir
	globs    []string                              // usual places
	version  func(ctx context.Context, postgres string) (string, error)
	major    int // the only one that will do; 0 is any
}

func systemFinder() finder {
	return finder{
		getenv:   os.Getenv,
		lookPath: exec.LookPath,
		pgConfig: func(ctx context.Context) (string, error) {
			path, err := exec.LookPath("pg_config")
			if err != nil {
				return "", err
			}
			return output(ctx, path, "--bindir")
		},
		globs: []string{
			"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
			"/usr/pgsql-*/bin",                   // PGDG on Red Hat, Fedora, SUSE
			"/usr/lib/postgresql*/bin",           // SUSE
			"/usr/libexec/postgresql*",           // Alpine
			"/opt/homebrew/opt/postgresql@*/bin", // Homebrew on Apple silicon
			"/usr/local/opt/postgresql@*/bin",    // Homebrew on Intel
			"/opt/homebrew/opt/postgresql/bin",   // Homebrew, unversioned
			"/usr/local/opt/postgresql/bin",      //
			"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
			"/Applications/Postgres.app/Contents/Versions/*/bin",
			"/usr/local/pgsql/bin", // built from source
		},
		version: func(ctx context.Context, postgres string) (string, error) {
			return output(ctx, postgres, "--version")
		},
	}
}

// Find looks for PostgreSQL, in this order: the directory in [EnvBin] (alone, when set), the answer of
// pg_config --bindir, the folder of the postgres or pg_ctl in PATH, and the usual folders of Debian,
// Red Hat, Alpine, Homebrew and Postgres.app, newest version first. It changes nothing; [Ensure] also
// obtains one. The error is a *[NotFoundError], or that of ctx.
func Find(ctx context.Context) (Installation, error) {
	inst, err := systemFinder().find(ctx)
	if err != nil && ctx.Err() != nil {
		// What was not looked at to the end is not known to be absent, and nothing is to be installed for that.
		return Installation{}, fmt.Errorf("looking for PostgreSQL: %w", ctx.Err())
	}
	return inst, err
}

func (f finder) find(ctx context.Context) (Installation, error) {
	var err error
	if f.major, err = wantedMajor(f.getenv); err != nil {
		return Installation{}, err
	}
	var looked []string
	try := func(cs ...candidate) (Installation, bool) {
		for _, c := range cs {
			inst, err := f.inspect(ctx, c)
			if err == nil {
				return inst, true
			}
			looked = append(looked, fmt.Sprintf("%s (%s): %v", c.dir, c.source, err))
		}
		return Installation{}, false
	}
	if dir := f.getenv(EnvBin); dir != "" {
		// Someone chose this one: falling back to another would hide their mistake.
		if inst, ok := try(candidate{dir, EnvBin}); ok {
			return inst, nil
		}
		return Installation{}, &NotFoundError{Looked: looked}
	}
	if dir, err := f.pgConfig(ctx); err != nil {
		looked = append(looked, fmt.Sprintf("pg_config --bindir: %v", err))
	} else if inst, ok := try(candidate{dir, "pg_config"}); ok {
		return inst, nil
	}
	for _, name := range []string{"postgres", "pg_ctl"} {
		path, err := f.lookPath(name)
		if err != nil {
			looked = append(looked, fmt.Sprintf("PATH for %s: %v", name, err))
			continue
		}
		// A link such as /usr/bin/postgres leads to the folder that holds the others too.
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			path = resolved
		}
		if inst, ok := try(candidate{filepath.Dir(path), "PATH"}); ok {
			return inst, nil
		}
	}
	for _, glob := range f.globs {
		dirs, err := filepath.Glob(glob)
		if err != nil {
			return Installation{}, fmt.Errorf("looking at %s: %w", glob, err)
		}
		if len(dirs) == 0 {
			looked = append(looked, glob+": no such directory")
			continue
		}
		slices.SortFunc(dirs, func(a, b string) int { return cmp.Compare(versionIn(b), versionIn(a)) })
		for _, dir := range dirs {
			if inst, ok := try(candidate{dir, "usual folder"}); ok {
				return inst, nil
			}
		}
	}
	return Installation{}, &NotFoundError{Looked: looked}
}

// wantedMajor is what [EnvVersion] asks for; 0 is any.
func wantedMajor(getenv func(string) string) (int, error) {
	asked := getenv(EnvVersion)
	if asked == "" {
		return 0, nil
	}
	major, err := strconv.Atoi(asked)
	if err != nil || major < MinMajor {
		return 0, fmt.Errorf("%s: found %q, expected a major version of PostgreSQL, %d or later, such as 18", EnvVersion, asked, MinMajor)
	}
	return major, nil
}

var digits = regexp.MustCompile(`\d+(\.\d+)?`)

// versionIn reads the last number of a path, so that 9.6 sorts before 15.
func versionIn(path string) float64 {
	all := digits.FindAllString(path, -1)
	if len(all) == 0 {
		return 0
	}
	v, _ := strconv.ParseFloat(all[len(all)-1], 64) // the pattern only lets numbers through
	return v
}

// inspect decides whether a directory holds what is needed.
func (f finder) inspect(ctx context.Context, c candidate) (Installation, error) {
	dir, err := filepath.Abs(c.dir)
	if err != nil {
		return Installation{}, err
	}
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	} else if errors.Is(err, fs.ErrNotExist) {
		return Installation{}, errors.New("no such directory")
	}
	for _, name := range []string{"initdb", "pg_ctl", "postgres"} {
		if !isExecutable(filepath.Join(dir, name)) {
			return Installation{}, fmt.Errorf("has no program %s", name)
		}
	}
	out, err := f.version(ctx, filepath.Join(dir, "postgres"))
	if err != nil {
		return Installation{}, fmt.Errorf("postgres --version: %w", err)
	}
	version, major, err := parseVersion(out)
	if err != nil {
		return Installation{}, err
	}
	if major < MinMajor {
		return Installation{}, fmt.Errorf("is version %s, older than %d", version, MinMajor)
	}
	if f.major != 0 && major != f.major {
		return Installation{}, fmt.Errorf("is version %s, and %s asks for %d", version, EnvVersion, f.major)
	}
	return Installation{BinDir: dir, Version: version, Major: major, Source: c.source}, nil
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// parseVersion reads "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)" or "… 19devel".
func parseVersion(line string) (version string, major int, err error) {
	m := versionLine.FindStringSubmatch(line)
	if m == nil {
		return "", 0, fmt.Errorf("cannot read a version from %q", line)
	}
	major, err = strconv.Atoi(m[2])
	if err != nil {
		return "", 0, fmt.Errorf("reading the version in %q: %w", line, err)
	}
	return m[1], major, nil
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// output runs a program briefly and gives what it printed, trimmed.
func output(ctx context.Context, path string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).Output()
	return strings.TrimSpace(string(out)), err
}
