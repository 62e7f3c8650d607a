package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// run installs the trigger before its first chunk where the role may; a runner who may not is told what to do, and once
// the owner has done it, printed SQL or command, the runner runs. What is said by plan holds.
// Made to fail: without InstallDualWrite in run; without the owner's finding.
func TestRunInstallsTheDualWrite(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	named(t, db)
	dir := t.TempDir()
	write(t, dir, "names.yaml", namesJob)
	owner, ownerDSN := db.Role("")
	runner, runnerDSN := db.Role("")
	db.Exec(fmt.Sprintf("ALTER TABLE people OWNER TO %s; GRANT SELECT, UPDATE ON people TO %s", owner, runner))
	must(t, db.DSN(), dir, "schema", "install")
	db.Exec(must(t, db.DSN(), dir, "schema", "grants", runner))
	for _, command := range []string{"run", "plan"} {
		code, out := pgbackfill(t, runnerDSN, dir, command, "names.yaml")
		if code != 2 {
			t.Errorf("%s: exit code %d", command, code)
		}
		says(t, out, "[dual-write-owner]", "is not "+owner, "dual-write install --print FILE")
	}
	code, out := pgbackfill(t, runnerDSN, dir, "dual-write", "install", "names.yaml")
	if code != 2 {
		t.Errorf("install as the runner: exit code %d", code)
	}
	says(t, out, "schema grants --installer "+runner)
	code, out = pgbackfill(t, ownerDSN, dir, "dual-write", "install", "names.yaml")
	if code == 0 {
		t.Errorf("the owner needs rights on the schema: %s", out)
	}
	db.Exec(must(t, db.DSN(), dir, "schema", "grants", "--installer", owner))
	printed := must(t, ownerDSN, dir, "dual-write", "install", "--print", "names.yaml")
	if _, err := pgtest.Connect(t, ownerDSN).PgConn().Exec(t.Context(), printed).ReadAll(); err != nil {
		t.Fatalf("what is printed for the owner: %v\n%s", err, printed)
	}
	says(t, must(t, runnerDSN, dir, "dual-write", "status", "names.yaml"), "is installed", "as role "+owner)
	says(t, must(t, ownerDSN, dir, "dual-write", "install", "names.yaml"), "already installed")
	says(t, must(t, runnerDSN, dir, "plan", "names.yaml"), "[dual-write-trigger]", "it is installed", "the application's statement goes through", "CREATE OR REPLACE TRIGGER")
	says(t, must(t, runnerDSN, dir, "run", "names.yaml"), "300 changed")
	app := application(t, db, "people")
	send(t, app, "INSERT INTO people (id, name) VALUES (1001, 'ann lee')")
	is(t, db, "SELECT count(*) FROM people WHERE shown IS DISTINCT FROM initcap(name)", "(0)")
	must(t, ownerDSN, dir, "dual-write", "remove", "names.yaml")
	says(t, must(t, ownerDSN, dir, "dual-write", "remove", "names.yaml"), "Nothing to do")
	says(t, must(t, db.DSN(), dir, "run", "--yes", "--again", "names.yaml"), "the dual-write trigger is installed on public.people")
	send(t, app, "INSERT INTO people (id, name) VALUES (1002, 'bo lee')")
	is(t, db, "SELECT shown FROM people WHERE id = 1002", `("Bo Lee")`)
	refuses(t, db, dir, 2, []string{"schema", "remove"}, "history of 2 runs", "the trigger zzzz_pgbackfill_insert_names of public.people", "expected --yes")
	code, out = pgbackfill(t, db.DSN(), dir, "schema", "remove", "--yes")
	if code != 0 {
		t.Fatalf("schema remove: %s", out)
	}
	is(t, db, "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'zzzz%'", "(0)")
	send(t, app, "INSERT INTO people (id, name) VALUES (1003, 'cy lee')")
}

// A trigger that reads the old column keeps it from being dropped, and no longer once it is removed. A changed job
// replaces it; what somebody changed by hand is not overwritten unasked.
func TestDualWriteIsReplacedAndRemoved(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	named(t, db)
	dir := t.TempDir()
	write(t, dir, "names.yaml", namesJob)
	must(t, db.DSN(), dir, "dual-write", "install", "names.yaml")
	write(t, dir, "names.yaml", strings.Replace(namesJob, "initcap(t.name)", "upper(t.name) || coalesce(t.age::text, '')", 1))
	says(t, mustExit(t, exitIncomplete, db.DSN(), dir, "dual-write", "status", "names.yaml"), "made for an older version of the job")
	says(t, must(t, db.DSN(), dir, "dual-write", "install", "names.yaml"), "is replaced on")
	says(t, must(t, db.DSN(), dir, "dual-write", "status", "names.yaml"), "version    2,", "name, age, shown, short")
	app := application(t, db, "people")
	send(t, app, "INSERT INTO people (id, name) VALUES (1001, 'ann')", "UPDATE people SET age = 4 WHERE id = 1001")
	is(t, db, "SELECT shown FROM people WHERE id = 1001", "(ANN4)")
	db.Exec(`CREATE OR REPLACE FUNCTION pgbackfill.dual_write_names() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`)
	for _, command := range [][]string{{"dual-write", "install"}, {"run", "--yes"}} {
		code, out := pgbackfill(t, db.DSN(), dir, append(command, "names.yaml")...)
		if code != 2 {
			t.Errorf("%v: exit code %d", command, code)
		}
		says(t, out, "somebody changed it: its definition is another one", "install --replace")
	}
	must(t, db.DSN(), dir, "dual-write", "install", "--replace", "names.yaml")
	if _, err := db.Conn().Exec(t.Context(), "ALTER TABLE people DROP COLUMN name"); err == nil || !strings.Contains(err.Error(), "other objects depend on it") {
		t.Errorf("the old column could be dropped under the trigger: %v", err)
	}
	must(t, db.DSN(), dir, "dual-write", "remove", "names.yaml")
	db.Exec("ALTER TABLE people DROP COLUMN name")
	send(t, app, "INSERT INTO people (id, shown) VALUES (1002, 'as it is')")
}

// Installing never holds the application up behind a transaction that has the table: it waits shortly, lets go, tries again,
// and in the end says who is in the way. When that one is over, the next attempt succeeds.
// Made to fail: without the lock timeout, the application's insert waits for as long as the transaction is open.
func TestDualWriteDoesNotQueueTheApplication(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	named(t, db)
	dir := t.TempDir()
	write(t, dir, "names.yaml", namesJob)
	must(t, db.DSN(), dir, "schema", "install")
	holder := db.Conn()
	send(t, holder, "SET application_name = 'the long one'", "BEGIN", "UPDATE people SET age = 1 WHERE id = 1")
	code, out := pgbackfill(t, db.DSN(), dir, "dual-write", "install", "--wait", "1s", "names.yaml")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	says(t, out, "the lock on the table was not had within 1s", "the long one", "nothing was changed")
	waiting := start(t, db.DSN(), dir, "dual-write", "install", "names.yaml")
	pgtest.Eventually(t, 20*time.Second, func() error {
		if !pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'people'::regclass AND NOT granted)") {
			return errNotYet
		}
		return nil
	})
	began := time.Now()
	send(t, application(t, db, "people"), "INSERT INTO people (id, name) VALUES (1001, 'ann')")
	if waited := time.Since(began); waited > 3*time.Second {
		t.Errorf("the application waited for %s", waited)
	}
	send(t, holder, "COMMIT")
	if code := waiting.wait(t, time.Minute); code != 0 {
		t.Errorf("exit code %d: %s", code, waiting.out)
	}
	says(t, must(t, db.DSN(), dir, "dual-write", "status", "names.yaml"), "is installed")
}

// What a trigger cannot compute as the backfill does is refused, with its place and what to do.
func TestDualWriteRefusesWhatATriggerCannotDo(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	people(t, db)
	db.Exec("CREATE FUNCTION anything(int) RETURNS text LANGUAGE sql AS 'SELECT $1::text'")
	dir := t.TempDir()
	for _, c := range []struct{ update, says, remedy string }{
		{"update: {set: {shown: t.name || random()}}", "pg_catalog.random() is volatile", "IMMUTABLE or STABLE"},
		{"update: {set: {shown: anything(t.age)}}", "public.anything(integer) is volatile", "IMMUTABLE or STABLE"},
		{"update: {set: {shown: t.twice::text}}", "the column twice is generated", "(age * 2)"},
		{"update: {set: {shown: t.ctid::text}}", "t.ctid in set: shown", "by: application"},
		{"update: {set: {shown: to_json(t)}}", "the column twice is generated", "(age * 2)"},
		{"update: {set: {age: t.age + 1}}\nidempotent: false", "in a job that is not idempotent", "by: application"},
		{"delete: true", "`by: trigger` without `update`", "by: application"},
	} {
		write(t, dir, "bad.yaml", "name: bad\ntable: people\n"+c.update+"\ndual_write: {by: trigger}\n")
		refuses(t, db, dir, 2, []string{"run", "--yes", "bad.yaml"}, c.says, c.remedy, "bad.yaml")
	}
}
