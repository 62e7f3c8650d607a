package main

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill/contract"
	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/jobs"
)

// verifiesOnTheStandby reads a standby, once the ledger's last row is visible there, and records it on the primary. It is a
// part of [TestReplicaThatStopsReplayingStopsTheRun] for the sake of the servers.
//
// ⚑ The position in the log that a chunk's row has lies before its commit: a standby that has replayed as far need not show it.
//
// Made to fail: with caughtUp left out, the standby that stands still is read, and says that the rows are wrong.
func verifiesOnTheStandby(t *testing.T, primary, standby *localpg.Cluster, replay func(word string)) {
	db, dir := pgtest.NewOn(t, primary), t.TempDir()
	db.Exec("CREATE TABLE things (id int PRIMARY KEY, v text, c text); INSERT INTO things SELECT g, 'v' || g FROM generate_series(1, 500) AS g; ANALYZE things")
	job := write(t, dir, "job.yaml", "name: there\ntable: things\nupdate: {set: {c: upper(t.v)}}\n")
	if out := mustExit(t, exitInput, db.DSN(), dir, "verify", "--on-standby", db.DSN(), job); !strings.Contains(out, "the server is no standby") {
		t.Errorf("of the primary it says: %s", out)
	}
	mustExit(t, exitMismatch, db.DSN(), dir, "verify", "--on-standby", standby.DSN(db.Name()), job) // no run is known: it shows what was written
	must(t, db.DSN(), dir, "run", "--yes", job)
	replay("pause")
	db.Exec(`INSERT INTO pgbackfill.chunks (run_id, segment, seq, fence, after, through, follows, rows_seen, rows_changed, unmatched, multiple,
			total_seen, total_changed, total_unmatched, total_multiple, total_duration, started_at, duration, attempt, worker)
		SELECT run_id, segment, seq + 1, 'split', through, through, true, 0, '{}', 0, 0, 0, 0, 0, 0, '0', now(), '0', 1, 'test'
		FROM pgbackfill.chunks ORDER BY segment DESC, seq DESC LIMIT 1`)
	p := start(t, db.DSN(), dir, "verify", "--set", "lag.max=1h", "--on-standby", standby.DSN(db.Name()), job)
	pgtest.Eventually(t, time.Minute, func() error {
		if p.ended() {
			t.Fatalf("it read a standby that stands still:\n%s", p.out)
		}
		if !strings.Contains(p.out.String(), "waiting for the standby to show the last chunk of run 1") {
			return errNotYet
		}
		return nil
	})
	replay("resume")
	if code := p.wait(t, time.Minute); code != 0 || !strings.Contains(p.out.String(), "proven: 500 rows") {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	if got := pgtest.One[string](db, `SELECT format('%s %s %s %s', state, in_recovery, (SELECT bool_and(pg_visible_in_snapshot(c.xid, v.snapshot)) FROM pgbackfill.chunks AS c), ledger_rows = (SELECT count(*) FROM pgbackfill.chunks))
		FROM pgbackfill.verifications AS v ORDER BY id DESC LIMIT 1`); got != "ended t t t" {
		t.Errorf("it is recorded as %s", got)
	}
}

// gateSeesTheStandby has the gate ask the primary for its standbys, none of which the configuration names. It is a part of
// [TestReplicaThatStopsReplayingStopsTheRun] for the sake of the servers.
//
// Made to fail: with the distance left at 0, one that stands still passes; with GREATEST(NULL, 0), which is 0, so does one
// that the role may not see.
func gateSeesTheStandby(t *testing.T, db *pgtest.DB, dir string, replay func(word string)) {
	list, err := jobs.ReadFile(dir + "/job.yaml")
	if err != nil {
		t.Fatal(err)
	}
	role, dsn := db.Role("")
	db.Exec(must(t, db.DSN(), dir, "schema", "grants", role))
	conn := pgtest.Connect(t, dsn)
	is := func(want contract.Status, patience time.Duration, evidence string) {
		t.Helper()
		r, err := contract.Gate(t.Context(), contract.Options{Job: list[0], Conn: conn, Patience: patience})
		if err != nil {
			t.Fatal(err)
		}
		c := r.Conditions[slices.Index(contract.IDs(), "standbys")]
		if c.Status != want || !strings.Contains(strings.Join(c.Evidence, "\n"), evidence) {
			t.Errorf("it is %s %q, want %s %q", c.Status, c.Evidence, want, evidence)
		}
	}
	is(contract.Pass, 15*time.Second, "eu-2: it has replayed all that was written")
	replay("pause")
	db.Exec("CREATE TABLE more ()")
	is(contract.Fail, 50*time.Millisecond, " behind")
	replay("resume")
	is(contract.Pass, 15*time.Second, "eu-2: it has replayed all that was written")
	db.Exec("REVOKE pg_monitor FROM " + role)
	is(contract.Unknown, 50*time.Millisecond, "how far it has replayed is not to be seen")
}

// With --continuous each time is a verification of its own, until somebody stops it; the exit code is that of the gravest
// verdict it has given.
//
// Made to fail: with worst set by each pass, the exit code is 0, as the last one is proven.
func TestVerifyAgainAndAgain(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec("CREATE TABLE things (id int PRIMARY KEY, v text, c text); INSERT INTO things SELECT g, 'v' || g FROM generate_series(1, 100) AS g; ANALYZE things")
	job := write(t, dir, "job.yaml", "name: again\ntable: things\nupdate: {set: {c: upper(t.v)}}\n")
	must(t, db.DSN(), dir, "run", "--yes", job)
	db.Exec("UPDATE things SET c = 'x' WHERE id = 7")
	p := start(t, db.DSN(), dir, "verify", "--continuous", "--every", "50ms", job)
	until := func(verdict string) {
		pgtest.Eventually(t, time.Minute, func() error {
			if p.ended() {
				t.Fatalf("it ended:\n%s", p.out)
			}
			if pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.verifications WHERE verdict = $1", verdict) < 2 {
				return errNotYet
			}
			return nil
		})
	}
	until("mismatched")
	db.Exec("UPDATE things SET c = 'V7' WHERE id = 7")
	until("proven")
	p.signal(t, syscall.SIGINT)
	if code := p.wait(t, 20*time.Second); code != exitMismatch {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	for _, bad := range []string{"0%", "100%", "much"} {
		if out := mustExit(t, exitInput, db.DSN(), dir, "verify", "--sample", bad, job); !strings.Contains(out, "a part of the rows, as 5%") {
			t.Errorf("--sample %s: %s", bad, out)
		}
	}
	if out := mustExit(t, exitIncomplete, db.DSN(), dir, "verify", "--sample", "20%", job); !strings.Contains(out, "with 95% confidence at most 13 rows of all are wrong") {
		t.Errorf("of a sample it says: %s", out)
	}
	if got := pgtest.One[string](db, "SELECT format('%s %s %s', verdict, sample_fraction, sample_bound ->> 'at_most') FROM pgbackfill.verifications ORDER BY id DESC LIMIT 1"); got != "incomplete 0.2 13" {
		t.Errorf("it is recorded as %s", got)
	}
}

// What a job means by in: NAME is said by the configuration, or with --database over that, also by way of an environment variable;
// nothing of it is printed, and what another name stands for is not looked at.
//
// Made to fail: with the map of databases left out of the options, the job is refused; with those of the configuration left out of it too;
// with the name alone in what a verification asked, the gate passes one of another database.
func TestVerifyAgainstAnotherDatabase(t *testing.T) {
	t.Parallel()
	db, legacy, dir := pgtest.New(t), pgtest.New(t), t.TempDir()
	for _, one := range []*pgtest.DB{db, legacy} {
		one.Exec("CREATE TABLE things (id int PRIMARY KEY, v text); INSERT INTO things SELECT g, 'v' || g FROM generate_series(1, 100) AS g; ANALYZE things")
	}
	job := write(t, dir, "job.yaml", `name: moved
table: things
steps:
  - name: keep
    sql: UPDATE things AS x SET v = x.v WHERE {{range x}}
verify:
  expected: {in: legacy, sql: "SELECT x.id, x.v FROM things x WHERE {{range x}}"}
  actual: SELECT x.id, x.v FROM things x WHERE {{range x}}
`)
	named := []string{"verify", "--still", "10ms", "--database", "legacy=" + legacy.DSN(), job}
	if out := must(t, db.DSN(), dir, named...); !strings.Contains(out, "proven: 100 rows") {
		t.Errorf("it says:\n%s", out)
	}
	legacy.Exec("UPDATE things SET v = 'other' WHERE id = 50; DELETE FROM things WHERE id = 60")
	if out := mustExit(t, exitMismatch, db.DSN(), dir, named...); !strings.Contains(out, "different (50)") || !strings.Contains(out, "extra (60)") {
		t.Errorf("it says: %s", out)
	}
	config := write(t, dir, "named.yaml", "databases: {other: env:NOBODY_SET_THIS, legacy: \""+legacy.DSN()+"\"}\n")
	if out := mustExit(t, exitMismatch, db.DSN(), dir, "verify", "--still", "10ms", "--config", config, job); !strings.Contains(out, "different (50)") || strings.Contains(out, legacy.DSN()) {
		t.Errorf("with what the configuration calls by that name it says: %s", out)
	}
	config = write(t, dir, "none.yaml", "databases: {legacy: env:NOBODY_SET_THIS}\n")
	if out := mustExit(t, exitInput, db.DSN(), dir, "verify", "--config", config, job); !strings.Contains(out, "none.yaml:1 (NOBODY_SET_THIS)") || !strings.Contains(out, "names no server") {
		t.Errorf("where its variable is not set it says: %s", out)
	}
	if out := mustExit(t, exitInput, db.DSN(), dir, "verify", "--database", "legacy=env:NOBODY_SET_THIS", job); !strings.Contains(out, "names no server") {
		t.Errorf("it says: %s", out)
	}
	if out := mustExit(t, exitInput, db.DSN(), dir, "verify", job); !strings.Contains(out, "--database legacy=") {
		t.Errorf("without a connection it says: %s", out)
	}

	// The gate takes a verification for one of the job's own question only where the name stands for the same database.
	must(t, db.DSN(), dir, "run", "--yes", "--accept", "not-idempotent", job)
	legacy.Exec("UPDATE things SET v = 'v50' WHERE id = 50; INSERT INTO things VALUES (60, 'v60')")
	must(t, db.DSN(), dir, named...)
	for _, c := range []struct{ database, says, not string }{
		{"legacy=" + legacy.DSN(), "pass verified", "asked other checks"},
		{"legacy=" + db.DSN(), "asked other checks than the job does", "pass verified"},
		{"", "which database the checks are to ask is not known here", "pass verified"},
		{"legacy=host=/nowhere dbname=x", "asking the database legacy which one it is", "pass verified"},
	} {
		args := []string{"gate", job}
		if c.database != "" {
			args = append(args, "--database", c.database)
		}
		if out := mustExit(t, 6, db.DSN(), dir, args...); !strings.Contains(out, c.says) || strings.Contains(out, c.not) {
			t.Errorf("%v: it says\n%s", args, out)
		}
	}
}
