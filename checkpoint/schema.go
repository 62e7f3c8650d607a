package checkpoint

import (
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

//go:embed migrations/*.sql
var files embed.FS

// tables are all that the newest version of the schema has.
var tables = []string{
	"migrations", "runs", "segments", "chunks", "processes", "events", "quarantine", "undos", "undo_tables", "undo_chunks", "undo_left",
	"dual_writes", "dual_write_errors", "tasks", "verifications", "verification_segments", "mismatches", "repairs", "tripwires", "drift",
	"gates", "waivers", "statement_looks", "statement_marks",
}

const createSchema = "CREATE SCHEMA pgbackfill"

// migration is one version of the schema.
type migration struct {
	version  int
	name     string
	up, down string
}

// migrations are all versions, in order. What is embedded is part of the program, so that a
// file that is not as it should be is a panic, met by every test.
var migrations = load(files)

func load(files fs.FS) []migration {
	ups, err := fs.Glob(files, "migrations/*.up.sql")
	if err != nil || len(ups) == 0 {
		panic(fmt.Sprintf("no migrations: %v", err))
	}
	slices.Sort(ups)
	var list []migration
	for i, path := range ups {
		number, name, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(path, "migrations/"), ".up.sql"), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			panic(fmt.Sprintf("migration %s is not number %d", path, i+1))
		}
		list = append(list, migration{version, name, file(files, path), file(files, strings.TrimSuffix(path, ".up.sql")+".down.sql")})
	}
	return list
}

func file(files fs.FS, path string) string {
	text, err := fs.ReadFile(files, path)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Latest is the version of the schema that this program works with.
func Latest() int { return len(migrations) }

// Applied is a version of the schema that was applied.
type Applied struct {
	Version     int       `json:"version"`
	Name        string    `json:"name"`
	At          time.Time `json:"at"`
	By          string    `json:"by"`
	ToolVersion string    `json:"tool_version"`
}

// Schema is what there is of the schema pgbackfill.
type Schema struct {
	// Version is the newest that was applied, 0 where none was; Latest what this program works with.
	Version int       `json:"version"`
	Latest  int       `json:"latest"`
	Applied []Applied `json:"applied,omitempty"`
}

const readPresent = `SELECT n.oid IS NOT NULL,
       COALESCE(has_schema_privilege(n.oid, 'USAGE'), false),
       COALESCE((SELECT array_agg(c.relname::text ORDER BY c.relname) FROM pg_class AS c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p')), '{}')
  FROM (SELECT 1) AS here LEFT JOIN pg_namespace AS n ON n.nspname = 'pgbackfill'`

const readMigrations = `SELECT version, name, applied_at, applied_by, tool_version FROM pgbackfill.migrations ORDER BY version`

// Status looks at the schema. The error says why it cannot be worked with: a [backfill.ErrNotFound]
// where it is not installed, a [backfill.ErrIncompatible] where it is older or newer than this
// program, and a [backfill.ErrUnreadable] where it is damaged or this role may not read it.
func Status(ctx context.Context, conn *pgx.Conn) (Schema, error) {
	l := newLooking()
	// What is sent together is one transaction, also without a BEGIN; so it needs no ROLLBACK where there is no such table.
	err := send(ctx, conn, step{Statement: settings}, l.tables(), l.versions())
	if err := l.absent(err); err != nil {
		return l.status, err
	}
	return l.found(err)
}

// inside runs work in a transaction on conn.
func inside(ctx context.Context, conn *pgx.Conn, work func(*tx) error) error {
	t := newTx(ctx, conn, pgsql.Begin, settings)
	err := work(t)
	if err == nil {
		err = t.end()
	}
	if err != nil {
		settle(ctx, conn, err)
	}
	return err
}

// look is [Status] within a transaction, which must not fail.
func look(t *tx) (Schema, error) {
	l := newLooking()
	if err := l.absent(t.send(l.tables())); err != nil {
		return l.status, err
	}
	return l.found(t.send(l.versions()))
}

// looking is what is seen of the schema: which tables it has, then which versions were applied.
type looking struct {
	status              Schema
	seen, there, usable bool
	present             []string
}

func newLooking() *looking { return &looking{status: Schema{Latest: Latest()}} }

func (l *looking) tables() step {
	return step{Statement: pgsql.Statement{Name: "schema", SQL: readPresent}, read: func(rows pgx.Rows) error {
		l.seen = true
		return rows.Scan(&l.there, &l.usable, &l.present)
	}}
}

func (l *looking) versions() step {
	return step{Statement: pgsql.Statement{Name: "migrations", SQL: readMigrations}, read: func(rows pgx.Rows) error {
		var a Applied
		err := rows.Scan(&a.Version, &a.Name, &a.At, &a.By, &a.ToolVersion)
		l.status.Applied = append(l.status.Applied, a)
		l.status.Version = a.Version
		return err
	}}
}

// absent says why there is no table of versions to read, or, where even that could not be seen, what err says.
func (l *looking) absent(err error) error {
	switch {
	case !l.seen:
		return fmt.Errorf("looking for the schema pgbackfill: %w", err)
	case !l.there || len(l.present) == 0: // an empty one was made for us
		return &backfill.Error{
			Place: place, Found: "it is not installed in this database",
			Remedy: "install it with: pgbackfill schema install", Kind: backfill.ErrNotFound,
		}
	case !l.usable:
		return &backfill.Error{
			Place: place, Found: "this role may not use it",
			Remedy: "let its owner grant what is printed by: pgbackfill schema grants ROLE", Kind: backfill.ErrUnreadable,
		}
	case !slices.Contains(l.present, "migrations"):
		return damaged("it has no table migrations, but "+strings.Join(l.present, ", "), nil)
	}
	return nil
}

// found is what the versions say, whose reading ended with err.
func (l *looking) found(err error) (Schema, error) {
	if err != nil {
		return l.status, damaged("its table migrations cannot be read", translate(err))
	}
	return l.status, l.status.judge(l.present)
}

// judge says whether the versions that were applied are those that this program needs.
func (s Schema) judge(present []string) error {
	for i, a := range s.Applied {
		if a.Version != i+1 {
			return damaged(fmt.Sprintf("version %d follows version %d in its table migrations", a.Version, i), nil)
		}
		if a.Version <= s.Latest && a.Name != migrations[i].name {
			return damaged(fmt.Sprintf("version %d is called %q, and %q in this program", a.Version, a.Name, migrations[i].name), nil)
		}
	}
	switch {
	case s.Version == 0:
		return damaged("its table migrations is empty", nil)
	case s.Version > s.Latest:
		return &backfill.Error{
			Place: place, Found: fmt.Sprintf("it has version %d, made by pgbackfill %s", s.Version, s.Applied[len(s.Applied)-1].ToolVersion),
			Expected: fmt.Sprintf("at most version %d", s.Latest),
			Remedy:   "use that or a newer version of pgbackfill", Kind: backfill.ErrIncompatible,
		}
	case s.Version < s.Latest:
		return &backfill.Error{
			Place: place, Found: fmt.Sprintf("it has version %d", s.Version), Expected: fmt.Sprintf("version %d", s.Latest),
			Remedy: "bring it up to date with: pgbackfill schema upgrade", Kind: backfill.ErrIncompatible,
		}
	}
	for _, table := range tables {
		if !slices.Contains(present, table) {
			return damaged("the table "+table+" is missing", nil)
		}
	}
	return nil
}

func damaged(found string, err error) error {
	return &backfill.Error{
		Place: place, Found: "it is damaged: " + found, Err: err,
		Remedy: "restore it from a backup; or, where nothing in it is needed, DROP SCHEMA pgbackfill CASCADE and: pgbackfill schema install",
		Kind:   backfill.ErrUnreadable,
	}
}

const recordMigration = `INSERT INTO pgbackfill.migrations (version, name, tool_version) VALUES (%d, %s, %s)`

// record is the statement that writes down that m was applied.
func (m migration) record(toolVersion string) string {
	return fmt.Sprintf(recordMigration, m.version, strings.TrimSpace(pgsql.Literal(m.name)), strings.TrimSpace(pgsql.Literal(toolVersion)))
}

// SQL writes what [Install] does, for a migration tool of the user's own. It is one transaction's worth.
func SQL(w io.Writer, toolVersion string) error {
	var b strings.Builder
	b.WriteString("-- The schema of pgbackfill. To be run once, in one transaction, by the role that is to own it.\n")
	b.WriteString(createSchema + ";\n" + file(files, "migrations/bootstrap.sql"))
	b.WriteString(scriptOf(migrations, toolVersion))
	_, err := io.WriteString(w, b.String())
	return err
}

// scriptOf is the script of some versions, one after the other.
func scriptOf(list []migration, toolVersion string) string {
	var b strings.Builder
	for _, m := range list {
		fmt.Fprintf(&b, "\n-- Version %d: %s\n%s%s;\n", m.version, m.name, m.up, m.record(toolVersion))
	}
	return b.String()
}

// SQLDown writes what [Remove] does once no run is unfinished.
func SQLDown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("-- Removes pgbackfill's schema, and with it the record of every run.\n")
	for _, m := range slices.Backward(migrations) {
		b.WriteString(m.down)
	}
	b.WriteString(dropSchema + ";\n")
	_, err := io.WriteString(w, b.String())
	return err
}
