package main

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// refusal is something that cannot be run, and what the program must say about it: the place,
// what was found, and what to do.
type refusal struct {
	name string
	// job is the text of bad.yaml; "" is peopleJob.
	job string
	// args are those of the program; none is run --yes bad.yaml.
	args []string
	code int
	says []string
}

const peopleJob = `name: people
table: public.people
update:
  set:
    shown: initcap(t.name)
`

// people is a table to be left alone, and relations beside it that are no tables.
func people(t *testing.T, db *pgtest.DB) {
	t.Helper()
	db.Exec(`CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, age int, doc json, shown text, twice int GENERATED ALWAYS AS (age * 2) STORED);
		INSERT INTO people (id, name, age) SELECT g, 'person ' || g, g % 90 FROM generate_series(1, 300) AS g;
		CREATE VIEW people_view AS SELECT * FROM people;
		CREATE MATERIALIZED VIEW people_matview AS SELECT * FROM people;
		CREATE SEQUENCE people_seq;
		CREATE EXTENSION postgres_fdw;
		CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw;
		CREATE FOREIGN TABLE people_foreign (id int, name text, shown text) SERVER elsewhere;
		ANALYZE people`)
}

// untouched reads what must stay as it is: the rows with their versions, and whether the
// schema pgbackfill is there.
func untouched(db *pgtest.DB) string {
	return pgtest.One[string](db, `SELECT coalesce(to_regnamespace('pgbackfill')::text, 'no schema') || ' ' || md5(string_agg(xmin || ' ' || p::text, ',' ORDER BY id)) FROM people AS p`)
}

// check runs the program and reads what it says, as text and as JSON.
func (r refusal) check(t *testing.T, dsn string, before func(dir string)) {
	t.Helper()
	dir := t.TempDir()
	if before != nil {
		before(dir)
	}
	job := r.job
	if job == "" {
		job = peopleJob
	}
	write(t, dir, "bad.yaml", job)
	args := r.args
	if args == nil {
		args = []string{"run", "--yes", "bad.yaml"}
	}
	for _, format := range []string{"console", "json"} {
		code, out, said := streams(t, dsn, dir, append([]string{"--log-format", format}, args...)...)
		if code != r.code {
			t.Errorf("exit code %d, want %d", code, r.code)
		}
		for _, text := range r.says {
			if format == "console" && !strings.Contains(said, text) {
				t.Errorf("it does not say %q:\n%s", text, said)
			}
		}
		if format == "json" {
			records := jsonLines(t, said)
			if last := records[len(records)-1]; last["level"] != "error" || last["message"] == "" {
				t.Errorf("the last record is no error: %v", last)
			}
		}
		keepsSecrets(t, dsn, out+said)
	}
}

// keepsSecrets asserts that the password of a connection string is in no output.
func keepsSecrets(t *testing.T, dsn, out string) {
	t.Helper()
	if strings.Contains(out, canary) {
		t.Errorf("the password is shown:\n%s", out)
	}
	if u, err := url.Parse(dsn); err == nil && u.User != nil {
		if password, ok := u.User.Password(); ok && strings.Contains(out, password) {
			t.Errorf("the password is shown:\n%s", out)
		}
	}
}

// Promise 7: whatever is wrong with the input is an error that names the place, the cause and the
// remedy, and nothing is written. All cases share a database: none of them may change anything.
func TestBadInput(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	people(t, db)
	with := func(old, fresh string) string { return strings.Replace(peopleJob, old, fresh, 1) }
	table := func(name string) string { return with("public.people", name) }
	value := func(sql string) string { return with("initcap(t.name)", sql) }
	cases := []refusal{
		{
			name: "unknown field", job: peopleJob + "tabel: x\n", code: 2,
			says: []string{"bad.yaml:6:1: the unknown field `tabel`", "expected one of name, description, table", "did you mean `table`?"},
		},
		{name: "a contract of nothing", job: peopleJob + "contract: {}\n", code: 2, says: []string{"bad.yaml:6:11: no `contract.drops`", "drops: [users.full_name]"}},
		{
			name: "duplicate field", job: peopleJob + "table: public.people\n", code: 2,
			says: []string{"bad.yaml:6:1: `table` again", "it is in line 2 already: remove one of the two"},
		},
		{name: "several errors", job: peopleJob + "tabel: x\nworkers: many\n", code: 2, says: []string{"bad.yaml:6:1", "bad.yaml:7:10"}},
		{name: "empty file", job: "\n", code: 2, says: []string{"bad.yaml:1:1: no job", "pgbackfill init TABLE"}},

		{
			name: "missing table", job: table("public.poeple"), code: 2,
			says: []string{"bad.yaml: table: there is no table public.poeple in database " + db.Name(), "did you mean public.people?"},
		},
		{name: "missing schema", job: table("publik.people"), code: 2, says: []string{"bad.yaml: table: there is no table publik.people", "did you mean public.people?"}},
		{name: "view", job: table("people_view"), code: 2, says: []string{"bad.yaml: table: public.people_view is a view; expected a table", "name the table that the view reads"}},
		{name: "materialized view", job: table("people_matview"), code: 2, says: []string{"public.people_matview is a materialized view; expected a table", "refresh it afterwards"}},
		{name: "foreign table", job: table("people_foreign"), code: 2, says: []string{"public.people_foreign is a foreign table; expected a table", "run pgbackfill against the server that holds the rows"}},
		{name: "sequence", job: table("people_seq"), code: 2, says: []string{"public.people_seq is a sequence; expected a table", "name a table"}},
		{name: "PostgreSQL's own table", job: table("pg_catalog.pg_class"), code: 2, says: []string{"belongs to PostgreSQL itself", "name a table of your own"}},

		{name: "wrong column in set", job: with("shown:", "shwon:"), code: 2, says: []string{"bad.yaml:5: set: table public.people has no column shwon", "did you mean shown?"}},
		{name: "generated column in set", job: with("shown: initcap(t.name)", "twice: 5"), code: 2, says: []string{"bad.yaml:5: set: column twice is generated", "set the columns that it is computed from"}},
		{name: "key column in set", job: with("shown: initcap(t.name)", "id: t.id + 1"), code: 2, says: []string{"bad.yaml:5: set: column id is part of the key", "walk by another key"}},
		{
			name: "wrong column in an expression", job: value("initcap(t.nmae)"), code: 2,
			says: []string{"bad.yaml:5: in set: shown: ", "42703", "did you mean name?", "  initcap(t.nmae)\n          ^"},
		},
		{name: "wrong column in where", job: peopleJob + "where: t.aeg > 1\n", code: 2, says: []string{"bad.yaml:6: in where: ", "column t.aeg does not exist", "did you mean age?"}},
		{name: "wrong column in key", job: peopleJob + "key: idd\n", code: 2, says: []string{"bad.yaml: key: table public.people has no column idd", "did you mean id?"}},
		{name: "key that has no order", job: peopleJob + "key: doc\n", code: 2, says: []string{"bad.yaml: key: ", "doc", "json"}},

		{
			name: "wrong type of a value", job: with("shown: initcap(t.name)", "age: t.name"), code: 2,
			says: []string{"bad.yaml:5: in set: age: ", "is of type integer but expression is of type text", "cast the value to the column's type: (…)::integer"},
		},
		{name: "wrong type of an operand", job: value("t.name + 1"), code: 2, says: []string{"bad.yaml:5: in set: shown: ", "operator does not exist: text + integer", "types of its arguments"}},
		{name: "where that is no condition", job: peopleJob + "where: t.age + 1\n", code: 2, says: []string{"bad.yaml:6: in where: ", "must be type boolean", "write a condition"}},
		{
			name: "second statement", job: value("initcap(t.name); DROP TABLE people"), code: 2,
			says: []string{"bad.yaml:5:27: a ; and a second statement after it; expected exactly one SQL expression", "remove everything from the ; on"},
		},
		{name: "unclosed comment", job: value(`"initcap(t.name) /* rest"`), code: 2, says: []string{"bad.yaml:5:29: unterminated /* comment", "expected exactly one SQL expression"}},
		{name: "two expressions", job: value("initcap(t.name), 5"), code: 2, says: []string{"bad.yaml:5:", "expected exactly one SQL expression"}},
		{name: "unbalanced parenthesis", job: value(`"1), name = (2"`), code: 2, says: []string{"bad.yaml:5:", "expected exactly one SQL expression"}},

		{name: "setting that the server does not know", job: peopleJob + "settings: {work_memory: 1MB}\n", code: 2, says: []string{"bad.yaml", "work_memory", "settings"}},
		{name: "dry run of a wrong column", job: with("shown:", "shwon:"), args: []string{"run", "--dry-run", "3", "bad.yaml"}, code: 2, says: []string{"did you mean shown?"}},
		{name: "plan of a wrong column", job: with("shown:", "shwon:"), args: []string{"plan", "bad.yaml"}, code: 2, says: []string{"bad.yaml:5", "did you mean shown?"}},

		{name: "no file", args: []string{"run"}, code: 2, says: []string{"pgbackfill run takes one job file; found 0 arguments", "pgbackfill run --help"}},
		{name: "two files", args: []string{"run", "bad.yaml", "bad.yaml"}, code: 2, says: []string{"pgbackfill run takes one job file; found 2 arguments"}},
		{name: "file that is not there", args: []string{"run", "nowhere.yaml"}, code: 2, says: []string{"nowhere.yaml: the job file cannot be read: no such file", "check the path"}},
		{name: "directory", args: []string{"run", "."}, code: 2, says: []string{".: the job file cannot be read: is a directory; expected a YAML file", "check the path"}},
		{name: "unknown flag", args: []string{"run", "--wrokers", "2", "bad.yaml"}, code: 2, says: []string{"unknown flag: --wrokers", "pgbackfill run --help"}},
		{name: "unknown command", args: []string{"rnu", "bad.yaml"}, code: 2, says: []string{`pgbackfill has no command "rnu"`, "did you mean: pgbackfill run"}},
		{name: "unknown command under schema", args: []string{"schema", "instal"}, code: 2, says: []string{`pgbackfill schema has no command "instal"`, "did you mean: pgbackfill schema install"}},
		{name: "unknown key of --set", args: []string{"run", "--set", "rat=5", "bad.yaml"}, code: 2, says: []string{`--set: unknown key "rat"`, "did you mean rate=5?"}},
		{name: "wrong value of --set", args: []string{"run", "--set", "chunk.target=100", "bad.yaml"}, code: 2, says: []string{`--set chunk.target: chunk.target is "100"`, "a duration with its unit"}},
		{name: "wrong value of a flag", args: []string{"run", "--workers", "1001", "bad.yaml"}, code: 2, says: []string{"--workers", "a whole number from 1 to 1000"}},
		{name: "dry run of less than one", args: []string{"run", "--dry-run", "-1", "bad.yaml"}, code: 2, says: []string{`"-1" for "--dry-run"`, "expected a number of chunks, 1 or more"}},
		{name: "dry run of none", args: []string{"run", "--dry-run", "0", "bad.yaml"}, code: 2, says: []string{`"0" for "--dry-run"`, "expected a number of chunks"}},
		{name: "dry run of no number", args: []string{"run", "--dry-run", "x", "bad.yaml"}, code: 2, says: []string{`"x" for "--dry-run" flag: expected a number of chunks, 1 or more`}},
		{name: "chunks at most that are none", args: []string{"run", "--max-chunks", "-1", "bad.yaml"}, code: 2, says: []string{`"-1" for "--max-chunks"`, "expected a number of chunks"}},
		{name: "accepting what no finding is", args: []string{"run", "--accept", "nosuch", "bad.yaml"}, code: 2, says: []string{`accept: no finding has the id "nosuch"; expected one of schema-missing, `}},
		{name: "accepting what is misspelt", args: []string{"plan", "--accept", "triger-fires", "bad.yaml"}, code: 2, says: []string{`no finding has the id "triger-fires"`, "did you mean trigger-fires?"}},
		{name: "unknown output", args: []string{"plan", "-o", "xml", "bad.yaml"}, code: 2, says: []string{"-o xml", "expected text or json"}},
	}
	was := untouched(db)
	t.Run("cases", func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.check(t, db.DSN(), nil)
			})
		}
		t.Run("unknown key of the configuration", func(t *testing.T) {
			t.Parallel()
			refusal{code: 2, says: []string{`pgbackfill.yaml:2: unknown key "ceilings.worker"`, "did you mean ceilings.workers?"}}.check(t, db.DSN(), func(dir string) {
				write(t, dir, "pgbackfill.yaml", "workers: 2\nceilings: {worker: 2}\n")
			})
		})
	})
	if is := untouched(db); is != was {
		t.Errorf("something was written: %s, before: %s", is, was)
	}
}

// What a role may not do is said before anything is written, with the GRANT that is missing.
func TestMissingPrivilege(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	people(t, db)
	for name, c := range map[string]struct {
		grants []string
		says   func(role string) []string
	}{
		"UPDATE": {[]string{"SELECT ON people"}, func(role string) []string {
			return []string{"table public.people: role " + role + " lacks UPDATE (shown) on public.people", "as the owner: GRANT UPDATE ON public.people TO "}
		}},
		"SELECT": {[]string{"UPDATE ON people"}, func(role string) []string {
			return []string{"role " + role + " lacks SELECT (id, shown, xmin) on public.people", "GRANT SELECT ON public.people TO "}
		}},
		"CREATE on the database": {[]string{"SELECT, UPDATE ON people"}, func(role string) []string {
			return []string{"error [schema-missing]", "role " + role + " has no CREATE on database " + db.Name(), "pgbackfill schema sql --runner " + role, "GRANT CREATE ON DATABASE", "bad.yaml: people is not run: schema-missing"}
		}},
		"CREATE on the database, accepted": {[]string{"SELECT, UPDATE ON people"}, func(role string) []string {
			return []string{"schema pgbackfill: the role ", "may not create a schema in the database", "GRANT CREATE ON DATABASE"}
		}},
	} {
		role, dsn := db.Role("")
		for _, grant := range c.grants {
			db.Exec("GRANT " + grant + " TO " + role)
		}
		was := untouched(db)
		t.Run(name, func(t *testing.T) {
			r := refusal{code: 2, says: c.says(role)}
			if strings.HasSuffix(name, "accepted") {
				r.args = []string{"run", "--yes", "--accept", "schema-missing,no-monitor", "bad.yaml"}
			}
			r.check(t, dsn, nil)
			if is := untouched(db); is != was {
				t.Errorf("something was written: %s, before: %s", is, was)
			}
		})
	}
}

// Where the database cannot be reached, the error says which database, why, and what to do, and
// never the password.
func TestNoConnection(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	people(t, db)
	role, _ := db.Role("")
	at := func(host, user, database string) string {
		return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", user, canary, host, database)
	}
	host := fmt.Sprintf("127.0.0.1:%d", db.Server().Port())
	closed := closedPort(t)
	was := untouched(db)
	for _, c := range []struct {
		refusal
		dsn string
	}{
		{refusal{name: "wrong password", code: 1, says: []string{fmt.Sprintf("database %q on %s as %s: cannot connect", db.Name(), host, role), "the password of user", "was refused", "PGPASSWORD or ~/.pgpass"}}, at(host, role, db.Name())},
		{refusal{name: "unknown database", code: 1, says: []string{"on " + host, `there is no database "nowhere"`, "correct the database's name"}}, strings.Replace(db.DSN(), "/"+db.Name(), "/nowhere", 1)},
		{refusal{name: "server down", code: 1, says: []string{"on " + closed, "nothing listens there (connection refused)", "start the server, or correct host and port"}}, at(closed, "ann", "app")},
		{refusal{name: "unknown host", code: 1, says: []string{"on db.nowhere.invalid:5432", `the name "db.nowhere.invalid" is not known to DNS`, "correct the host"}}, at("db.nowhere.invalid:5432", "ann", "app")},
		{refusal{name: "malformed", code: 2, says: []string{"DATABASE_URL: the connection string is malformed", "expected postgres://user@host:5432/database", "%40"}}, "postgres://ann:" + canary + "@x/y@" + host + "/app"},
		{refusal{name: "status of a server that is down", args: []string{"status"}, code: 1, says: []string{"connection refused"}}, at(closed, "ann", "app")},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(t, c.dsn, nil) })
	}
	if is := untouched(db); is != was {
		t.Errorf("something was written: %s, before: %s", is, was)
	}
}

// closedPort is an address where nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// withSession asks for a kind of server, whatever it is.
func withSession(t *testing.T, dsn, kind string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("target_session_attrs", kind)
	u.RawQuery = q.Encode()
	return u.String()
}

// A standby is told from a primary before anything is tried.
func TestStandbyIsRefused(t *testing.T) {
	t.Parallel()
	primary := pgtest.Cluster(t, localpg.Options{})
	db := pgtest.NewOn(t, primary)
	people(t, db)
	standby := pgtest.Standby(t, primary, localpg.StandbyOptions{})
	if err := standby.CatchUp(t.Context(), primary); err != nil {
		t.Fatal(err)
	}
	was := untouched(db)
	refusal{code: 2, says: []string{`database "` + db.Name() + `" on `, "the server is a standby, which cannot be written to", "connect to the primary", "target_session_attrs=read-write"}}.
		check(t, standby.DSN(db.Name()), nil)
	// Somebody who asks for one is told so by doctor, which needs nothing of a primary.
	dir, here := t.TempDir(), withSession(t, standby.DSN(db.Name()), "any")
	write(t, dir, "people.yaml", peopleJob)
	code, out, said := streams(t, here, dir, "doctor", "people.yaml")
	if code != 2 {
		t.Errorf("doctor: exit code %d\n%s", code, said)
	}
	says(t, out, ": 1 thing is in the way", ", a standby", "people: cannot be run: the server is a standby", "→ connect to the primary")
	// Who asks for nothing is told as much, and who only looks is shown what has been replayed: the primary may be down.
	_, out, _ = streams(t, standby.DSN(db.Name()), dir, "doctor", "people.yaml")
	says(t, out, "people: cannot be run: the server is a standby")
	says(t, must(t, standby.DSN(db.Name()), dir, "status"), "no runs")
	if is := untouched(db); is != was {
		t.Errorf("something was written: %s, before: %s", is, was)
	}
	must(t, db.DSN(), dir, "run", "--yes", "people.yaml")
	if err := standby.CatchUp(t.Context(), primary); err != nil {
		t.Fatal(err)
	}
	says(t, must(t, standby.DSN(db.Name()), dir, "status", "people"), "note: this is a standby: it shows what it has replayed", "people, run 1", "finished")
}

// What asks for more than the operator allows is lowered, with a note that says who asked and who forbade.
func TestCeilingsLower(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	people(t, db)
	dir := t.TempDir()
	write(t, dir, "job.yaml", peopleJob+"workers: 9\nrate: 50000\n")
	write(t, dir, "pgbackfill.yaml", "ceilings:\n  workers: 2\n  rate: 1000\n")
	code, out, said := streams(t, db.DSN(), dir, "run", "--yes", "job.yaml")
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out, said)
	}
	for _, text := range []string{"note: workers: 9 asked for by job.yaml, 2 allowed by pgbackfill.yaml:2: using 2", "note: rate: 50000 rows/s asked for by job.yaml, 1000 rows/s allowed", "2 workers"} {
		if !strings.Contains(said, text) {
			t.Errorf("it does not say %q:\n%s", text, said)
		}
	}
}

// A comment at the end of an expression does not swallow what the engine puts behind it: the
// range and the scope.
func TestCommentSwallowsNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	people(t, db)
	dir := t.TempDir()
	write(t, dir, "job.yaml", `name: people
table: public.people
where: "t.id <= 5 -- only a few"
update: {set: {shown: "initcap(t.name) -- as it is written"}}
`)
	must(t, db.DSN(), dir, "run", "--yes", "job.yaml")
	if n := pgtest.One[int](db, "SELECT count(*) FROM people WHERE shown IS NOT NULL"); n != 5 {
		t.Errorf("%d rows were changed, 5 are in scope", n)
	}
}

// Tables with nothing to do, and with next to nothing, are run to their end.
func TestSmallTables(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ rows, where, says string }{
		"no rows":              {"0", "true", "0 rows walked, 0 changed"},
		"one row":              {"1", "true", "1 row walked, 1 changed"},
		"only out-of-scope":    {"300", "t.id > 1000", "300 rows walked, 0 changed"},
		"no rows and no scope": {"0", "false", "0 rows walked, 0 changed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			people(t, db)
			db.Exec("DELETE FROM people WHERE id > " + c.rows)
			dir := t.TempDir()
			write(t, dir, "job.yaml", peopleJob+"where: "+c.where+"\n")
			code, out, said := streams(t, db.DSN(), dir, "run", "--yes", "job.yaml")
			if code != 0 {
				t.Fatalf("exit code %d\n%s%s", code, out, said)
			}
			for _, text := range []string{"people: finished in", c.says, "pgbackfill verify job.yaml"} {
				if !strings.Contains(out, text) {
					t.Errorf("the summary does not say %q:\n%s", text, out)
				}
			}
			if out = must(t, db.DSN(), dir, "status", "people"); !strings.Contains(out, "finished") || !strings.Contains(out, "100.0%") {
				t.Errorf("status says:\n%s", out)
			}
		})
	}
}
