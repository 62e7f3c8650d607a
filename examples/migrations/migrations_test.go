// Package migrations_test runs the migration tools that people have, each of them itself, around a backfill: the tool
// expands, pgbackfill fills and proves, the tool's contract migration begins with assert_ready.
package migrations_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// asked is the variable by which `make tools` says that the tools may be installed: that takes a network and minutes.
const asked = "PGBACKFILL_TEST_TOOLS"

// program is pgbackfill, built once.
var program string

func TestMain(m *testing.M) {
	if os.Getenv(asked) == "" {
		fmt.Printf("the migration tools are installed and run by `make tools` (%s=1)\n", asked)
		return
	}
	dir, err := os.MkdirTemp("", "pgbackfill-tools-")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "pgbackfill")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/pgbackfill").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go build: %v\n%s", err, out))
	}
	pgtest.Main(m)
	os.RemoveAll(dir)
}

// tool is one of those that people make schema changes with: how it is installed, and how its two migrations are applied.
type tool struct {
	name string
	// needs are the programs that a machine must have, since the tool is installed with them.
	needs            []string
	install          [][]string
	expand, contract []string
	env              []string
}

const (
	gooseRun  = "github.com/pressly/goose/v3/cmd/goose@v3.29.0"
	gooseTags = "no_clickhouse,no_mssql,no_mysql,no_sqlite3,no_vertica,no_ydb,no_libsql,no_duckdb"
)

func tools() []tool {
	return []tool{
		{
			name: "flyway", needs: []string{"mvn"},
			expand:   []string{"mvn", "-q", "-B", "flyway:migrate", "-Dflyway.target=1"},
			contract: []string{"mvn", "-q", "-B", "flyway:migrate"},
		},
		{
			name: "liquibase", needs: []string{"mvn"},
			expand:   []string{"mvn", "-q", "-B", "liquibase:update", "-Dliquibase.changesToApply=1"},
			contract: []string{"mvn", "-q", "-B", "liquibase:update"},
		},
		{
			name: "alembic", needs: []string{"python3"},
			install:  [][]string{{"python3", "-m", "venv", "venv"}, {"venv/bin/pip", "install", "-q", "--disable-pip-version-check", "-r", "requirements.txt"}},
			expand:   []string{"venv/bin/alembic", "upgrade", "0001"},
			contract: []string{"venv/bin/alembic", "upgrade", "head"},
		},
		{
			name: "knex", needs: []string{"npm", "node"},
			install:  [][]string{{"npm", "install", "--no-audit", "--no-fund", "--loglevel=error"}},
			expand:   []string{"node_modules/.bin/knex", "migrate:up", "001_expand.js"},
			contract: []string{"node_modules/.bin/knex", "migrate:latest"},
		},
		{
			name: "goose", needs: []string{"go"},
			expand:   []string{"go", "run", "-tags=" + gooseTags, gooseRun, "up-to", "1"},
			contract: []string{"go", "run", "-tags=" + gooseTags, gooseRun, "up"},
			env:      []string{"GOOSE_DRIVER=postgres", "GOOSE_DBSTRING=sslmode=disable", "GOOSE_MIGRATION_DIR=migrations"},
		},
	}
}

// A contract migration of each tool fails while nothing is proven, whatever has been done by then, and nothing is
// dropped; after the proof it succeeds.
//
// Made to fail: with assert_ready taken out of the contract migrations of goose and Knex, they dropped the column at once.
func TestTools(t *testing.T) {
	t.Parallel()
	for _, tool := range tools() {
		t.Run(tool.name, func(t *testing.T) {
			t.Parallel()
			for _, name := range tool.needs {
				if _, err := exec.LookPath(name); err != nil {
					t.Fatalf("%s is installed with %s, which is not there: %v", tool.name, name, err)
				}
			}
			migrates(t, tool)
		})
	}
}

// project is a copy of the tool's folder, with what is installed in it, and the database it is about.
type project struct {
	t   *testing.T
	dir string
	db  *pgtest.DB
	env []string
}

func newProject(t *testing.T, with tool) project {
	t.Helper()
	p := project{t: t, dir: t.TempDir(), db: pgtest.New(t)}
	if err := os.CopyFS(p.dir, os.DirFS(with.name)); err != nil {
		t.Fatal(err)
	}
	server := p.db.Server()
	p.env = append(os.Environ(), "PGHOST=127.0.0.1", "PGPORT="+strconv.Itoa(server.Port()), "PGUSER=postgres", "PGPASSWORD="+server.Password(),
		"PGDATABASE="+p.db.Name(), "DATABASE_URL="+p.db.DSN())
	p.env = append(p.env, with.env...)
	schema, err := os.ReadFile("application.sql")
	if err != nil {
		t.Fatal(err)
	}
	p.db.Exec(string(schema))
	for _, command := range with.install {
		if out, err := p.run(command...); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	return p
}

// run carries out a command of the project and returns what it said.
func (p project) run(command ...string) (string, error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	if strings.Contains(command[0], "/") && !filepath.IsAbs(command[0]) {
		c.Path = filepath.Join(p.dir, command[0])
	}
	c.Dir, c.Env = p.dir, p.env
	out, err := c.CombinedOutput()
	return string(out), err
}

func (p project) must(command ...string) {
	p.t.Helper()
	if out, err := p.run(command...); err != nil {
		p.t.Fatalf("%v: %v\n%s", command, err, out)
	}
}

// refused fails the test unless the contract migration fails for the given reason, and the column is still there.
func (p project) refused(reason string, contract []string) {
	p.t.Helper()
	out, err := p.run(contract...)
	if err == nil || !strings.Contains(out, reason) {
		p.t.Errorf("the contract migration ended with %v, expected an error that speaks of %q:\n%s", err, reason, out)
	}
	if !p.has("full_name") {
		p.t.Fatal("the column is gone")
	}
}

func (p project) has(column string) bool {
	p.t.Helper()
	return pgtest.One[bool](p.db, "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = $1 AND NOT attisdropped)", column)
}

func migrates(t *testing.T, with tool) {
	p := newProject(t, with)
	job, err := filepath.Abs("job.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p.must(with.expand...)
	if !p.has("display_name") || !p.has("full_name") {
		t.Fatal("the expand migration has not added the column, or done more")
	}
	p.refused("pgbackfill", with.contract) // nothing of pgbackfill is there yet

	p.must(program, "run", "--yes", job)
	p.refused("display-name", with.contract) // all is filled, and nothing proven
	if out, err := p.run(program, "gate", job); err == nil || !strings.Contains(out, "fail    verified") {
		t.Errorf("the gate says, with %v:\n%s", err, out)
	}
	p.refused("display-name", with.contract) // it was asked, and refused

	p.db.Exec("INSERT INTO users (full_name) VALUES ('written meanwhile')")
	p.must(program, "verify", job)
	// This server does not count statements, so somebody has to answer for what it would say.
	waive := []string{program, "gate", job, "--waive", "statements", "--why", "nobody else is on this server", "--until", time.Now().Add(24 * time.Hour).Format(time.DateOnly)}
	pgtest.Eventually(t, 30*time.Second, func() error { // the dual writes have a second to prove themselves
		if out, err := p.run(waive...); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	p.must(with.contract...)
	if p.has("full_name") {
		t.Error("the contract migration has not dropped the column")
	}
	if wrong := pgtest.One[int](p.db, "SELECT count(*) FROM users WHERE display_name IS NULL OR display_name <> initcap(display_name)"); wrong > 0 {
		t.Errorf("%d rows are wrong", wrong)
	}
	// The application goes on, without the old column, and without a trigger of ours.
	p.db.Exec("INSERT INTO users (display_name) VALUES ('Written Afterwards')")
}
