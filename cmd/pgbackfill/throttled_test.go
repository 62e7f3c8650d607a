package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// numbered is a table numbers (id, n) of so many rows, n at 0, and doubling the job that fills n.
func numbered(db *pgtest.DB, rows int) {
	db.Exec(fmt.Sprintf("CREATE TABLE numbers (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO numbers SELECT generate_series(1, %d); ANALYZE numbers", rows))
}

// A standby that stops replaying stops the work within a poll and a chunk, with the reason where people look; it goes on
// by itself. What the limit is can be changed while it waits.
//
// Made to fail: with a throttle that is only a rate, the walk ends while the standby stands still.
func TestReplicaThatStopsReplayingStopsTheRun(t *testing.T) {
	t.Parallel()
	primary := pgtest.Cluster(t, localpg.Options{Name: "lagging"})
	db := pgtest.NewOn(t, primary)
	numbered(db, 15_000)
	eu2 := pgtest.Standby(t, primary, localpg.StandbyOptions{Name: "eu-2"})
	standby := pgtest.Connect(t, eu2.DSN("postgres"))
	replay := func(word string) {
		t.Helper()
		if _, err := standby.Exec(t.Context(), "SELECT pg_wal_replay_"+word+"()"); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	write(t, dir, "job.yaml", "name: doubled\ntable: numbers\nidempotent: false\nupdate: {set: {n: t.n + 1}}\nchunk: {rows: 200}\nrate: 4000\nthrottle: {lag: {max: 1s}}\n")
	p := start(t, db.DSN(), dir, "run", "--yes", "job.yaml")
	awaitChunks(t, db, p, 5)
	replay("pause")
	pgtest.Eventually(t, time.Minute, func() error {
		if p.ended() {
			t.Fatalf("it ended although the standby stands still:\n%s", p.out)
		}
		if out := must(t, db.DSN(), dir, "status"); !strings.Contains(out, "replica_lag ") || !strings.Contains(out, "> 1s (standby eu-2)") {
			return fmt.Errorf("status says:\n%s", out)
		}
		return nil
	})
	chunks := func() int { return pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.chunks") }
	stopped := chunks()
	must(t, db.DSN(), dir, "set", "doubled", "lag.max=2s") // it is behind by more already, or will be
	pgtest.Eventually(t, time.Minute, func() error {
		if out := must(t, db.DSN(), dir, "status"); !strings.Contains(out, "> 2s (standby eu-2)") {
			return fmt.Errorf("status says:\n%s", out)
		}
		return nil
	})
	if n := chunks(); n > stopped+2*4 { // between one limit and the other there may have been a moment
		t.Errorf("%d chunks were committed while the standby was behind", n-stopped)
	}
	replay("resume")
	if code := p.wait(t, time.Minute); code != 0 {
		t.Fatalf("exit code %d; it said:\n%s", code, p.out)
	}
	if n := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n <> 1"); n != 0 {
		t.Errorf("%d rows were not done exactly once", n)
	}
	says(t, p.out.String(), "replica_lag")
	if worst := pgtest.One[float64](db, "SELECT extract(epoch FROM max(lag))::float8 FROM pgbackfill.chunks"); worst <= 0 {
		t.Errorf("the ledger says that the worst replica was behind %g s", worst)
	}
	t.Run("asked itself", func(t *testing.T) { asksTheStandby(t, primary, eu2, replay) })
	t.Run("seen by the gate", func(t *testing.T) { gateSeesTheStandby(t, db, dir, replay) })
	t.Run("verified", func(t *testing.T) { verifiesOnTheStandby(t, primary, eu2, replay) })
}

// asksTheStandby has a role at work that may not see the standby in the primary's views, and is told how to ask it. It is a
// part of [TestReplicaThatStopsReplayingStopsTheRun] for the sake of the servers.
//
// Made to fail: with no standbys handed to the throttle, the walk ends while the standby stands still.
func asksTheStandby(t *testing.T, primary, standby *localpg.Cluster, replay func(word string)) {
	db, dir := pgtest.NewOn(t, primary), t.TempDir()
	numbered(db, 3000)
	role, dsn := db.Role("")
	db.Exec("ALTER TABLE numbers OWNER TO " + role + "; GRANT CREATE ON DATABASE " + db.Name() + " TO " + role)
	write(t, dir, "job.yaml", "name: asked\ntable: numbers\nupdate: {set: {n: t.id}}\nchunk: {rows: 100}\nrate: 1000\nthrottle: {lag: {max: 1s}, unmonitored: accept}\n")
	write(t, dir, "pgbackfill.yaml", "standbys: [{name: far, dsn: \""+standby.DSN("postgres")+"\"}]\n")
	says(t, must(t, dsn, dir, "plan", "job.yaml"), "on the standby far", "pg_last_wal_replay_lsn")
	says(t, must(t, dsn, dir, "doctor", "job.yaml"), "far: asked itself", "(standby far)", "asked: can be run", "done without, by agreement")
	p := start(t, dsn, dir, "run", "--yes", "job.yaml", "--metrics", "127.0.0.1:0")
	awaitChunks(t, db, p, 3)
	replay("pause")
	pgtest.Eventually(t, time.Minute, func() error {
		if p.ended() {
			t.Fatalf("it ended although the standby stands still:\n%s", p.out)
		}
		if out := must(t, dsn, dir, "status"); !strings.Contains(out, "> 1s (standby far)") {
			return fmt.Errorf("status says:\n%s", out)
		}
		return nil
	})
	all, err := scrape(t, p)
	if err != nil {
		t.Fatal(err)
	}
	if lag := all[`pgbackfill_replica_lag_seconds{standby="far"}`]; lag <= 1 || all[`pgbackfill_gate_shut{signal="replica_lag"}`] != 1 ||
		all[`pgbackfill_signal_status{class="gate",signal="replica_lag",status="over"}`] != 1 || all[`pgbackfill_throttle_wait_seconds_total{by="gate"}`] == 0 {
		t.Errorf("it is shut, and shows a lag of %v: %v", lag, all)
	}
	replay("resume")
	if code := p.wait(t, time.Minute); code != 0 {
		t.Fatalf("exit code %d; it said:\n%s", code, p.out)
	}
	if strings.Contains(p.out.String(), primary.Password()) {
		t.Errorf("it shows the password:\n%s", p.out)
	}
}

// Whoever waits for a chunk longer than yield_after is let through: the chunk is cancelled, and done again, smaller.
//
// Made to fail: with nobody listening to who is blocked, the application waits for as long as the chunk takes.
func TestChunkGivesWayToTheApplication(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	numbered(db, 400)
	db.Exec("CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN $1 + 1; END $$")
	write(t, dir, "job.yaml", "name: slowly\ntable: numbers\nidempotent: false\nworkers: 1\nupdate: {set: {n: slow(t.n)}}\nchunk: {rows: 400}\nthrottle: {yield_after: 100ms}\n")
	p := start(t, db.DSN(), dir, "run", "--yes", "--accept", "volatile-expression,not-idempotent", "job.yaml")
	pgtest.Eventually(t, time.Minute, func() error {
		if p.ended() {
			t.Fatalf("it ended early:\n%s", p.out)
		}
		if !pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgbackfill slowly %' AND state = 'active' AND xact_start < clock_timestamp() - interval '300 ms')") {
			return errNotYet
		}
		return nil
	})
	began := time.Now()
	db.Exec("UPDATE numbers SET n = n + 10 WHERE id = 1") // locked by the chunk, which takes eight seconds
	waited := time.Since(began)
	if waited > 5*time.Second {
		t.Errorf("the application waited %s", waited)
	}
	if code := p.wait(t, time.Minute); code != 0 {
		t.Fatalf("exit code %d; it said:\n%s", code, p.out)
	}
	says(t, p.out.String(), "gave way", "chunks gave way to others that waited for them")
	says(t, must(t, db.DSN(), dir, "status", "slowly"), "gave way: ", "which waited ")
	if wrong := pgtest.All[string](db, "SELECT id || ' is ' || n FROM numbers WHERE n <> CASE id WHEN 1 THEN 11 ELSE 1 END"); len(wrong) > 0 {
		t.Errorf("not each row exactly once: %v", wrong)
	}
}

// The operator's flag file stops what is at work, and lets it go on when it is gone. Both are in the run's record, and the time
// that it took in the summary.
//
// Made to fail: with flag files left out of the limits that a process begins with; without writeDown, the record is silent.
func TestFlagFileStopsTheRun(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	numbered(db, 2000)
	flag := filepath.Join(dir, "stop")
	write(t, dir, "stop", "")
	write(t, dir, "job.yaml", "name: flagged\ntable: numbers\nupdate: {set: {n: t.id}}\n")
	write(t, dir, "pgbackfill.yaml", "ceilings: {flag_file: ["+flag+"]}\n")
	p := start(t, db.DSN(), dir, "run", "--yes", "job.yaml")
	pgtest.Eventually(t, time.Minute, func() error {
		if out := p.out.String(); !strings.Contains(out, flag) {
			return fmt.Errorf("it said:\n%s", out)
		}
		if !pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pgbackfill.events WHERE what = 'throttled' AND at < clock_timestamp() - interval '1 s')") {
			return errNotYet
		}
		return nil
	})
	if n := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n <> 0"); n != 0 {
		t.Errorf("%d rows were changed", n)
	}
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t, time.Minute); code != 0 {
		t.Fatalf("exit code %d; it said:\n%s", code, p.out)
	}
	says(t, p.out.String(), "waited", " for flag_file ", "(1 time)")
	says(t, must(t, db.DSN(), dir, "status", "flagged"), "throttled: flag_file present ("+flag+")", "goes on: after ", " of flag_file")
}
