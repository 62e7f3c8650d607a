package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// pgbenchJobs fill new columns of pgbench_accounts. The first depends on what pgbench never changes. The second copies
// what pgbench changes all the time, and a trigger writes it for the application, as expand-contract wants; of every
// tenth account, to keep the test short.
const pgbenchJobs = `name: filler2
table: pgbench_accounts
update: {set: {filler2: md5(t.aid || '/' || t.bid)}}
---
name: abalance-copy
table: pgbench_accounts
where: t.aid % 10 = 0
update: {set: {abalance_copy: t.abalance}}
`

const pgbenchScale = 20

// Real input: the database of pgbench at scale 20, two million accounts, while pgbench runs its own transactions on
// it. Not one of them fails, the new columns hold what plain SQL says, and pgbench's books are still balanced, so that
// no update of its own was overwritten.
//
// It failed when the trigger was left out: hundreds of balances were no longer what had been copied.
func TestUnderPgbench(t *testing.T) {
	t.Parallel()
	server := pgtest.Cluster(t, localpg.Options{Name: "pgbench", Settings: map[string]string{
		"shared_buffers": "256MB", "max_wal_size": "8GB", "wal_level": "minimal", "max_wal_senders": "0", "checkpoint_timeout": "1h",
	}})
	program := pgbenchProgram(t, server.Installation())
	db, dir := pgtest.NewOn(t, server), t.TempDir()
	pgbench(t, program, db, "-i", "-s", fmt.Sprint(pgbenchScale), "-I", "dtgp", "-q")
	db.Exec(`ALTER TABLE pgbench_accounts ADD COLUMN filler2 text, ADD COLUMN abalance_copy int;
		CREATE FUNCTION copy_abalance() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN NEW.abalance_copy := NEW.abalance; RETURN NEW; END';
		CREATE TRIGGER copy_abalance BEFORE INSERT OR UPDATE OF abalance ON pgbench_accounts FOR EACH ROW EXECUTE FUNCTION copy_abalance();
		ANALYZE pgbench_accounts`)
	job := write(t, dir, "pgbench.yaml", pgbenchJobs)

	p := start(t, db.DSN(), dir, "run", "--yes", job)
	var transactions int
	for end := time.Now().Add(4 * time.Minute); !p.ended() && time.Now().Before(end); {
		transactions += foreground(t, program, db)
	}
	if code := p.wait(t, time.Second); code != 0 {
		t.Fatalf("exit code %d; it said:\n%s", code, p.out)
	}
	t.Logf("pgbench carried out %d transactions meanwhile", transactions)
	for what, sql := range map[string]string{
		"rows that are there":                fmt.Sprintf("SELECT count(*) - %d FROM pgbench_accounts", 100_000*pgbenchScale),
		"filler2 that is not right":          "SELECT count(*) FROM pgbench_accounts WHERE filler2 IS DISTINCT FROM md5(aid || '/' || bid)",
		"abalance_copy that is not right":    "SELECT count(*) FROM pgbench_accounts WHERE abalance_copy IS DISTINCT FROM abalance AND (aid % 10 = 0 OR abalance_copy IS NOT NULL)",
		"balance that the history has not":   "SELECT (SELECT sum(abalance) FROM pgbench_accounts) - (SELECT sum(delta) FROM pgbench_history)",
		"balance that the branches have not": "SELECT (SELECT sum(abalance) FROM pgbench_accounts) - (SELECT sum(bbalance) FROM pgbench_branches)",
		"transactions without a trace":       fmt.Sprintf("SELECT count(*) - %d FROM pgbench_history", transactions),
	} {
		if off := pgtest.One[int64](db, sql); off != 0 {
			t.Errorf("%s: off by %d", what, off)
		}
	}
	if transactions < 500 {
		t.Errorf("pgbench carried out %d transactions only: this test has proven little", transactions)
	}
}

// pgbenchProgram is the path of pgbench.
func pgbenchProgram(t *testing.T, installation localpg.Installation) string {
	t.Helper()
	program, err := installation.Program("pgbench")
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// pgbench runs pgbench to its end and returns what it reports.
func pgbench(t *testing.T, program string, db *pgtest.DB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	server := db.Server()
	cmd.Env = append(clean(os.Environ()), "PGHOST=127.0.0.1", "PGPORT="+fmt.Sprint(server.Port()), "PGUSER=postgres",
		"PGPASSWORD="+server.Password(), "PGDATABASE="+db.Name(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("pgbench %v: %v\n%s", args, err, out)
	}
	return string(out)
}

var (
	processed = regexp.MustCompile(`number of transactions actually processed: (\d+)`)
	failed    = regexp.MustCompile(`number of failed transactions: (\d+)`) // from PostgreSQL 15; before, a failed one ends pgbench
)

// foreground runs pgbench's transactions for a few seconds, without a failed one, and returns their number.
func foreground(t *testing.T, program string, db *pgtest.DB) (transactions int) {
	t.Helper()
	report := pgbench(t, program, db, "-n", "-c", "4", "-R", "300", "-T", "4")
	if m := failed.FindStringSubmatch(report); m != nil && m[1] != "0" {
		t.Errorf("pgbench reports %s failed transactions:\n%s", m[1], report)
	}
	for _, wrong := range []string{"ERROR", "FATAL", "aborted", "error"} {
		if strings.Contains(report, wrong) {
			t.Errorf("pgbench reports an error:\n%s", report)
		}
	}
	m := processed.FindStringSubmatch(report)
	if m == nil {
		t.Fatalf("pgbench does not say how many transactions it carried out:\n%s", report)
	}
	if _, err := fmt.Sscan(m[1], &transactions); err != nil {
		t.Fatal(err)
	}
	return transactions
}
