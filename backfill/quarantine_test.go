package backfill_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/programs"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// texted is a table numbers(id, n, x) of so many rows, whose x is a number as text, and the job that adds it to n.
func texted(rows int) (setup string, job backfill.Job) {
	job = counts("numbers")
	job.UpdateStep().Set[0].Value.SQL = "t.n + t.x::int"
	return numbered(rows) + "; ALTER TABLE numbers ADD x text NOT NULL DEFAULT '1'", job
}

// aside lists what is quarantined and not done, as "key step sqlstate ×attempts".
func aside(db *pgtest.DB) []string {
	return pgtest.All[string](db, `SELECT array_to_string(key, ',') || ' ' || step || ' ' || sqlstate || ' ×' || attempts
		FROM pgbackfill.quarantine WHERE resolved_at IS NULL ORDER BY length(array_to_string(key, ',')), key`)
}

// retry tries the quarantined rows of a run again.
func retry(t testing.TB, db *pgtest.DB, w *worked, plan *backfill.Plan, p part) (backfill.Retried, error) {
	t.Helper()
	rate, err := throttle.NewRate(0)
	if err != nil {
		t.Fatal(err)
	}
	if p.connect == nil {
		p.connect = dialing(db.DSN())
	}
	return backfill.RetryQuarantined(t.Context(), backfill.Options{
		Run: w.run.ID(), Plan: plan, Process: "retry", Connect: p.connect, Tasks: w.run, Throttle: rate, Programs: programs.Runner{}, Observer: p.observer, Blocked: p.blocked,
	}, w.run)
}

// A row that cannot be changed, of whatever error, is set aside with its key, its step and the error; the run goes on, does all
// the others once, and ends finished with the number of those it did not. The ledger has no gap, the row is not changed
// by half, and after the cause is mended the retry does it, once.
//
// Made to fail: with the ledger row written and not the quarantine's, the row is done by nobody and nobody knows; with the
// boundary of the chunk before taken for the key, the row is never alone and the run does not end.
func TestPoisonedRows(t *testing.T) {
	t.Parallel()
	const rows = 10_000
	poison := []int{1, 4_711, 4_712, 4_790, 10_000}
	list := strings.Trim(strings.ReplaceAll(fmt.Sprint(poison), " ", ","), "[]")
	raise := func(body string) string {
		return `CREATE FUNCTION trip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ` + body + `; RETURN new; END $$;
			CREATE TRIGGER trip AFTER UPDATE ON numbers FOR EACH ROW WHEN (new.id IN (` + list + `)) EXECUTE FUNCTION trip()`
	}
	for name, c := range map[string]struct{ expr, setup, mend, code, step string }{
		"division": {"t.n + 1 / d", "ALTER TABLE numbers ADD d int NOT NULL DEFAULT 1; UPDATE numbers SET d = 0 WHERE id IN (" + list + ")", "UPDATE numbers SET d = 1", "22012", "update"},
		"cast":     {"t.n + x::int", "ALTER TABLE numbers ADD x text NOT NULL DEFAULT '1'; UPDATE numbers SET x = 'one' WHERE id IN (" + list + ")", "UPDATE numbers SET x = '1'", "22P02", "update"},
		"check":    {"t.n + 1", "ALTER TABLE numbers ADD CONSTRAINT small CHECK (n = 0 OR id NOT IN (" + list + "))", "ALTER TABLE numbers DROP CONSTRAINT small", "23514", "update"},
		"raise":    {"t.n + 1", raise("RAISE 'not this one'"), "DROP TRIGGER trip ON numbers", "P0001", "update"},
		"fence": {
			"t.n + 1", "CREATE TABLE chunks (id int CONSTRAINT chunks_pkey PRIMARY KEY); INSERT INTO chunks VALUES (1);" + raise("INSERT INTO chunks VALUES (1)"),
			"DELETE FROM chunks; ALTER TABLE chunks DROP CONSTRAINT chunks_pkey", "23505", "update",
		},
		"deferred": {
			"t.n + 1", "CREATE TABLE ok (n int PRIMARY KEY); INSERT INTO ok VALUES (0); CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE foreign_key_violation; END $$;" +
				"CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON numbers DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.id IN (" + list + ")) EXECUTE FUNCTION late()",
			"DROP TRIGGER late ON numbers", "23503", "commit",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, numbered(rows), c.setup)
			job := counts("numbers")
			job.UpdateStep().Set[0].Value.SQL = c.expr
			plan := planned(t, db, job, every(4_000))
			plan.Pace.ChunkRows = 1000
			w := join(t, db, plan, part{})
			if s := w.finished(); s.Quarantined != int64(len(poison)) || s.RowsSeen != rows || s.RowsChanged != int64(rows-len(poison)) {
				t.Errorf("%d rows are quarantined, %d seen, %d changed; expected %d, %d, %d", s.Quarantined, s.RowsSeen, s.RowsChanged, len(poison), rows, rows-len(poison))
			}
			var want []string
			for _, id := range poison {
				want = append(want, fmt.Sprintf("%d %s %s ×1", id, c.step, c.code))
			}
			if diff := cmp.Diff(want, aside(db)); diff != "" {
				t.Errorf("quarantined (-expected +found):\n%s", diff)
			}
			if wrong := pgtest.All[int](db, "SELECT id::int FROM numbers WHERE n <> CASE WHEN id IN ("+list+") THEN 0 ELSE 1 END LIMIT 5"); len(wrong) > 0 {
				t.Errorf("these rows are not as they should be: %v", wrong)
			}
			if told := of[backfill.Quarantined](w); len(told) != len(poison) {
				t.Errorf("%d rows were told of as quarantined; expected %d", len(told), len(poison))
			}
			if most := 45 * len(poison); len(of[backfill.ChunkCommitted](w))+len(of[backfill.ChunkFailed](w)) > most {
				t.Errorf("%d chunks and %d failures; expected at most %d in all", len(of[backfill.ChunkCommitted](w)), len(of[backfill.ChunkFailed](w)), most)
			}

			got, err := retry(t, db, w, plan, part{})
			if err != nil || got.Done != 0 || got.Failed != int64(len(poison)) || got.Left != int64(len(poison)) {
				t.Errorf("before anything is mended: %+v, %v; expected that all fail again", got, err)
			}
			if again := aside(db); !strings.HasSuffix(again[0], "×2") {
				t.Errorf("quarantined after a retry in vain: %v", again)
			}
			db.Exec(c.mend)
			if got, err = retry(t, db, w, plan, part{}); err != nil || got.Done != int64(len(poison)) || got.Left != 0 {
				t.Errorf("after the cause is mended: %+v, %v; expected that all are done", got, err)
			}
			onceEach(t, db, "numbers")
			if got, err = retry(t, db, w, plan, part{}); err != nil || got.Done+got.Failed+got.Left != 0 {
				t.Errorf("with nothing left: %+v, %v", got, err)
			}
			onceEach(t, db, "numbers")
			tiled(t, db, plan, w.run.ID())
		})
	}
}

// The rows of a key are set aside and done again by that key, whatever its type: in parts, with quotes and commas in it, ordered by
// a collation; all rows of a key that is not unique, in one entry; and those with a NULL in the key in one.
//
// Made to fail: with the key's text taken apart at commas, the rows of "a,b" are not found again; with the range of the chunk
// instead of the key itself, the retry changes rows that have come in between.
func TestPoisonedRowsOfEveryKey(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		columns, values string
		key             []string
		bad             string
		want            []string
		rows            int64
		inserted        string
	}{
		"composite":  {"a text, b int, PRIMARY KEY (a, b)", "'a,\"' || i % 7, i", nil, "b IN (30, 31)", []string{`a,"2,30`, `a,"3,31`}, 2, `'a,"2', 29`},
		"uuid":       {"a uuid PRIMARY KEY", "md5(i::text)::uuid", nil, "a = md5('47')::uuid", []string{"67c6a1e7-ce56-d3d6-fa74-8ab6d9af3fd7"}, 1, "'67c6a1e7-ce56-d3d6-fa74-8ab6d9af3fd6'"},
		"text":       {`a text COLLATE "en-x-icu" PRIMARY KEY`, `chr(96 + i % 26) || '{''"\' || i`, nil, `a LIKE '%"\\47'`, []string{`u{'"\47`}, 1, `'u{''"\46x'`},
		"not unique": {"a int", "i / 10", []string{"a"}, "ctid = (SELECT max(ctid) FROM numbers WHERE a = 5)", []string{"5"}, 10, "4"},
		"nulls":      {"a int, b int NOT NULL", "NULLIF(i % 10, 3), i", []string{"a", "b"}, "b = 53", []string{""}, 9, "53, NULL"},
		"timestamp": {
			"a timestamptz PRIMARY KEY", "'2024-01-01'::timestamptz + i * interval '1.000001 hour'", nil,
			"a BETWEEN '2024-01-02' AND '2024-01-02 01:00'",
			[]string{"2024-01-02 00:00:00.0864+00"},
			1, "'2024-01-02 00:00:00.0863+00'",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := installed(t, "SET TimeZone = 'UTC'; CREATE TABLE numbers ("+c.columns+"); INSERT INTO numbers SELECT "+c.values+" FROM generate_series(1, 90) AS i; "+
				"ALTER TABLE numbers ADD n int NOT NULL DEFAULT 0, ADD x text NOT NULL DEFAULT '1'; UPDATE numbers SET x = 'one' WHERE "+c.bad)
			if c.key != nil {
				db.Exec("CREATE INDEX ON numbers (" + strings.Join(c.key, ", ") + ")")
			}
			job := counts("numbers", c.key...)
			job.UpdateStep().Set[0].Value.SQL = "t.n + t.x::int"
			plan := planned(t, db, job, every(40))
			w := join(t, db, plan, part{})
			if s := w.finished(); s.Quarantined != c.rows {
				t.Errorf("%d rows are quarantined; expected %d", s.Quarantined, c.rows)
			}
			var want []string
			for _, key := range c.want {
				want = append(want, key+" update 22P02 ×1")
			}
			if diff := cmp.Diff(want, aside(db)); diff != "" {
				t.Errorf("quarantined (-expected +found):\n%s", diff)
			}
			db.Exec("UPDATE numbers SET x = '1'")
			if name != "nulls" { // a row that has come in between is the application's
				columns, _, _ := strings.Cut(strings.ReplaceAll(strings.ReplaceAll(c.columns, ", PRIMARY KEY (a, b)", ""), " PRIMARY KEY", ""), " COLLATE")
				var names []string
				for _, column := range strings.Split(columns, ", ") {
					names = append(names, strings.Fields(column)[0])
				}
				db.Exec("INSERT INTO numbers (" + strings.Join(names, ", ") + ", n) VALUES (" + c.inserted + ", 1)")
			}
			if got, err := retry(t, db, w, plan, part{}); err != nil || got.Done != c.rows || got.Left != 0 {
				t.Errorf("the retry: %+v, %v", got, err)
			}
			onceEach(t, db, "numbers")
		})
	}
}

// With more rows that cannot be changed than may be set aside the run pauses and says why: soon, and with no row aside beyond the
// limit, also with several workers. It goes on with a higher limit, or once the cause is mended.
//
// Made to fail: with the limit looked at before the row is set aside, and not in its transaction, three workers leave rows
// beyond it; with data errors counted among the chunks that failed, the run pauses for another reason.
func TestTooManyQuarantinedPauses(t *testing.T) {
	t.Parallel()
	setup, job := texted(10_000)
	db := installed(t, setup, "UPDATE numbers SET x = 'one'")
	plan := planned(t, db, job, every(3_000))
	plan.Pace.Workers, plan.Pace.ChunkRows, plan.Pace.MaxQuarantined = 3, 3_000, 20
	w := join(t, db, plan, part{})
	paused := func(least int) {
		t.Helper()
		pgtest.Eventually(t, ended/2, func() error {
			if n := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.runs WHERE state = 'paused' AND desired = 'paused'"); n == 0 {
				return fmt.Errorf("not paused")
			}
			return nil
		})
		if n := len(aside(db)); n != least {
			t.Errorf("%d rows are quarantined; expected %d", n, least)
		}
	}
	paused(20)
	info, err := w.store.Find(t.Context(), plan.Job.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"more than 20 rows cannot be changed", "22P02", "status test-numbers", "max_quarantined=200"} {
		if !strings.Contains(info.DesiredReason, want) {
			t.Errorf("the reason is %q; expected %q in it", info.DesiredReason, want)
		}
	}
	if tries := len(of[backfill.ChunkFailed](w)); tries > 100 {
		t.Errorf("it took %d failures to find out", tries)
	}
	if _, err := w.store.SetOverrides(t.Context(), plan.Job.Name, backfill.Pace{MaxQuarantined: 30}, "ann"); err != nil {
		t.Fatal(err)
	}
	resume := func() {
		t.Helper()
		if _, err := w.store.SetDesired(t.Context(), plan.Job.Name, backfill.DesiredRunning, "ann", ""); err != nil {
			t.Fatal(err)
		}
	}
	resume()
	pgtest.Eventually(t, ended/2, func() error {
		if n := len(aside(db)); n < 30 {
			return fmt.Errorf("%d rows are quarantined", n)
		}
		return nil
	})
	paused(30)
	db.Exec("UPDATE numbers SET x = '1'")
	pgtest.Eventually(t, ended/2, func() error { // one that failed before the row was mended may be late with its pause
		if pgtest.One[bool](db, "SELECT desired = 'paused' FROM pgbackfill.runs") {
			resume()
		}
		select {
		case <-w.done:
			return nil
		default:
			return fmt.Errorf("it has not ended")
		}
	})
	if s := w.finished(); s.Quarantined != 30 {
		t.Errorf("%d rows are quarantined; expected the 30", s.Quarantined)
	}
	if got, err := retry(t, db, w, plan, part{}); err != nil || got.Done != 30 {
		t.Errorf("the retry: %+v, %v", got, err)
	}
	onceEach(t, db, "numbers")
}

// One row that takes longer than the statement timeout, twice, is set aside; one whose statement somebody cancelled is not.
//
// Made to fail: with every cancelled statement taken for a timeout, row 20 is set aside too.
func TestRowThatTimesOutIsSetAside(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(40), `CREATE TABLE slow (id int PRIMARY KEY); INSERT INTO slow VALUES (33);
		CREATE SEQUENCE cancelled;
		CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			PERFORM pg_sleep(9) FROM slow WHERE id = new.id;
			IF new.id = 20 THEN -- also twice when it is alone
				IF nextval('cancelled') <= 5 THEN PERFORM pg_cancel_backend(pg_backend_pid()), pg_sleep(1); END IF;
			END IF;
			RETURN new; END $$;
		CREATE TRIGGER slow BEFORE UPDATE ON numbers FOR EACH ROW EXECUTE FUNCTION slow()`)
	plan := planned(t, db, counts("numbers"), whole)
	plan.Pace.StatementTimeout = 400 * time.Millisecond
	w := join(t, db, plan, part{})
	w.finished()
	if found := aside(db); !slices.Equal(found, []string{"33 update 57014 ×1"}) {
		t.Errorf("quarantined: %v", found)
	}
	db.Exec("DELETE FROM slow")
	if got, err := retry(t, db, w, plan, part{}); err != nil || got.Done != 1 {
		t.Errorf("the retry: %+v, %v", got, err)
	}
	onceEach(t, db, "numbers")
}

// The closing sweep sets rows aside that somebody has made bad behind the walk. One that is aside already is not there twice.
//
// Made to fail: without the look for an entry of the key, row 47 is there twice, and counted twice against the limit.
func TestSweepMeetsPoisonedRows(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(200), "ALTER TABLE numbers ADD x text NOT NULL DEFAULT '1'", "UPDATE numbers SET x = 'one' WHERE id IN (47, 48)")
	job := sets("numbers", map[string]string{"n": "t.x::int"})
	plan := planned(t, db, job, whole)
	plan.Pace.Workers, plan.Pace.MaxQuarantined = 1, 4
	observe, stopped, goOn := stopper(30)
	defer goOn()
	w := join(t, db, plan, part{observer: observe})
	<-stopped
	db.Exec("UPDATE numbers SET x = CASE WHEN id = 3 THEN '7' ELSE 'two' END WHERE id IN (3, 5, 47)")
	goOn()
	if s := w.finished(); s.Quarantined != 3 || s.SweepChanged != 1 {
		t.Errorf("%d rows are quarantined and %d changed by the sweep; expected 3 and 1", s.Quarantined, s.SweepChanged)
	}
	// Row 48 is met again only where the setup counts as written since: where other tests had older transactions open.
	found := aside(db)
	if again := slices.Index(found, "48 update 22P02 ×2"); again >= 0 {
		found[again] = "48 update 22P02 ×1"
	}
	if diff := cmp.Diff([]string{"5 update 22P02 ×1", "47 update 22P02 ×2", "48 update 22P02 ×1"}, found); diff != "" {
		t.Errorf("quarantined (-expected +found):\n%s", diff)
	}
	if message := pgtest.One[string](db, "SELECT message FROM pgbackfill.quarantine WHERE key = '{47}'"); !strings.Contains(message, `"two"`) {
		t.Errorf("the error that is kept of row 47 is %s; expected the last one", message)
	}
}
