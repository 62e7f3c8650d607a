package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// begun is a database with the run of peopleJob begun: three chunks of ten rows.
func begun(t *testing.T) (db *pgtest.DB, dir string) {
	t.Helper()
	db, dir = pgtest.New(t), t.TempDir()
	people(t, db)
	write(t, dir, "people.yaml", peopleJob)
	code, out := pgbackfill(t, db.DSN(), dir, "run", "--yes", "--max-chunks", "3", "--workers", "1", "--chunk-rows", "10", "people.yaml")
	if code != 130 {
		t.Fatalf("exit code %d, want 130:\n%s", code, out)
	}
	says(t, out, "people: interrupted after", "it can be resumed", "30 rows walked, 30 changed, in 3 chunks", "stopped after 3 chunks, as asked", "pgbackfill run people.yaml")
	if n := filled(db); n != 30 {
		t.Fatalf("%d rows are changed, want 30", n)
	}
	return db, dir
}

// filled counts the rows of people that are done.
func filled(db *pgtest.DB) int {
	return pgtest.One[int](db, "SELECT count(*) FROM people WHERE shown IS NOT NULL")
}

// A run goes on only where the job and the table are what they were. Every refusal says what
// differs and how to go on, and changes nothing.
func TestChangedSinceTheRunBegan(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		job  string
		sql  string
		args []string
		says []string
	}{
		"an expression": {
			job:  strings.Replace(peopleJob, "initcap", "upper", 1),
			says: []string{"job: update.set.shown was initcap(t.name) and is upper(t.name)"},
		},
		"the scope": {job: peopleJob + "where: t.id > 5\n", says: []string{"job: where was (none) and is t.id > 5"}},
		"another column": {
			job:  strings.Replace(peopleJob, "shown: initcap(t.name)", "age: t.id", 1),
			says: []string{"job: update.set.shown was initcap(t.name) and is (none)", "job: update.set.age was (none) and is t.id"},
		},
		"idempotent": {job: peopleJob + "idempotent: false\n", says: []string{"job: idempotent was true and is false"}},
		"settings":   {job: peopleJob + "settings: {work_mem: 64MB}\n", says: []string{"job: settings.work_mem was (none) and is 64MB"}},
		"a type":     {sql: "DROP VIEW people_view; DROP MATERIALIZED VIEW people_matview; ALTER TABLE people ALTER shown TYPE varchar(100)", says: []string{"table: column shown was number ", ": text and is number ", ": character varying(100)"}},
		"a table of the same name": {
			sql:  "ALTER TABLE people RENAME TO people_old; CREATE TABLE people (LIKE people_old INCLUDING ALL); INSERT INTO people (id, name) SELECT id, name FROM people_old",
			says: []string{"table: identity was public.people with OID", "and is public.people with OID"},
		},
		"a trigger": {
			sql:  "CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER seen BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION seen()",
			says: []string{"table: trigger seen on public.people was (none) and is CREATE TRIGGER seen"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, dir := begun(t)
			if c.job != "" {
				write(t, dir, "people.yaml", c.job)
			}
			if c.sql != "" {
				db.Exec(c.sql)
			}
			before := ledgered(db)
			refuses(t, db, dir, 2, []string{"run", "--yes", "people.yaml"},
				append(c.says, "run 1 of people: changed since the run began:", "change it back and run again, or start over with: pgbackfill run --again")...)
			refuses(t, db, dir, 2, []string{"plan", "people.yaml"}, append(c.says, "changed since the run began:")...)
			if n := ledgered(db); n != before {
				t.Errorf("%d chunks were committed", n-before)
			}
			// What is said to help, helps: a new run, and the old one is closed for good.
			says(t, must(t, db.DSN(), dir, "run", "--yes", "--again", "--accept", "not-idempotent", "people.yaml"), "people: finished", "(run 2)")
			if state := pgtest.One[string](db, "SELECT state || ': ' || reason FROM pgbackfill.runs WHERE id = 1"); !strings.HasPrefix(state, "cancelled: replaced by a new run, by "+who()) {
				t.Errorf("the old run is %s", state)
			}
			if n := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.chunks WHERE run_id = 1 AND fence = 'superseded'"); n == 0 {
				t.Error("no segment of the old run was closed")
			}
		})
	}
}

// Pace is not part of what a run is: it may be another each time.
func TestPaceMayChange(t *testing.T) {
	t.Parallel()
	db, dir := begun(t)
	write(t, dir, "people.yaml", "description: Said better.\n"+peopleJob+"workers: 3\nrate: 50000\nchunk: {rows: 17}\n")
	says(t, must(t, db.DSN(), dir, "run", "--yes", "people.yaml"), "run resumed", "people: finished", "300 rows walked, 300 changed")
	if n := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.chunks WHERE rows_seen = 17"); n == 0 {
		t.Error("no chunk has the new size")
	}
}

// A run that is over says what it came to, and what to do to have it done again.
func TestRunsThatAreOver(t *testing.T) {
	t.Parallel()
	db, dir := begun(t)
	must(t, db.DSN(), dir, "run", "--yes", "people.yaml")
	before := untouched(db)
	says(t, must(t, db.DSN(), dir, "run", "--yes", "people.yaml"), "people: run 1 has finished", "300 rows walked, 300 changed. Nothing to do.", "pgbackfill run --again people.yaml")
	if after := untouched(db); after != before {
		t.Error("rows were changed all the same")
	}
	write(t, dir, "people.yaml", strings.Replace(peopleJob, "initcap", "upper", 1))
	refuses(t, db, dir, 2, []string{"run", "--yes", "people.yaml"}, "run 1 of people: it has finished, and the job is not the same any more:",
		"job: update.set.shown was initcap(t.name) and is upper(t.name)", "start a new run, from the beginning: pgbackfill run --again people.yaml")
	if code, out := pgbackfill(t, db.DSN(), dir, "run", "--yes", "--again", "--max-chunks", "1", "people.yaml"); code != 130 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	must(t, db.DSN(), dir, "cancel", "people", "--why", "not upper case")
	refuses(t, db, dir, 2, []string{"run", "--yes", "people.yaml"}, "run 2 of people: it is cancelled (cancelled by "+who()+": not upper case)", "pgbackfill run --again people.yaml")
}

// A dry run carries chunks out and rolls them back; it needs no schema and leaves none.
func TestDryRun(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	people(t, db)
	dir := t.TempDir()
	write(t, dir, "people.yaml", peopleJob+"where: t.id > 15\nchunk: {rows: 10}\n")
	before := untouched(db)
	says(t, must(t, db.DSN(), dir, "run", "--dry-run", "3", "people.yaml"),
		"chunk 1, from the first key to (10): 10 rows, 0 would change", "chunk 2, above (10) to (20): 10 rows, 5 would change", "rolled back",
		"dry run: 3 chunks, 30 rows, 15 would change", "Everything was rolled back; nothing is recorded.")
	if after := untouched(db); after != before {
		t.Errorf("something was written: %s, before: %s", after, before)
	}
}

// The jobs of a file run in their order; one that fails stops those after it.
func TestSeveralJobsInAFile(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	people(t, db)
	dir := t.TempDir()
	// The second needs what the first has made, and the third fails in its middle.
	write(t, dir, "jobs.yaml", peopleJob+`---
name: people-again
table: people
update: {set: {shown: "t.shown || '!'"}}
idempotent: false
---
name: people-broken
table: people
update: {set: {age: "10 / (t.id - 200)"}}
chunk: {rows: 50}
workers: 1
---
name: people-never
table: people
update: {set: {age: "0"}}
`)
	code, out, said := streams(t, db.DSN(), dir, "run", "--yes", "--set", "max_quarantined=0", "jobs.yaml")
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	says(t, out, "people: finished", "people-again: finished", "people-broken: stopped by an error", "a row cannot be changed", "division by zero", "mend the row or the job's expression")
	if strings.Contains(out+said, "people-never: finished") {
		t.Errorf("the job after the failure ran:\n%s", out)
	}
	if n := pgtest.One[int](db, "SELECT count(*) FROM people WHERE shown = initcap(name) || '!'"); n != 300 {
		t.Errorf("%d rows are what the first two jobs make of them", n)
	}
	if jobs := strings.Join(pgtest.All[string](db, "SELECT job || ' ' || state FROM pgbackfill.runs ORDER BY id"), ", "); jobs != "people finished, people-again finished, people-broken failed" {
		t.Errorf("the runs are %s", jobs)
	}
	says(t, must(t, db.DSN(), dir, "status"), "people-broken", "failed", "run 3: ", "division by zero")
	// Mended, it goes on where it stopped and the last job has its turn.
	db.Exec("DELETE FROM people WHERE id = 200")
	says(t, must(t, db.DSN(), dir, "run", "--yes", "jobs.yaml"), "people: run 1 has finished", "people-broken: finished", "people-never: finished")
}

// A column that is dropped while the run goes on stops it at once: nothing will get better.
// A column of the same name and type that is made instead is another one, and empty: the run that
// filled the first one is not gone on with, or it would end with rows that nobody has done. (It
// did, while columns were told apart by name and type alone.)
func TestColumnDroppedInMidRun(t *testing.T) {
	t.Parallel()
	db, dir, p := crawl(t)
	db.Exec("ALTER TABLE counters DROP COLUMN counter")
	if code := p.wait(t, time.Minute); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	says(t, p.out.String(), "slow: stopped by an error", "job slow, table public.counters, segment ", "42703", "counter", "mend the job or the schema, then run it again: what is committed stays", "pgbackfill run slow.yaml")
	says(t, must(t, db.DSN(), dir, "status", "slow"), "slow, run 1 on public.counters: failed", "42703")
	refuses(t, db, dir, 2, []string{"run", "--yes", "slow.yaml"}, "slow.yaml:6: set: table public.counters has no column counter")
	db.Exec("ALTER TABLE counters ADD COLUMN counter int NOT NULL DEFAULT 0")
	refuses(t, db, dir, 2, []string{"run", "--yes", "slow.yaml"}, "run 1 of slow: changed since the run began:",
		"table: column counter was number 2: integer NOT NULL and is number 4: integer NOT NULL")
	says(t, must(t, db.DSN(), dir, "run", "--yes", "--again", "--accept", "not-idempotent", "--rate", "0", "--chunk-rows", "5000", "slow.yaml"), "slow: finished")
	if n := pgtest.One[int](db, "SELECT count(*) FROM counters WHERE counter <> 1"); n != 0 {
		t.Errorf("%d rows of the new column were not done once", n)
	}
}

// dawdle makes every chunk of people take so many seconds.
func dawdle(db *pgtest.DB, seconds int) {
	db.Exec(fmt.Sprintf(`CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(%d); RETURN NULL; END';
		CREATE TRIGGER dawdle BEFORE UPDATE ON people FOR EACH STATEMENT EXECUTE FUNCTION dawdle()`, seconds))
}

// dawdling waits until a chunk sleeps in its trigger.
func dawdling(t *testing.T, db *pgtest.DB, p *process) {
	t.Helper()
	pgtest.Eventually(t, time.Minute, func() error {
		if p.ended() {
			t.Fatalf("the run ended:\n%s", p.out)
		}
		if !pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgbackfill people %' AND wait_event = 'PgSleep')") {
			return errNotYet
		}
		return nil
	})
}

// The first SIGINT or SIGTERM lets the chunk that has begun finish; it is said that one waits for
// it, and how to go on. A second one cancels the chunk at once.
func TestSignals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		signals []syscall.Signal
		sleep   int
		rows    int
		says    string
	}{
		"SIGINT":         {[]syscall.Signal{syscall.SIGINT}, 2, 10, "stopped between two chunks; what is committed stays"},
		"SIGTERM":        {[]syscall.Signal{syscall.SIGTERM}, 2, 10, "stopped between two chunks; what is committed stays"},
		"SIGINT, SIGINT": {[]syscall.Signal{syscall.SIGINT, syscall.SIGINT}, 25, 0, "stopped at once: chunks that had begun were cancelled and rolled back"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, dir := pgtest.New(t), t.TempDir()
			people(t, db)
			dawdle(db, c.sleep)
			write(t, dir, "people.yaml", peopleJob+"workers: 1\nchunk: {rows: 10}\n")
			p := start(t, db.DSN(), dir, "run", "--yes", "people.yaml")
			dawdling(t, db, p)
			asked := time.Now()
			for _, s := range c.signals {
				p.signal(t, s)
				pgtest.Eventually(t, time.Minute, func() error {
					if !strings.Contains(p.out.String(), "stopping: chunks that have begun finish first; interrupt again to cancel them") {
						return errNotYet
					}
					return nil
				})
			}
			if code := p.wait(t, time.Minute); code != 130 {
				t.Errorf("exit code %d, want 130", code)
			}
			if took := time.Since(asked); took > 15*time.Second {
				t.Errorf("it took %s to stop", took)
			}
			says(t, p.out.String(), c.says, "people: interrupted after", "it can be resumed", "pgbackfill run people.yaml")
			if n := filled(db); n != c.rows {
				t.Errorf("%d rows are changed, want %d", n, c.rows)
			}
		})
	}
}

// A signal that comes before there is a run ends the planning, and leaves nothing behind.
func TestInterruptedWhilePlanning(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	people(t, db)
	before := untouched(db)
	write(t, dir, "people.yaml", peopleJob)
	lock := db.Conn()
	if _, err := lock.Exec(t.Context(), "BEGIN; LOCK TABLE people IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	p := start(t, db.DSN(), dir, "run", "--yes", "--set", "timeouts.lock=50s", "people.yaml")
	pgtest.Eventually(t, time.Minute, func() error {
		if p.ended() {
			t.Fatalf("it ended:\n%s", p.out)
		}
		if !pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'people'::regclass AND NOT granted)") {
			return errNotYet
		}
		return nil
	})
	p.signal(t, syscall.SIGINT)
	if code := p.wait(t, 20*time.Second); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	says(t, p.out.String(), "pgbackfill: interrupted; what is committed stays\n  → start it again to go on")
	if _, err := lock.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if after := untouched(db); after != before {
		t.Errorf("something was written: %s, before: %s", after, before)
	}
}
