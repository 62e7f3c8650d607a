package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// While the application inserts, updates and takes back, the table is walked by key or in physical order; in the end every
// row holds, and nothing but the trigger has filled those that came behind the walk.
func TestDualWriteWhileTheTableIsWalked(t *testing.T) {
	t.Parallel()
	for _, walk := range []string{"key", "heap"} {
		t.Run(walk, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			named(t, db)
			db.Exec("INSERT INTO people (id, name) SELECT g, 'person ' || g FROM generate_series(1000, 21000) AS g")
			dir := t.TempDir()
			write(t, dir, "names.yaml", namesJob+"walk: "+walk+"\nwhere: t.shown IS NULL\n")
			must(t, db.DSN(), dir, "dual-write", "install", "names.yaml")
			stop, stopped := make(chan struct{}), make(chan error, 1)
			app := application(t, db, "people")
			go func() {
				var err error
				for n := 0; err == nil; n++ {
					select {
					case <-stop:
						stopped <- nil
						return
					default:
					}
					_, err = app.Exec(context.WithoutCancel(t.Context()), fmt.Sprintf(`INSERT INTO people (id, name) VALUES (%[1]d, 'new %[2]d') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name;
						UPDATE people SET name = 'changed %[2]d' WHERE id = %[3]d; UPDATE people SET age = %[2]d %% 90 WHERE id = %[1]d;
						DELETE FROM people WHERE id = %[4]d`, -n%500, n, 1000+n*37%20000, 1000+n*91%20000), pgx.QueryExecModeSimpleProtocol)
				}
				stopped <- err
			}()
			must(t, db.DSN(), dir, "run", "--yes", "--chunk-rows", "500", "names.yaml")
			close(stop)
			if err := <-stopped; err != nil {
				t.Fatal(err)
			}
			is(t, db, "SELECT count(*) FROM people WHERE (shown, short) IS DISTINCT FROM (initcap(name), rpad(upper(left(name, 3)), 3))", "(0)")
			is(t, db, "SELECT count(*) FROM pgbackfill.dual_write_errors", "(0)")
		})
	}
}

// All partitions, those with other places for their columns, those attached and those made afterwards, and tables that inherit.
// Made to fail: NEW taken by position; triggers on the walked table alone.
func TestDualWriteOnPartitionsAndChildren(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE TABLE events (id int NOT NULL, name text, shown text) PARTITION BY RANGE (id);
		CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (100);
		CREATE TABLE events_2 (gone int, shown text, name text, id int NOT NULL); ALTER TABLE events_2 DROP COLUMN gone;
		ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES FROM (100) TO (200);
		ALTER TABLE events ADD PRIMARY KEY (id);
		CREATE TABLE base (id int PRIMARY KEY, name text, shown jsonb); CREATE TABLE derived (more text) INHERITS (base)`)
	dir := t.TempDir()
	write(t, dir, "events.yaml", `name: events
table: events
update: {set: {shown: initcap(t.name)}}
dual_write: {by: trigger}
`)
	write(t, dir, "base.yaml", `name: base
table: base
update: {set: {shown: to_jsonb(t) - 'shown'}}
dual_write: {by: trigger}
`)
	must(t, db.DSN(), dir, "dual-write", "install", "events.yaml")
	must(t, db.DSN(), dir, "dual-write", "install", "base.yaml")
	db.Exec("CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM (200) TO (300)")
	app := application(t, db, "events, events_1, events_2, events_3, base, derived")
	send(t, app, "INSERT INTO events (id, name) VALUES (1, 'ann'), (101, 'bob')", "INSERT INTO events_2 (id, name) VALUES (102, 'cyd')",
		"UPDATE events SET name = 'bobby' WHERE id = 101", "UPDATE events SET id = 2, name = 'cyd lo' WHERE id = 102",
		"INSERT INTO derived (id, name, more) VALUES (1, 'ann', 'x')")
	send(t, db.Conn(), "SET session_replication_role = replica", "INSERT INTO events (id, name) VALUES (201, 'dee')")
	is(t, db, "SELECT id, shown FROM events", `(1,Ann) (101,Bobby) (2,"Cyd Lo") (201,Dee)`)
	is(t, db, "SELECT shown->>'name' FROM base", `(ann)`)
	says(t, must(t, db.DSN(), dir, "dual-write", "status", "events.yaml"), "enabled    zzzz_pgbackfill_insert_events on public.events_2",
		"enabled    zzzz_pgbackfill_update_events on public.events_3", "is installed")
	db.Exec("ALTER TABLE events_1 DISABLE TRIGGER zzzz_pgbackfill_update_events; ALTER TABLE events_2 ENABLE TRIGGER zzzz_pgbackfill_insert_events")
	says(t, mustExit(t, exitIncomplete, db.DSN(), dir, "dual-write", "status", "events.yaml"), "is changed", "zzzz_pgbackfill_update_events on public.events_1 is disabled",
		"zzzz_pgbackfill_insert_events on public.events_2 is not always")
	must(t, db.DSN(), dir, "dual-write", "install", "--replace", "events.yaml")
	says(t, must(t, db.DSN(), dir, "dual-write", "status", "events.yaml"), "is installed")
	must(t, db.DSN(), dir, "dual-write", "remove", "base.yaml")
	must(t, db.DSN(), dir, "dual-write", "remove", "events.yaml")
	is(t, db, "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'zzzz%'", "(0)")
}

// Names that need quotes, names that plpgsql has for itself, a job's name that is too long for a trigger's, comments,
// dollar quotes, and a key that is spoken of as {{range}}.
func TestDualWriteWithOddNames(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE SCHEMA "Odd one"; CREATE TABLE "Odd one"."Ta FOR EACH ROW ""ble" ("Key" text, "to" int, "new" text, "found" text, "x "" y" text, PRIMARY KEY ("Key", "to"));
		CREATE TABLE "Odd one".prices (key text, "to" int, price numeric); INSERT INTO "Odd one".prices VALUES ('a', 1, 5), ('a', 1, 7), ('b', 1, 9)`)
	long := strings.Repeat("long-", 12) + "abc"
	dir := t.TempDir()
	write(t, dir, "odd.yaml", `name: `+long+`
table: '"Odd one"."Ta FOR EACH ROW ""ble"'
settings: {search_path: '"Odd one", pg_catalog'}
update:
  set:
    'x " y': 'found || $pgbackfill$ it''s ; $pgbackfill$ || "new" || new.sum -- as said'
  from: '(SELECT p.key, sum(p.price) AS sum FROM prices p WHERE {{range p.key, p.to}} GROUP BY p.key) AS new'
  join: 'new.key = t."Key"'
dual_write: {by: trigger}
`)
	must(t, db.DSN(), dir, "dual-write", "install", "odd.yaml")
	app := application(t, db, `"Odd one"."Ta FOR EACH ROW ""ble"`)
	db.Exec(`GRANT USAGE ON SCHEMA "Odd one" TO PUBLIC`)
	send(t, app, `INSERT INTO "Odd one"."Ta FOR EACH ROW ""ble" VALUES ('a', 1, 'n', 'f', NULL), ('c', 1, 'n', 'f', 'as it was')`)
	is(t, db, `SELECT "Key", "x "" y" FROM "Odd one"."Ta FOR EACH ROW ""ble"`, `(a,"f it's ; n12") (c,"as it was")`)
	is(t, db, "SELECT count(*) FROM pgbackfill.dual_write_errors", "(0)")
	says(t, must(t, db.DSN(), dir, "dual-write", "status", "odd.yaml"), "is installed", "other tables")
	must(t, db.DSN(), dir, "dual-write", "remove", "odd.yaml")
	is(t, db, "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'zzzz%'", "(0)")
}

// The function runs with its owner's rights, so nothing that the application can make may stand in for what it reads.
// What another type makes of a value is what an assignment makes of it: nothing is cut to size.
// Made to fail: without pg_temp at the end of search_path.
func TestDualWriteReadsWhatItsOwnerMeant(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE TABLE issues (id int PRIMARY KEY, project int, flag text, at timestamptz);
		CREATE TABLE notes (id int PRIMARY KEY, issue int, project int, flag char(2), day text, tags text[], price numeric(6,2));
		INSERT INTO issues VALUES (1, 7, 'ok', '2020-01-01 00:30+00'), (2, 8, 'long', '2020-01-01 00:30+00')`)
	dir := t.TempDir()
	write(t, dir, "notes.yaml", `name: notes
table: notes
update:
  set: {project: i.project, flag: i.flag, day: "i.at::text", tags: "'{a,b}'", price: i.project / 3.0}
  from: issues i
  join: i.id = t.issue
dual_write: {by: trigger}
`)
	says(t, must(t, db.DSN(), dir, "plan", "notes.yaml"), "[dual-write-sources]")
	must(t, db.DSN(), dir, "dual-write", "install", "notes.yaml")
	app := application(t, db, "notes")
	send(t, app, "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'", "CREATE TEMP TABLE issues (id int, project int, flag text, at timestamptz); INSERT INTO issues VALUES (1, 666, 'no', now())",
		"INSERT INTO notes (id, issue) VALUES (1, 1), (2, 2), (3, 3)", "UPDATE notes SET issue = NULL WHERE id = 3")
	is(t, db, "SELECT * FROM notes", `(1,1,7,ok,"2020-01-01 00:30:00+00","{a,b}",2.33) (2,2,,,,,) (3,,,,,,)`)
	is(t, db, "SELECT key, sqlstate FROM pgbackfill.dual_write_errors", `({2},22001)`)
}
