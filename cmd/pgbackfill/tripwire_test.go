package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// writtenTwice has an application that writes both.
const writtenTwice = `name: names
table: public.people
update:
  set:
    shown: initcap(t.name)
    short: upper(left(t.name, 3))
dual_write: {by: application}
`

const driftKeys = "SELECT id, operation, key, sqlstate FROM pgbackfill.drift ORDER BY id"

// Every commit that leaves a row without its values is recorded, with who made it and by which statements, and goes
// through; one that writes both, in one statement or two, is not, and neither is one about something else.
//
// Made to fail: without WHEN (an update of the age of an unfilled row is recorded), INITIALLY IMMEDIATE (two statements trip
// it), without ENABLE ALWAYS (replica), with current_query() alone (COMMIT is what is named), without the look for the row as
// it stands (the row that was deleted or mended), with the chunk's setting alone to tell it by, without the pinned search_path (evil.initcap), with SECURITY INVOKER.
func TestTripwireNamesWhoForgot(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	named(t, db)
	write(t, dir, "names.yaml", writtenTwice)
	says(t, must(t, db.DSN(), dir, "tripwire", "install", "names.yaml"), "names: the tripwire is installed on public.people; it watches id, name, shown, short")
	says(t, must(t, db.DSN(), dir, "tripwire", "install", "names.yaml"), "the tripwire is already installed on public.people")
	app := application(t, db, "people")
	db.Exec("CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC; CREATE FUNCTION evil.initcap(text) RETURNS text LANGUAGE sql AS 'SELECT $1'")
	// What a session, a role or a database was given for good is not the word of a chunk.
	send(t, app, "SET application_name = 'billing'", "SET search_path = evil, public, pg_catalog", "SET pgbackfill.job = 'names'", "SET pgbackfill.xid = '1'")
	const both = "INSERT INTO people (id, name, shown, short) VALUES (%d, 'ann lee', 'Ann Lee', 'ANN')"
	send(t, app, strings.ReplaceAll(both, "%d", "1001"),
		"BEGIN; INSERT INTO people (id, name) VALUES (1002, 'bo ek'); UPDATE people SET shown = 'Bo Ek', short = 'BO ' WHERE id = 1002; COMMIT",
		"BEGIN; UPDATE people SET name = 'cy fa' WHERE id = 1001; UPDATE people SET shown = 'Cy Fa', short = 'CY ' WHERE id = 1001; COMMIT",
		"BEGIN; INSERT INTO people (id, name) VALUES (1003, 'gone'); DELETE FROM people WHERE id = 1003; COMMIT",
		"BEGIN; INSERT INTO people (id, name) VALUES (1004, 'back'); ROLLBACK",
		"UPDATE people SET age = age + 1", // none of the 300 is filled yet
		"BEGIN; SAVEPOINT a; UPDATE people SET name = 'x' WHERE id = 1001; ROLLBACK TO a; UPDATE people SET age = 5 WHERE id = 1001; COMMIT")
	is(t, db, driftKeys, "")
	send(t, app, "INSERT INTO people (id, name) VALUES (1010, 'di go')", // one statement
		"BEGIN; UPDATE people SET name = 'eva' WHERE id = 1001; SELECT 1; COMMIT",                                        // in a transaction
		"BEGIN; INSERT INTO people (id, name) VALUES (1011, 'f'); UPDATE people SET age = 7 WHERE id = 1011; COMMIT",     // the later one is about something else
		"BEGIN; "+strings.ReplaceAll(both, "%d", "1012")+"; UPDATE people SET shown = 'ann lee' WHERE id = 1012; COMMIT", // the new one alone
		"BEGIN; SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO people (id, name) VALUES (1013, 'h'); UPDATE people SET shown = 'H', short = 'H' WHERE id = 1013; COMMIT")
	if _, err := app.CopyFrom(t.Context(), pgx.Identifier{"people"}, []string{"id", "name"}, pgx.CopyFromRows([][]any{{1014, "copied"}})); err != nil {
		t.Fatal(err)
	}
	db.Exec("BEGIN; SET LOCAL session_replication_role = replica; INSERT INTO people (id, name) VALUES (1015, 'replica'); COMMIT")
	is(t, db, driftKeys, `(1,INSERT,{1010},) (2,UPDATE,{1001},) (3,INSERT,{1011},) (4,UPDATE,{1012},) (5,INSERT,{1013},) (6,INSERT,{1014},) (7,INSERT,{1015},)`)
	is(t, db, "SELECT DISTINCT application FROM pgbackfill.drift WHERE id < 7", "(billing)")
	is(t, db, "SELECT count(*) FROM pgbackfill.drift WHERE id < 7 AND (role = current_user OR client IS NULL AND inet_client_addr() IS NOT NULL OR xid IS NULL)", "(0)")
	text := must(t, db.DSN(), dir, "tripwire", "status", "names.yaml")
	says(t, text, "names: the tripwire is installed", "7 commits recorded", "(billing)", `copy "people"`, "enabled    pgbackfill_tripwire_insert_names on public.people", "has seen")
	said := pgtest.One[string](db, "SELECT query FROM pgbackfill.drift WHERE id = 2")
	if !strings.Contains(said, "UPDATE people SET name = 'eva'") {
		t.Errorf("the statement that forgot is %q", said)
	}
	// What the engine writes is not looked at, and what it filled is held to it from then on.
	must(t, db.DSN(), dir, "run", "--yes", "names.yaml")
	db.Exec("TRUNCATE pgbackfill.drift; UPDATE people SET age = 1; UPDATE people SET name = 'wrong' WHERE id = 7")
	is(t, db, "SELECT key FROM pgbackfill.drift", "({7})")
	says(t, must(t, db.DSN(), dir, "tripwire", "remove", "names.yaml"), "the tripwire is removed; what it recorded stays")
	send(t, app, "INSERT INTO people (id, name) VALUES (1020, 'after')")
	is(t, db, "SELECT key FROM pgbackfill.drift", "({7})")
	is(t, db, "SELECT proname FROM pg_proc WHERE proname LIKE 'tripwire%'", "")
}

// The job's own chunks and its undo are not looked at, by either trigger; those of another job are, whether it walks this table or
// writes here from another one.
//
// Made to fail: with what any chunk writes left out, nothing is recorded of the others and no value is computed; with the name of
// the undo's own job set in it, taking back by assignments is drift.
func TestOtherJobsAreLookedAt(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	named(t, db)
	db.Exec("CREATE TABLE teams (id int PRIMARY KEY); INSERT INTO teams VALUES (7), (8)")
	write(t, dir, "names.yaml", writtenTwice+"undo: {set: {shown: 'NULL', short: 'NULL'}}\n")
	write(t, dir, "same.yaml", "name: same\ntable: people\nwhere: t.id IN (5, 6)\nupdate: {set: {name: \"t.name || ' x'\"}}\nidempotent: false\n")
	write(t, dir, "from.yaml", "name: from\ntable: teams\nsteps: [{name: rename, sql: \"UPDATE people AS p SET name = 'team ' || p.id FROM {{chunk}} AS c WHERE c.id = p.id\"}]\nidempotent: true\n")
	must(t, db.DSN(), dir, "run", "--yes", "names.yaml")
	must(t, db.DSN(), dir, "undo", "--yes", "names.yaml")
	must(t, db.DSN(), dir, "run", "--yes", "--again", "names.yaml")
	is(t, db, driftKeys, "")
	run := func(args ...string) {
		t.Helper()
		for _, file := range []string{"same.yaml", "from.yaml"} {
			must(t, db.DSN(), dir, append(append([]string{"run", "--yes"}, args...), file)...)
		}
	}
	run()
	is(t, db, "SELECT key, application FROM pgbackfill.drift ORDER BY key", `({5},"pgbackfill same 1") ({6},"pgbackfill same 1") ({7},"pgbackfill from 1") ({8},"pgbackfill from 1")`)
	write(t, dir, "names.yaml", strings.Replace(writtenTwice, "by: application", "by: trigger", 1))
	must(t, db.DSN(), dir, "dual-write", "install", "names.yaml")
	db.Exec("TRUNCATE pgbackfill.drift; UPDATE people SET name = 'other' WHERE id IN (7, 8)")
	run("--again", "--accept", "not-idempotent")
	is(t, db, driftKeys, "")
	is(t, db, "SELECT id, name, shown FROM people WHERE id IN (5, 8)", `(5,"person 5 x x","Person 5 X X") (8,"team 8","Team 8")`)
}

// An error in what the tripwire computes, and one in recording it, fail nobody's transaction, but for one that could not even be
// counted; an error is drift with its words. What is kept is bounded.
//
// Made to fail: with each transaction failed that became read only and of which nothing can be recorded, without the handlers, without the bound, with nothing kept beyond it, and with errors of recording left uncounted.
func TestTripwireNeverFailsATransaction(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	named(t, db)
	write(t, dir, "names.yaml", "name: names\ntable: people\nwhere: t.age <> 13\nupdate: {set: {shown: \"(100 / t.age)::text || o.x\"}, from: o, join: o.id = t.id % 2}\ncontract: {drops: [people.name]}\n")
	db.Exec("CREATE TABLE o (id int PRIMARY KEY, x text); INSERT INTO o VALUES (1, 'x')")
	says(t, must(t, db.DSN(), dir, "tripwire", "install", "names.yaml"), "it watches id, age, shown")
	app := application(t, db, "people") // which may not read o
	send(t, app, "INSERT INTO people (id, age) VALUES (1001, 0)", "INSERT INTO people (id, age) VALUES (1002, 5)", "INSERT INTO people (id, age) VALUES (1003, 13)",
		"INSERT INTO people (id, age, shown) VALUES (1005, 10, '10x')", "INSERT INTO people (id, age, shown) VALUES (1007, 10, '10')")
	is(t, db, driftKeys, "(1,INSERT,{1001},22012) (2,INSERT,{1007},)")
	says(t, must(t, db.DSN(), dir, "tripwire", "status", "names.yaml"), "22012: division by zero", "values come from other tables too")
	send(t, app, "INSERT INTO people (id, age) SELECT g, 50 FROM generate_series(2001, 2400) AS g")
	is(t, db, "SELECT count(*) FROM pgbackfill.drift", "(100)")
	// Beyond the bound each transaction leaves one row; so does one that is open for longer than the bound looks back.
	send(t, app, "BEGIN; INSERT INTO people (id, age) VALUES (2501, 50), (2502, 50); SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO people (id, age) VALUES (2503, 50); COMMIT",
		"INSERT INTO people (id, age) VALUES (2505, 50)")
	is(t, db, "SELECT key, query, application IS NULL, (SELECT count(DISTINCT xid) FROM pgbackfill.drift) FROM pgbackfill.drift ORDER BY id OFFSET 100", "({2501},,f,5) ({2505},,f,5)")
	db.Exec("ALTER TABLE pgbackfill.drift RENAME TO elsewhere")
	send(t, app, "INSERT INTO people (id, age) VALUES (3001, 5)")
	db.Exec("ALTER TABLE pgbackfill.elsewhere RENAME TO drift")
	is(t, db, "SELECT age FROM people WHERE id = 3001", "(5)")
	says(t, mustExit(t, exitIncomplete, db.DSN(), dir, "tripwire", "status", "names.yaml"), "1 record of broken rows", "to begin anew: pgbackfill tripwire install")
	says(t, must(t, db.DSN(), dir, "tripwire", "install", "names.yaml"), "the tripwire is replaced")
	says(t, must(t, db.DSN(), dir, "tripwire", "install", "names.yaml"), "the tripwire is already installed")
	// A transaction that breaks it and then becomes read only could leave nothing at all: it is the one that fails.
	kept := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.drift")
	send(t, app, "BEGIN; INSERT INTO people (id, age, shown) VALUES (3003, 10, '10x'); SET TRANSACTION READ ONLY; COMMIT",
		"BEGIN; INSERT INTO people (id, age) VALUES (3007, 0); SET TRANSACTION READ ONLY; COMMIT", // nor does one of which only the tripwire cannot tell
		"BEGIN; INSERT INTO people (id, age) VALUES (3009, 5); DELETE FROM people WHERE id = 3009; SET TRANSACTION READ ONLY; COMMIT", "BEGIN READ ONLY; SELECT count(*) FROM people; COMMIT")
	if said := try(t, app, "BEGIN; INSERT INTO people (id, age) VALUES (3005, 5); SET TRANSACTION READ ONLY; COMMIT"); !strings.Contains(said, "and is READ ONLY since, so that this cannot be recorded") {
		t.Errorf("it says %q", said)
	}
	is(t, db, fmt.Sprintf("SELECT id, (SELECT count(*) - %d FROM pgbackfill.drift) FROM people WHERE id > 3001", kept), "(3003,0) (3007,0)")
}

// A partitioned table is watched in all of its partitions, also those that come later and where they are written directly.
// That a trigger was switched off for a while on one of them is seen, and so is a function that was replaced.
//
// Made to fail: ENABLE ALWAYS on the parent's triggers only where the server does not pass it on; status by tgenabled alone.
func TestTripwireOnPartitions(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE people (id int, part int, name text, shown text, PRIMARY KEY (part, id)) PARTITION BY LIST (part);
		CREATE TABLE p1 PARTITION OF people FOR VALUES IN (1); CREATE TABLE p2 (shown text, name text, part int NOT NULL, id int NOT NULL);
		ALTER TABLE people ATTACH PARTITION p2 FOR VALUES IN (2)`)
	write(t, dir, "names.yaml", "name: names\ntable: people\nupdate: {set: {shown: upper(t.name)}}\ndual_write: {by: application, tripwire: true}\n")
	says(t, must(t, db.DSN(), dir, "run", "--yes", "names.yaml"), "the tripwire is installed on public.people")
	db.Exec(`CREATE TABLE p3 PARTITION OF people FOR VALUES IN (3); SET session_replication_role = replica;
		INSERT INTO people VALUES (1, 1, 'a', 'A'), (2, 2, 'b', 'x'); INSERT INTO p3 VALUES (3, 3, 'c'); INSERT INTO p2 VALUES ('D', 'd', 2, 4), (NULL, 'e', 2, 5); RESET session_replication_role`)
	is(t, db, "SELECT key FROM pgbackfill.drift", `("{2,2}") ("{2,5}") ("{3,3}")`)
	text := must(t, db.DSN(), dir, "tripwire", "status", "names.yaml")
	says(t, text, "is installed\n", "enabled    pgbackfill_tripwire_insert_names on public.p3")
	if strings.Contains(text, "switched off") {
		t.Errorf("nothing was switched off:\n%s", text)
	}
	db.Exec("ALTER TABLE p1 DISABLE TRIGGER pgbackfill_tripwire_update_names")
	says(t, mustExit(t, exitIncomplete, db.DSN(), dir, "tripwire", "status", "names.yaml"), "is changed", "pgbackfill_tripwire_update_names on public.p1 is disabled")
	refuses(t, db, dir, 2, []string{"tripwire", "install", "names.yaml"}, "somebody changed it", "install --replace")
	db.Exec("ALTER TABLE p1 ENABLE ALWAYS TRIGGER pgbackfill_tripwire_update_names")
	says(t, mustExit(t, exitIncomplete, db.DSN(), dir, "tripwire", "status", "names.yaml"), "is installed", "switched off or made anew since it was installed: pgbackfill_tripwire_update_names on public.p1", "verify again")
	says(t, must(t, db.DSN(), dir, "tripwire", "install", "names.yaml"), "the tripwire is replaced on public.people")
	db.Exec("ALTER TABLE people ENABLE TRIGGER pgbackfill_tripwire_insert_names")
	says(t, mustExit(t, exitIncomplete, db.DSN(), dir, "tripwire", "status", "names.yaml"), "pgbackfill_tripwire_insert_names on public.p2 is not always")
	must(t, db.DSN(), dir, "tripwire", "install", "--replace", "names.yaml")
	db.Exec("ALTER FUNCTION pgbackfill.tripwire_names() SECURITY INVOKER")
	says(t, mustExit(t, exitIncomplete, db.DSN(), dir, "tripwire", "status", "names.yaml"), "its definition is another one", "its function")
}

// A verification reads a row in the range where its key is. So one that goes to another range is looked at when it goes: by the
// walked key, which need not be the primary one, and by what a check names in {{range}}.
//
// Made to fail: with the primary key and what the expression mentions watched alone, no row of drift.
func TestTripwireWatchesWhatRangesGoBy(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE people (id int PRIMARY KEY, pos int UNIQUE NOT NULL, no int, name text, shown text);
		INSERT INTO people SELECT g, g, g, 'x', 'wrong' FROM generate_series(1, 9) AS g; UPDATE people SET shown = 'X' WHERE id > 2`)
	file := write(t, dir, "names.yaml", `name: names
table: public.people
key: pos
update: {set: {shown: upper(t.name)}}
dual_write: {by: application}
verify:
  - name: numbers
    none: SELECT p.no FROM people p WHERE {{range p.no}} AND p.shown IS NULL
`)
	says(t, must(t, db.DSN(), dir, "tripwire", "install", file), "it watches id, pos, no, name, shown")
	db.Exec(`UPDATE people SET pos = -1 WHERE id = 1; UPDATE people SET no = -1 WHERE id = 2; UPDATE people SET pos = 100, no = 7 WHERE id = 3`)
	is(t, db, driftKeys, "(1,UPDATE,{1},) (2,UPDATE,{2},)")
}

// A job of which no trigger can tell has a finding, or, where it asks for one in words, an error; a role that does not own the
// table runs without one, is told who may install it, and what that role is to run installs it.
//
// Made to fail: with the finding an error, and with the installer's grants left out.
func TestTripwireWhereItCannotBe(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	named(t, db)
	job := func(set, dual string) string {
		return write(t, dir, "job.yaml", "name: names\ntable: people\nupdate: {set: {shown: "+set+"}}\ndual_write: {by: application"+dual+"}\n")
	}
	says(t, must(t, db.DSN(), dir, "plan", job("random()::text", "")), "[tripwire-impossible]", "random() is volatile")
	refuses(t, db, dir, 2, []string{"plan", job("random()::text", ", tripwire: true")}, "job.yaml:4", "tripwire: pg_catalog.random() is volatile", "tripwire: false")
	refuses(t, db, dir, 2, []string{"tripwire", "install", job("random()::text", ", tripwire: false")}, "is volatile")
	text := must(t, db.DSN(), dir, "plan", job("upper(t.name)", ", tripwire: false"))
	if strings.Contains(text, "pgbackfill.tripwires") || strings.Contains(text, "[tripwire") {
		t.Errorf("it is asked for by nobody:\n%s", text)
	}
	file := job("upper(t.name)", "")
	says(t, must(t, db.DSN(), dir, "plan", file), "[tripwire]", "CREATE CONSTRAINT TRIGGER", "INSERT INTO pgbackfill.tripwires")
	must(t, db.DSN(), dir, "schema", "install")
	runner, dsn := db.Role("")
	db.Exec("GRANT SELECT, UPDATE ON people TO " + runner)
	db.Exec(must(t, db.DSN(), dir, "schema", "grants", runner))
	says(t, must(t, dsn, dir, "run", "--yes", file), "[tripwire-owner]", "names: finished")
	is(t, db, "SELECT * FROM pgbackfill.tripwires", "")
	db.Exec(must(t, db.DSN(), dir, "tripwire", "install", "--print", file))
	says(t, must(t, dsn, dir, "tripwire", "status", file), "the tripwire is installed", "has seen   0 writes")
	db.Exec("INSERT INTO people (id, name) VALUES (1001, 'a')")
	says(t, must(t, dsn, dir, "tripwire", "status", file), "1 commit recorded")
}
