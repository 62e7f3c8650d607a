package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// A job whose steps and verification speak of what its prepare makes: two jobs that must not do a row twice, one of
// them killed in the middle and resumed.
//
// Made to fail: without the segments of the plan that is made after prepare, the run ended before it was killed.
func TestPrepareOfARenumbering(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs("testdata/prepare/30-zulip-renumber-enum")
	if err != nil {
		t.Fatal(err)
	}
	reference := corpusDatabase(t, dir)
	script(t, reference, filepath.Join(dir, "reference.sql"))
	want := fingerprint(t, reference, dir)
	db := corpusDatabase(t, dir)
	killedAndResumed(t, db, dir, filepath.Join(dir, "job.yaml"))
	must(t, db.DSN(), dir, "run", "--yes", filepath.Join(dir, "job-2.yaml"))
	if got := fingerprint(t, db, dir); got != want {
		t.Errorf("the result differs from the reference: fingerprint %s, want %s", got, want)
	}
}

// A run that is killed while its prepare is at work goes on with it when it is run again, and what a secret of its is,
// is nowhere but in the rows; another secret, or none, is refused, and --again drops the helpers of the run before.
//
// Made to fail: with the secret's value in runs.params the resumed run was another one's; with --again keeping the older
// run's helper its table was still there.
func TestJobFileWithPrepareHelpersAndASecret(t *testing.T) {
	const secret = "hunter-2-hunter-2"
	t.Setenv("PREPARE_TEST_SECRET", secret)
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE users (id int PRIMARY KEY, mark text); INSERT INTO users SELECT generate_series(1, 500)`)
	job := write(t, dir, "job.yaml", `name: marks
table: users
params: {mark: {env: PREPARE_TEST_SECRET}, least: 250}
prepare: CREATE TABLE chosen AS SELECT id FROM users, pg_sleep(3) WHERE id > :least; CREATE TABLE made_once (id int)
helpers: {few: {sql: SELECT id FROM chosen WHERE id % 2 = 0, key: [id]}}
chunk: {rows: 20}
steps:
  - name: mark
    sql: "UPDATE users AS t SET mark = :mark FROM {{helper few}} AS f WHERE f.id = t.id AND {{range}}"
finish: DROP TABLE chosen
`)
	var said strings.Builder
	said.WriteString(must(t, db.DSN(), dir, "plan", job))
	said.WriteString(must(t, db.DSN(), dir, "plan", "-o", "json", job))
	// Made to fail: without its own lines for a plan that is made again, it said 0 segments and 0 rows.
	if text := said.String(); !strings.Contains(text, "segments  known after prepare;") || strings.Contains(text, "about 0 rows") {
		t.Errorf("plan pretends to know what prepare leaves:\n%s", text)
	}
	if !strings.Contains(said.String(), "PREPARE_TEST_SECRET") || !strings.Contains(said.String(), "CREATE TABLE chosen AS") {
		t.Errorf("plan does not say what it will do:\n%s", said.String())
	}
	p := start(t, db.DSN(), dir, "run", "--yes", job)
	pgtest.Eventually(t, time.Minute, func() error {
		if pgtest.One[int](db, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(3)%' AND pid <> pg_backend_pid()") == 0 {
			return errNotYet
		}
		return nil
	})
	p.kill(t)
	if state := pgtest.One[string](db, "SELECT state FROM pgbackfill.runs"); state != "preparing" {
		t.Errorf("killed in prepare, the run is %s", state)
	}
	if err := os.Setenv("PREPARE_TEST_SECRET", "another"); err != nil {
		t.Fatal(err)
	}
	refusedWith(t, db, dir, job, "param mark was the secret that the run began with")
	if err := os.Unsetenv("PREPARE_TEST_SECRET"); err != nil {
		t.Fatal(err)
	}
	refusedWith(t, db, dir, job, "PREPARE_TEST_SECRET is not set")
	if err := os.Setenv("PREPARE_TEST_SECRET", secret); err != nil {
		t.Fatal(err)
	}
	said.WriteString(must(t, db.DSN(), dir, "run", "--yes", "--log-format", "json", "--log-level", "debug", job))
	if wrong := pgtest.One[int](db, "SELECT count(*) FROM users WHERE mark IS DISTINCT FROM CASE WHEN id > 250 AND id % 2 = 0 THEN '"+secret+"' END"); wrong > 0 {
		t.Errorf("%d rows are wrong", wrong)
	}
	said.WriteString(must(t, db.DSN(), dir, "status", "-o", "json"))
	for _, table := range pgtest.All[string](db, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'pgbackfill'") {
		said.WriteString(strings.Join(pgtest.All[string](db, "SELECT t::text FROM pgbackfill."+table+" AS t"), "\n"))
	}
	if strings.Contains(said.String(), secret) {
		t.Error("the secret is in what was said, or stored")
	}
	db.Exec("DROP TABLE made_once")
	must(t, db.DSN(), dir, "run", "--yes", "--again", job)
	helpers := "SELECT tablename::text FROM pg_tables WHERE schemaname = 'pgbackfill' AND tablename LIKE 'helper%'"
	if list := pgtest.All[string](db, helpers); len(list) != 1 || list[0] != "helper_2_few" {
		t.Errorf("the helpers that are there: %v, want that of the second run", list)
	}
	must(t, db.DSN(), dir, "schema", "remove", "--yes")
}

func refusedWith(t *testing.T, db *pgtest.DB, dir, job, want string) {
	t.Helper()
	code, out := pgbackfill(t, db.DSN(), dir, "run", "--yes", job)
	if code == 0 || !strings.Contains(out, want) {
		t.Errorf("exit code %d, and it said:\n%s\nwant %q", code, out, want)
	}
}

// A job whose finish puts the table that it has filled in the place of the one that it has walked ends.
//
// Made to fail: where the table was asked for after finish too, the run failed when it was added up, each time that it was run.
func TestFinishThatSwapsTables(t *testing.T) {
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE users (id int PRIMARY KEY, full_name text); CREATE TABLE users_new (LIKE users INCLUDING ALL);
		INSERT INTO users SELECT g, 'user ' || g FROM generate_series(1, 60) AS g; ANALYZE users`)
	job := write(t, dir, "job.yaml", `name: move
table: public.users
steps:
  - name: copy
    sql: INSERT INTO users_new SELECT c.id, upper(c.full_name) FROM {{chunk}} AS c ON CONFLICT DO NOTHING
verify: {none: "SELECT 1 WHERE false"}
finish: ALTER TABLE users RENAME TO users_old; ALTER TABLE users_new RENAME TO users
`)
	must(t, db.DSN(), dir, "run", "--yes", job)
	if state := pgtest.One[string](db, "SELECT state FROM pgbackfill.runs"); state != "finished" {
		t.Errorf("the run is %s", state)
	}
	if n := pgtest.One[int](db, "SELECT count(*) FROM users WHERE full_name = 'USER ' || id"); n != 60 {
		t.Errorf("%d rows are in the new table, want 60", n)
	}
}
