package backfill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/lineprogram"
	"github.com/pgbackfill/pgbackfill/internal/programs"
)

// words is a table words(id, v, out) of so many rows.
func words(rows int) string {
	return fmt.Sprintf("CREATE TABLE words (id bigint PRIMARY KEY, v text, out text); INSERT INTO words SELECT g, 'word ' || g FROM generate_series(1, %d) AS g", rows)
}

// transforms is a job that has a program compute words.out.
func transforms(command ...string) backfill.Job {
	return backfill.Job{
		Name: "test-words", Table: backfill.TableName{Schema: "public", Name: "words"}, Idempotent: true,
		Transform: &backfill.Transform{Read: []backfill.Expr{{SQL: "v"}}, Command: command, Dir: os.TempDir(), Write: []string{"out"}},
	}
}

// planFor plans as the program does.
func planFor(t testing.TB, db *pgtest.DB, job backfill.Job, functions map[string]backfill.TransformFunc) *backfill.Plan {
	t.Helper()
	plan, err := planning(t, db, job, functions)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func planning(t testing.TB, db *pgtest.DB, job backfill.Job, functions map[string]backfill.TransformFunc) (*backfill.Plan, error) {
	pace := testPace()
	pace.TransformTimeout = 20 * time.Second
	return backfill.Planner{Programs: programs.Runner{}, Transforms: functions}.Plan(t.Context(), db.Conn(), job, pace)
}

// inOneSegment has one worker go through all rows in order.
func inOneSegment(plan *backfill.Plan) *backfill.Plan {
	last := plan.Segments[len(plan.Segments)-1].Range.Through
	plan.Segments = []backfill.Segment{{No: 1, Pass: backfill.PassWalk, Range: backfill.KeyRange{Through: last}, EstimatedRows: plan.EstimatedRows}}
	plan.Pace.Workers = 1
	return plan
}

// wrongWords fails the test for each row whose out is not its v in capitals.
func wrongWords(t testing.TB, db *pgtest.DB) {
	t.Helper()
	for _, wrong := range pgtest.All[string](db, "SELECT left(w::text, 100) FROM words AS w WHERE upper(v) IS DISTINCT FROM out LIMIT 5") {
		t.Errorf("this row is not as the program says: %s", wrong)
	}
}

// A program computes a column of every row, of NULL and of characters that JSON escapes, too.
func TestTransformByProgram(t *testing.T) {
	t.Parallel()
	db := installed(t, words(1000), "INSERT INTO words VALUES (2000, NULL, 'old'), (2001, E'a\\\"\\\\\\n\\t\\u2028Ø🙂\\u0001', NULL)")
	w := do(t, db, planFor(t, db, transforms(lineprogram.Command("upper")...), nil))
	wrongWords(t, db)
	if w.summary.RowsSeen != 1002 || w.summary.RowsChanged != 1002 {
		t.Errorf("%d rows seen, %d changed", w.summary.RowsSeen, w.summary.RowsChanged)
	}
}

// Rows that hold the values already are not written. Made to fail: without SkipUnchanged 100 rows were.
func TestTransformSkipsUnchanged(t *testing.T) {
	t.Parallel()
	db := installed(t, words(100), "UPDATE words SET out = upper(v) WHERE id <= 60")
	if w := do(t, db, planFor(t, db, transforms(lineprogram.Command("upper")...), nil)); w.summary.RowsChanged != 40 {
		t.Errorf("%d rows changed, want 40", w.summary.RowsChanged)
	}
	wrongWords(t, db)
}

// A row that somebody changes between reading and writing is not overwritten with what was computed of its older version,
// and one that comes into scope meanwhile is done as well.
//
// Made to fail: without the comparison of xmin rows 3 and 7 were of their older versions; without the answer of Stale, and
// without the stale rows of settleBack, rows 5 and 7 were left out.
func TestTransformOfARowThatChangesMeanwhile(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string][]backfill.Step{"write": nil, "steps": overOut(), "write, one comes": nil, "steps, one comes": overOut()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, words(20), "UPDATE words SET v = 'not yet', out = 'NOT YET' WHERE id = 5")
			gate := filepath.Join(t.TempDir(), "gate")
			job := transforms(lineprogram.Command("gated", gate)...)
			job.Where = &backfill.Expr{SQL: "t.v <> 'not yet'"}
			stepping(&job, steps)
			w := join(t, db, inOneSegment(planFor(t, db, job, nil)), part{}) // the first chunk, in the program now, is 1 to 10
			pgtest.Eventually(t, ended, func() error { _, err := os.Stat(gate + ".waiting"); return err })
			// A dual write of the application's, of both columns; another of the source alone; a row that comes into scope.
			db.Exec("UPDATE words SET v = 'new', out = 'NEW' WHERE id = 3")
			db.Exec("UPDATE words SET v = 'newer' WHERE id = 7")
			if strings.HasSuffix(name, "one comes") {
				db.Exec("UPDATE words SET v = 'now' WHERE id = 5")
			}
			if err := os.WriteFile(gate, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			w.finished()
			wrongWords(t, db)
		})
	}
}

func overOut() []backfill.Step {
	return []backfill.Step{{Name: "put", SQL: &backfill.Command{Expr: backfill.Expr{
		SQL: "UPDATE words AS w SET out = o.out FROM {{out}} AS o WHERE w.id = o.id AND w.out IS DISTINCT FROM o.out", Templates: []string{"out"},
	}, Kind: "update"}}}
}

// stepping lets steps write what comes back.
func stepping(job *backfill.Job, steps []backfill.Step) {
	if steps != nil {
		job.Steps, job.Transform.Write, job.Transform.Returns = steps, nil, []backfill.Returned{{Name: "out", Type: "text"}}
	}
}

// Rows that change all the time are computed under lock in the end, each chunk in a bounded number of rounds, and no
// change is lost. Made to fail: without the last round a run of steps did not end; where it left the stale rows out, they
// were not done.
func TestTransformOfRowsThatChangeAllTheTime(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string][]backfill.Step{"write": nil, "steps": overOut()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, words(60))
			job := transforms(lineprogram.Command("waits", "2ms")...)
			stepping(&job, steps)
			plan := planFor(t, db, job, nil)
			plan.Pace.LockTimeout = 5 * time.Second
			stop, stopped := make(chan struct{}), make(chan struct{})
			conn := db.Conn()
			go func() {
				defer close(stopped)
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := conn.Exec(context.Background(), "UPDATE words SET v = 'version ' || $1::int || ' of ' || id, out = NULL WHERE out IS NULL", n); err != nil && pgerr.Class(err) != pgerr.Retry { // a deadlock with the run
						t.Error(err)
						return
					}
				}
			}()
			w := join(t, db, plan, part{})
			w.finished()
			close(stop)
			<-stopped
			wrongWords(t, db)
		})
	}
}

// What a step does with {{out}} and {{chunk}} is about the same rows, and the key comes with what is returned.
func TestTransformWithSteps(t *testing.T) {
	t.Parallel()
	db := installed(t, words(300), "CREATE TABLE loud (word bigint PRIMARY KEY, said text, scope text)")
	job := transforms(lineprogram.Command("upper")...)
	job.Where = &backfill.Expr{SQL: "t.id % 3 = 0"}
	stepping(&job, []backfill.Step{
		{Name: "keep", SQL: &backfill.Command{Expr: backfill.Expr{SQL: "INSERT INTO loud SELECT o.id, o.out, c.v FROM {{out}} AS o JOIN {{chunk}} AS c USING (id)", Templates: []string{"out", "chunk"}}, Kind: "insert"}},
		{Name: "mark", Update: &backfill.Update{
			Set: []backfill.Assignment{{Column: "out", Value: backfill.Expr{SQL: "o.out"}}}, SkipUnchanged: true,
			From: &backfill.Expr{SQL: "{{out}} AS o", Templates: []string{"out"}}, Join: &backfill.Expr{SQL: "o.id = t.id"},
		}},
	})
	w := do(t, db, planFor(t, db, job, nil))
	if n := pgtest.One[int](db, "SELECT count(*) FROM loud AS l JOIN words AS w ON w.id = l.word WHERE w.id % 3 = 0 AND l.said = upper(w.v) AND l.scope = w.v AND w.out = l.said"); n != 100 {
		t.Errorf("%d rows are right, want 100", n)
	}
	if n := pgtest.One[int](db, "SELECT count(*) FROM words WHERE out IS NOT NULL"); n != 100 || w.summary.RowsChanged != 200 {
		t.Errorf("%d rows are written, %d counted", n, w.summary.RowsChanged)
	}
}

// A program that ends is started again, and its chunk done again; one that ends at a certain row stops the run there,
// with the rows before it done. Made to fail: where the program that had ended was not started again.
func TestTransformProgramThatDies(t *testing.T) {
	t.Parallel()
	db := installed(t, words(300))
	w := do(t, db, planFor(t, db, transforms(lineprogram.Command("dies", filepath.Join(t.TempDir(), "once"))...), nil))
	wrongWords(t, db)
	failed := of[backfill.ChunkFailed](w)
	if len(failed) != 1 || !strings.Contains(failed[0].Err.Error(), "exit status 9") || !strings.Contains(failed[0].Err.Error(), "out of cheese") {
		t.Errorf("failures: %v", failed)
	}
}

// What a program gets wrong stops the run with an error that names the row and says what was expected; nothing of the
// chunk is written.
func TestTransformProgramThatIsWrong(t *testing.T) {
	t.Parallel()
	for name, said := range map[string][]string{
		"poisoned": {"(17)", "exit status 9", "0 of 1 lines"},
		"refuses":  {"(17)", "it is bitter"},
		"missing":  {"exit status 127"},
		"garbage":  {"line 1 of 10, for row (1)", "expected a JSON object", "Starting up, please wait…"},
		"swaps":    {"line 1 of 10, for row (1)", `id is "2" where 1 was sent`, "in the order"},
		"drops":    {"line 3 of 10, for row (3)", `id is "4" where 3 was sent`},
		"doubles":  {`id is "1" where 2 was sent`},
		"adds":     {`the member "extra"`, "expected: id, out"},
		"omits":    {`the member "out" is missing`},
		"silent":   {"0 of 10 lines", "no row's fault", "flush"},
		"holds":    {"10 of 10 lines came back only when its input was closed", "no row's fault", "flush"},
		"hangs":    {"of 1 lines had come back", "none for 300ms"},
		"floats":   {"53 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, words(20))
			db.Exec("UPDATE words SET v = 'poison' WHERE id = 17")
			if name == "floats" {
				db.Exec("UPDATE words SET id = 9007199254740992 + id")
			}
			plan := inOneSegment(planFor(t, db, transforms(lineprogram.Command(name)...), nil))
			if name == "silent" || name == "hangs" || name == "holds" {
				plan.Pace.TransformTimeout = 300 * time.Millisecond
			}
			_, err := join(t, db, plan, part{}).wait()
			if err == nil {
				t.Fatal("the run finished")
			}
			for _, s := range said {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q is not said in: %v", s, err)
				}
			}
			if done := pgtest.One[int](db, "SELECT count(*) FROM words WHERE out IS NOT NULL"); (name == "poisoned" || name == "refuses" || name == "hangs") != (done == 16) || done != 16 && done != 0 {
				t.Errorf("%d rows are written", done)
			}
			if n := pgtest.One[int](db, "SELECT count(*) FROM words WHERE out IS NOT NULL AND out <> upper(v)"); n > 0 {
				t.Errorf("%d rows are wrong", n)
			}
		})
	}
}

// What a program says on its standard error is told, each line on its own and cut where it is long.
func TestTransformProgramSays(t *testing.T) {
	t.Parallel()
	db := installed(t, words(5))
	w := do(t, db, inOneSegment(planFor(t, db, transforms(lineprogram.Command("says")...), nil)))
	said := of[backfill.ProgramSaid](w)
	if len(said) != 2 || said[0].Line != "hello" || len(said[1].Line) < 1000 || len(said[1].Line) > 3000 {
		t.Errorf("it said %d lines: %.200v", len(said), said)
	}
}

// A first Ctrl-C ends the program at once, with nothing written and nothing left of it, and the run can be resumed. Made to
// fail: where only a second one did, it took as long as the program was let be silent.
func TestTransformInterrupted(t *testing.T) {
	t.Parallel()
	db := installed(t, words(50))
	gate := filepath.Join(t.TempDir(), "gate")
	job := transforms(lineprogram.Command("gated", gate)...)
	w := join(t, db, planFor(t, db, job, nil), part{})
	pgtest.Eventually(t, ended, func() error { _, err := os.Stat(gate + ".waiting"); return err })
	w.stop()
	began := time.Now()
	if _, err := w.wait(); !errors.Is(err, backfill.ErrInterrupted) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it took %s", d)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	do(t, db, planFor(t, db, job, nil))
	wrongWords(t, db)
}

// The rows of a chunk that take much memory are fewer. Made to fail: without the bounds of read and compute the first chunk had 100.
func TestTransformOfLargeRows(t *testing.T) {
	t.Parallel()
	db := installed(t, words(0), "INSERT INTO words SELECT g, repeat('large ', 20000) FROM generate_series(1, 80) AS g")
	plan := inOneSegment(planFor(t, db, transforms(lineprogram.Command("upper")...), nil))
	plan.Pace.ChunkRows = 0
	w := do(t, db, plan)
	wrongWords(t, db)
	for _, c := range of[backfill.ChunkCommitted](w) {
		if c.Chunk.RowsSeen > 40 {
			t.Errorf("a chunk had %d rows of 120 kB", c.Chunk.RowsSeen)
		}
	}
}

// A program that embeds the engine may compute by a function of its own types.
func TestTransformByFunction(t *testing.T) {
	t.Parallel()
	db := installed(t, words(500))
	type in struct {
		ID int64  `json:"id"`
		V  string `json:"v"`
	}
	type out struct {
		Out string `json:"out"`
	}
	var failures atomic.Int64
	functions := map[string]backfill.TransformFunc{
		"upper": backfill.PerRow(func(_ context.Context, row in) (out, error) { return out{strings.ToUpper(row.V)}, nil }),
		"flaky": func(ctx context.Context, rows []json.RawMessage) ([]backfill.TransformResult, error) {
			if failures.Add(1) == 1 {
				return nil, errors.New("the service is not there")
			}
			return backfill.PerRow(func(_ context.Context, row in) (out, error) { return out{strings.ToUpper(row.V)}, nil })(ctx, rows)
		},
		"bitter": backfill.PerRow(func(_ context.Context, row in) (out, error) {
			if row.ID == 250 {
				return out{}, errors.New("it is bitter")
			}
			return out{"?"}, nil
		}),
	}
	for _, name := range []string{"flaky", "upper"} {
		job := transforms()
		job.Name, job.Transform.Go = name, name
		join(t, db, planFor(t, db, job, functions), part{transforms: functions}).finished()
		wrongWords(t, db)
		db.Exec("UPDATE words SET out = NULL")
	}
	job := transforms()
	job.Transform.Go = "bitter"
	_, err := join(t, db, planFor(t, db, job, functions), part{transforms: functions}).wait()
	if err == nil || !strings.Contains(err.Error(), "(250)") || !strings.Contains(err.Error(), "it is bitter") {
		t.Errorf("got %v", err)
	}
	job.Transform.Go = "nobody"
	if _, err := planning(t, db, job, functions); !errors.Is(err, backfill.ErrInput) {
		t.Errorf("got %v", err)
	}
}

// Rows without a key that names them are told apart by where they are, also in several tables under one.
func TestTransformWithoutUniqueKey(t *testing.T) {
	t.Parallel()
	for name, setup := range map[string]string{
		"not unique":  "CREATE TABLE words (id bigint NOT NULL, v text, out text); CREATE INDEX ON words (id)",
		"nullable":    "CREATE TABLE words (id bigint UNIQUE, v text, out text)",
		"partitioned": "CREATE TABLE words (id bigint NOT NULL, v text, out text) PARTITION BY HASH (v); CREATE TABLE w1 PARTITION OF words FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE w2 PARTITION OF words FOR VALUES WITH (MODULUS 2, REMAINDER 1); CREATE INDEX ON words (id)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, setup)
			id := "g / 7"
			if name == "nullable" {
				id = "CASE WHEN g % 50 <> 0 THEN g END"
			}
			db.Exec("INSERT INTO words SELECT " + id + ", 'word ' || g FROM generate_series(1, 200) AS g")
			gate := filepath.Join(t.TempDir(), "gate")
			job := transforms(lineprogram.Command("gated", gate)...)
			job.Key = []string{"id"}
			w := join(t, db, planFor(t, db, job, nil), part{})
			pgtest.Eventually(t, ended, func() error { _, err := os.Stat(gate + ".waiting"); return err })
			db.Exec("UPDATE words SET v = 'new ' || v WHERE v IN ('word 3', 'word 100', 'word 150')")
			if err := os.WriteFile(gate, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			w.finished()
			wrongWords(t, db)
		})
	}
}
