package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// What a migration relies on: the column that it drops is known by its number, whatever has its name afterwards; the values by the
// functions that made them; and what it reads while the table is shut does not grow with what was recorded in months.
//
// Made to fail: with the columns compared by name (the swap is undone, the renamed column passes); without functions in the
// verification or in require_ready; with pgbackfill.drift read by its job's index, or whole; with the owner asked of tables that are
// there alone, a role that may only use the schema is told the last drift's key and statement; with 'run' for an undo that goes on.
func TestWhatAMigrationReliesOn(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	const made = "CREATE OR REPLACE FUNCTION inner_norm(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT initcap($1)';"
	const another = "CREATE OR REPLACE FUNCTION inner_norm(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)';"
	db.Exec(`CREATE TABLE users (id int PRIMARY KEY, full_name text, display_name text);` + made + `
		CREATE FUNCTION norm(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN public.inner_norm($1); END';
		INSERT INTO users SELECT g, 'user ' || g FROM generate_series(1, 60) AS g; ANALYZE users`)
	write(t, dir, "users.yaml", strings.Replace(contractJob, "initcap(", "public.norm(", 1))
	must(t, db.DSN(), dir, "run", "--yes", "users.yaml")
	for i := range 6 {
		db.Exec(fmt.Sprintf("INSERT INTO users VALUES (%d, 'ann lee', 'Ann Lee')", 101+i))
	}
	must(t, db.DSN(), dir, "verify", "users.yaml")
	db.Exec("UPDATE pgbackfill.tripwires SET installed_at = installed_at - interval '1 hour';" + another)
	says(t, mustExit(t, 6, db.DSN(), dir, "gate", "users.yaml"), "fail verified", "a function that the job calls, public.inner_norm(text), was made, replaced or dropped after verification 1 began")
	db.Exec(made + `INSERT INTO pgbackfill.drift (job, table_oid, operation, key, role, xid, at, writes)
		SELECT 'users', 'users'::regclass, 'UPDATE', '{1}', 'app', '4', now() - interval '30 days' + g * interval '1 second', 1 FROM generate_series(1, 3000) AS g`)
	must(t, db.DSN(), dir, "verify", "users.yaml")
	ready(t, db, dir)

	conn := pgtest.Connect(t, db.DSN())
	try := func(sql string) *pgconn.PgError {
		t.Helper()
		_, err := conn.PgConn().Exec(t.Context(), "BEGIN;"+sql+"; ROLLBACK").ReadAll()
		if _, undone := conn.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll(); undone != nil {
			t.Fatal(undone)
		}
		var server *pgconn.PgError
		if err != nil && !errors.As(err, &server) {
			t.Fatal(err)
		}
		if server == nil {
			return &pgconn.PgError{}
		}
		return server
	}
	const assert, end = "SELECT pgbackfill.assert_ready('users');", "SET CONSTRAINTS ALL IMMEDIATE"
	for _, c := range []struct{ sql, says, hint string }{
		{assert + "ALTER TABLE users DROP COLUMN full_name; ALTER TABLE users RENAME display_name TO full_name;" + end, "", ""},
		{assert + "ALTER TABLE users DROP COLUMN full_name; ALTER TABLE users ADD COLUMN full_name text;" + end, "", ""},
		{assert + "ALTER TABLE users RENAME TO people; ALTER TABLE people DROP COLUMN full_name;" + end, "", ""},
		{assert + "DROP TABLE users;" + end, "", ""},
		{assert + end, "public.users.full_name is still there", ""},
		{assert + "ALTER TABLE users RENAME full_name TO old_name;" + end, "public.users.old_name is still there", ""},
		{assert + "ALTER TABLE users RENAME TO users_old; CREATE TABLE users (id int);" + end, "public.users_old.full_name is still there", ""},
		{another + assert, "a function that the job calls was made, replaced or dropped since: public.inner_norm(text)", "Run: pgbackfill verify FILE"},
		{"CREATE FUNCTION public.norm(varchar) RETURNS text LANGUAGE sql AS 'SELECT $1';" + assert, "dropped since: public.norm(character varying)", ""},
		{"CREATE FUNCTION public.others(text) RETURNS text LANGUAGE sql AS 'SELECT $1';" + assert, "", ""},
		{"UPDATE pgbackfill.gates SET attributes = NULL;" + assert, "its gate was asked by an earlier version of pgbackfill", "Run: pgbackfill gate FILE"},
		{"UPDATE pgbackfill.gates SET attributes = '{1}';" + assert, "what its gate said was changed since", ""},
		{"UPDATE pgbackfill.runs SET state = 'undone'; INSERT INTO pgbackfill.undos (run_id, how, began_by) VALUES (1, 'set', 'ann');" + assert, "run 1 is being taken back", "Run: pgbackfill undo FILE"},
		{"UPDATE pgbackfill.runs SET state = 'undone'; INSERT INTO pgbackfill.undos (run_id, how, began_by, ended_at) VALUES (1, 'set', 'ann', now());" + assert, "run 1 was taken back", "Run: pgbackfill run FILE"},
	} {
		server := try(c.sql)
		if (server.Message == "") != (c.says == "") || !strings.Contains(server.Message, c.says) || !strings.HasPrefix(server.Hint, c.hint) {
			t.Errorf("%s: %q, and %q; want %q, and %q", c.sql, server.Message, server.Hint, c.says, c.hint)
		}
	}

	// What it reads of what was recorded before the gate.
	send(t, conn, "BEGIN", "SELECT pgbackfill.require_ready('users', NULL, false)")
	var read int
	if err := conn.QueryRow(t.Context(), "SELECT sum(seq_tup_read + COALESCE(idx_tup_fetch, 0)) FROM pg_stat_xact_all_tables WHERE relid IN ('pgbackfill.drift'::regclass, 'pgbackfill.chunks'::regclass)").Scan(&read); err != nil || read > 200 {
		t.Errorf("it reads %d rows, %v", read, err)
	}
	send(t, conn, "ROLLBACK")

	// Once the table is gone, nobody owns it.
	other, dsn := db.Role("")
	db.Exec("UPDATE users SET full_name = 'secret of ann' WHERE id = 1; GRANT USAGE ON SCHEMA pgbackfill TO " + other)
	must(t, db.DSN(), dir, "tripwire", "remove", "users.yaml")
	db.Exec("ALTER TABLE users RENAME TO kept")
	db.Exec("CREATE TABLE users AS SELECT * FROM kept; ALTER TABLE users ADD PRIMARY KEY (id); DROP TABLE kept")
	if _, err := pgtest.Connect(t, dsn).Exec(t.Context(), "SELECT pgbackfill.require_ready('users', NULL, false)"); err == nil || !strings.Contains(err.Error(), "job users is not ready: its table is gone") {
		t.Errorf("as one who may use the schema: %v", err)
	}

	// A tripwire that is made anew takes the old records away, but for the last ones.
	must(t, db.DSN(), dir, "tripwire", "install", "users.yaml")
	is(t, db, "SELECT count(*), count(*) FILTER (WHERE xid > '4') FROM pgbackfill.drift", "(100,1)")
}
