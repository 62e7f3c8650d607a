package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// crawlJob walks the counters for about a minute, unless somebody changes its pace.
const crawlJob = `name: slow
table: public.counters
idempotent: false
update:
  set:
    counter: t.counter + 1
workers: 2
chunk: {rows: 50}
rate: 1000
`

const crawlRows = 60_000

// crawl starts the run of crawlJob and returns when it has done some chunks.
func crawl(t *testing.T, args ...string) (*pgtest.DB, string, *process) {
	t.Helper()
	db := pgtest.New(t)
	counters(db, crawlRows)
	dir := t.TempDir()
	write(t, dir, "slow.yaml", crawlJob)
	p := start(t, db.DSN(), dir, append([]string{"run", "--yes", "slow.yaml"}, args...)...)
	committed(t, db, p, 3)
	return db, dir, p
}

// ledgered is the length of the ledger.
func ledgered(db *pgtest.DB) int64 {
	if !pgtest.One[bool](db, "SELECT to_regclass('pgbackfill.chunks') IS NOT NULL") {
		return 0
	}
	return pgtest.One[int64](db, "SELECT count(*) FROM pgbackfill.chunks WHERE fence IS NULL")
}

// committed waits until the process has done so many more chunks.
func committed(t *testing.T, db *pgtest.DB, p *process, more int64) {
	t.Helper()
	from := ledgered(db)
	pgtest.Eventually(t, time.Minute, func() error {
		if p.ended() {
			t.Fatalf("the run ended:\n%s", p.out)
		}
		if n := ledgered(db); n < from+more {
			return fmt.Errorf("%d chunks, waiting for %d", n, from+more)
		}
		return nil
	})
}

// status is the JSON of one job's status.
func status(t *testing.T, db *pgtest.DB, dir, job string) map[string]any {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal([]byte(must(t, db.DSN(), dir, "status", job, "-o", "json")), &s); err != nil {
		t.Fatal(err)
	}
	if progress, ok := s["progress"].(float64); !ok || progress < 0 || progress > 1 {
		t.Errorf("the progress is %v", s["progress"])
	}
	return s
}

// says asserts that a text holds all of the parts.
func says(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q:\n%s", part, text)
		}
	}
}

// refuses runs the program and asserts that it fails so.
func refuses(t *testing.T, db *pgtest.DB, dir string, code int, args []string, parts ...string) {
	t.Helper()
	got, out, said := streams(t, db.DSN(), dir, args...)
	if got != code {
		t.Errorf("pgbackfill %v: exit code %d, want %d\n%s%s", args, got, code, out, said)
	}
	says(t, said, parts...)
}

// Another process pauses a run, lets it go on and cancels it. What it was told, by whom and why,
// is in the status; the run itself says how it ended.
func TestPauseResumeCancel(t *testing.T) {
	t.Parallel()
	db, dir, p := crawl(t)
	if s := status(t, db, dir, "slow"); s["state"] != "running" || s["rows_per_second"].(float64) <= 0 || s["eta_seconds"] == nil {
		t.Errorf("while it runs: %v, %v rows/s, ETA %v", s["state"], s["rows_per_second"], s["eta_seconds"])
	}
	says(t, must(t, db.DSN(), dir, "pause", "slow", "--why", "replica rebuild"), "slow: run 1 pauses", "pgbackfill resume slow")
	pgtest.Eventually(t, time.Minute, func() error {
		if s := status(t, db, dir, "slow"); s["state"] != "paused" {
			return fmt.Errorf("it is %v", s["state"])
		}
		return nil
	})
	const asked = "SELECT extract(epoch FROM max(at) - min(at))::float8 FROM pgbackfill.events WHERE what IN ('paused asked for', 'paused')"
	if seconds := pgtest.One[float64](db, asked); seconds > 4 {
		t.Errorf("it took %.1f s to pause", seconds)
	}
	n := ledgered(db)
	s := status(t, db, dir, "slow")
	if s["eta_seconds"] != nil || s["rows_per_second"].(float64) != 0 {
		t.Errorf("while it is paused: ETA %v, %v rows/s", s["eta_seconds"], s["rows_per_second"])
	}
	for _, of := range [][]string{{"status"}, {"status", "slow"}} {
		says(t, must(t, db.DSN(), dir, of...), "paused", "by "+who()+": replica rebuild", "pgbackfill resume slow")
	}
	if later := ledgered(db); later != n {
		t.Errorf("%d chunks were committed while it was paused", later-n)
	}
	if p.ended() {
		t.Fatalf("a paused process ended:\n%s", p.out)
	}
	says(t, must(t, db.DSN(), dir, "resume", "slow"), "slow: run 1 goes on")
	committed(t, db, p, 3)
	pgtest.Eventually(t, time.Minute, func() error {
		if s := status(t, db, dir, "slow"); s["state"] != "running" || s["reason"] != nil {
			return fmt.Errorf("it is %v, %v", s["state"], s["reason"])
		}
		return nil
	})
	refuses(t, db, dir, 2, []string{"schema", "remove"}, "schema pgbackfill: it holds unfinished runs: run 1 of slow (running)", "pgbackfill cancel slow")
	says(t, must(t, db.DSN(), dir, "cancel", "slow", "--why", "wrong expression"), "slow: run 1 is cancelled", "rows are changed and stay so")
	if code := p.wait(t, time.Minute); code != 1 {
		t.Errorf("the cancelled process ended with exit code %d", code)
	}
	says(t, p.out.String(), "paused by "+who()+": replica rebuild", "slow: cancelled after", "run 1 of slow: it was ended: cancelled by "+who()+": wrong expression", "pgbackfill run --again slow.yaml")
	says(t, must(t, db.DSN(), dir, "status", "slow"), "cancelled", "cancelled by "+who()+": wrong expression", "paused asked for: replica rebuild", "resumed asked for")
	changed := pgtest.One[int64](db, "SELECT sum(counter) FROM counters")
	if said := pgtest.One[int64](db, "SELECT sum(rows_seen)::bigint FROM pgbackfill.chunks"); said != changed {
		t.Errorf("%d rows are changed, the ledger says %d", changed, said)
	}
	refuses(t, db, dir, 2, []string{"resume", "slow"}, "job slow: it has no unfinished run: run 1 is cancelled", "pgbackfill run --again")
	says(t, must(t, db.DSN(), dir, "schema", "remove", "--yes"), "the schema pgbackfill is removed")
	says(t, must(t, db.DSN(), dir, "status"), "no runs", "pgbackfill init TABLE")
}

// A pause outlives the process: a new one joins the paused run, says so, and waits.
func TestRunOnPausedRunWaits(t *testing.T) {
	t.Parallel()
	db, dir, p := crawl(t)
	must(t, db.DSN(), dir, "pause", "slow", "--why", "backup")
	p.kill(t)
	pgtest.Eventually(t, time.Minute, func() error { // a commit that the server has got already is carried out
		if pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgbackfill%')") {
			return errNotYet
		}
		return nil
	})
	n := ledgered(db)
	p = start(t, db.DSN(), dir, "run", "--yes", "slow.yaml")
	pgtest.Eventually(t, time.Minute, func() error {
		if !strings.Contains(p.out.String(), "run 1 is paused by "+who()+": backup; this process waits until somebody says: pgbackfill resume slow") {
			return errors.New(p.out.String())
		}
		if s := status(t, db, dir, "slow"); s["live_processes"].(float64) != 1 {
			return fmt.Errorf("%v processes", s["live_processes"])
		}
		return nil
	})
	if later := ledgered(db); later != n {
		t.Errorf("%d chunks were committed while it was paused", later-n)
	}
	must(t, db.DSN(), dir, "resume", "slow")
	committed(t, db, p, 2)
}

// The pace of a run is changed while it goes on, within the operator's ceilings.
func TestSetLive(t *testing.T) {
	t.Parallel()
	db, dir, p := crawl(t)
	write(t, dir, "pgbackfill.yaml", "ceilings: {workers: 3, rate: 100k}\n") // read by the next processes only
	says(t, must(t, db.DSN(), dir, "set", "slow", "workers=3", "chunk.rows=111"), "slow: run 1 is to work at workers=3 chunk.rows=111")
	pgtest.Eventually(t, time.Minute, func() error {
		at := status(t, db, dir, "slow")["processes"].([]any)[0].(map[string]any)
		if at["workers"].(float64) != 3 || at["chunk_rows"].(float64) != 111 {
			return fmt.Errorf("it has %v workers and chunks of %v rows", at["workers"], at["chunk_rows"])
		}
		if n := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.chunks WHERE rows_seen = 111"); n == 0 {
			return errors.New("no chunk has the new size")
		}
		return nil
	})
	for limit, parts := range map[string][]string{
		"workers=4":        {"set: it asks for more than the operator allows: workers: 4 asked for, 3 allowed by ", "pgbackfill.yaml:1", "ask for less"},
		"rate=0":           {"rate: no limit asked for, 100000 rows/s allowed"},
		"wrokers=2":        {`set: unknown key "wrokers"`, "did you mean workers=2?"},
		"chunk.target=5":   {`chunk.target is "5"; expected a duration with its unit`},
		"flag_file=/tmp/x": {"set flag_file: it cannot be changed while a process is at work", "run --set flag_file=/tmp/x", "start the process anew"},
		"queries=off":      {"set queries: it cannot be changed while a process is at work"},
		"http=https://x/y": {"set http: it cannot be changed"},
		"ceilings.rate=9":  {`set: unknown key "ceilings.rate"`},
	} {
		refuses(t, db, dir, 2, []string{"set", "slow", limit}, parts...)
	}
	must(t, db.DSN(), dir, "set", "slow", "lag.ignore=eu-1")
	says(t, must(t, db.DSN(), dir, "set", "slow", "lag.ignore=off"), "lag.ignore=off") // takes it away again
	if held := pgtest.One[string](db, "SELECT overrides->'limits'->>'lag.ignore' FROM pgbackfill.runs"); held != "off" {
		t.Errorf("lag.ignore is held at %s", held)
	}
	says(t, must(t, db.DSN(), dir, "status", "slow"), "limits changed: workers=3 chunk.rows=111")
	must(t, db.DSN(), dir, "set", "slow", "rate=100k", "chunk.rows=2000")
	if code := p.wait(t, time.Minute); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, p.out)
	}
	exactlyOnce(t, db, crawlRows)
}

// A job that has no run is named, with those that were perhaps meant. Where there is no schema yet no job was run, and to
// install it is no remedy. Made to fail: without neverRun each of these commands said to.
func TestUnknownJobs(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	people(t, db)
	dir := t.TempDir()
	write(t, dir, "people.yaml", peopleJob)
	write(t, dir, "undone.yaml", peopleJob+"undo: capture\n")
	for _, command := range [][]string{{"status", "people"}, {"pause", "people"}, {"set", "people", "rate=5"}, {"cancel", "people"}, {"undo", "undone.yaml"}, {"retry-quarantined", "people.yaml"}} {
		refuses(t, db, dir, 2, command, "job people: it was never run in this database", "pgbackfill run FILE")
	}
	must(t, db.DSN(), dir, "schema", "install")
	says(t, must(t, db.DSN(), dir, "status"), "no runs yet", "pgbackfill run FILE")
	refuses(t, db, dir, 2, []string{"pause", "people"}, "job people: there are no runs at all in this database", "check that it is the right database")
	if code, out := pgbackfill(t, db.DSN(), dir, "run", "--max-chunks", "1", "people.yaml"); code != 130 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	for _, command := range [][]string{{"status", "poeple"}, {"pause", "poeple"}, {"resume", "poeple"}, {"cancel", "poeple"}, {"set", "poeple", "rate=5"}} {
		refuses(t, db, dir, 2, command, "job poeple: it has no run in this database", "did you mean people?")
	}
	refuses(t, db, dir, 2, []string{"pause", "orders"}, "job orders: it has no run", "the jobs with an unfinished run are people")
	refuses(t, db, dir, 2, []string{"pause"}, "pause takes the name of one job; found 0 arguments")
	refuses(t, db, dir, 2, []string{"set", "people"}, "at least one KEY=VALUE; found 1 argument\n")
	says(t, must(t, db.DSN(), dir, "status"), "people", "interrupted", "nobody is at work on it; go on with: pgbackfill run people.yaml")
	says(t, must(t, db.DSN(), dir, "set", "people", "rate=5"), "no process is at work on it", "pgbackfill run people.yaml")
	must(t, db.DSN(), dir, "set", "people", "rate=0")
	says(t, must(t, db.DSN(), dir, "status", "--unfinished"), "people", "interrupted")
	must(t, db.DSN(), dir, "run", "people.yaml")
	if out := must(t, db.DSN(), dir, "status", "--unfinished"); strings.Contains(out, "people") || !strings.Contains(out, "every run is over") {
		t.Errorf("status --unfinished shows:\n%s", out)
	}
	refuses(t, db, dir, 2, []string{"cancel", "people"}, "it has no unfinished run: run 1 is finished", "pgbackfill run --again")
}

// status fits a terminal of 80 columns, is valid JSON with all runs, and --watch ends by itself.
func TestStatusForms(t *testing.T) {
	t.Parallel()
	db, dir, p := crawl(t)
	people(t, db)
	write(t, dir, "people.yaml", strings.Replace(peopleJob, "name: people", "name: people-shown-name-of-a-length-that-some-teams-like", 1))
	must(t, db.DSN(), dir, "run", "people.yaml")
	watch := start(t, db.DSN(), dir, "status", "slow", "--watch", "-o", "json")
	for line := range strings.Lines(must(t, db.DSN(), dir, "status")) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("a line has %d columns: %s", n, line)
		}
	}
	must(t, db.DSN(), dir, "set", "slow", "rate=0", "chunk.rows=5000")
	if code := p.wait(t, time.Minute); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, p.out)
	}
	if code := watch.wait(t, time.Minute); code != 0 {
		t.Errorf("watch: exit code %d", code)
	}
	states := watched(t, watch.out.String())
	if first, last := states[0], states[len(states)-1]; first == "finished" || last != "finished" {
		t.Errorf("it was watched as %v", states)
	}
	var all []map[string]any
	if err := json.Unmarshal([]byte(must(t, db.DSN(), dir, "status", "-o", "json")), &all); err != nil || len(all) != 2 {
		t.Fatalf("%d runs, %v", len(all), err)
	}
	for _, s := range all {
		if s["state"] != "finished" || s["progress"] != 1.0 || s["eta_seconds"] != nil {
			t.Errorf("%v is %v, progress %v, ETA %v", s["job"], s["state"], s["progress"], s["eta_seconds"])
		}
	}
}

// watched reads the states of a stream of statuses, and that the progress never leaves 0 to 1 or goes back in a pass.
func watched(t *testing.T, text string) []string {
	t.Helper()
	var states []string
	decoder := json.NewDecoder(strings.NewReader(text))
	for decoder.More() {
		var s struct {
			State    string
			Progress float64
		}
		if err := decoder.Decode(&s); err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		if s.Progress < 0 || s.Progress > 1 {
			t.Errorf("the progress is %v", s.Progress)
		}
		states = append(states, s.State)
	}
	if len(states) == 0 {
		t.Fatalf("nothing was watched:\n%s", text)
	}
	return states
}

// The schema is installed, brought up to date and removed by commands of its own, each of which may be repeated.
func TestSchemaCommands(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	dir := t.TempDir()
	refuses(t, db, dir, 1, []string{"schema", "upgrade"}, "it is not installed in this database", "pgbackfill schema install")
	refuses(t, db, dir, 1, []string{"schema", "remove"}, "it is not installed in this database")
	for range 2 {
		says(t, must(t, db.DSN(), dir, "schema", "install"), "the schema pgbackfill is installed")
	}
	says(t, must(t, db.DSN(), dir, "schema", "upgrade"), "up to date")
	says(t, must(t, db.DSN(), dir, "schema", "remove", "--yes"), "removed")
	if pgtest.One[bool](db, "SELECT to_regnamespace('pgbackfill') IS NOT NULL") {
		t.Error("the schema is still there")
	}
}

// What schema sql prints makes the schema, and its grants are all that a role needs beside the
// job's own: such a role runs a job, watches it and controls it.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	people(t, db)
	dir := t.TempDir()
	write(t, dir, "people.yaml", peopleJob)
	role, dsn := db.Role("")
	db.Exec(must(t, db.DSN(), dir, "schema", "sql", "--runner", role))
	db.Exec(fmt.Sprintf("GRANT SELECT (id, name, shown), UPDATE (shown) ON people TO %s", role))
	// The closing sweep needs one column more. It was found missing when the walk was done, once.
	refusal{job: peopleJob, code: 2, says: []string{"role " + role + " lacks SELECT (xmin) on public.people", "GRANT SELECT ON public.people TO"}}.check(t, dsn, nil)
	db.Exec(fmt.Sprintf("GRANT SELECT (xmin) ON people TO %s", role))
	if code, out := pgbackfill(t, dsn, dir, "run", "--max-chunks", "1", "people.yaml"); code != 130 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	must(t, dsn, dir, "pause", "people")
	must(t, dsn, dir, "set", "people", "workers=1", "chunk.rows=100")
	must(t, dsn, dir, "resume", "people")
	says(t, must(t, dsn, dir, "run", "people.yaml"), "people: finished")
	if n := pgtest.One[int](db, "SELECT count(*) FROM people WHERE shown IS DISTINCT FROM initcap(name)"); n != 0 {
		t.Errorf("%d rows are wrong", n)
	}
	if code, out := pgbackfill(t, dsn, dir, "run", "--again", "--max-chunks", "1", "people.yaml"); code != 130 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	says(t, must(t, dsn, dir, "cancel", "people"), "is cancelled")
	says(t, must(t, dsn, dir, "status", "people"), "cancelled")
	code, out := pgbackfill(t, dsn, dir, "schema", "remove", "--yes")
	if code == 0 {
		t.Errorf("a runner may remove the schema:\n%s", out)
	}
}
