package backfill_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// parted is a table w (id, x, n, pad) without a key, of so many rows, in partitions that differ: two by range of id, of which the
// second is divided once more, an empty one, and one with its columns in another order.
func parted(rows int) string {
	return fmt.Sprintf(`CREATE TABLE w (id int, x int, n int, pad text) PARTITION BY RANGE (id);
		CREATE TABLE w_a PARTITION OF w FOR VALUES FROM (MINVALUE) TO (%[2]d);
		CREATE TABLE w_b PARTITION OF w FOR VALUES FROM (%[2]d) TO (%[3]d) PARTITION BY HASH (id);
		CREATE TABLE w_b0 PARTITION OF w_b FOR VALUES WITH (MODULUS 2, REMAINDER 0);
		CREATE TABLE w_b1 PARTITION OF w_b FOR VALUES WITH (MODULUS 2, REMAINDER 1);
		CREATE TABLE "w odd" (pad text, gone int, n int, x int, id int); ALTER TABLE "w odd" DROP gone;
		ALTER TABLE w ATTACH PARTITION "w odd" FOR VALUES FROM (%[3]d) TO (%[1]d + 1);
		CREATE TABLE w_empty PARTITION OF w FOR VALUES FROM (1000000) TO (2000000);
		INSERT INTO w SELECT i, i, NULL, repeat('x', 200) FROM generate_series(1, %[1]d) AS i; ANALYZE w`, rows, rows/4, rows*3/4)
}

// A partitioned table is walked in physical order partition by partition: each segment is in one of them, and every row is
// changed by the walk itself.
//
// Made to fail: with statements that name the parent, plan shows no partition's; with each partition's last page left out, its rows
// keep their old value.
func TestHeapWalkOfPartitions(t *testing.T) {
	t.Parallel()
	db := installed(t, parted(2000))
	plan := byHeap(t, db, doubling())
	var names []string
	for _, l := range plan.Heap.Leaves {
		names = append(names, l.Table)
	}
	if got := strings.Join(names, ", "); got != `public."w odd", public.w_a, public.w_b0, public.w_b1, public.w_empty` {
		t.Errorf("the partitions are %s", got)
	}
	plan.Pace.Workers, plan.Pace.ChunkRows = 4, 100
	w := do(t, db, plan)
	doubled(t, db, 2000)
	if w.summary.SweepChanged != 0 || w.summary.RowsChanged != 2000 {
		t.Errorf("%d rows were changed, %d of them by a sweep; expected 2000 and none", w.summary.RowsChanged, w.summary.SweepChanged)
	}
	if at := pgtest.One[string](db, "SELECT string_agg(DISTINCT leaf::regclass::text, ', ' ORDER BY leaf::regclass::text) FROM pgbackfill.segments"); at != `"w odd", w_a, w_b0, w_b1` {
		t.Errorf("segments are in %s", at)
	}
	planned := false
	for _, s := range plan.Statements {
		planned = planned || strings.HasPrefix(s.SQL, "UPDATE public.w_b0 AS t") || strings.HasPrefix(s.SQL, "UPDATE public.w_a AS t") || strings.HasPrefix(s.SQL, `UPDATE public."w odd" AS t`)
	}
	if !planned {
		t.Error("plan does not show the statement about a partition")
	}
}

// A row that its application moves into a partition that is behind the walk is found at the end, also where the walk had to wait for
// the move, which the server answers with an error.
//
// Made to fail: without the look at the end both rows keep their old values; with a serialization failure that stops the run, it fails.
func TestHeapWalkOfRowsThatChangePartition(t *testing.T) {
	t.Parallel()
	db := installed(t, parted(400))
	plan := byHeap(t, db, doubling())
	plan.Pace.Workers, plan.Pace.LockTimeout, plan.Pace.ChunkRows = 1, 20*time.Second, 1000
	app := begun(t, db, "UPDATE w SET id = -1 WHERE id = 200", "UPDATE w SET id = -2 WHERE id = 350")
	w := join(t, db, plan, part{})
	blocked(t, db)
	finish(t, app, "COMMIT")
	s := w.finished()
	doubled(t, db, 400)
	if s.Retries == 0 {
		t.Error("no chunk met the row while it moved")
	}
}

// stopped starts a run that stands still when it has committed its first chunk, in the middle of a segment, does something to the table,
// and lets it end. Each partition is one segment.
func stopped(t *testing.T, db *pgtest.DB, plan *backfill.Plan, meanwhile ...string) *worked {
	t.Helper()
	plan.Pace.Workers, plan.Pace.ChunkRows = 1, 40
	plan.Segments = nil
	for _, l := range plan.Heap.Leaves {
		if l.Blocks > 0 {
			plan.Segments = append(plan.Segments, backfill.Segment{
				No: len(plan.Segments) + 1, Pass: backfill.PassWalk, Leaf: l.OID, Range: backfill.KeyRange{Through: backfill.Key{fmt.Sprintf("(%d,0)", l.Blocks)}},
			})
		}
	}
	observe, reached, goOn := stopper(1)
	w := join(t, db, plan, part{observer: observe})
	<-reached
	for _, sql := range meanwhile {
		db.Exec(sql)
	}
	goOn()
	return w
}

// Partitions that come while the table is walked are walked in the tail; one that is renamed stays; one that is detached or dropped is
// left out from then on, and said to be.
//
// Made to fail: without the tail, "attached" is changed by a sweep; with the leaf's name kept from planning, "renamed" fails; without
// [engine.leafMoved] "dropped" fails, as does "detached" where only the start of a segment looks; with a leaf known by name, "replaced" does.
func TestHeapWalkOfPartitionsThatComeAndGo(t *testing.T) {
	t.Parallel()
	const filled = "SELECT count(*) FROM w WHERE n IS DISTINCT FROM x * 2"
	for name, c := range map[string]struct {
		meanwhile []string
		// outside asks for what must hold of rows that are none of the table's any more.
		outside    string
		gone, tail bool
	}{
		"attached": {meanwhile: []string{`CREATE TABLE late (LIKE w); INSERT INTO late SELECT i, i, NULL, '' FROM generate_series(5000, 5100) AS i;
			ALTER TABLE w ATTACH PARTITION late FOR VALUES FROM (5000) TO (6000)`}, tail: true},
		"made":     {meanwhile: []string{"CREATE TABLE late PARTITION OF w FOR VALUES FROM (5000) TO (6000)", "INSERT INTO w SELECT i, i FROM generate_series(5000, 5100) AS i"}, tail: true},
		"renamed":  {meanwhile: []string{"ALTER TABLE w_a RENAME TO w_z", `ALTER TABLE "w odd" RENAME TO "w odder"`, "CREATE SCHEMA s; ALTER TABLE w_b1 SET SCHEMA s"}},
		"replaced": {meanwhile: []string{`ALTER TABLE "w odd" RENAME TO gone; ALTER TABLE w_a RENAME TO "w odd"; ALTER TABLE gone RENAME TO w_a`}},
		"dropped":  {meanwhile: []string{`DROP TABLE "w odd"`, "DROP TABLE w_a"}, gone: true},
		"detached": {
			meanwhile: []string{`ALTER TABLE w DETACH PARTITION "w odd"`, "ALTER TABLE w DETACH PARTITION w_b"},
			outside:   `SELECT count(n) <= 70 FROM (SELECT n FROM "w odd" UNION ALL SELECT n FROM w_b) AS d`, gone: true,
		},
		"detached and back": {meanwhile: []string{"ALTER TABLE w DETACH PARTITION w_b; ALTER TABLE w ATTACH PARTITION w_b FOR VALUES FROM (100) TO (300)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, parted(400))
			w := stopped(t, db, byHeap(t, db, doubling()), c.meanwhile...)
			s := w.finished()
			if left := pgtest.One[int](db, filled); left > 0 {
				t.Errorf("%d rows do not hold their new value", left)
			}
			if s.SweepChanged > 0 {
				t.Errorf("%d rows were left to the sweep", s.SweepChanged)
			}
			if c.outside != "" && !pgtest.One[bool](db, c.outside) {
				t.Error("rows were changed that are not the table's any more")
			}
			if gone := of[backfill.PartitionGone](w); (len(gone) > 0) != c.gone {
				t.Errorf("the run says that these partitions are gone: %v", gone)
			}
			if tail := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.segments WHERE pass = 2"); (tail > 0) != c.tail {
				t.Errorf("the tail has %d segments", tail)
			}
		})
	}
}

// So are partitions that come back when their segments were left out, or come after the tail, or are rewritten: the rows lie elsewhere
// or unseen though nobody wrote them, and the sweep goes over all of them.
//
// Made to fail: without the attached partitions among what a sweep looks at, "late" and "back" keep their old values; with the files of partitions
// not compared, so does "rewritten".
func TestHeapSweepOfPartitions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first, atLook []string
	}{
		"late": {atLook: []string{`CREATE TABLE late (LIKE w); INSERT INTO late SELECT i, i, NULL, '' FROM generate_series(5000, 5100) AS i;
			ALTER TABLE w ATTACH PARTITION late FOR VALUES FROM (5000) TO (6000)`}},
		"back":      {first: []string{"ALTER TABLE w DETACH PARTITION w_b"}, atLook: []string{"ALTER TABLE w ATTACH PARTITION w_b FOR VALUES FROM (100) TO (300)"}},
		"rewritten": {first: []string{`DELETE FROM "w odd" WHERE id < 390; VACUUM FULL "w odd"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, parted(400))
			plan := byHeap(t, db, doubling())
			plan.Pace.Workers, plan.Pace.ChunkRows = 1, 40
			observe, reached, goOn := stopper(1)
			look := atLook(func(nth int) {
				if nth == 1 {
					for _, sql := range c.atLook {
						db.Exec(sql)
					}
				}
			})
			w := join(t, db, plan, part{observer: backfill.Tee(observe, look)})
			<-reached
			for _, sql := range c.first {
				for _, one := range strings.Split(sql, "; ") { // VACUUM is not for a transaction
					db.Exec(one)
				}
			}
			goOn()
			w.finished()
			if left := pgtest.One[int](db, "SELECT count(*) FROM w WHERE n IS DISTINCT FROM x * 2"); left > 0 {
				t.Errorf("%d rows do not hold their new value", left)
			}
		})
	}
}

// What cannot be walked partition by partition is refused with the reason, or walked by its key where the job leaves that open.
//
// Made to fail: with each of the refusals taken out in turn, its case is planned.
func TestHeapWalkOfPartitionsIsRefused(t *testing.T) {
	t.Parallel()
	db := installed(t, `CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
		CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler;
		CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`)
	role, dsn := db.Role("NOSUPERUSER")
	kept := sets("kept", map[string]string{"x": "2"})
	kept.Undo = &backfill.Undo{Capture: true} // its triggers would not fire, and nothing would be kept
	for name, c := range map[string]struct {
		setup  string
		job    backfill.Job
		reason string
		role   bool
	}{
		"alien":     {setup: "CREATE FOREIGN TABLE %s_1 PARTITION OF %[1]s FOR VALUES IN (2) SERVER nowhere", reason: "foreign"},
		"method":    {setup: "CREATE TABLE %s_1 PARTITION OF %[1]s FOR VALUES IN (2) USING other", reason: "access method other"},
		"granted":   {setup: "GRANT SELECT, UPDATE ON %s TO " + role, reason: "GRANT SELECT, UPDATE ON public.granted_0 TO", role: true},
		"secured":   {setup: "GRANT ALL ON %s, %[1]s_0 TO " + role + "; ALTER TABLE %[1]s_0 ENABLE ROW LEVEL SECURITY", reason: "row security of public.secured_0", role: true},
		"triggered": {setup: "CREATE TRIGGER tell AFTER UPDATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION tell()", reason: "triggers for each statement"},
		"keyed":     {setup: "CREATE TABLE %s_1 PARTITION OF %[1]s FOR VALUES IN (2) PARTITION BY RANGE ((abs(x)))", job: sets("keyed", map[string]string{"x": "1"}), reason: "column x chooses"},
		"row":       {job: sets("row", map[string]string{"x": "length(t::text)"}), reason: "t as a whole"},
		"kept":      {job: kept, reason: "undo: capture, whose triggers"},
		"ruled":     {setup: "CREATE RULE no AS ON UPDATE TO %s DO INSTEAD NOTHING", reason: "rewrite rules"},
		"inherited": {setup: "DROP TABLE %s; CREATE TABLE %[1]s (id int, x int); CREATE TABLE %[1]s_1 () INHERITS (%[1]s)", reason: "inherit"},
	} {
		db.Exec(fmt.Sprintf("CREATE TABLE %s (id int, x int) PARTITION BY LIST (id); CREATE TABLE %[1]s_0 PARTITION OF %[1]s FOR VALUES IN (1); ", name))
		if c.setup != "" {
			db.Exec(fmt.Sprintf(c.setup, name))
		}
		if c.job.Name == "" {
			c.job = sets(name, map[string]string{"x": "2"})
		}
		if name == "row" {
			c.job.UpdateStep().Set[0].Value.Columns = []string{"t"}
		}
		conn := db.Conn()
		if c.role {
			var err error
			if conn, err = pgx.Connect(t.Context(), dsn); err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
		}
		c.job.Walk = backfill.WalkHeap
		_, err := backfill.Planner{}.Plan(t.Context(), conn, c.job, testPace())
		if !errors.Is(err, backfill.ErrInput) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: expected a refusal that speaks of %q, got %v", name, c.reason, err)
		}
	}
	// Without a word about the walk, a table with a key is walked by it, and one without is refused for want of one.
	db.Exec("CREATE TABLE plain (id int PRIMARY KEY, x int) PARTITION BY LIST (id); CREATE TABLE plain_0 PARTITION OF plain FOR VALUES IN (1)")
	if plan, err := (backfill.Planner{}).Plan(t.Context(), db.Conn(), sets("plain", map[string]string{"x": "2"}), testPace()); err != nil || plan.Walk != "key" {
		t.Errorf("%v, %v", plan, err)
	}
	if _, err := (backfill.Planner{}).Plan(t.Context(), db.Conn(), sets("method", map[string]string{"x": "2"}), testPace()); err == nil || !strings.Contains(err.Error(), "no primary key") {
		t.Errorf("expected the want of a key, got %v", err)
	}
}

// A partition that comes while the table is walked, and cannot be, leaves the run incomplete with what to do about it; then it
// goes on.
//
// Made to fail: with the partitions that come not looked at, the run ends with a permission that is denied, or worse.
func TestHeapWalkOfAPartitionThatMayNotBeWalked(t *testing.T) {
	t.Parallel()
	db := installed(t, parted(400), "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing")
	plan := byHeap(t, db, doubling())
	w := stopped(t, db, plan, "CREATE FOREIGN TABLE far PARTITION OF w FOR VALUES FROM (5000) TO (6000) SERVER nowhere")
	if _, err := w.wait(); !errors.Is(err, backfill.ErrIncomplete) || !strings.Contains(err.Error(), "public.far") {
		t.Fatalf("the run ended with %v", err)
	}
	db.Exec("ALTER TABLE w DETACH PARTITION far")
	join(t, db, plan, part{}).finished()
	doubled(t, db, 400)
}

// A run over partitions that ends in the middle of one goes on there, by any number of workers; a dry run does its chunks too, and leaves
// nothing.
//
// Made to fail: with leaves left out of what is read of a segment, the second process writes through the parent, and the run cannot finish.
func TestHeapWalkOfPartitionsGoesOn(t *testing.T) {
	t.Parallel()
	db := installed(t, parted(3000))
	plan := byHeap(t, db, doubling())
	plan.Pace.ChunkRows = 40
	tried := 0
	if err := backfill.DryRun(t.Context(), backfill.Options{Plan: plan, Connect: dialing(db.DSN())}, 10, func(c backfill.Chunk) { tried += int(c.RowsChanged[0]) }); err != nil || tried < 300 {
		t.Errorf("the dry run changed %d rows: %v", tried, err)
	}
	if n := pgtest.One[int](db, "SELECT count(n) FROM w"); n > 0 {
		t.Errorf("the dry run left %d rows changed", n)
	}
	if _, err := join(t, db, plan, part{most: 4}).wait(); !errors.Is(err, backfill.ErrInterrupted) {
		t.Fatalf("the first process ended with %v", err)
	}
	plan.Pace.Workers, plan.Pace.Rate = 4, 4000
	w := join(t, db, plan, part{})
	s := w.finished()
	doubled(t, db, 3000)
	if s.SweepChanged > 0 || s.RowsChanged != 3000 {
		t.Errorf("%d rows were changed, %d of them by a sweep", s.RowsChanged, s.SweepChanged)
	}
	if stray := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.segments AS s LEFT JOIN pgbackfill.segments AS p ON p.run_id = s.run_id AND p.no = s.parent WHERE s.leaf = 0 OR p.leaf <> s.leaf"); stray > 0 {
		t.Errorf("%d segments are in no partition, or not in that of the whole", stray)
	}
}
