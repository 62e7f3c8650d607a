package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill/contract"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/jobs"
)

// ready has the gate of a proven job say so, without counters of statements.
func ready(t *testing.T, db *pgtest.DB, dir string) {
	t.Helper()
	says(t, must(t, db.DSN(), dir, "gate", "users.yaml", "--backup-at", time.Now().Add(-time.Hour).Format(time.RFC3339), "--waive", "statements", "--why", "nobody counts them", "--until", tomorrow()), "users: ready")
}

// try sends SQL in one message and returns the server's error, "" where there is none.
func try(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	_, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	if conn.PgConn().TxStatus() != 'I' && err != nil {
		if _, undone := conn.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll(); undone != nil {
			t.Fatal(undone)
		}
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// migration is a contract migration as a tool sends it.
const migration = "SELECT pgbackfill.assert_ready('users'); ALTER TABLE users DROP COLUMN full_name;"

// The contract migration fails, and the column stays, until the gate has said ready; it fails after that too where a
// transaction that was open meanwhile breaks the relation, for which it waits. Then it succeeds, as a role that owns the table and
// may use the schema, and leaves no trigger of the engine's behind.
//
// Made to fail: with the checks after the lock left out (the race drops the column), with the lock left out, with the check
// for a transaction block left out, with the triggers left in place (DROP COLUMN fails by their WHEN).
func TestContractMigration(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	proven(t, db, dir)
	owner, dsn := db.Role("")
	db.Exec("ALTER TABLE users OWNER TO " + owner + "; GRANT USAGE ON SCHEMA pgbackfill TO " + owner)
	tool, app := pgtest.Connect(t, dsn), pgtest.Connect(t, db.DSN())
	refusedAs := func(sql, says string) {
		t.Helper()
		if said := try(t, tool, sql); !strings.Contains(said, says) {
			t.Errorf("%s: %q, want %q", sql, said, says)
		}
		is(t, db, "SELECT attname FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'full_name'", "(full_name)")
	}
	inBlock := func(sql string) string { return "BEGIN; " + sql + " COMMIT" }
	refusedAs(inBlock(migration), "job users is not ready: its gate was never asked")
	mustExit(t, 6, db.DSN(), dir, "gate", "users.yaml")
	refusedAs(inBlock(migration), "its gate refused: ")
	ready(t, db, dir)
	other, otherDSN := db.Role("")
	db.Exec("GRANT ALL ON users TO " + other + "; GRANT USAGE ON SCHEMA pgbackfill TO " + other)
	for _, ask := range []string{"SELECT pgbackfill.assert_ready('users')", "SELECT pgbackfill.require_ready('users', NULL, false)"} {
		if said := try(t, pgtest.Connect(t, otherDSN), "BEGIN; "+ask+"; COMMIT"); !strings.Contains(said, "is for the owner of its tables to ask") {
			t.Errorf("as one who may write to the table, and does not own it: %q", said)
		}
	}
	refusedAs("SELECT pgbackfill.assert_ready('users'); -- and nothing else", "outside of a transaction block")
	refusedAs("BEGIN ISOLATION LEVEL REPEATABLE READ; "+migration+" COMMIT", "needs a transaction in READ COMMITTED, and this one is in REPEATABLE READ")
	refusedAs(inBlock("SELECT pgbackfill.assert_ready('users', '0 seconds');"), "and may be 00:00:00")

	// A transaction that is open while the migration asks.
	send(t, app, "SET application_name = 'old-billing'", "BEGIN", "INSERT INTO users VALUES (500, 'forgot')")
	refusedAs("BEGIN; SET LOCAL lock_timeout = '50ms'; "+migration+" COMMIT", "lock timeout")
	failed := make(chan string, 1)
	go func() {
		failed <- tryQuietly(t.Context(), tool, "BEGIN; SET LOCAL lock_timeout = '60s'; "+migration+" COMMIT")
	}()
	pgtest.Eventually(t, 20*time.Second, func() error {
		return db.QueryRow("SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted AND relation = 'users'::regclass").Scan(new(int))
	})
	send(t, app, "COMMIT")
	if said := <-failed; !strings.Contains(said, "a commit broke the relation") || !strings.Contains(said, "(old-billing)") || !strings.Contains(said, "INSERT INTO users VALUES (500") {
		t.Errorf("after the race it says %q", said)
	}
	if _, err := tool.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll(); err != nil {
		t.Fatal(err)
	}
	is(t, db, "SELECT id, full_name FROM users WHERE id = 500", "(500,forgot)")

	// Mended, verified again, and asked again.
	db.Exec("UPDATE users SET display_name = 'Forgot' WHERE id = 500; UPDATE users SET full_name = 'ann may', display_name = 'Ann May' WHERE id > 100 AND id < 107")
	db.Exec("UPDATE pgbackfill.drift SET at = at - interval '1 hour', xid = '3'")
	must(t, db.DSN(), dir, "verify", "users.yaml")
	ready(t, db, dir)
	if said := try(t, tool, inBlock(migration)); said != "" {
		t.Fatalf("it is ready, and the migration fails: %s", said)
	}
	is(t, db, "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'users'::regclass", "(0)")
	db.Exec("INSERT INTO users VALUES (600, 'New')")
	is(t, db, "SELECT asserted_at IS NOT NULL FROM pgbackfill.gates ORDER BY id DESC LIMIT 1", "(t)")
}

// tryQuietly is try in a goroutine.
func tryQuietly(ctx context.Context, conn *pgx.Conn, sql string) string {
	_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	if err == nil {
		return ""
	}
	return err.Error()
}

// What happens after the gate has said ready makes the migration fail, whatever it is; so does a verdict that was changed by
// accident.
//
// Made to fail: each line of require_ready left out lets its case through.
func TestAssertReadyAfterTheGate(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	proven(t, db, dir)
	ready(t, db, dir)
	page := must(t, db.DSN(), dir, "report", "users")
	if !strings.HasPrefix(page, "**proven**: ") || !strings.Contains(page, "the gate was ready at") || !strings.Contains(page, "| way-back | pass |") || !strings.Contains(page, "waived by") {
		t.Errorf("the report says\n%s", page)
	}
	conn := pgtest.Connect(t, db.DSN())
	nobody, _ := db.Role("")
	db.Exec("GRANT CREATE ON SCHEMA pgbackfill TO " + nobody) // or it could own no function there
	const assert = " SELECT pgbackfill.assert_ready('users'); ROLLBACK"
	const signed = "UPDATE pgbackfill.gates AS g SET digest = pgbackfill.gate_digest(g);" // by who may write there
	const othersChunk = "INSERT INTO pgbackfill.runs OVERRIDING SYSTEM VALUE SELECT (r).* FROM (SELECT jsonb_populate_record(r, jsonb_build_object('id', 79, 'job', 'other')) AS r FROM pgbackfill.runs AS r) AS another;" +
		"INSERT INTO pgbackfill.segments SELECT (s).* FROM (SELECT jsonb_populate_record(s, jsonb_build_object('run_id', 79)) AS s FROM pgbackfill.segments AS s) AS another;" +
		"INSERT INTO pgbackfill.chunks SELECT (c).* FROM (SELECT jsonb_populate_record(c, jsonb_build_object('run_id', 79, 'xid', pg_current_xact_id()::text)) AS c FROM pgbackfill.chunks AS c LIMIT 1) AS another;"
	for _, c := range []struct{ since, says string }{
		{"", ""},
		{"UPDATE users SET full_name = 'x y', display_name = 'X Y' WHERE id = 1; SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED;", ""},
		{"UPDATE users SET full_name = 'x y' WHERE id = 1; SET CONSTRAINTS ALL IMMEDIATE;", "a commit broke the relation"},
		{"ALTER SEQUENCE pgbackfill.tripwire_unwritten_users RESTART; ALTER TABLE pgbackfill.drift RENAME TO gone; UPDATE users SET full_name = 'x y' WHERE id = 1; SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE pgbackfill.gone RENAME TO drift;", "could not be written to pgbackfill.drift"},
		{"ALTER FUNCTION pgbackfill.tripwire_users() OWNER TO " + nobody + "; UPDATE pgbackfill.tripwires SET function_xmin = (SELECT xmin FROM pg_proc WHERE oid = function_oid);", "role " + nobody + ", with whose rights the tripwire runs, may not write"},
		{"ALTER TABLE users DISABLE TRIGGER pgbackfill_tripwire_update_users;", "is switched off, gone, or not the one"},
		{"ALTER TABLE users DISABLE TRIGGER ALL; ALTER TABLE users ENABLE ALWAYS TRIGGER pgbackfill_tripwire_update_users; ALTER TABLE users ENABLE ALWAYS TRIGGER pgbackfill_tripwire_insert_users;", "not the one that was there"},
		{"ALTER FUNCTION pgbackfill.tripwire_users() SET work_mem = '1MB';", "is switched off, gone, or not the one"},
		{"UPDATE pgbackfill.gates SET report_max_age = '1 year';", "changed since"},
		{"UPDATE pgbackfill.gates SET began_at = began_at - interval '2 hours', digest = '';", "changed since"},
		{"UPDATE pgbackfill.gates SET asked = 'x';", "changed since"},
		{"UPDATE pgbackfill.gates SET asked = '';", "its gate was asked by an earlier version of pgbackfill"},
		{"UPDATE pgbackfill.verifications SET asked = 'x';", "verification 1 asked other checks than those of its gate"},
		{"UPDATE pgbackfill.verifications SET asked = '';", "verification 1 was made by an earlier version of pgbackfill"},
		{"UPDATE pgbackfill.tripwires SET unwritten = NULL;", "the tripwire was made by an earlier version of pgbackfill"},
		{"DROP SEQUENCE pgbackfill.tripwire_unwritten_users;", "the count of what the tripwire could not write down is gone"},
		{"UPDATE pgbackfill.gates SET waived_until = now() - interval '1 minute';" + signed, "a waiver that its gate rests on has ended"},
		{"UPDATE pgbackfill.gates SET began_at = began_at - interval '2 hours';" + signed, "its gate is 02:00:0"},
		{"UPDATE pgbackfill.gates SET watched = false;" + signed + "DROP TRIGGER pgbackfill_tripwire_update_users ON users;", "a trigger was changed or made anew"},
		{"INSERT INTO pgbackfill.runs OVERRIDING SYSTEM VALUE SELECT (r).* FROM (SELECT jsonb_populate_record(r, jsonb_build_object('id', 78)) AS r FROM pgbackfill.runs AS r) AS another;", "run 1 is not its newest any more"},
		{"UPDATE pgbackfill.gates SET watched = false;" + signed + othersChunk, "run 79 of job other changed rows of the table since"},
		{othersChunk, ""}, // which the tripwire has looked at
		{"UPDATE pgbackfill.verifications SET verdict = 'mismatched', mismatches = 2;", "verification 1 found 2 wrong rows"},
		{"INSERT INTO pgbackfill.quarantine (run_id, segment, seq, key, rows, step, sqlstate, message, detail, resolved_at) VALUES (1, 1, 1, '{7}', 1, 'update', '22012', 'x', '', clock_timestamp());", "rows were taken out of quarantine since"},
		{"SELECT pgbackfill.require_ready('users', NULL, true);", "which locks the tables first"},
		{"UPDATE pgbackfill.verifications SET voided_at = now();", "voided by a repair"},
		{"UPDATE pgbackfill.verifications SET finished_at = now() - interval '2 hours';", "verification 1 is 02:00:00"},
		{"UPDATE pgbackfill.quarantine SET resolved_at = NULL; INSERT INTO pgbackfill.quarantine (run_id, segment, seq, key, rows, step, sqlstate, message, detail) VALUES (1, 1, 1, '{7}', 1, 'update', '22012', 'x', '');", "quarantine"},
		{"UPDATE pgbackfill.runs SET state = 'undone';", "run 1 is not its newest any more, or not finished"},
		{"INSERT INTO pgbackfill.undos (run_id, how, began_by) VALUES (1, 'set', 'ann');", "run 1 is being taken back"},
		{"ALTER TABLE users RENAME TO people; ALTER TABLE people RENAME TO users;", ""},
		{"ALTER TABLE users RENAME TO users_old; CREATE TABLE users (LIKE users_old);", "a table, a column, a partition or a trigger was changed or made anew since"},
		{"ALTER TABLE users RENAME display_name TO name;", "a table, a column, a partition or a trigger was changed or made anew since"},
		{"CREATE TABLE more () INHERITS (users);", "is switched off, gone, or not the one"},
		{"CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER nothing BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION nothing();", "a table, a column, a partition or a trigger was changed"},
		{"DELETE FROM pgbackfill.chunks WHERE ctid IN (SELECT ctid FROM pgbackfill.chunks ORDER BY seq DESC LIMIT 1);", "chunks were written since"},
	} {
		said := try(t, conn, "BEGIN; "+c.since+assert)
		if (said == "") != (c.says == "") || !strings.Contains(said, c.says) {
			t.Errorf("after %s it says %q, want %q", c.since, said, c.says)
		}
	}
	for _, c := range []struct{ since, hint string }{ // what to type
		{"UPDATE pgbackfill.gates SET began_at = began_at - interval '2 hours';" + signed, "Run: pgbackfill gate FILE"},
		{"UPDATE pgbackfill.verifications SET voided_at = now();", "Run: pgbackfill verify FILE, then: pgbackfill gate FILE"},
		{"ALTER TABLE users DISABLE TRIGGER pgbackfill_tripwire_update_users;", "Run: pgbackfill tripwire install FILE, then: pgbackfill verify FILE"},
		{"UPDATE pgbackfill.gates SET verdict = 'refused', conditions = '[{\"id\": \"soak\", \"status\": \"fail\", \"evidence\": [\"twice\", \"twice\"]}]';", "pgbackfill gate FILE"},
	} {
		_, err := conn.PgConn().Exec(t.Context(), "BEGIN; "+c.since+assert).ReadAll()
		var server *pgconn.PgError
		if !errors.As(err, &server) || !strings.Contains(server.Hint, c.hint) || strings.Contains(server.Message, "refused") && server.Detail != "soak: twice" {
			t.Errorf("after %s: %+v", c.since, server)
		}
		if _, err := conn.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	// Outside of a transaction, as a driver sends it in the extended protocol, and in a block that holds nothing else.
	for _, alone := range []string{"SELECT pgbackfill.assert_ready($1)", "DO $$ BEGIN PERFORM pgbackfill.assert_ready('users'); END $$"} {
		var args []any
		if strings.Contains(alone, "$1)") {
			args = append(args, "users")
		}
		_, err := conn.Exec(t.Context(), alone, args...)
		if err == nil || !strings.Contains(err.Error(), "is still there at the end of its transaction") && !strings.Contains(err.Error(), "outside of a transaction block") {
			t.Errorf("%s: %v", alone, err)
		}
	}
	mustExit(t, 6, db.DSN(), dir, "gate", "users.yaml") // no backup is attested
	if page := must(t, db.DSN(), dir, "report", "users"); !strings.HasPrefix(page, "**refused**: ") {
		t.Errorf("the report says\n%s", page)
	}
	if said := try(t, conn, "BEGIN; UPDATE pgbackfill.gates SET verdict = 'ready', conditions = '[]';"+assert); !strings.Contains(said, "changed since") {
		t.Errorf("a verdict that was changed by hand: %q", said)
	}
	if _, err := conn.Exec(t.Context(), "SELECT pgbackfill.assert_ready('another')"); err == nil || !strings.Contains(err.Error(), "outside of a transaction block") {
		t.Errorf("alone, as a driver sends it: %v", err)
	}
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var server *pgconn.PgError
	if _, err = tx.Exec(t.Context(), "SELECT pgbackfill.assert_ready($1)", "another"); !errors.As(err, &server) || server.Code != "55000" || server.Hint == "" {
		t.Errorf("of a job that there is not: %v", err)
	}
	_ = tx.Rollback(t.Context()) // it has failed already
}

// A waiver for what could not be known does not cover what is known to be wrong later.
//
// Made to fail: without unwaivable() the gate is ready with wrong rows.
func TestWaiverDoesNotCoverWrongRows(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	proven(t, db, dir)
	ask := func(code int) string {
		t.Helper()
		args := []string{"gate", "users.yaml", "--backup-at", time.Now().Add(-time.Hour).Format(time.RFC3339), "--why", "as agreed", "--until", tomorrow()}
		for _, id := range []string{"statements", "verified", "soak", "coverage"} {
			args = append(args, "--waive", id)
		}
		return mustExit(t, code, db.DSN(), dir, args...)
	}
	ask(0)
	db.Exec("UPDATE users SET full_name = 'x y' WHERE id = 1") // which the tripwire sees
	says(t, ask(6), "fail soak", "does not cover what is known to be wrong")
	db.Exec("UPDATE users SET display_name = 'X Y' WHERE id = 1; DELETE FROM pgbackfill.drift")
	ask(0)
	db.Exec("ALTER TABLE users DISABLE TRIGGER ALL; UPDATE users SET display_name = 'wrong' WHERE id = 2")
	mustExit(t, exitMismatch, db.DSN(), dir, "verify", "users.yaml")
	says(t, ask(6), "fail verified", "1 wrong rows")
}

// What comes while the gate looks is not what it looked at: a verification that ends with wrong rows, or a chunk, between one
// condition and the verdict makes the migration fail.
//
// Made to fail: with the verification and the ledger taken as they were when the verdict was written down, it passed.
func TestAssertReadyAfterARaceWithTheGate(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	proven(t, db, dir)
	ready(t, db, dir) // and waives what it takes
	list, err := jobs.ReadFile(dir + "/users.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ meanwhile, after, says string }{
		{
			`INSERT INTO pgbackfill.verifications (job, run_id, spec_hash, checks_hash, table_oid, table_name, state, verdict, started_at, finished_at, rows_expected, mismatches, server, in_recovery, role, tool_version, who, process)
			 SELECT job, run_id, spec_hash, checks_hash, table_oid, table_name, state, 'mismatched', started_at, clock_timestamp(), rows_expected, 1, server, in_recovery, role, tool_version, who, process FROM pgbackfill.verifications`,
			"DELETE FROM pgbackfill.verifications WHERE verdict = 'mismatched'", "ended after it began, is mismatched",
		},
		{
			"INSERT INTO pgbackfill.chunks SELECT (c).* FROM (SELECT jsonb_populate_record(c, jsonb_build_object('seq', c.seq + 1000)) AS c FROM pgbackfill.chunks AS c LIMIT 1) AS another",
			"DELETE FROM pgbackfill.chunks WHERE seq > 1000", "chunks were written since",
		},
	} {
		conn := pgtest.Connect(t, db.DSN())
		r, err := contract.Gate(t.Context(), contract.Options{
			Job: list[0], Conn: conn, BackupAt: time.Now().Add(-time.Hour), Who: "ann@test", Tool: "test",
			Triggers: func(ctx context.Context) (contract.Triggers, error) {
				db.Exec(c.meanwhile)
				return triggersOf(ctx, conn, list[0])
			},
		})
		if err != nil || r.Verdict != contract.Ready {
			t.Fatalf("%v; the gate says %s: %+v", err, r.Verdict, notPassed(r))
		}
		if said := try(t, conn, "BEGIN; SELECT pgbackfill.assert_ready('users'); ROLLBACK"); !strings.Contains(said, c.says) {
			t.Errorf("it says %q, want %q", said, c.says)
		}
		db.Exec(c.after)
	}
}

// The two ways in which a migration tool that backfills by itself (pgroll) loses data: a backfill that is killed half-way and
// completed all the same, and a trigger that fails and whose error is swallowed. Both are refused, and the column stays.
//
// Made to fail: with coverage taken from the run's state of a run that somebody set to finished; without the tripwire.
func TestWhatLosesDataIsRefused(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, db *pgtest.DB, dir string){
		"killed half-way": func(t *testing.T, db *pgtest.DB, dir string) {
			t.Helper()
			write(t, dir, "users.yaml", contractJob)
			mustExit(t, 130, db.DSN(), dir, "run", "--yes", "--chunk-rows", "10", "--max-chunks", "2", "users.yaml")
			db.Exec("UPDATE pgbackfill.runs SET state = 'finished', finished_at = now()") // somebody calls it done
			mustExit(t, 3, db.DSN(), dir, "verify", "users.yaml")
			says(t, mustExit(t, 6, db.DSN(), dir, "gate", "users.yaml"), "fail coverage", "is committed through {20}", "fail verified", "40 wrong rows")
		},
		"a trigger that fails": func(t *testing.T, db *pgtest.DB, dir string) {
			t.Helper()
			db.Exec("CREATE FUNCTION shown(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN initcap($1); END'")
			write(t, dir, "users.yaml", strings.NewReplacer("initcap(", "public.shown(", "by: application", "by: trigger", "soak: 1s", "soak: 1h").Replace(contractJob))
			must(t, db.DSN(), dir, "run", "--yes", "users.yaml")
			db.Exec("CREATE OR REPLACE FUNCTION shown(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1 / 0; END'")
			db.Exec("INSERT INTO users (id, full_name) VALUES (200, 'swallowed')")
			db.Exec("CREATE OR REPLACE FUNCTION shown(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN initcap($1); END'")
			is(t, db, "SELECT id, display_name FROM users WHERE id = 200", "(200,)")
			mustExit(t, 3, db.DSN(), dir, "verify", "users.yaml")
			says(t, mustExit(t, 6, db.DSN(), dir, "gate", "users.yaml"), "fail verified", "1 wrong rows", "fail soak", "division by zero")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, dir := pgtest.New(t), t.TempDir()
			db.Exec(`CREATE TABLE users (id int PRIMARY KEY, full_name text, display_name text);
				INSERT INTO users SELECT g, 'user ' || g FROM generate_series(1, 60) AS g; ANALYZE users`)
			lose(t, db, dir)
			conn := pgtest.Connect(t, db.DSN())
			if said := try(t, conn, "BEGIN; "+migration+" COMMIT"); !strings.Contains(said, "its gate refused") {
				t.Errorf("the migration says %q", said)
			}
			is(t, db, "SELECT count(*) > 59 FROM users WHERE full_name IS NOT NULL", "(t)")
		})
	}
}
