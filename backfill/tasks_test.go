package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/proxy"
)

func scriptOf(alone bool, statements ...string) *backfill.Script {
	s := &backfill.Script{Alone: alone}
	for _, sql := range statements {
		s.Statements = append(s.Statements, backfill.Expr{SQL: sql})
	}
	return s
}

// onceJob fills numbers.n from a table that its prepare makes and a helper, and counts in tally what was done once.
func onceJob() backfill.Job {
	sql := `UPDATE numbers AS t SET n = k.m + (SELECT count(*) FROM {{helper evens}} AS e WHERE e.id = t.id)
FROM kept AS k WHERE k.id = t.id AND {{range}}`
	return backfill.Job{
		Name: "once", Table: backfill.TableName{Schema: "public", Name: "numbers"}, Idempotent: true,
		Params: []backfill.Param{{Name: "m", Type: "int4", Value: ptr("7")}},
		Prepare: scriptOf(false,
			"CREATE TABLE kept AS SELECT id, :m AS m FROM numbers", "ALTER TABLE kept ADD PRIMARY KEY (id)",
			"INSERT INTO tally VALUES ('prepare')"),
		Helpers: []backfill.Helper{{Name: "evens", Query: backfill.Expr{SQL: "SELECT id, :m AS m FROM kept WHERE id % 2 = 0"}, Key: []string{"id"}}},
		Steps: []backfill.Step{{Name: "fill", SQL: &backfill.Command{
			Expr: backfill.Expr{SQL: sql, Templates: []string{"helper evens", "range"}}, Kind: "update", Target: backfill.TableName{Name: "numbers"}, Written: []string{"n"},
		}}},
		Finish: scriptOf(false, "INSERT INTO tally VALUES ('finish')", "DROP TABLE kept", "ALTER TABLE numbers ALTER COLUMN n DROP NOT NULL", "ALTER TABLE numbers ADD CONSTRAINT filled CHECK (n >= 7)"),
	}
}

func onceTables(t *testing.T) *pgtest.DB {
	return installed(t, numbered(300), "CREATE TABLE tally (what text)")
}

// plans is the planner's own plan, for the unfinished run where there is one.
func plans(t *testing.T, db *pgtest.DB, job backfill.Job) *backfill.Plan {
	t.Helper()
	store, err := checkpoint.Open(t.Context(), dialing(db.DSN()), checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(t.Context())
	info, err := store.Find(t.Context(), job.Name)
	unfinished := err == nil
	planner := backfill.Planner{}
	if unfinished {
		planner = info.Planner()
	}
	plan, err := planner.Plan(t.Context(), db.Conn(), job, testPace())
	if err != nil {
		t.Fatal(err)
	}
	if unfinished {
		if err := checkpoint.Changed(info, checkpoint.Compare(info, plan, "dev")); err != nil {
			t.Fatal(err)
		}
		info.Resume(plan)
	}
	return plan
}

// doneOnce fails the test unless the job was done, and what is done once was done once.
func doneOnce(t *testing.T, db *pgtest.DB) {
	t.Helper()
	if got := strings.Join(pgtest.All[string](db, "SELECT what FROM tally ORDER BY 1 DESC"), " "); got != "prepare finish" {
		t.Errorf("done: %q, want prepare and finish, each once", got)
	}
	if wrong := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n IS DISTINCT FROM CASE WHEN id % 2 = 0 THEN 8 ELSE 7 END"); wrong > 0 {
		t.Errorf("%d rows are wrong", wrong)
	}
}

// Two processes that begin together do prepare, helpers and finish once between them, in their states, and walk what
// these made. The plan from before says what it could not look at.
//
// Made to fail: with the record's ON CONFLICT clause gone, or its answer not looked at, one process failed.
func TestPrepareHelpersAndFinishAreDoneOnce(t *testing.T) {
	t.Parallel()
	db := onceTables(t)
	plan := plans(t, db, onceJob())
	if !plan.Pending || len(plan.Unresolved) == 0 || !strings.Contains(strings.Join(plan.Unresolved, " "), "kept") {
		t.Errorf("the plan from before: %v", plan.Unresolved)
	}
	var printed strings.Builder
	for _, s := range plan.Statements {
		printed.WriteString(s.When + ": " + s.SQL + "\n")
	}
	for _, want := range []string{"CREATE TABLE kept AS SELECT id, ($1::int4)", `CREATE TABLE "pgbackfill"."helper_<run>_evens" AS`, `ADD PRIMARY KEY ("id")`, "ADD CONSTRAINT filled", "after the last chunk"} {
		if !strings.Contains(printed.String(), want) {
			t.Errorf("plan does not print %q", want)
		}
	}
	ann, bob := join(t, db, plan, part{}), join(t, db, plan, part{})
	ann.finished()
	bob.finished()
	doneOnce(t, db)
	if tasks := len(of[backfill.TaskDone](ann)) + len(of[backfill.TaskDone](bob)); tasks != 3 {
		t.Errorf("%d tasks were done, want 3", tasks)
	}
	states := strings.Join(pgtest.All[string](db, "SELECT what FROM pgbackfill.events WHERE what IN ('preparing', 'planned', 'running', 'finishing', 'finished') ORDER BY id"), " ")
	if states != "preparing planned running finishing finished" {
		t.Errorf("the run was %s", states)
	}
	if rows := pgtest.One[int](db, fmt.Sprintf("SELECT count(*) FROM pgbackfill.helper_%d_evens", ann.run.ID())); rows != 150 {
		t.Errorf("the helper has %d rows", rows)
	}
}

// The connection is lost before prepare's commit, after it, and at finish's: what is done once is done once, whether
// the engine goes on by itself or is killed and run again.
//
// Made to fail: with the record in a transaction of its own, prepare and finish were left out; with the run not known
// to be finishing, it could not be resumed because its finish had dropped a table.
func TestPrepareAndFinishOverLostCommits(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"prepare", "finish"} {
		for _, cut := range []string{"request", "answer"} {
			for _, killed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, killed %v", what, cut, killed), func(t *testing.T) {
					t.Parallel()
					db := onceTables(t)
					p, dsn := between(t, db.Server(), db.DSN())
					aborting, abort := context.WithCancel(t.Context())
					defer abort()
					var here atomic.Uint64
					var cuts atomic.Int64
					p.Hook(func(m proxy.Message) proxy.Verdict {
						if strings.Contains(m.SQL(), "INTO tally VALUES ('"+what) {
							here.Store(m.Conn)
						}
						at := m.SQL() == "COMMIT" && cut == "request" || m.Tag() == "COMMIT" && cut == "answer"
						if m.Conn != here.Load() || !at || cuts.Add(1) > 1 {
							return proxy.Forward
						}
						if killed {
							abort()
						}
						return proxy.Cut
					})
					w := join(t, db, plans(t, db, onceJob()), part{connect: direct(db.DSN(), dsn), abort: aborting})
					if _, err := w.wait(); killed == (err == nil) {
						t.Fatalf("the first process: %v", err)
					}
					if cuts.Load() == 0 {
						t.Fatal("no connection was cut")
					}
					if killed {
						join(t, db, plans(t, db, onceJob()), part{}).finished()
					}
					doneOnce(t, db)
				})
			}
		}
	}
}

// A run that is cancelled while its prepare is at work leaves nothing of it, and its lock on the record nobody waiting.
//
// Made to fail: without untilCancelled hearing of it the statement went on for its minute.
func TestCancelledPrepareLeavesNothing(t *testing.T) {
	t.Parallel()
	db := onceTables(t)
	job := onceJob()
	job.Prepare = scriptOf(false, "CREATE TABLE kept AS SELECT id, 7 AS m FROM numbers", "SELECT pg_sleep(60)")
	w := join(t, db, plans(t, db, job), part{})
	until(w, "prepare", func(e backfill.TaskStarted) bool { return true })
	if err := w.run.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := w.wait(); !errors.Is(err, backfill.ErrCancelled) {
		t.Errorf("cancelled: %v", err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s to hear of it", took)
	}
	if pgtest.One[bool](db, "SELECT to_regclass('kept') IS NOT NULL") {
		t.Error("what prepare made is there")
	}
}

// What a job cannot mean is refused before anything is written, and a name that nothing makes is no promise.
//
// Made to fail: with every missing column tolerated the typo was in no error.
func TestScriptsThatAreRefused(t *testing.T) {
	t.Parallel()
	db := onceTables(t)
	for name, tc := range map[string]struct {
		change func(*backfill.Job)
		want   string
	}{
		"commit":         {func(j *backfill.Job) { j.Prepare = scriptOf(false, "/* now */ COMMIT") }, "begins or ends a transaction"},
		"concurrently":   {func(j *backfill.Job) { j.Finish = scriptOf(false, "create index CONCURRENTLY x on numbers (n)") }, "transaction: false"},
		"nameless index": {func(j *backfill.Job) { j.Prepare = scriptOf(true, "CREATE INDEX CONCURRENTLY ON numbers (n)") }, "name"},
		"typo": {func(j *backfill.Job) {
			j.Steps = []backfill.Step{{Name: "update", Update: &backfill.Update{Set: []backfill.Assignment{{Column: "n", Value: backfill.Expr{SQL: "t.nn + 1"}}}}}}
		}, "nn"},
		"helper's typo":  {func(j *backfill.Job) { j.Helpers[0].Query.SQL = "SELECT idd FROM numbers" }, "idd"},
		"helper's key":   {func(j *backfill.Job) { j.Helpers[0].Query.SQL = "SELECT n FROM numbers" }, "no column id"},
		"helper's chunk": {func(j *backfill.Job) { j.Helpers[0].Query.SQL = "SELECT id FROM {{chunk}} AS c" }, "{{chunk}}"},
	} {
		t.Run(name, func(t *testing.T) {
			job := onceJob()
			tc.change(&job)
			_, err := backfill.Planner{}.Plan(t.Context(), db.Conn(), job, testPace())
			if !errors.Is(err, backfill.ErrInput) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("it said: %v; want %q", err, tc.want)
			}
		})
	}
}

// A prepare that fails leaves nothing and says what failed; mended in the database, the same run goes on.
//
// Made to fail: with the connection closed after an error, which then passes for a lost one, it was tried for ever.
func TestPrepareThatFailsIsRunAgain(t *testing.T) {
	t.Parallel()
	db := onceTables(t)
	job := onceJob()
	job.Origin, job.Prepare.Statements[0].Line = "job.yaml", 12
	job.Prepare.Statements = append(job.Prepare.Statements, backfill.Expr{SQL: "SELECT 1 / (SELECT count(*) FROM mended)"})
	db.Exec("CREATE TABLE mended (n int)")
	_, err := join(t, db, plans(t, db, job), part{}).wait()
	if err == nil || !strings.Contains(err.Error(), "job.yaml:12: prepare failed") || !strings.Contains(err.Error(), "22012") {
		t.Fatalf("it said: %v", err)
	}
	if state := pgtest.One[string](db, "SELECT state FROM pgbackfill.runs"); state != "failed" {
		t.Errorf("the run is %s", state)
	}
	db.Exec("INSERT INTO mended VALUES (1)")
	join(t, db, plans(t, db, job), part{}).finished()
	doneOnce(t, db)
}

// A helper is walked by its key, and the rows that were in it when it was built are what is done.
//
// Made to fail: with helperTable naming another run's helper, its table was not there.
func TestHelperIsWalked(t *testing.T) {
	t.Parallel()
	db := onceTables(t)
	job := backfill.Job{
		Name: "walked", WalkHelper: "odd", Idempotent: true,
		Helpers: []backfill.Helper{{Name: "odd", Query: backfill.Expr{SQL: "SELECT id FROM numbers WHERE id % 2 = 1"}, Key: []string{"id"}}},
		Steps: []backfill.Step{{Name: "fill", SQL: &backfill.Command{
			Expr: backfill.Expr{SQL: "UPDATE numbers AS u SET n = u.n + 1 FROM {{helper odd}} AS o WHERE o.id = u.id AND {{range o}}", Templates: []string{"helper odd", "range o"}},
			Kind: "update", Target: backfill.TableName{Name: "numbers"},
		}}},
	}
	plan := plans(t, db, job)
	if len(plan.Statements) == 0 || len(plan.Unresolved) == 0 {
		t.Errorf("the plan from before has %d statements, and could not look at %v", len(plan.Statements), plan.Unresolved)
	}
	w := join(t, db, plan, part{most: 4})
	if _, err := w.wait(); !errors.Is(err, backfill.ErrInterrupted) {
		t.Fatal(err)
	}
	db.Exec("DELETE FROM numbers WHERE id = 299")
	s := join(t, db, plans(t, db, job), part{}).finished()
	if wrong := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n <> id % 2"); wrong > 0 || s.RowsSeen != 150 {
		t.Errorf("%d rows are wrong, %d rows of the helper were walked", wrong, s.RowsSeen)
	}
}
