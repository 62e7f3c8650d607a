package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// InstallOptions say how the schema is installed. The zero value works.
type InstallOptions struct {
	// Version is the tool's, recorded with the schema; the default is "dev".
	Version string
	// AcceptPublications installs although a publication would publish the schema's tables.
	AcceptPublications bool
}

const dropSchema = "DROP TABLE pgbackfill.migrations;\nDROP SCHEMA pgbackfill"

// installLock keeps two installers apart. It ends with the transaction, so that a pooler may stand between.
const installLock = `SELECT pg_advisory_xact_lock(hashtextextended('pgbackfill.migrations', 0))`

// patience bounds waiting for another installer by the statement's time, not by that of a lock.
var patience = pgsql.SetLocal(pgsql.Setting{Name: "lock_timeout", Value: "30s"})

// mayCreate asks whether there is a schema, whether this role may create one and whether it may create tables in it.
const mayCreate = `SELECT n.oid IS NOT NULL, has_database_privilege(current_database(), 'CREATE'),
       COALESCE(has_schema_privilege(n.oid, 'CREATE'), false), current_user::text, current_database()::text
  FROM (SELECT 1) AS here LEFT JOIN pg_namespace AS n ON n.nspname = 'pgbackfill'`

// publications are those that publish every table; from version 15 also those that publish every table of a schema.
const (
	publications       = `SELECT pubname::text FROM pg_publication WHERE puballtables ORDER BY pubname`
	schemaPublications = `SELECT p.pubname::text FROM pg_publication_namespace AS m
  JOIN pg_publication AS p ON p.oid = m.pnpubid JOIN pg_namespace AS n ON n.oid = m.pnnspid
 WHERE n.nspname = 'pgbackfill' ORDER BY p.pubname`
)

const serverVersion = `SELECT current_setting('server_version_num')::integer`

const unfinishedRuns = `SELECT id, job, state FROM pgbackfill.runs WHERE state NOT IN ('finished', 'cancelled', 'undone') ORDER BY id`

// versionOfUndo is the version of the schema from which on runs are taken back.
const versionOfUndo = 2

const unfinishedUndos = `SELECT r.id, r.job, 'being taken back' FROM pgbackfill.runs AS r JOIN pgbackfill.undos AS u ON u.run_id = r.id WHERE u.ended_at IS NULL ORDER BY r.id`

// Install makes the schema, or brings it up to date; where it is up to date it does nothing.
// Any number of processes may do so at once. Nothing is written where a publication would
// publish the new tables: the first ledger row would stop a subscriber that lacks them.
func Install(ctx context.Context, conn *pgx.Conn, opts InstallOptions) error {
	return migrate(ctx, conn, opts, true)
}

// Upgrade brings the schema up to date. It is a [backfill.ErrNotFound] where it is not installed.
func Upgrade(ctx context.Context, conn *pgx.Conn, opts InstallOptions) error {
	return migrate(ctx, conn, opts, false)
}

func migrate(ctx context.Context, conn *pgx.Conn, opts InstallOptions, install bool) error {
	if opts.Version == "" {
		opts.Version = "dev"
	}
	if err := backfill.Supported(conn.PgConn()); err != nil {
		return err
	}
	if _, err := Status(ctx, conn); err == nil { // what is there already takes no lock
		return nil
	}
	err := inside(ctx, conn, func(t *tx) error {
		if err := t.send(step{Statement: patience}, step{Statement: pgsql.Statement{SQL: installLock}}); err != nil {
			return err
		}
		status, err := look(t)
		missing := errors.Is(err, backfill.ErrNotFound)
		older := errors.Is(err, backfill.ErrIncompatible) && status.Version < status.Latest
		if !(missing && install) && !older {
			return err // nil where nothing is to be done
		}
		if !opts.AcceptPublications {
			if err := unpublished(t); err != nil {
				return err
			}
		}
		if missing {
			if err := bootstrap(t); err != nil {
				return err
			}
		}
		return t.apply(migrations[status.Version:], opts.Version)
	})
	return refine(err, "installing")
}

// script runs statements that have no parameters, in one round trip.
func (t *tx) script(parts ...string) error {
	_, err := t.run(strings.Join(parts, ";\n"))
	return err
}

// run sends a script and returns what those of its statements said that were carried out.
func (t *tx) run(sql string) ([]*pgconn.Result, error) {
	if t.opening != nil {
		if err := t.send(); err != nil {
			return nil, err
		}
	}
	return t.conn.PgConn().Exec(t.ctx, sql).ReadAll()
}

// apply brings the schema from one version to the next, through all of them in one round trip. What records a version is a script's only INSERT.
func (t *tx) apply(list []migration, toolVersion string) error {
	results, err := t.run(scriptOf(list, toolVersion))
	if err == nil {
		return nil
	}
	applied := 0
	for _, r := range results {
		if r.Err == nil && r.CommandTag.Insert() {
			applied++
		}
	}
	failed := list[min(applied, len(list)-1)]
	return fmt.Errorf("version %d (%s): %w", failed.version, failed.name, err)
}

// bootstrap makes the schema, unless an empty one was made for us, and its table of versions.
func bootstrap(t *tx) error {
	var there, mayDatabase, maySchema bool
	var role, database string
	err := t.send(step{Statement: pgsql.Statement{SQL: mayCreate}, read: one(&there, &mayDatabase, &maySchema, &role, &database)})
	if err != nil {
		return err
	}
	role, database = pgsql.Ident(role), pgsql.Ident(database)
	switch {
	case there && !maySchema:
		return notAllowed("the role "+role+" may not create tables in it", "GRANT USAGE, CREATE ON SCHEMA pgbackfill TO "+role, nil)
	case there:
		return t.script(file(files, "migrations/bootstrap.sql"))
	case !mayDatabase:
		return notAllowed("the role "+role+" may not create a schema in the database "+database, "GRANT CREATE ON DATABASE "+database+" TO "+role, nil)
	}
	return t.script(createSchema, file(files, "migrations/bootstrap.sql"))
}

func notAllowed(found, grant string, err error) error {
	return &backfill.Error{
		Place: place, Found: found, Err: err,
		Remedy: "as the database's owner: " + grant + "; or run there what is printed by: pgbackfill schema sql", Kind: backfill.ErrInput,
	}
}

// refine makes errors of rights into errors for people.
func refine(err error, doing string) error {
	var made *backfill.Error
	switch {
	case err == nil || errors.As(err, &made):
		return err
	case pgerr.Code(err) == "42501":
		return notAllowed("this role may not do that", "GRANT CREATE ON DATABASE … TO this role", err)
	}
	return fmt.Errorf("%s the schema pgbackfill: %w", doing, err)
}

// unpublished is an error where a publication would publish the tables of the schema.
func unpublished(t *tx) error {
	var version int
	var names []string
	read := func(rows pgx.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, pgsql.Ident(name))
		return err
	}
	if err := t.send(step{Statement: pgsql.Statement{SQL: serverVersion}, read: one(&version)},
		step{Statement: pgsql.Statement{SQL: publications}, read: read}); err != nil {
		return err
	}
	if version >= 150000 {
		if err := t.send(step{Statement: pgsql.Statement{SQL: schemaPublications}, read: read}); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &backfill.Error{
		Place:    place,
		Found:    "its tables would be published by " + strings.Join(names, ", ") + ", and the first row of the ledger would stop every subscriber that lacks them",
		Expected: "no publication FOR ALL TABLES, or of the schema pgbackfill",
		Remedy: "list the tables in the publication one by one; or make ours on every subscriber too (pgbackfill schema sql) " +
			"and install with --accept schema-published",
		Kind: backfill.ErrInput,
	}
}

// Remove drops the schema with all that is in it. It is refused while a run is unfinished, or is being taken back, and
// where the schema holds what is not pgbackfill's.
func Remove(ctx context.Context, conn *pgx.Conn) error {
	err := inside(ctx, conn, func(t *tx) error {
		if err := t.send(step{Statement: pgsql.Statement{SQL: installLock}}); err != nil {
			return err
		}
		status, err := look(t)
		if err != nil && !(errors.Is(err, backfill.ErrIncompatible) && status.Version < status.Latest) {
			return err
		}
		// No run may begin between the question and the removal.
		if err := t.script("LOCK TABLE pgbackfill.runs IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		if err := noneUnfinished(t, status.Version); err != nil {
			return err
		}
		for v := status.Version; v > 0; v-- {
			if err := t.script(migrations[v-1].down); err != nil {
				return err
			}
		}
		return t.script(dropSchema)
	})
	return refine(err, "removing")
}

// Removable is the error with which [Remove] would refuse now; nil is none.
func Removable(ctx context.Context, conn *pgx.Conn) error {
	err := inside(ctx, conn, func(t *tx) error {
		status, err := look(t)
		if err != nil && !(errors.Is(err, backfill.ErrIncompatible) && status.Version < status.Latest) {
			return err
		}
		return noneUnfinished(t, status.Version)
	})
	return refine(err, "removing")
}

// goesAlong lists what is outside of the schema, or cannot be made anew, and goes with it.
const goesAlong = `SELECT 'the trigger ' || quote_ident(t.tgname) || ' of ' || t.tgrelid::regclass::text
  FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_class AS c ON c.oid = t.tgrelid
 WHERE p.pronamespace = to_regnamespace('pgbackfill') AND c.relnamespace <> p.pronamespace AND NOT t.tgisinternal AND t.tgparentid = 0
 UNION ALL
SELECT 'what run ' || substring(c.relname FROM '^undo_([0-9]+)_') || ' kept for undo in ' || c.oid::regclass::text
  FROM pg_class AS c WHERE c.relnamespace = to_regnamespace('pgbackfill') AND c.relkind = 'r' AND c.relname ~ '^undo_[0-9]+_'
 ORDER BY 1`

// GoesAlong lists, for people, what [Remove] takes along besides what is recorded: triggers of other tables, and the rows kept for undo.
func GoesAlong(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	var list []string
	err := inside(ctx, conn, func(t *tx) error {
		return t.send(step{Statement: pgsql.Statement{SQL: goesAlong}, read: func(rows pgx.Rows) error {
			var what string
			err := rows.Scan(&what)
			list = append(list, what)
			return err
		}})
	})
	return list, refine(err, "removing")
}

// noneUnfinished is an error while somebody may still need a schema of a version.
func noneUnfinished(t *tx, version int) error {
	var runs, ends []string
	look := func(sql, command string) error {
		return t.send(step{Statement: pgsql.Statement{SQL: sql}, read: func(rows pgx.Rows) error {
			var id int64
			var job, state string
			err := rows.Scan(&id, &job, &state)
			runs = append(runs, fmt.Sprintf("run %d of %s (%s)", id, job, state))
			ends = append(ends, command+job)
			return err
		}})
	}
	err := look(unfinishedRuns, "pgbackfill cancel ")
	if err == nil && version >= versionOfUndo {
		err = look(unfinishedUndos, "pgbackfill undo, with the file of ")
	}
	if err != nil || len(runs) == 0 {
		return err
	}
	return &backfill.Error{
		Place: place, Found: "it holds unfinished runs: " + strings.Join(runs, ", "), Expected: "none",
		Remedy: "let them finish, or end them with: " + strings.Join(ends, "; "), Kind: backfill.ErrInput,
	}
}
