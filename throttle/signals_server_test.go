package throttle_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// Made to fail: where slots that nobody reads are left out, nothing is kept.
func TestStalledLogicalSlot(t *testing.T) {
	t.Parallel()
	db := pgtest.NewOn(t, serverOf(t))
	slot := db.Name()
	db.Exec("SELECT pg_create_logical_replication_slot('" + slot + "', 'pgoutput')")
	conn := db.Conn()
	drop := func() {
		if _, err := conn.Exec(context.Background(), "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", slot); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(drop) // else the database cannot be dropped
	limits := off()
	limits.Slots.MaxBytes = 4 << 30 // other tests write too
	th := run(t, db.DSN(), throttle.Options{Limits: limits})
	open(t, th)
	db.Exec("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 4000)")
	limits.Slots.MaxBytes = 2 << 20
	if err := th.SetLimits(limits); err != nil {
		t.Fatal(err)
	}
	shut(t, th, "slot_retention ", "MiB > 2 MiB (logical slot "+slot+", nobody reads it)")
	limits.Slots.Ignore = []string{slot}
	if err := th.SetLimits(limits); err != nil {
		t.Fatal(err)
	}
	open(t, th)
	limits.Slots.Ignore = nil
	if err := th.SetLimits(limits); err != nil {
		t.Fatal(err)
	}
	shut(t, th, "slot_retention ")
	drop()
	open(t, th)
}

// The backlog is the same whether the role may list the files or has to reckon.
//
// Made to fail: without "- 1" in segmentsBetween, the role that reckons has one more at the beginning.
func TestFailingArchiveCommand(t *testing.T) {
	t.Parallel()
	c := serverOf(t)
	db := pgtest.NewOn(t, c)
	_, dsn := db.Role("")
	limits := off()
	limits.ArchiveMaxSegments = 2
	// One segment is archived, so that there is a place to reckon from.
	db.Exec("SELECT pg_logical_emit_message(true, 'x', 'x'); SELECT pg_switch_wal()")
	pgtest.Eventually(t, patience, func() error {
		if !pgtest.One[bool](db, "SELECT coalesce(last_archived_wal ~ '^[0-9A-F]{24}$', false) FROM pg_stat_archiver") {
			return fmt.Errorf("nothing is archived")
		}
		return nil
	})
	lists, reckons := run(t, db.DSN(), throttle.Options{Limits: limits}), run(t, dsn, throttle.Options{Limits: limits})
	open(t, lists)
	open(t, reckons)
	pgtest.Eventually(t, patience, func() error {
		a, b := one(lists, "archive_backlog"), one(reckons, "archive_backlog")
		if a.Reading.Value != 0 || b.Reading.Value != 0 {
			return fmt.Errorf("nothing waits, and %q, %q", a.Text, b.Text)
		}
		return nil
	})
	fails := filepath.Join(c.Dir(), "data", "noarchive")
	if err := os.WriteFile(fails, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(fails) })
	for range 3 {
		db.Exec("SELECT pg_logical_emit_message(true, 'x', 'x'); SELECT pg_switch_wal()")
	}
	shut(t, lists, "archive_backlog ", " > 2")
	shut(t, reckons, "archive_backlog ", " > 2")
	if err := os.Remove(fails); err != nil {
		t.Fatal(err)
	}
	// The archiver waits a minute after three failures, unless something wakes it.
	pgtest.Eventually(t, patience, func() error {
		db.Exec("SELECT pg_logical_emit_message(true, 'x', 'x'); SELECT pg_switch_wal()")
		if len(lists.Reasons()) > 0 || len(reckons.Reasons()) > 0 {
			return fmt.Errorf("%q, %q", lists.Reasons(), reckons.Reasons())
		}
		return nil
	})
}

// A session waits for one of ours: that is told while it waits, with whom to cancel. What waits for others, or is ours,
// is no matter. The role has no privilege.
//
// Made to fail: without the condition on who waits, our own session that waits is told too.
func TestSessionThatWaitsForUs(t *testing.T) {
	t.Parallel()
	db := pgtest.NewOn(t, serverOf(t))
	db.Exec("CREATE TABLE held AS SELECT n, 0 AS v FROM generate_series(1, 3) AS n")
	_, dsn := db.Role("")
	var mu sync.Mutex
	var told []throttle.Blocked
	limits := off()
	limits.YieldAfter = 200 * time.Millisecond
	th := run(t, dsn, throttle.Options{Limits: limits, OnBlocked: func(list []throttle.Blocked) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, list...)
	}})
	open(t, th)

	begin := func(name string, row int) (pgx.Tx, error) {
		tx, err := db.Conn().Begin(t.Context())
		if err == nil {
			_, err = tx.Exec(t.Context(), "SELECT set_config('application_name', $1, true)", name)
		}
		if err == nil {
			_, err = tx.Exec(t.Context(), "UPDATE held SET v = 1 WHERE n = $1", row)
		}
		return tx, err
	}
	ours, err := begin("pgbackfill job 7", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Exec(t.Context(), "UPDATE held SET v = 1 WHERE n = 3"); err != nil {
		t.Fatal(err)
	}
	others, err := begin("webshop", 2)
	if err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	wait := func(name string, row int) {
		waiting.Go(func() {
			tx, err := begin(name, row)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			if err := tx.Rollback(t.Context()); err != nil {
				t.Error(err)
			}
		})
		pgtest.Eventually(t, patience, func() error {
			if !pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock')", name) {
				return fmt.Errorf("%s does not wait", name)
			}
			return nil
		})
	}
	wait("reports", 2)
	wait("checkout", 1)
	wait("pgbackfill job 8", 3)
	shut(t, th, "blocked_sessions ", "ms", "waits for pgbackfill job 7")
	pgtest.Eventually(t, patience, func() error { // until the other one of ours has waited for long too
		mu.Lock()
		defer mu.Unlock()
		if len(told) == 0 || told[len(told)-1].Waited < 1500*time.Millisecond {
			return fmt.Errorf("told: %+v", told)
		}
		return nil
	})
	for _, tx := range []pgx.Tx{ours, others} {
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	waiting.Wait()
	open(t, th)
	mu.Lock()
	defer mu.Unlock()
	if len(told) == 0 || slices.ContainsFunc(told, func(b throttle.Blocked) bool {
		return b.Application != "pgbackfill job 7" || b.WaiterName != "checkout" || b.Waited < limits.YieldAfter || b.Backend == 0
	}) {
		t.Errorf("told: %+v", told)
	}
}

// Made to fail: without the union, the prepared transaction is not seen.
func TestOldTransactions(t *testing.T) {
	t.Parallel()
	db := pgtest.NewOn(t, serverOf(t))
	limits := off()
	limits.SnapshotMaxAge = 300 * time.Millisecond
	th := run(t, db.DSN(), throttle.Options{Limits: limits})
	open(t, th)
	tx, err := db.Conn().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT pg_current_xact_id()"); err != nil {
		t.Fatal(err)
	}
	shut(t, th, "old_snapshot ", "> 300ms (pid ", "of postgres, idle in transaction)")
	role, dsn := db.Role("")
	blind := run(t, dsn, throttle.Options{Limits: limits})
	shut(t, blind, "old_snapshot cannot be read: role "+role+" may not see", "GRANT pg_monitor")
	limits.Unmonitored = throttle.Accept
	if err := blind.SetLimits(limits); err != nil {
		t.Fatal(err)
	}
	open(t, blind)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	open(t, th)
	db.Exec("BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'forgotten " + db.Name() + "'")
	shut(t, th, "old_snapshot ", "(prepared transaction forgotten "+db.Name()+" of postgres)")
	shut(t, blind, "prepared transaction forgotten")
	db.Exec("ROLLBACK PREPARED 'forgotten " + db.Name() + "'")
	open(t, th)
}

// A table that is old by its own setting, and somebody with the lock of a vacuum on its TOAST table or on a partition.
//
// Made to fail: without `age >=`, any vacuum shuts the gate; without the TOAST tables in family, that one does not.
func TestVacuumAgainstWraparound(t *testing.T) {
	t.Parallel()
	db := pgtest.NewOn(t, serverOf(t))
	db.Exec(`CREATE TABLE parts (n int, doc text) PARTITION BY RANGE (n);
		CREATE TABLE parts_old PARTITION OF parts FOR VALUES FROM (0) TO (100) WITH (autovacuum_freeze_max_age = 100000, autovacuum_enabled = false);
		CREATE TABLE parts_new PARTITION OF parts FOR VALUES FROM (100) TO (200);
		INSERT INTO parts SELECT n, 'x' FROM generate_series(1, 150) AS n`)
	table := pgtest.One[uint32](db, "SELECT 'parts'::regclass::oid")
	limits := off()
	limits.Vacuum = throttle.VacuumLimits{MaxDead: 0.5}
	th := run(t, db.DSN(), throttle.Options{Limits: limits, Table: table})
	open(t, th)
	hold := func(name string) pgx.Tx {
		tx, err := db.Conn().Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), "LOCK TABLE "+name+" IN SHARE UPDATE EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	young := hold("parts_new")
	before := one(th, "wraparound_vacuum")
	pgtest.Eventually(t, patience, func() error {
		if s := one(th, "wraparound_vacuum"); s.Age > before.Age {
			return fmt.Errorf("not read anew")
		}
		return nil
	})
	if s := one(th, "wraparound_vacuum"); s.Shut {
		t.Errorf("a vacuum of a young table: %+v", s)
	}
	// Subtransactions use up transaction ids quickly.
	db.Exec(`CREATE TEMP TABLE burnt (); DO $$ BEGIN FOR i IN 1..100100 LOOP
		BEGIN INSERT INTO burnt DEFAULT VALUES; EXCEPTION WHEN division_by_zero THEN END; END LOOP; END $$; DROP TABLE burnt`)
	old := hold("parts_old")
	shut(t, th, "wraparound_vacuum at work (pid ", " at parts_old, ", "of 100000 transactions old)")
	for _, tx := range []pgx.Tx{young, old} {
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	open(t, th)

	db.Exec("ALTER TABLE parts_new SET (autovacuum_enabled = false)")
	told := "SELECT pg_stat_force_next_flush()"
	if db.Server().Installation().Major < 15 {
		told = "SELECT 1" // a session tells what it did twice a second, when it is at work
	}
	writer := db.Conn()
	tell := func(statements string) {
		t.Helper()
		if _, err := writer.PgConn().Exec(t.Context(), statements).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	tell(`INSERT INTO parts SELECT 100 + n % 100, 'y' FROM generate_series(1, 20000) AS n;
		DELETE FROM parts WHERE doc = 'y' AND n > 120`)
	pgtest.Eventually(t, patience, func() error {
		tell(told)
		if s := one(th, "dead_rows"); s.Status != throttle.Over || s.Shut || th.Load().Utilisation < 1 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if len(th.Reasons()) > 0 {
		t.Errorf("dead rows shut the gate: %q", th.Reasons())
	}
}

// Made to fail: without "active" in the filter, idle sessions count.
func TestActiveSessionsAndTheRateOfTheLog(t *testing.T) {
	t.Parallel()
	db := pgtest.NewOn(t, serverOf(t))
	limits := off()
	limits.SessionsMax, limits.WALMaxRate = 1000, 1
	th := run(t, db.DSN(), throttle.Options{Limits: limits})
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	base := pgtest.One[int](db, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'")
	for range 6 {
		conn := db.Conn()
		busy.Go(func() {
			if _, err := conn.Exec(ctx, "SELECT pg_sleep(60)"); err == nil {
				t.Error("it slept to its end")
			}
		})
	}
	pgtest.Eventually(t, patience, func() error {
		if s := one(th, "active_sessions"); s.Reading.Value < 6 || s.Reading.Value > float64(base+40) {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	cancel()
	busy.Wait()
	pgtest.Eventually(t, patience, func() error {
		db.Exec("SELECT pg_logical_emit_message(true, 'x', repeat('x', 100000))")
		if s := one(th, "wal_rate"); s.Status != throttle.Over || s.Shut {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	_, dsn := db.Role("")
	db.Conn() // somebody else is there
	blind := run(t, dsn, throttle.Options{Limits: limits})
	pgtest.Eventually(t, patience, func() error {
		if s := one(blind, "active_sessions"); s.Err == nil || !strings.Contains(s.Text, "GRANT pg_monitor") || !blind.Load().Stale {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	open(t, blind)
}

// Made to fail: with NULL taken for 0, the empty table opens the gate.
func TestQueriesOfTheOperators(t *testing.T) {
	t.Parallel()
	db := pgtest.NewOn(t, serverOf(t))
	db.Exec("CREATE TABLE jobs (n numeric)")
	limits := off()
	limits.Queries = []throttle.QueryLimit{
		{Name: "queue_length", SQL: "SELECT max(n) FROM jobs", Max: 5},
		{Name: "writes", SQL: "SELECT 0; CREATE TABLE nothing ()", Max: 5},
		{Name: "depth", SQL: "SELECT coalesce(sum(n), 0) FROM jobs", Max: 10, Gradual: true},
	}
	limits.Queries = append(limits.Queries, throttle.QueryLimit{Name: "slow", SQL: "SELECT 1 FROM pg_sleep(30)", Max: 5})
	limits.YieldAfter = 200 * time.Millisecond
	th := run(t, db.DSN(), throttle.Options{Limits: limits, Custom: session(t, db.DSN())})
	shut(t, th, "slow cannot be read: ", "(no answer within 300ms)")
	// Who is read over the other connection does not wait for it.
	pgtest.Eventually(t, patience, func() error {
		if s := one(th, "blocked_sessions"); s.Status != throttle.Fine {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	limits.Queries = limits.Queries[:3]
	th = run(t, db.DSN(), throttle.Options{Limits: limits})
	shut(t, th, "queue_length cannot be read: NULL; expected one number")
	shut(t, th, "writes cannot be read: ", "42601")
	db.Exec("INSERT INTO jobs VALUES (7)")
	shut(t, th, "queue_length 7 > 5")
	if u := th.Load().Utilisation; u != 0.7 {
		pgtest.Eventually(t, patience, func() error {
			if u := th.Load().Utilisation; u != 0.7 {
				return fmt.Errorf("%v", u)
			}
			return nil
		})
	}
	db.Exec("DROP TABLE jobs")
	shut(t, th, "queue_length cannot be read: query: ERROR: relation \"jobs\" does not exist")
	db.Exec("CREATE TABLE jobs AS SELECT 'many'::text AS n")
	shut(t, th, `queue_length cannot be read: "many"; expected one number`)
}

// A session gets over the loss of its connection, over errors, and over being on the wrong server.
func TestSession(t *testing.T) {
	t.Parallel()
	db := pgtest.NewOn(t, serverOf(t))
	limits := off()
	limits.Queries = []throttle.QueryLimit{{Name: "one", SQL: "SELECT 1 / (SELECT count(*) FROM divisors)", Max: 5}}
	db.Exec("CREATE TABLE divisors ()")
	th := run(t, db.DSN(), throttle.Options{Limits: limits})
	shut(t, th, "one cannot be read: query: ERROR: division by zero (SQLSTATE 22012)")
	db.Exec("INSERT INTO divisors DEFAULT VALUES")
	open(t, th)
	if n := pgtest.One[int](db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%divisors%' AND pid <> pg_backend_pid()"); n > 1 {
		t.Errorf("%d connections", n)
	}
	db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'")
	pgtest.Eventually(t, patience, func() error {
		if len(th.Reasons()) > 0 {
			return fmt.Errorf("%q", th.Reasons())
		}
		return nil
	})
}
