package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// verdictsOfWrong says what verification makes of each case's wrong.sql, which a fingerprint of the whole state tells from
// the right result. A residual proof does not see all of it, and says so; nor is more seen than a job asks to be looked at:
// that of 09 is about the users with a value, and says nothing of those without one.
var verdictsOfWrong = map[string]string{
	"01-gitlab-events-int8-copy":                "mismatched",
	"04-gitlab-trace-metadata-partition-join":   "mismatched",
	"08-gitlab-namespace-traversal-ids":         "mismatched",
	"09-gitlab-user-details-upsert":             "proven",
	"16-gitlab-delete-orphaned-vulnerabilities": "mismatched",
	"27-mastodon-preview-cards-dedup":           "mismatched",
	"30-zulip-renumber-enum":                    "mismatched",
	"37-mattermost-delete-orphan-drafts":        "mismatched",
}

// wrongIsSeen has a wrong engine's result told from the right one.
func wrongIsSeen(t *testing.T, db *pgtest.DB, dir, job, right string) {
	t.Helper()
	codes := map[string]int{"proven": 0, "proven, residual": 0, "mismatched": 3}
	prepare(t, db, job)
	script(t, db, filepath.Join(dir, "wrong.sql"))
	if fingerprint(t, db, dir) == right {
		t.Error("the fingerprint of a wrong result is that of the right one: this test could not fail")
	}
	want, known := verdictsOfWrong[filepath.Base(dir)]
	if !known {
		t.Fatal("what verification makes of wrong.sql is not known here")
	}
	code, out := pgbackfill(t, db.DSN(), t.TempDir(), "verify", job)
	if first, _, _ := strings.Cut(out, "\n"); code != codes[want] || !strings.Contains(first, ": "+want) {
		t.Errorf("of wrong.sql it says, with exit code %d, want %d and %s:\n%s", code, codes[want], want, out)
	}
}

// prepare does what the job itself does before its first chunk: its verify may speak of the tables made then.
func prepare(t *testing.T, db *pgtest.DB, job string) {
	t.Helper()
	text, err := os.ReadFile(job)
	if err != nil {
		t.Fatal(err)
	}
	var spec struct{ Prepare string }
	if err := yaml.Unmarshal(text, &spec); err != nil {
		t.Fatal(err)
	}
	if spec.Prepare != "" {
		db.Exec(spec.Prepare)
	}
}

func abs(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// The story of one job: before the run it says what is wrong, in the middle it is incomplete, after the run proven, and
// when somebody breaks a row it is named.
//
// Made to fail: with the state of the run left out of the verdict, "in the middle" exits with 0 once the rows are right.
func TestVerifyBeforeDuringAndAfterARun(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE users (id int PRIMARY KEY, full_name text, display_name text);
		INSERT INTO users SELECT g, 'user ' || g FROM generate_series(1, 5000) AS g; ANALYZE users`)
	job := write(t, dir, "job.yaml", "name: names\ntable: users\nupdate: {set: {display_name: initcap(t.full_name)}}\n")
	says := func(want int, texts []string, args ...string) string {
		t.Helper()
		code, out := pgbackfill(t, db.DSN(), dir, append([]string{"verify", job}, args...)...)
		if code != want {
			t.Errorf("exit code %d, want %d:\n%s", code, want, out)
		}
		first, _, _ := strings.Cut(out, "\n")
		for i, text := range texts {
			where := out
			if i == 0 {
				where = first
			}
			if !strings.Contains(where, text) {
				t.Errorf("it says nothing of %q:\n%s", text, out)
			}
		}
		return out
	}
	says(3, []string{"names: mismatched: 5 000 rows are wrong, of 5 000 rows", "no run of this job is known", "different (1): display_name"})
	if code, out := pgbackfill(t, db.DSN(), dir, "run", "--yes", "--chunk-rows", "100", "--max-chunks", "3", job); code != 130 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	says(3, []string{"mismatched, and unfinished: run ", "4 700 rows are not reached yet or wrong", "has not finished"}, "--chunk-rows", "500")
	db.Exec("UPDATE users SET display_name = initcap(full_name)")
	says(4, []string{"names: incomplete: run 1 is ", "has not finished"})
	must(t, db.DSN(), dir, "run", "--yes", job)
	says(0, []string{"names: proven: 5 000 rows", "(run 1)"})
	db.Exec("UPDATE users SET display_name = 'topsecret' WHERE id = 4711; INSERT INTO users VALUES (99999, 'late', NULL)")
	out := says(3, []string{"names: mismatched: 2 rows are wrong, of 5 001 rows", "different (4711): display_name", "different (99999)"})
	if strings.Contains(out, "topsecret") {
		t.Errorf("a value is shown that nobody asked for:\n%s", out)
	}
	says(3, []string{"mismatched", "expected (User 4711), found (topsecret)"}, "--show-values")
	var verdict struct {
		Verdict string
		Run     struct{ ID int }
		Checks  []struct {
			Rows, Different int
			Samples         []struct{ Key []string }
		}
	}
	text := says(3, nil, "-o", "json")
	if err := json.Unmarshal([]byte(text), &verdict); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	if verdict.Verdict != "mismatched" || verdict.Run.ID != 1 || len(verdict.Checks) != 1 || verdict.Checks[0].Different != 2 || verdict.Checks[0].Samples[1].Key[0] != "99999" {
		t.Errorf("as JSON: %+v", verdict)
	}
}

// A job without a proof is refused before anything is read, with what to write; a signal ends the reading at once, and
// says that nothing was proven.
func TestVerifyRefusesAndIsInterrupted(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE things (id int PRIMARY KEY, n int); INSERT INTO things SELECT generate_series(1, 10), 0;
		CREATE FUNCTION slowly() RETURNS int LANGUAGE sql AS 'SELECT length(pg_sleep(100)::text)'`)
	counting := write(t, dir, "counting.yaml", "name: counting\ntable: things\nidempotent: false\nupdate: {set: {n: t.n + 1}}\n")
	if code, out := pgbackfill(t, db.DSN(), dir, "verify", counting); code != 2 || !strings.Contains(out, "nothing to verify by") || !strings.Contains(out, "verify:") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	slow := write(t, dir, "slow.yaml", "name: slow\ntable: things\nupdate: {set: {n: slowly()}}\n")
	p := start(t, db.DSN(), dir, "verify", slow)
	pgtest.Eventually(t, time.Minute, func() error {
		if !pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pgbackfill slow verify' AND wait_event = 'PgSleep')") {
			return errNotYet
		}
		return nil
	})
	p.signal(t, syscall.SIGINT)
	if code := p.wait(t, 20*time.Second); code != 130 || !strings.Contains(p.out.String(), "interrupted") {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	pgtest.Eventually(t, 20*time.Second, func() error {
		if pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgbackfill%' AND state = 'active')") {
			return errNotYet // the server was told to stop, and not left to read on
		}
		return nil
	})
}

// Where rows leave the scope by being filled, undo: capture makes the proof a full one, from what the run kept; a wrong value
// is found that nothing shows otherwise. A run before it, and one that is taken back, leave it residual, and it says so.
//
// Made to fail: with keptBy giving nothing the proof is residual and the wrong value not seen; with no earlier run counted the
// last but one is a full proof.
func TestVerifyFromWhatWasKept(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(peopleWithNames)
	job := write(t, dir, "job.yaml", strings.Replace(namesShown, "rows: 20", "rows: 500", 1)+"where: t.shown IS NULL\nundo: capture\n")
	must(t, db.DSN(), dir, "run", "--yes", job)
	if out := must(t, db.DSN(), dir, "verify", job); !strings.HasPrefix(out, "shown: proven: 2 400 rows checked") || strings.Contains(out, "residual") {
		t.Errorf("after the run it says:\n%s", out)
	}
	db.Exec("UPDATE people SET shown = 'theirs' WHERE id = 7")
	out := mustExit(t, exitMismatch, db.DSN(), dir, "verify", job)
	for _, want := range []string{"1 row with wrong values", "1 row among them that others have changed since the run", "different (7): shown; changed since by others", "{{before}}"} {
		if !strings.Contains(out, want) {
			t.Errorf("of a row that others changed it does not say %q:\n%s", want, out)
		}
	}
	db.Exec("UPDATE people SET shown = NULL WHERE id IN (7, 8)")
	must(t, db.DSN(), dir, "run", "--yes", "--again", job)
	if out := must(t, db.DSN(), dir, "verify", job); !strings.Contains(out, "proven, residual") || !strings.Contains(out, "1 earlier runs") {
		t.Errorf("after a second run it says:\n%s", out)
	}
	must(t, db.DSN(), dir, "undo", "--yes", job)
	if out := mustExit(t, exitIncomplete, db.DSN(), dir, "verify", job); !strings.Contains(out, "shown: incomplete: run 2 was undone: nothing is to be verified") {
		t.Errorf("after the undo it says:\n%s", out)
	}
}
