package backfill_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

const secretText = "s3cr3t-4711-and-more"

// environ is an environment of one variable.
func environ(name, value string) func(string) (string, bool) {
	return func(asked string) (string, bool) { return value, asked == name }
}

func ptr(s string) *string { return &s }

// withParams is a job that writes into notes(id, note, at, n) what its parameters are.
func withParams(params ...backfill.Param) backfill.Job {
	job := sets("notes", map[string]string{"note": ":label || '/' || :token", "at": ":at"})
	job.Params = params
	return job
}

func notes(t *testing.T) *pgtest.DB {
	return installed(t, "CREATE TABLE notes (id int PRIMARY KEY, note text, at timestamptz, n numeric); INSERT INTO notes SELECT generate_series(1, 95)")
}

// A parameter has one value for the whole run, also where it was written as "now" or computed from the clock; and a
// resumed run has the same one although the clock went on.
//
// Made to fail: with the value bound as it was written, "now" differed from chunk to chunk; without the run's own
// constants in the planner, the resumed half had another time.
func TestParamsAreFixedWhenTheRunIsMade(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]backfill.Param{
		"written": {Name: "at", Type: "timestamptz", Value: ptr("now")},
		"sql":     {Name: "at", SQL: &backfill.Expr{SQL: "clock_timestamp() -- read once"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := notes(t)
			job := withParams(at, backfill.Param{Name: "label", SQL: &backfill.Expr{SQL: ":stem || ':ok'"}}, backfill.Param{Name: "token", Type: "text", Value: ptr("x'y")})
			job.Params = append([]backfill.Param{{Name: "stem", Value: ptr("a:b")}}, job.Params...)
			pace := testPace()
			plan, err := backfill.Planner{}.Plan(t.Context(), db.Conn(), job, pace)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := join(t, db, plan, part{most: 3}).wait(); !errors.Is(err, backfill.ErrInterrupted) {
				t.Fatalf("after three chunks: %v", err)
			}
			store, err := checkpoint.Open(t.Context(), dialing(db.DSN()), checkpoint.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close(t.Context())
			info, err := store.Find(t.Context(), job.Name)
			if err != nil {
				t.Fatal(err)
			}
			resumed, err := info.Planner().Plan(t.Context(), db.Conn(), job, pace)
			if err != nil {
				t.Fatal(err)
			}
			if diff := checkpoint.Compare(info, resumed, "dev"); len(diff) > 0 {
				t.Fatalf("the same job differs: %v", diff)
			}
			info.Resume(resumed)
			do(t, db, resumed)
			if all := pgtest.All[string](db, "SELECT DISTINCT note || ' ' || at::text FROM notes"); len(all) != 1 || !strings.HasPrefix(all[0], "a:b:ok/x'y 20") {
				t.Errorf("the rows got %v", all)
			}
			if typ := info.Params["at"].Type; typ != "timestamptz" && typ != "timestamp with time zone" {
				t.Errorf("the type of :at is %s", typ)
			}
		})
	}
}

// What no run can begin with is an error that names the parameter and its place, before anything is written.
//
// Made to fail: with the server's message in the error of a secret, its value was there.
func TestParamsThatAreRefused(t *testing.T) {
	t.Parallel()
	db := notes(t)
	for name, tc := range map[string]struct {
		params []backfill.Param
		want   []string
	}{
		"wrong value":     {[]backfill.Param{{Name: "at", Type: "timestamptz", Value: ptr("2024-13-45"), Line: 7}}, []string{"job.yaml:7: param at", `"2024-13-45" is no timestamptz`, "22008"}},
		"unknown type":    {[]backfill.Param{{Name: "at", Type: "timestampt", Value: ptr("2024-12-31")}}, []string{"param at", `type "timestampt" does not exist`}},
		"missing secret":  {[]backfill.Param{{Name: "at", Env: "NO_SUCH_THING", Line: 3}}, []string{"job.yaml:3: param at", "NO_SUCH_THING is not set", "export"}},
		"wrong secret":    {[]backfill.Param{{Name: "at", Type: "timestamptz", Env: "TOKEN"}}, []string{"param at", "TOKEN is no timestamptz", "22007"}},
		"leaking":         {[]backfill.Param{{Name: "k", Env: "TOKEN"}, {Name: "at", SQL: &backfill.Expr{SQL: "md5(:k)", Line: 9}}}, []string{"job.yaml:9: param at is computed from the secret k"}},
		"many":            {[]backfill.Param{{Name: "at", SQL: &backfill.Expr{SQL: "generate_series(1, 3)"}}}, []string{"param at", "3 values"}},
		"wrong sql":       {[]backfill.Param{{Name: "at", SQL: &backfill.Expr{SQL: "nowhere()", Line: 4}}}, []string{"job.yaml:4: param at", "nowhere"}},
		"sql that writes": {[]backfill.Param{{Name: "at", SQL: &backfill.Expr{SQL: "nextval('s')"}}}, []string{"param at", "read-only"}},
		"template":        {[]backfill.Param{{Name: "at", SQL: &backfill.Expr{SQL: "(SELECT max(id) FROM {{chunk}} AS c)"}}}, []string{"param at: {{chunk}}"}},
	} {
		t.Run(name, func(t *testing.T) {
			db := db
			if name == "sql that writes" {
				db.Exec("CREATE SEQUENCE s")
			}
			job := sets("notes", map[string]string{"at": ":at"})
			job.Params, job.Origin = tc.params, "job.yaml"
			_, err := backfill.Planner{Environment: environ("TOKEN", secretText)}.Plan(t.Context(), db.Conn(), job, testPace())
			if !errors.Is(err, backfill.ErrInput) {
				t.Fatalf("it is no input error: %v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), secretText) {
				t.Errorf("the secret is in: %v", err)
			}
		})
	}
}

// A secret is written where the job says, and is nowhere else: in no table of ours, no statement that others see, no
// plan that is printed, no event, and not in the error of a row that holds it. Another secret is not the same run.
//
// Made to fail: without hide the error of the unique index had it, explained with its value so had the plan, and
// with its value stored so had pgbackfill.runs.
func TestSecretIsNowhereElse(t *testing.T) {
	t.Parallel()
	db := notes(t)
	job := withParams(backfill.Param{Name: "token", Env: "TOKEN"}, backfill.Param{Name: "label", Value: ptr("a")}, backfill.Param{Name: "at", Type: "timestamptz"})
	job.Where = &backfill.Expr{SQL: "t.note IS DISTINCT FROM reverse(:token)"}
	planner := backfill.Planner{Environment: environ("TOKEN", secretText)}
	plan, err := planner.Plan(t.Context(), db.Conn(), job, testPace())
	if err != nil {
		t.Fatal(err)
	}
	nowhere := func(what string, text string) {
		t.Helper()
		for _, s := range []string{secretText, string(reversed(secretText))} {
			if at := strings.Index(text, s); at >= 0 {
				t.Errorf("%s has the secret: …%s…", what, text[max(0, at-80):at])
			}
		}
	}
	db.Exec("CREATE UNIQUE INDEX once ON notes (note)")
	activity := ""
	plan.Pace.MaxQuarantined = backfill.Off
	failing := join(t, db, plan, part{observer: func(e backfill.Event) {
		if _, ok := e.(backfill.ChunkChanged); ok {
			activity += strings.Join(pgtest.All[string](db, "SELECT query FROM pg_stat_activity"), "\n")
		}
	}})
	_, err = failing.wait()
	if err == nil || !strings.Contains(err.Error(), "(the secret token)") {
		t.Fatalf("the unique index did not fail with the secret hidden: %v", err)
	}
	nowhere("the error", err.Error())
	db.Exec("DROP INDEX once")
	done := do(t, db, plan)
	if all := pgtest.All[string](db, "SELECT DISTINCT note FROM notes"); len(all) != 1 || all[0] != "a/"+secretText {
		t.Fatalf("the rows got %v", all)
	}
	printed, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	nowhere("the plan", string(printed))
	nowhere("the plan in words", fmt.Sprintf("%+v %#v", plan, plan))
	nowhere("an event", fmt.Sprintf("%+v", append(failing.seen(), done.seen()...)))
	nowhere("pg_stat_activity", activity+strings.Join(pgtest.All[string](db, "SELECT query FROM pg_stat_activity"), "\n"))
	for _, table := range pgtest.All[string](db, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'pgbackfill'") {
		nowhere("the table "+table, strings.Join(pgtest.All[string](db, "SELECT t::text FROM pgbackfill."+table+" AS t"), "\n"))
	}

	store, err := checkpoint.Open(t.Context(), dialing(db.DSN()), checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(t.Context())
	info, err := store.Newest(t.Context(), job.Name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := checkpoint.Compare(info, plan, "dev"); len(diff) > 0 {
		t.Errorf("the same secret differs: %v", diff)
	}
	planner.Environment = environ("TOKEN", "another")
	other, err := planner.Plan(t.Context(), db.Conn(), job, testPace())
	if err != nil {
		t.Fatal(err)
	}
	changed := checkpoint.Changed(info, checkpoint.Compare(info, other, "dev"))
	if changed == nil || !strings.Contains(changed.Error(), "param token") || strings.Contains(changed.Error(), "another\n") {
		t.Errorf("another secret: %v", changed)
	}
}

func reversed(s string) []byte {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return b
}
