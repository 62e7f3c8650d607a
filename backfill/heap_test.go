package backfill_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// byHeap is the planner's plan of a job that is walked in physical order, in segments of so many pages.
func byHeap(t *testing.T, db *pgtest.DB, job backfill.Job) *backfill.Plan {
	t.Helper()
	job.Walk = backfill.WalkHeap
	plan, err := backfill.Planner{}.Plan(t.Context(), db.Conn(), job, testPace())
	if err != nil {
		t.Fatal(err)
	}
	if plan.Heap == nil || plan.Walk != "heap" || len(plan.Segments) == 0 {
		t.Fatalf("the plan is to walk by %s (%s) with %d segments", plan.Walk, plan.WalkReason, len(plan.Segments))
	}
	return plan
}

// keyless is a table without any key: (id, x, n) with n to become x * 2.
func keyless(rows int) string {
	return fmt.Sprintf("CREATE TABLE w (id int, x int, n int, pad text); INSERT INTO w SELECT i, i, NULL, repeat('x', 200) FROM generate_series(1, %d) AS i; ANALYZE w", rows)
}

func doubled(t *testing.T, db *pgtest.DB, rows int) {
	t.Helper()
	if wrong := pgtest.One[string](db, "SELECT count(*) || ' of ' || (SELECT count(*) FROM w) FROM w WHERE n IS DISTINCT FROM x * 2"); wrong != fmt.Sprintf("0 of %d", rows) {
		t.Errorf("%s rows do not hold their new value", wrong)
	}
}

// A table without a key is walked in physical order, to the last row, page by page without gap or overlap.
//
// Made to fail: with segments that begin a page late a page's rows are found only by the sweep that follows.
func TestHeapWalk(t *testing.T) {
	t.Parallel()
	for _, rows := range []int{1, 40, 5000} {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			t.Parallel()
			db := installed(t, keyless(rows))
			plan := byHeap(t, db, sets("w", map[string]string{"n": "t.x * 2"}))
			plan.Pace.Workers, plan.Pace.ChunkRows = 4, 100
			w := do(t, db, plan)
			doubled(t, db, rows)
			if w.summary.SweepChanged != 0 || w.summary.RowsChanged != int64(rows) {
				t.Errorf("%d rows were changed, %d of them by a sweep; expected %d and none", w.summary.RowsChanged, w.summary.SweepChanged, rows)
			}
		})
	}
}

// So it is whatever the pages look like: half empty, empty in the middle, with dead rows and with rows that were moved,
// in chunks of a page or of all of them, by any number of workers, in one table or in partitions.
//
// Made to fail: with the last segment ending a page early, rows of the last page are found only by a sweep.
func TestHeapWalkDoesEveryRow(t *testing.T) {
	t.Parallel()
	db := installed(t, "SELECT 1")
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 7))
		table, rows := fmt.Sprintf("heap_%d", seed), r.IntN(3000)
		storage := fmt.Sprintf("WITH (fillfactor = %d, autovacuum_enabled = off)", 10+r.IntN(91))
		if r.IntN(2) == 0 {
			db.Exec(fmt.Sprintf(`CREATE TABLE %[1]s (id int, x int, n int, pad text) PARTITION BY HASH (id);
				CREATE TABLE %[1]s_a PARTITION OF %[1]s FOR VALUES WITH (MODULUS 4, REMAINDER 0) %[2]s;
				CREATE TABLE %[1]s_b PARTITION OF %[1]s FOR VALUES WITH (MODULUS 2, REMAINDER 1) PARTITION BY LIST ((id %% 3));
				CREATE TABLE %[1]s_b0 PARTITION OF %[1]s_b FOR VALUES IN (0) %[2]s; CREATE TABLE %[1]s_b1 PARTITION OF %[1]s_b DEFAULT;
				CREATE TABLE %[1]s_c PARTITION OF %[1]s FOR VALUES WITH (MODULUS 4, REMAINDER 2)`, table, storage))
		} else {
			db.Exec(fmt.Sprintf("CREATE TABLE %s (id int, x int, n int, pad text) %s", table, storage))
		}
		db.Exec(fmt.Sprintf(`INSERT INTO %[1]s SELECT i, i, NULL, repeat('x', i %% 300) FROM generate_series(1, %[2]d) AS i;
			UPDATE %[1]s SET pad = repeat('y', 200) WHERE id %% 7 = %[3]d; DELETE FROM %[1]s WHERE id / 100 %% 5 = %[4]d`,
			table, rows, r.IntN(7), r.IntN(5)))
		if r.IntN(2) == 0 {
			db.Exec("VACUUM ANALYZE " + table)
		}
		job := sets(table, map[string]string{"n": "t.x * 2"})
		job.Name = fmt.Sprintf("heap-%d", seed)
		plan, err := backfill.Planner{}.Plan(t.Context(), db.Conn(), job, testPace())
		if err != nil || plan.Walk != "heap" {
			t.Fatalf("seed %d: %v, by %s", seed, err, plan.Walk)
		}
		plan.Pace.Workers, plan.Pace.ChunkRows = 1+r.IntN(4), 1+r.IntN(400)
		s := do(t, db, plan).summary
		if left := pgtest.One[int](db, "SELECT count(*) FROM "+table+" WHERE n IS DISTINCT FROM x * 2"); left > 0 || s.SweepChanged > 0 {
			t.Errorf("seed %d: %d rows were left out, %d found by a sweep", seed, left, s.SweepChanged)
		}
	}
}

// A job that names no key of a table that has none is walked in physical order by itself; one for which that would be
// wrong is refused, with the reason.
//
// Made to fail: without the refusal, a job that is not idempotent adds one to rows twice that moved while it walked.
func TestHeapWalkIsChosenAndRefused(t *testing.T) {
	t.Parallel()
	db := installed(t, keyless(100))
	plan, err := backfill.Planner{}.Plan(t.Context(), db.Conn(), sets("w", map[string]string{"n": "t.x * 2"}), testPace())
	if err != nil || plan.Walk != "heap" {
		t.Errorf("without a key: %v, %+v", err, plan)
	}
	heap := func(job backfill.Job) backfill.Job {
		job.Walk = backfill.WalkHeap
		return job
	}
	// A key by which rows are known again is one that stays.
	db.Exec("CREATE TABLE k (id int PRIMARY KEY, n int)")
	for column, identity := range map[string]string{"n": "[id]", "id": "[]"} {
		plan, err := backfill.Planner{}.Plan(t.Context(), db.Conn(), heap(sets("k", map[string]string{column: "1"})), testPace())
		if err != nil || fmt.Sprint(plan.Heap.Identity) != identity {
			t.Errorf("a job that writes %s: %v, %+v", column, err, plan)
		}
	}
	undone := heap(sets("w", map[string]string{"n": "t.x * 2"}))
	undone.Undo = &backfill.Undo{Set: []backfill.Assignment{{Column: "n", Value: backfill.Expr{SQL: "NULL"}}}}
	for reason, job := range map[string]backfill.Job{
		"undo: {set}":           undone,
		"not idempotent":        heap(counts("w")),
		"not hold":              heap(does("w", "", "DELETE FROM w AS t WHERE {{scope}}")),
		"no primary key and no": counts("w"),
		"{{range}}":             heap(sets("w", map[string]string{"n": "(SELECT 1 WHERE {{range}})"})),
	} {
		_, err := backfill.Planner{}.Plan(t.Context(), db.Conn(), job, testPace())
		if !errors.Is(err, backfill.ErrInput) && !strings.Contains(fmt.Sprint(err), reason) || err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("expected a refusal that speaks of %q, got %v", reason, err)
		}
	}
}

// Rows that move behind the walk, by writers that it had to wait for or that fill old pages, are found: the snapshot at the
// end sees them wherever they are, and a sweep changes them.
//
// Made to fail: without the look at the end, the row that moved keeps its old value.
func TestHeapWalkFindsRowsThatMoved(t *testing.T) {
	t.Parallel()
	db := installed(t, keyless(2000)+"; DELETE FROM w WHERE ctid < '(2,0)' AND id > 1")
	left := pgtest.One[int](db, "SELECT count(*) FROM w")
	db.Exec("VACUUM w") // there is room in the first pages
	plan := byHeap(t, db, sets("w", map[string]string{"n": "t.x * 2"}))
	plan.Pace.Workers, plan.Pace.LockTimeout = 1, 20*time.Second
	app := begun(t, db, "UPDATE w SET pad = repeat('z', 190) WHERE id = 1000", "INSERT INTO w VALUES (2001, 2001)")
	if page := pgtest.One[string](db, "SELECT ctid::text FROM w WHERE id = 1000"); strings.HasPrefix(page, "(0,") || strings.HasPrefix(page, "(1,") {
		t.Fatalf("the row lies at %s before it has moved", page)
	}
	w := join(t, db, plan, part{})
	blocked(t, db)
	finish(t, app, "COMMIT")
	if s := w.finished(); s.SweepChanged < 1 {
		t.Errorf("a sweep changed %d rows", s.SweepChanged)
	}
	doubled(t, db, left+1)
}

// While applications write to every row, none is left out, whatever moves where. Without a unique key, rows can move faster than
// they are swept: then the run says so, and goes on when it is run again; it never says finished of rows that are not done.
//
// Made to fail: with one sweep and no look at its end, some rows keep their old value in most runs.
func TestHeapWalkUnderWriters(t *testing.T) {
	t.Parallel()
	db := installed(t, keyless(3000)+"; CREATE INDEX ON w (id)")
	plan := byHeap(t, db, sets("w", map[string]string{"n": "t.x * 2"}))
	plan.Pace.Workers, plan.Pace.ChunkRows = 2, 60
	stop, stopped := make(chan struct{}), make(chan error, 1)
	conn := db.Conn()
	go func() {
		var batch pgx.Batch
		for id := 1; ; id = id%3000 + 17 {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			batch = pgx.Batch{}
			batch.Queue("UPDATE w SET pad = repeat('y', 150 + id % 100) WHERE id BETWEEN $1 AND $1 + 5", id)
			if err := conn.SendBatch(t.Context(), &batch).Close(); err != nil {
				stopped <- err
				return
			}
		}
	}()
	_, err := join(t, db, plan, part{}).wait()
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if errors.Is(err, backfill.ErrIncomplete) {
		join(t, db, plan, part{}).finished()
	} else if err != nil {
		t.Fatal(err)
	}
	doubled(t, db, 3000)
}

// A table that is rewritten in the middle has its rows elsewhere, though nobody wrote them: all of it is looked at again.
//
// Made to fail: with the sweep limited to rows that were written since, those that VACUUM FULL moved behind the walk are left out.
func TestHeapWalkOfATableThatIsRewritten(t *testing.T) {
	t.Parallel()
	db := installed(t, keyless(3000)+"; DELETE FROM w WHERE id <= 1500; INSERT INTO w VALUES (0, 0)")
	db.Exec("ANALYZE w")
	plan := byHeap(t, db, sets("w", map[string]string{"n": "t.x * 2"}))
	plan.Pace.Workers, plan.Pace.ChunkRows = 1, 500
	observe, reached, goOn := stopper(2)
	w := join(t, db, plan, part{observer: observe})
	<-reached
	db.Exec("VACUUM FULL w")
	goOn()
	w.finished()
	doubled(t, db, 1501)
}

// An application that goes on inserting rows without the new value, or sets one back, does not keep a run alive: what was there when the
// walk was done is done, also a row that moved out of the way of a sweep, and what was written later is counted, for dual writes to fill.
//
// Made to fail: with rows written since counted like the others, or with row 8 answered for after it was swept, the run is incomplete after five
// sweeps; with none of them known again, row 9 keeps its old value.
func TestHeapWalkWhileRowsAreInserted(t *testing.T) {
	t.Parallel()
	db := installed(t, keyless(50), "ALTER TABLE w ADD PRIMARY KEY (id)", "ALTER TABLE w ALTER pad SET STORAGE PLAIN")
	moves := func(e backfill.Event) {
		if e, ok := e.(backfill.PassStarted); ok && e.Pass == backfill.PassSweep { // to a page that the sweep does not know of
			db.Exec("UPDATE w SET pad = repeat('y', 7900) WHERE id = 9")
		}
	}
	w := join(t, db, byHeap(t, db, doubling()), part{observer: backfill.Tee(moves, atLook(func(nth int) {
		db.Exec("INSERT INTO w SELECT i, i FROM generate_series(1000 * $1::int + 1, 1000 * $1::int + 5) AS i", nth)
		if nth == 1 {
			db.Exec("UPDATE w SET n = -1 WHERE id IN (8, 9)")
		} else { // what a sweep has done once is the application's
			db.Exec("UPDATE w SET n = -1 WHERE id IN (7, 8)")
		}
	}))})
	s := w.finished()
	if left := pgtest.One[string](db, "SELECT string_agg(id::text, ',' ORDER BY id) FROM w WHERE n IS DISTINCT FROM x * 2"); left != "7,8,3001,3002,3003,3004,3005" || s.WrittenSince != 7 {
		t.Errorf("rows %s do not hold their new values; the run counts %d", left, s.WrittenSince)
	}
	if sweeps := pgtest.One[int](db, "SELECT count(DISTINCT pass) FROM pgbackfill.segments WHERE pass >= 3"); sweeps != 2 {
		t.Errorf("there were %d sweeps", sweeps)
	}
}

// Without a unique key rows cannot be known again: the run does not sweep for ever and does not say that it is finished; once the application
// has done with it, it goes on, as it says.
//
// Made to fail: with no bound it sweeps until the test gives up; with the bound alone it says finished; with the sweeps counted over the run's
// whole life it gives up again at once.
func TestHeapWalkWithoutAKeyWhileRowsAreInserted(t *testing.T) {
	t.Parallel()
	db := installed(t, keyless(50))
	plan := byHeap(t, db, doubling())
	spoiled := join(t, db, plan, part{observer: atLook(func(int) { db.Exec("UPDATE w SET n = -1 WHERE id = 7") })})
	_, err := spoiled.wait()
	if !errors.Is(err, backfill.ErrIncomplete) || !strings.Contains(err.Error(), "without a unique key") {
		t.Errorf("the run ended with %v", err)
	}
	if state := pgtest.One[string](db, "SELECT state FROM pgbackfill.runs"); state == "finished" {
		t.Error("the run says that it is finished")
	}
	s := join(t, db, plan, part{}).finished()
	doubled(t, db, 50)
	info, err := spoiled.store.Newest(t.Context(), plan.Job.Name)
	if err != nil {
		t.Fatal(err)
	}
	if s.SweepChanged < 6 || info.Totals.SweepChanged != s.SweepChanged {
		t.Errorf("sweeps changed %d rows, and status says %d", s.SweepChanged, info.Totals.SweepChanged)
	}
}

// A trigger that changes what the job writes, or keeps it back, leaves the run incomplete, with the rows counted and the trigger named; plan
// says that it will be looked.
//
// Made to fail: with the rows that the walk has seen not looked at, both runs are finished.
func TestHeapWalkThatATriggerOverrides(t *testing.T) {
	t.Parallel()
	for name, does := range map[string]string{"changed": "NEW.n := -1", "kept back": "RETURN NULL"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, keyless(50), "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 7 THEN "+does+"; END IF; RETURN NEW; END $$",
				"CREATE TRIGGER spoil BEFORE UPDATE ON w FOR EACH ROW EXECUTE FUNCTION spoil()")
			plan := byHeap(t, db, doubling())
			_, err := join(t, db, plan, part{}).wait()
			if !errors.Is(err, backfill.ErrIncomplete) || !strings.Contains(err.Error(), "do not hold their new values") || !strings.Contains(err.Error(), "trigger spoil on public.w") {
				t.Errorf("the run ended with %v", err)
			}
			for _, f := range plan.Findings {
				if f.ID == "trigger-fires" && !strings.Contains(f.Remedy, "compares every row at its end") {
					t.Errorf("the finding says: %s", f.Remedy)
				}
			}
			// Where the values cannot be told again, there is nothing to compare with.
			job := doubling()
			job.UpdateStep().Set[0].Value.SQL = "t.x * 2 + 0 * extract(epoch FROM now())::int"
			job.Name = "moment"
			if plan := byHeap(t, db, job); len(plan.Overriding) > 0 {
				t.Errorf("%v would be compared with the time of day", plan.Overriding)
			}
		})
	}
}

// A trigger of the application's writes other rows of the table, within the chunk's own transaction: rows that the walk has not
// come to yet go where it has been, or never comes. They are found at the end all the same. By itself no such table is walked so.
//
// Made to fail: with what the chunks' transactions wrote left out of the look, as where no such trigger fires, rows were left out.
func TestHeapWalkWithATriggerThatMovesRows(t *testing.T) {
	t.Parallel()
	db := installed(t, `CREATE TABLE stirred (id int PRIMARY KEY, parent int, total int DEFAULT 0, x int, n int, pad text) WITH (autovacuum_enabled = off);
		INSERT INTO stirred SELECT i, 4001 - i, 0, i, NULL, repeat('x', 150) FROM generate_series(1, 4000) AS i;
		CREATE FUNCTION stir() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE stirred SET total = total + 1 WHERE id = NEW.parent; RETURN NULL; END';
		CREATE TRIGGER stir AFTER UPDATE OF n ON stirred FOR EACH ROW EXECUTE FUNCTION stir(); ANALYZE stirred`)
	job := sets("stirred", map[string]string{"n": "t.x * 2"})
	job.Name, job.Walk = "stirred", backfill.WalkHeap
	plan, err := backfill.Planner{}.Plan(t.Context(), db.Conn(), job, testPace())
	if err != nil {
		t.Fatal(err)
	}
	plan.Pace.ChunkRows = 200
	do(t, db, plan)
	if left := pgtest.One[int](db, "SELECT count(*) FROM stirred WHERE n IS DISTINCT FROM x * 2"); left > 0 {
		t.Errorf("%d rows were left out", left)
	}
}
