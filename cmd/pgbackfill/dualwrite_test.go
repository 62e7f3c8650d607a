package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// namesJob has a trigger that computes two columns from one.
const namesJob = `name: names
table: public.people
update:
  set:
    shown: initcap(t.name)
    short: upper(left(t.name, 3))
dual_write: {by: trigger}
`

// named is a table of people with two new columns.
func named(t *testing.T, db *pgtest.DB) {
	t.Helper()
	db.Exec(`CREATE TABLE people (id int PRIMARY KEY, name text, age int, shown varchar(20), short char(3));
		INSERT INTO people (id, name, age) SELECT g, 'person ' || g, g % 90 FROM generate_series(1, 300) AS g`)
}

// application is a connection of a role that has rights on one table, and none on pgbackfill's.
func application(t *testing.T, db *pgtest.DB, table string) *pgx.Conn {
	t.Helper()
	role, dsn := db.Role("")
	db.Exec(fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %s", table, role))
	return pgtest.Connect(t, dsn)
}

// send sends statements as the application.
func send(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// row is what a query gives, as one text.
func row(db *pgtest.DB, from string) string {
	return pgtest.One[string](db, "SELECT coalesce(string_agg(x::text, ' ' ORDER BY x::text), '') FROM ("+from+") AS x")
}

func is(t *testing.T, db *pgtest.DB, from, want string) {
	t.Helper()
	if got := row(db, from); got != want {
		t.Errorf("%s: %s, want %s", from, got, want)
	}
}

// Whichever way an application without any rights on pgbackfill's schema writes a row, the trigger computes the columns.
// An update of what they do not depend on leaves them alone; where the application writes them, the computed value stands.
// Made to fail: SECURITY INVOKER (the error is not recorded), UPDATE OF in place of WHEN, no ENABLE ALWAYS.
func TestDualWriteComputesWhatTheApplicationWrites(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	named(t, db)
	dir := t.TempDir()
	write(t, dir, "names.yaml", namesJob)
	says(t, must(t, db.DSN(), dir, "dual-write", "install", "names.yaml"), "names: the dual-write trigger is installed on public.people; it computes shown, short")
	app := application(t, db, "people")
	send(t, app,
		"INSERT INTO people (id, name) VALUES (1001, 'ann lee'), (1002, NULL)",
		"INSERT INTO people (id, name, shown, short) VALUES (1003, 'bo ek', 'wrong', 'xxx')",
		"INSERT INTO people (id, name) VALUES (1001, 'ann may') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name",
		"UPDATE people SET name = 'cy fa' WHERE id = 1", "UPDATE people SET shown = 'wrong' WHERE id = 2")
	if _, err := app.CopyFrom(t.Context(), pgx.Identifier{"people"}, []string{"id", "name"}, pgx.CopyFromRows([][]any{{1004, "di go"}})); err != nil {
		t.Fatal(err)
	}
	is(t, db, "SELECT id, shown, short FROM people WHERE id > 1000", `(1001,"Ann May",ANN) (1002,,) (1003,"Bo Ek","BO ") (1004,"Di Go","DI ")`)
	is(t, db, "SELECT id, shown, short FROM people WHERE id < 3", `(1,"Cy Fa","CY ") (2,"Person 2",PER)`)

	superuser := db.Conn()
	send(t, superuser, "SET session_replication_role = replica", "INSERT INTO people (id, name) VALUES (1005, 'ed ho')",
		"BEGIN", "SET LOCAL pgbackfill.job = 'names'", "SELECT set_config('pgbackfill.xid', pg_current_xact_id()::text, true)", "UPDATE people SET shown = 'stale' WHERE id = 1005", "COMMIT",
		"UPDATE people SET age = 7, name = name WHERE id = 1005")
	is(t, db, "SELECT shown, short, age FROM people WHERE id = 1005", `(stale,"ED ",7)`)
	// The setting of a transaction that is over is empty, and not unknown.
	send(t, superuser, "UPDATE people SET name = 'ed hop' WHERE id = 1005")
	is(t, db, "SELECT shown FROM people WHERE id = 1005", `("Ed Hop")`)
	// Nor does it hold for a session that was given it for good.
	send(t, superuser, "SET pgbackfill.job = 'names'", "UPDATE people SET name = 'ed hope' WHERE id = 1005")
	is(t, db, "SELECT shown FROM people WHERE id = 1005", `("Ed Hope")`)
}

// An error of an expression never fails the application's statement: the row is as it was written, in all of its columns,
// and the error is recorded, up to a bound, also where nothing can be recorded.
// Made to fail: without the handler; without restoring NEW; without the bound.
func TestDualWriteErrorsAreRecorded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec("CREATE TABLE amounts (id bigint, part text, n int, share int, label varchar(8), PRIMARY KEY (id, part))")
	dir := t.TempDir()
	write(t, dir, "amounts.yaml", `name: amounts
table: amounts
where: t.n <> 100
update: {set: {share: 1000 / t.n, label: "'share ' || (1000 / t.n)"}}
dual_write: {by: trigger}
`)
	must(t, db.DSN(), dir, "dual-write", "install", "amounts.yaml")
	app := application(t, db, "amounts")
	send(t, app, "SET application_name = 'the shop'",
		"INSERT INTO amounts (id, part, n, share) VALUES (1, 'a', 500, NULL), (2, 'b', 0, -1), (3, 'c', 1, -1), (4, 'd', 100, -1)")
	is(t, db, "SELECT id, share, label FROM amounts", `(1,2,"share 2") (2,-1,) (3,-1,) (4,-1,)`)
	is(t, db, "SELECT key, sqlstate, operation, application FROM pgbackfill.dual_write_errors",
		`("{2,b}",22012,INSERT,"the shop") ("{3,c}",22001,INSERT,"the shop")`)
	out := must(t, db.DSN(), dir, "dual-write", "status", "amounts.yaml")
	says(t, out, "2 rows it could not compute", "INSERT of (3, c)", "22001: value too long for type character varying(8)", "(the shop)")
	send(t, app, "UPDATE amounts SET n = 0, label = 'theirs' WHERE id = 1") // neither what it would be, nor what it was
	is(t, db, "SELECT n, share, label FROM amounts WHERE id = 1", "(0,2,theirs)")
	is(t, db, "SELECT key, sqlstate, operation FROM pgbackfill.dual_write_errors WHERE key[1] = '1'", `("{1,a}",22012,UPDATE)`)
	send(t, app, "INSERT INTO amounts (id, part, n) SELECT g, 'x', 0 FROM generate_series(10, 1200) AS g")
	if n := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.dual_write_errors"); n != 1000 {
		t.Errorf("%d errors are kept, want 1000", n)
	}
	db.Exec("ALTER TABLE pgbackfill.dual_write_errors RENAME TO lost")
	send(t, app, "INSERT INTO amounts (id, part, n) VALUES (5, 'e', 0)")

	// What the application is to repeat, it must hear of.
	db.Exec(`CREATE FUNCTION unserializable(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''again'' USING ERRCODE = ''40001''; END';
		CREATE TABLE conflicts (id int PRIMARY KEY, c int)`)
	write(t, dir, "conflicts.yaml", "name: conflicts\ntable: conflicts\nupdate: {set: {c: unserializable(t.id)}}\ndual_write: {by: trigger}\n")
	db.Exec("ALTER TABLE pgbackfill.lost RENAME TO dual_write_errors")
	must(t, db.DSN(), dir, "dual-write", "install", "conflicts.yaml")
	if _, err := application(t, db, "conflicts").Exec(t.Context(), "INSERT INTO conflicts VALUES (1)"); pgerr.Code(err) != "40001" {
		t.Errorf("a conflict to be repeated was hidden: %v", err)
	}
}

// Where rows leave the scope by being filled, the trigger knows its own value from the application's: ours follows what
// it was made from, theirs stays.
// Made to fail: without the second look at rows outside of the scope.
func TestDualWriteKnowsItsOwnValues(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec("CREATE TABLE people (id int PRIMARY KEY, kind text DEFAULT 'user', name text, shown text, rank int NOT NULL DEFAULT 0)")
	dir := t.TempDir()
	write(t, dir, "names.yaml", `name: names
table: people
where: t.shown IS NULL AND t.rank = 0 AND t.kind = 'user'
update: {set: {shown: initcap(t.name), rank: length(t.name)}}
dual_write: {by: trigger}
`)
	must(t, db.DSN(), dir, "dual-write", "install", "names.yaml")
	app := application(t, db, "people")
	send(t, app, "INSERT INTO people (id, name, kind) VALUES (1, 'ann', 'user'), (2, 'bob', 'user'), (3, 'cyd', 'robot'), (5, 'ed', 'user')",
		"INSERT INTO people (id, name, shown) VALUES (4, 'dee', 'Their own')",
		"UPDATE people SET name = 'anna' WHERE id = 1",
		"UPDATE people SET shown = 'Theirs' WHERE id = 2", "UPDATE people SET name = 'bobby' WHERE id = 2",
		"UPDATE people SET name = 'deedee' WHERE id = 4",
		"UPDATE people SET name = 'eddie', kind = 'robot' WHERE id = 5")
	is(t, db, "SELECT id, name, shown, rank FROM people", `(1,anna,Anna,4) (2,bobby,Theirs,3) (3,cyd,,0) (4,deedee,"Their own",0) (5,eddie,Ed,2)`)
	send(t, app, "UPDATE people SET shown = NULL, rank = 0 WHERE id = 2")
	is(t, db, "SELECT shown, rank FROM people WHERE id = 2", `(Bobby,5)`)
}

// A BEFORE trigger of the user's that changes an input is seen: ours is the last one, whatever columns the statement names.
// A later one is named. What other triggers write on behalf of a chunk is computed too; what the chunk writes is not, and
// costs no call.
// Made to fail: UPDATE OF name in place of WHEN; without pg_trigger_depth; without the setting in the chunk's transaction.
func TestDualWriteAmongOtherTriggers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	named(t, db)
	db.Exec(`ALTER DATABASE ` + pgx.Identifier{db.Name()}.Sanitize() + ` SET track_functions = 'pl'`)
	db.Exec(`CREATE FUNCTION trimmed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name := trim(NEW.name) || coalesce(NEW.age::text, ''''); RETURN NEW; END';
		CREATE TRIGGER z_trimmed BEFORE INSERT OR UPDATE OF age ON people FOR EACH ROW EXECUTE FUNCTION trimmed();
		CREATE FUNCTION mirrored() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE people SET name = ''mirror'' WHERE id = 1001; RETURN NULL; END';
		CREATE TRIGGER mirrored AFTER UPDATE OF shown ON people FOR EACH ROW WHEN (NEW.id = 300) EXECUTE FUNCTION mirrored()`)
	dir := t.TempDir()
	write(t, dir, "names.yaml", namesJob)
	must(t, db.DSN(), dir, "dual-write", "install", "names.yaml")
	app := application(t, db, "people")
	send(t, app, "INSERT INTO people (id, name) VALUES (1001, '  ann ')", "UPDATE people SET age = 5 WHERE id = 1001")
	is(t, db, "SELECT shown FROM people WHERE id = 1001", `(Ann5)`)
	calls := func(want int) {
		t.Helper()
		pgtest.Eventually(t, 20*time.Second, func() error {
			if n := pgtest.One[int](db, "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = 'dual_write_names'"); n != want {
				return fmt.Errorf("%d calls, want %d", n, want)
			}
			return nil
		})
	}
	if err := app.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	calls(2)
	says(t, must(t, db.DSN(), dir, "run", "--yes", "names.yaml"), "300 changed")
	is(t, db, "SELECT count(*) FROM people WHERE shown IS DISTINCT FROM initcap(name)", "(0)")
	is(t, db, "SELECT name, shown FROM people WHERE id = 1001", "(mirror,Mirror)")
	calls(3)
	db.Exec(`CREATE TRIGGER zzzzz_later BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION trimmed()`)
	says(t, must(t, db.DSN(), dir, "plan", "names.yaml"), "[dual-write-order]", "zzzzz_later on public.people")
	says(t, must(t, db.DSN(), dir, "dual-write", "status", "names.yaml"), "fire after it", "zzzzz_later on public.people")
}
