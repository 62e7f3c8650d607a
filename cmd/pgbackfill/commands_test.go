package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// What init writes is a job file: lint refuses it until the value is written, and then plan takes it.
func TestInitGoesThroughPlan(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	people(t, db)
	db.Exec(`CREATE SCHEMA "Odd"; CREATE TABLE "Odd"."Table" (a int, "Key" text, v numeric, PRIMARY KEY ("Key", a));
		INSERT INTO "Odd"."Table" SELECT g, 'k' || g, 1 FROM generate_series(1, 50) AS g`)
	dir := t.TempDir()
	for table, file := range map[string]string{"people": "a.yaml", "public.people": "b.yaml", `"Odd"."Table"`: "c.yaml"} {
		out := must(t, db.DSN(), dir, "init", table)
		says(t, must(t, db.DSN(), dir, "init", table, "-f", file), file+" is written", "pgbackfill plan "+file)
		says(t, out, "name: ", "table: ", "update:", "EDIT")
		refuses(t, db, dir, 2, []string{"lint", file}, "the value that it has, and nothing else in `set`")
		draft, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(draft)), "\n")
		last := lines[len(lines)-1]
		write(t, dir, file, string(draft)[:strings.LastIndex(string(draft), last)]+strings.Replace(last, ": t.", ": COALESCE(t.", 1)+", NULL)\n")
		says(t, must(t, "", dir, "lint", file), file+": ", "is well-formed")
		says(t, must(t, db.DSN(), dir, "plan", file), "Segments", "Statements", "UPDATE ")
		before := untouched(db)
		says(t, must(t, db.DSN(), dir, "run", "--dry-run", "2", file), "0 would change")
		if after := untouched(db); after != before {
			t.Errorf("something was written: %s, before: %s", after, before)
		}
	}
	refuses(t, db, dir, 2, []string{"init", "people", "-f", "a.yaml"}, "a.yaml: it cannot be written", "name a file that does not exist yet")
	refuses(t, db, dir, 2, []string{"init", "people", "-f", "nowhere/a.yaml"}, "nowhere/a.yaml: it cannot be written", "mkdir -p nowhere")
	refuses(t, db, dir, 2, []string{"init", "poeple"}, "there is no table poeple", "did you mean public.people?")
	refuses(t, db, dir, 2, []string{"init", "people_view"}, "public.people_view is a view; expected a table")
	refuses(t, db, dir, 2, []string{"init"}, "pgbackfill init takes one table; found 0 arguments")
}

// lint looks at every file, says all that is wrong in each, and needs no database.
func TestLint(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	dir := t.TempDir()
	write(t, dir, "good.yaml", peopleJob+"---\n"+strings.Replace(peopleJob, "name: people", "name: more", 1))
	write(t, dir, "bad.yaml", peopleJob+"tabel: x\nworkers: 0\n")
	write(t, dir, "worse.yaml", "name: [")
	says(t, must(t, "", dir, "lint", "good.yaml"), "good.yaml: people is well-formed", "good.yaml: more is well-formed")
	refuses(t, db, dir, 2, []string{"lint", "bad.yaml", "good.yaml", "worse.yaml"}, "bad.yaml:6:1: the unknown field `tabel`", "bad.yaml:7:10: ", "worse.yaml:1:")
	_, out, _ := streams(t, "", dir, "lint", "bad.yaml", "good.yaml")
	says(t, out, "good.yaml: people is well-formed")
	refuses(t, db, dir, 2, []string{"lint"}, "pgbackfill lint takes one or more job files; found 0 arguments")

	// What is only warned of can be refused, and a configuration that is wrong is no reason not to look.
	// Made to fail: without PersistentPreRunE, and with strict unread.
	write(t, dir, "pgbackfill.yaml", "tabel: x\n")
	write(t, dir, "warned.yaml", "name: w\ntable: public.people\nidempotent: false\nupdate: {set: {age: t.age + 1}}\n")
	refuses(t, db, dir, 2, []string{"lint", "--strict", "good.yaml", "warned.yaml"}, "nothing proves that it did what it should", "warned.yaml: 1 warning, and --strict allows none")
	must(t, "", dir, "lint", "warned.yaml")
}

// A walk in physical order is told in pages, of the partition that they are in, and what follows it is no greatest key. Made to fail: with the
// words of a walk by key.
func TestPlanOfAWalkInPhysicalOrder(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE w (id int, n int, pad text) PARTITION BY LIST (id); CREATE TABLE "w odd" PARTITION OF w FOR VALUES IN (1); CREATE TABLE w_2 PARTITION OF w FOR VALUES IN (2);
		CREATE TABLE plain (id int, n int); INSERT INTO plain VALUES (1); INSERT INTO w SELECT 1 + i % 2, i, repeat('x', 2000) FROM generate_series(1, 2000) AS i; ANALYZE w, plain`)
	write(t, dir, "job.yaml", "name: parts\ntable: w\nchunk: {rows: 100}\nupdate: {set: {n: 1}}\n---\nname: plain\ntable: plain\nupdate: {set: {n: 1}}\n")
	text := must(t, db.DSN(), dir, "plan", "job.yaml")
	says(t, text, `pages 0 to `, ` of public."w odd": about `, ` of public.w_2: about `, "pages 0 to 0 of public.plain: about ", "then the tail: partitions", "then a look at the whole table")
	if strings.Contains(text, "first key") || strings.Contains(text, "greatest key") {
		t.Errorf("a walk in physical order has no keys:\n%s", text)
	}
}

// plan prints all that run sends, as text and as JSON, and writes nothing.
func TestPlan(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	people(t, db)
	dir := t.TempDir()
	write(t, dir, "people.yaml", peopleJob+"where: t.age > 20\n---\n"+strings.Replace(peopleJob, "name: people", "name: more", 1))
	before := untouched(db)
	text := must(t, db.DSN(), dir, "plan", "people.yaml")
	says(t, text, "people: update of public.people on "+db.Name(), "walk      by key: the primary key", "from the first key to ", "then the tail", "then the closing sweep",
		`SET "shown" = (initcap(t.name)`, "t.age > 20", "Index", "Statements on pgbackfill's own tables", "INSERT INTO pgbackfill.chunks", "more: update of public.people", "[backup-not-attested]")
	decoder := json.NewDecoder(strings.NewReader(must(t, db.DSN(), dir, "plan", "-o", "json", "people.yaml")))
	for _, name := range []string{"people", "more"} {
		var plan backfill.Plan
		if err := decoder.Decode(&plan); err != nil {
			t.Fatal(err)
		}
		if plan.Job.Name != name || len(plan.Segments) == 0 || plan.EstimatedRows != 300 || len(plan.Findings) == 0 || plan.Pace.Workers != 2 {
			t.Errorf("%s: %d segments, about %d rows, %d findings, %d workers", plan.Job.Name, len(plan.Segments), plan.EstimatedRows, len(plan.Findings), plan.Pace.Workers)
		}
		if !slices.ContainsFunc(plan.Statements, func(s backfill.PlannedStatement) bool {
			return strings.Contains(s.SQL, "UPDATE public.people") && s.Explain != ""
		}) {
			t.Errorf("%s: no update is explained among %d statements", name, len(plan.Statements))
		}
	}
	if after := untouched(db); after != before {
		t.Errorf("something was written: %s, before: %s", after, before)
	}
}

// A finding of severity error stops plan and run, before anything is written, until it is accepted by name.
func TestFindingStopsUntilAccepted(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	people(t, db)
	dir := t.TempDir()
	db.Exec("CREATE PUBLICATION everything FOR ALL TABLES")
	write(t, dir, "people.yaml", peopleJob)
	before := untouched(db)
	for _, command := range []string{"plan", "run"} {
		code, out, said := streams(t, db.DSN(), dir, command, "--yes", "people.yaml")
		if code != 2 {
			t.Errorf("%s: exit code %d, want 2", command, code)
		}
		says(t, out+said, "error [schema-published]", "publication everything is FOR ALL TABLES", "people.yaml: people is not run: schema-published", "--accept ID")
	}
	if after := untouched(db); after != before {
		t.Errorf("something was written: %s, before: %s", after, before)
	}
	refuses(t, db, dir, 2, []string{"schema", "install"}, "its tables would be published by ", "everything", "install with --accept schema-published")
	must(t, db.DSN(), dir, "schema", "install", "--accept", "schema-published")
	must(t, db.DSN(), dir, "schema", "remove", "--yes")
	_, out, said := streams(t, db.DSN(), dir, "run", "--yes", "--accept", "schema-published", "people.yaml")
	says(t, said, "error [schema-published, accepted by "+who()+"]", "notes: ", "backup-not-attested", "; see: pgbackfill plan people.yaml")
	says(t, out, "people: finished")
	if strings.Contains(said, "run ended") {
		t.Errorf("what the summary says is said twice:\n%s", said)
	}
}

// With a JSON log standard error holds one object a line and nothing else, whatever happens, and
// standard output nothing.
func TestJSONLog(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	people(t, db)
	dir := t.TempDir()
	write(t, dir, "people.yaml", peopleJob+"workers: 9\n")
	write(t, dir, "pgbackfill.yaml", "ceilings: {workers: 1}\nlog: {format: json}\n")
	for _, c := range []struct {
		args     []string
		code     int
		messages []string
	}{
		{[]string{"run", "--max-chunks", "1", "--chunk-rows", "10", "people.yaml"}, 130, []string{"workers: 9 asked for by people.yaml", "nobody has told pgbackfill of a backup", "planned", "run started", "state changed", "pass started", "run ended"}},
		{[]string{"run", "people.yaml"}, 0, []string{"run resumed", "progress", "run ended"}},
		{[]string{"run", "people.yaml"}, 0, []string{"people: run 1 has finished"}},
		{[]string{"run", "nowhere.yaml"}, 2, []string{"the job file cannot be read"}},
	} {
		code, out, said := streams(t, db.DSN(), dir, c.args...)
		if code != c.code || out != "" {
			t.Errorf("%v: exit code %d, want %d; on standard output: %s", c.args, code, c.code, out)
		}
		var messages []string
		for _, record := range jsonLines(t, said) {
			message, _ := record["message"].(string)
			messages = append(messages, message)
			if record["time"] == nil || record["level"] == nil {
				t.Errorf("a record has no time or level: %v", record)
			}
		}
		for _, want := range c.messages {
			if !slices.ContainsFunc(messages, func(m string) bool { return strings.HasPrefix(m, want) }) {
				t.Errorf("%v: no record says %q: %q", c.args, want, messages)
			}
		}
		keepsSecrets(t, db.DSN(), said)
	}
}

// Every command says what it does, how it is called, and what its flags are.
func TestHelp(t *testing.T) {
	t.Parallel()
	a := &app{version: "v1.2.3"}
	for _, c := range append(a.root().Commands(), a.schemaCommand().Commands()...) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s says of itself %q", c.Name(), c.Short)
		}
		if c.Flags().HasFlags() {
			says(t, c.UsageString(), "Flags:")
		}
	}
	for _, args := range [][]string{{}, {"--help"}, {"help"}} {
		out := must(t, "", t.TempDir(), args...)
		says(t, out, "pgbackfill demo", "init", "lint", "plan", "run", "status", "pause", "resume", "cancel", "set", "schema", "--log-format")
	}
	says(t, must(t, "", t.TempDir(), "run", "--help"), "pgbackfill run FILE", "--again", "--dry-run", "--max-chunks", "--set", "--accept", "--workers", "asks on a terminal", "as with --yes")
	says(t, must(t, "", t.TempDir(), "status", "--help"), "every 2s", "without JOB, until Ctrl-C")
	says(t, must(t, "", t.TempDir(), "schema"), "install", "upgrade", "remove", "sql")
	says(t, must(t, "", t.TempDir(), "set", "--help"), "chunk.target", "workers", "rate")
	if out := must(t, "", t.TempDir(), "--version"); !strings.HasPrefix(out, "pgbackfill version ") {
		t.Errorf("the version is %q", out)
	}
}
