package jobs

import (
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// sizes differ between versions of PostgreSQL.
var sizes = regexp.MustCompile(`[0-9.]+ [KMG]iB`)

func TestInitWritesAJobThatChangesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, table, setup string }{
		{"users", "users", `
			CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, full_name text NOT NULL, email varchar(80) UNIQUE,
				country text DEFAULT 'CH', upper_name text GENERATED ALWAYS AS (upper(full_name)) STORED, display_name text);
			CREATE INDEX users_country ON users (country) WHERE country <> 'CH';
			CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
			CREATE TRIGGER touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();
			CREATE TRIGGER on_insert BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION touch();
			INSERT INTO users (full_name) SELECT 'ann ' || n FROM generate_series(1, 1200) n;
			ANALYZE users`},
		{"names", `"Shop 1"."Order: Lines"`, `
			CREATE SCHEMA "Shop 1";
			CREATE TABLE "Shop 1"."Order: Lines" ("No" int, "Li ne" text, "select" int, "to # do: 'x'
				y" text, PRIMARY KEY ("No", "Li ne"))`},
		{"no-key", "log", `CREATE TABLE log (at timestamptz NOT NULL, line text); CREATE INDEX ON log (at)`},
		{"partitioned", "events", `
			CREATE TABLE events (id bigint, day date, body jsonb NOT NULL, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
			CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
			CREATE TABLE events_2 PARTITION OF events DEFAULT`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			db.Exec(c.setup)
			out, err := Init(t.Context(), db.Conn(), c.table)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "init", c.name+".yaml"), sizes.ReplaceAllString(string(out), "N KiB"))
			if _, err := Parse("init.yaml", out); err == nil || !strings.Contains(err.Error(), "the value that it has, and nothing else in `set`") {
				t.Errorf("as it stands it is not refused: %v", err) // Made to fail: without the refusal it is a job that changes nothing
			}
			out = []byte(edited(string(out)))
			jobs, err := Parse("init.yaml", out)
			if err != nil || len(jobs) != 1 {
				t.Fatalf("%d jobs, %v in\n%s", len(jobs), err, out)
			}
			if w := Warnings(jobs[0]); len(w) > 0 {
				t.Errorf("warnings about a first draft: %v", w)
			}
			// The sample in comments is right too.
			if _, err := Parse("init.yaml", []byte(strings.Replace(string(out), "# where: ", "where: ", 1))); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInitRefuses(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(`CREATE TABLE users (id int PRIMARY KEY, name text);
		CREATE VIEW people AS SELECT * FROM users;
		CREATE TABLE pairs (a int, b int, PRIMARY KEY (a, b))`)
	for _, c := range []struct{ table, found, remedy string }{
		{"user", "the keyword user", `in double quotes: "user"`},
		{"usres", "no table", "users"},
		{"people", "a view", "name the table that the view reads"},
		{"a; DROP TABLE users", "a ; and a second statement", "remove everything from the ;"},
		{"pairs", "no column outside the key", "ALTER TABLE public.pairs ADD COLUMN"},
		{"nowhere.users", "", ""},
	} {
		out, err := Init(t.Context(), db.Conn(), c.table)
		var e *backfill.Error
		if !errors.As(err, &e) || !errors.Is(err, backfill.ErrInput) || out != nil {
			t.Errorf("%s: %v; expected an ErrInput", c.table, err)
			continue
		}
		if !strings.HasPrefix(e.Place, "table ") || !strings.Contains(e.Found, c.found) || !strings.Contains(e.Remedy, c.remedy) || e.Remedy == "" {
			t.Errorf("%s: %v; expected %q and the remedy %q", c.table, e, c.found, c.remedy)
		}
	}
}

// drafted is where a draft says the value.
var drafted = regexp.MustCompile(`(?s)^(.*): ['"]?t\..*$`)

// edited is a draft in which the new value is written.
func edited(draft string) string { return drafted.ReplaceAllString(draft, "$1: \"NULL\"\n") }
