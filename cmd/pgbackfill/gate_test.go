package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/contract"
	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/jobs"
)

// contractJob is a job whose old column is to go.
const contractJob = `name: users
table: public.users
update: {set: {display_name: initcap(t.full_name)}}
undo: {set: {display_name: "NULL"}}
dual_write: {by: application}
contract: {drops: [users.full_name], soak: 1s, min_writes: 5}
`

// watchedServer counts statements, and lets transactions be prepared and logs be read.
func watchedServer(t *testing.T) *localpg.Cluster {
	t.Helper()
	return pgtest.Cluster(t, localpg.Options{Settings: map[string]string{
		"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_utility": "off", "pg_stat_statements.max": "1000", "max_prepared_transactions": "5", "wal_level": "logical",
	}})
}

// proven is a database in which the job has run, the application writes both, and all of it is verified.
func proven(t *testing.T, db *pgtest.DB, dir string) {
	t.Helper()
	db.Exec(`CREATE TABLE users (id int PRIMARY KEY, full_name text, display_name text);
		INSERT INTO users SELECT g, 'user ' || g FROM generate_series(1, 60) AS g; ANALYZE users`)
	write(t, dir, "users.yaml", contractJob)
	must(t, db.DSN(), dir, "run", "--yes", "--chunk-rows", "10", "users.yaml")
	for i := 101; i < 107; i++ {
		db.Exec(fmt.Sprintf("INSERT INTO users VALUES (%d, 'ann lee', 'Ann Lee')", i))
	}
	must(t, db.DSN(), dir, "verify", "users.yaml")
	db.Exec("UPDATE pgbackfill.tripwires SET installed_at = installed_at - interval '1 hour'")
}

// gateCase turns one condition.
type gateCase struct {
	id   string
	want contract.Status
	// breaks and mends are SQL of an administrator whom nobody counts.
	breaks, mends string
	// by is what the application does, which is counted; with changes the question itself.
	by   string
	with func(*contract.Options)
	says string
	// others is set where other conditions are turned too: the job is another one then. unasked is where there is nothing to ask.
	others, unasked bool
}

// gatekeeping is a database that passes everything, and who asks.
type gatekeeping struct {
	db          *pgtest.DB
	admin, keep *pgx.Conn
	job         backfill.Job
}

func newGatekeeping(t *testing.T) *gatekeeping {
	t.Helper()
	db, dir := pgtest.NewOn(t, watchedServer(t)), t.TempDir()
	db.Exec("CREATE EXTENSION pg_stat_statements")
	proven(t, db, dir)
	list, err := jobs.ReadFile(dir + "/users.yaml")
	if err != nil {
		t.Fatal(err)
	}
	role, dsn := db.Role("")
	db.Exec(must(t, db.DSN(), dir, "schema", "grants", role))
	g := &gatekeeping{db: db, admin: pgtest.Connect(t, db.DSN()), keep: pgtest.Connect(t, dsn), job: list[0]}
	g.quiet(t, "SET pg_stat_statements.track = 'none'")
	if r := g.ask(t, nil); conditionIs(r, "statements") != contract.Unknown { // the first look
		t.Errorf("of the first look it says %+v", r.Conditions)
	}
	g.quiet(t, watchedLong)
	return g
}

// watchedLong makes the looks at statements ones of long ago.
const watchedLong = "UPDATE pgbackfill.statement_looks SET since = since - interval '1 hour'; UPDATE pgbackfill.statement_marks SET changed_at = changed_at - interval '1 hour'"

func (g *gatekeeping) quiet(t *testing.T, sql string) {
	t.Helper()
	if _, err := g.admin.PgConn().Exec(t.Context(), strings.ReplaceAll(sql, "gatekeeper", pgx.Identifier{g.keep.Config().User}.Sanitize())).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (g *gatekeeping) ask(t *testing.T, with func(*contract.Options)) contract.Result {
	t.Helper()
	o := contract.Options{
		Job: g.job, Conn: g.keep, BackupAt: time.Now().Add(-time.Hour), Patience: time.Millisecond, Who: "ann@test", Tool: "test",
		Triggers: func(ctx context.Context) (contract.Triggers, error) { return triggersOf(ctx, g.keep, g.job) },
	}
	if with != nil {
		with(&o)
	}
	r, err := contract.Gate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func conditionIs(r contract.Result, id string) contract.Status {
	for _, c := range r.Conditions {
		if c.ID == id {
			return c.Status
		}
	}
	return ""
}

func terms(change func(*backfill.Contract)) func(*contract.Options) {
	return func(o *contract.Options) {
		c := *o.Job.Contract
		change(&c)
		o.Job.Contract = &c
	}
}

const broken = "SET pg_stat_statements.track = 'none'; INSERT INTO users VALUES (200, 'forgot')"

// gateCases turn each condition to fail, alone, and to unknown.
var gateCases = []gateCase{
	{id: "coverage", want: contract.Fail, breaks: "UPDATE pgbackfill.chunks SET after = '{999}' WHERE seq = 2 AND segment = 1", mends: "UPDATE pgbackfill.chunks AS c SET after = b.through FROM pgbackfill.chunks AS b WHERE c.seq = 2 AND c.segment = 1 AND b.seq = 1 AND b.segment = 1", says: "does not take up"},
	{id: "coverage", want: contract.Fail, breaks: "INSERT INTO pgbackfill.quarantine (run_id, segment, seq, key, rows, step, sqlstate, message, detail) VALUES (1, 1, 1, '{7}', 1, 'update', '22012', 'x', '')", mends: "DELETE FROM pgbackfill.quarantine", says: "1 are quarantined: {7}"},
	{id: "coverage", want: contract.Unknown, breaks: "REVOKE SELECT ON pgbackfill.segments FROM gatekeeper", mends: "GRANT SELECT ON pgbackfill.segments TO gatekeeper", says: "permission denied"},
	{id: "verified", want: contract.Fail, breaks: "UPDATE pgbackfill.verifications SET verdict = 'mismatched', mismatches = 3", mends: "UPDATE pgbackfill.verifications SET verdict = 'proven', mismatches = 0", says: "mismatched, 3 wrong rows"},
	{id: "verified", want: contract.Fail, breaks: "UPDATE pgbackfill.verifications SET voided_at = now()", mends: "UPDATE pgbackfill.verifications SET voided_at = NULL", says: "repaired"},
	{id: "verified", want: contract.Fail, breaks: "UPDATE pgbackfill.verifications SET sample_fraction = 0.5", mends: "UPDATE pgbackfill.verifications SET sample_fraction = NULL", says: "sample"},
	{id: "verified", want: contract.Fail, breaks: "UPDATE pgbackfill.verifications SET ranges_skipped = 1", mends: "UPDATE pgbackfill.verifications SET ranges_skipped = 0", says: "could not check 1"},
	{id: "verified", want: contract.Fail, breaks: "UPDATE pgbackfill.verifications SET ledger_rows = ledger_rows - 1", mends: "UPDATE pgbackfill.verifications SET ledger_rows = ledger_rows + 1", says: "before the last chunk"},
	{id: "verified", want: contract.Fail, breaks: "UPDATE pgbackfill.verifications SET finished_at = finished_at - interval '2 hours'", mends: "UPDATE pgbackfill.verifications SET finished_at = finished_at + interval '2 hours'", says: "it may be 01:00:00 old"},
	{id: "verified", want: contract.Fail, breaks: "UPDATE pgbackfill.verifications SET snapshot = '10:10:'", mends: "UPDATE pgbackfill.verifications SET snapshot = pg_current_snapshot()", says: "before the tripwire on"},
	{id: "verified", want: contract.Unknown, breaks: "UPDATE pgbackfill.verifications SET residual = '{only what is left}'", mends: "UPDATE pgbackfill.verifications SET residual = '{}'", says: "only what is left"},
	{id: "verified", want: contract.Fail, with: func(o *contract.Options) {
		o.Job.Verify = []backfill.Check{{Name: "more", None: &backfill.Expr{SQL: "SELECT u.id FROM users u WHERE {{range u}} AND u.display_name IS NULL"}}}
	}, says: "asked other checks than the job does: it asked derived"},
	{id: "verified", want: contract.Fail, breaks: "UPDATE pgbackfill.verifications SET checks = jsonb_set(checks, '{0,ranges}', '0')", mends: "UPDATE pgbackfill.verifications SET checks = jsonb_set(checks, '{0,ranges}', '1')", says: "check derived: no range of it was read"},
	{id: "verified", want: contract.Unknown, breaks: "INSERT INTO pgbackfill.verifications OVERRIDING SYSTEM VALUE SELECT (o).* FROM (SELECT jsonb_populate_record(v, jsonb_build_object('id', -1, 'asked', 'x', 'verdict', 'mismatched', 'mismatches', 3, 'finished_at', v.started_at - interval '1 hour')) AS o FROM pgbackfill.verifications AS v) AS others", mends: "DELETE FROM pgbackfill.verifications WHERE id = -1", says: "which asked other checks (derived), found 3 wrong rows, and these were not asked again since"},
	{id: "soak", want: contract.Fail, breaks: broken, mends: "UPDATE users SET display_name = 'Forgot' WHERE id = 200; DELETE FROM users WHERE id = 200; TRUNCATE pgbackfill.drift", says: "INSERT INTO users VALUES (200"},
	{id: "soak", want: contract.Fail, breaks: "ALTER TABLE pgbackfill.drift RENAME TO gone; COMMIT; " + broken + "; COMMIT; ALTER TABLE pgbackfill.gone RENAME TO drift", mends: "DELETE FROM users WHERE id = 200; ALTER SEQUENCE pgbackfill.tripwire_unwritten_users RESTART", says: "1 records of commits that broke the relation, or of which the tripwire could not tell, could not be written"},
	{id: "soak", want: contract.Fail, with: terms(func(c *backfill.Contract) { c.MinWrites = 1000 }), says: "were seen to be right, of 1000"},
	{id: "soak", want: contract.Unknown, breaks: "UPDATE pgbackfill.tripwires SET elsewhere = true", mends: "UPDATE pgbackfill.tripwires SET elsewhere = false", says: "other tables too"},
	{id: "tripwire", want: contract.Fail, breaks: "UPDATE pgbackfill.tripwires SET definition = definition || 'x'", mends: "UPDATE pgbackfill.tripwires SET definition = left(definition, -1)", says: "its definition is another one"},
	{id: "tripwire", want: contract.Fail, breaks: "UPDATE pgbackfill.tripwires SET function_xmin = 'x' || function_xmin", mends: "UPDATE pgbackfill.tripwires SET function_xmin = substr(function_xmin, 2)", others: true, says: "switched off or made anew since it was installed: its function"},
	{id: "tripwire", want: contract.Unknown, breaks: "REVOKE SELECT ON pgbackfill.drift FROM gatekeeper", mends: "GRANT SELECT ON pgbackfill.drift TO gatekeeper"},
	{id: "old-transactions", want: contract.Fail, breaks: "BEGIN; CREATE TABLE x (); PREPARE TRANSACTION 'old'; UPDATE pgbackfill.chunks SET xid = pg_current_xact_id()", mends: "ROLLBACK PREPARED 'old'", says: "the prepared transaction old"},
	{id: "old-transactions", want: contract.Unknown, breaks: "REVOKE pg_monitor FROM gatekeeper", mends: "GRANT pg_monitor TO gatekeeper", says: "may not see the transactions"},
	{id: "dependencies", want: contract.Fail, breaks: "CREATE VIEW v AS SELECT upper(full_name) FROM users", mends: "DROP VIEW v", says: "view public.v depends on public.users.full_name"},
	{id: "dependencies", want: contract.Fail, breaks: "CREATE POLICY p ON users USING (full_name <> '')", mends: "DROP POLICY p ON users", says: "policy p on public.users"},
	{id: "dependencies", want: contract.Fail, breaks: "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER g BEFORE UPDATE OF full_name ON users FOR EACH ROW EXECUTE FUNCTION f()", mends: "DROP FUNCTION f CASCADE", says: "trigger g on"},
	{id: "dependencies", want: contract.Unknown, breaks: "REVOKE SELECT ON pg_rewrite FROM PUBLIC", mends: "GRANT SELECT ON pg_rewrite TO PUBLIC"},
	{id: "dropped-silently", want: contract.Fail, breaks: "CREATE INDEX i ON users (id, full_name)", mends: "DROP INDEX i", says: "CREATE INDEX i ON"},
	{id: "dropped-silently", want: contract.Fail, breaks: "CREATE INDEX i ON users (id) WHERE full_name IS NOT NULL", mends: "DROP INDEX i", says: "CREATE INDEX i ON"},
	{id: "dropped-silently", want: contract.Fail, breaks: "ALTER TABLE users ADD CONSTRAINT c CHECK (full_name <> '')", mends: "ALTER TABLE users DROP CONSTRAINT c", says: "constraint c on table"},
	{id: "dropped-silently", want: contract.Fail, breaks: "CREATE STATISTICS s ON id, full_name FROM users", mends: "DROP STATISTICS s", says: "CREATE STATISTICS"},
	{id: "dependencies", want: contract.Fail, breaks: "ALTER TABLE users ADD COLUMN up text GENERATED ALWAYS AS (upper(full_name)) STORED", mends: "ALTER TABLE users DROP COLUMN up", says: "column up"},
	{id: "dropped-silently", want: contract.Fail, breaks: "CREATE SEQUENCE q OWNED BY users.full_name", mends: "DROP SEQUENCE q", says: "sequence public.q"},
	{id: "dropped-silently", want: contract.Pass, breaks: "CREATE INDEX i ON users (full_name)", mends: "DROP INDEX i", says: "index public.i goes with public.users.full_name"},
	{id: "dropped-silently", want: contract.Unknown, breaks: "REVOKE SELECT ON pg_statistic_ext FROM PUBLIC", mends: "GRANT SELECT ON pg_statistic_ext TO PUBLIC"},
	{id: "functions", want: contract.Fail, breaks: "CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT max(full_name) FROM users); END'", mends: "DROP FUNCTION f", says: "the body of public.f() mentions public.users.full_name"},
	{id: "functions", want: contract.Unknown, breaks: "CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT max(full_name) FROM other); END'", mends: "DROP FUNCTION f", says: "only a reader can tell"},
	{id: "references", want: contract.Fail, breaks: "GRANT SELECT (full_name) ON users TO gatekeeper", mends: "REVOKE SELECT (full_name) ON users FROM gatekeeper", says: "privileges are granted on public.users.full_name"},
	{id: "references", want: contract.Fail, breaks: "CREATE TABLE n (n text PRIMARY KEY); INSERT INTO n SELECT DISTINCT full_name FROM users; ALTER TABLE users ADD CONSTRAINT fk FOREIGN KEY (full_name) REFERENCES n", mends: "DROP TABLE n CASCADE", says: "foreign key fk on public.users"},
	{id: "references", want: contract.Unknown, breaks: "REVOKE SELECT ON pg_partitioned_table FROM PUBLIC", mends: "GRANT SELECT ON pg_partitioned_table TO PUBLIC"},
	{id: "statements", want: contract.Fail, by: "SELECT id FROM users WHERE full_name = 'x'", mends: watchedLong, says: "primary: called 1 times, also since the soak began: SELECT id FROM users WHERE full_name = $1"},
	{id: "statements", want: contract.Fail, by: "SELECT /* pgbackfill.console, OPERATOR(pg_catalog.=) */ full_name FROM users", mends: watchedLong, says: "called 1 times, also since"},
	{id: "statements", want: contract.Fail, by: "SELECT pg_catalog.upper(full_name) FROM users", mends: watchedLong, says: "called 1 times, also since"},
	{id: "statements", want: contract.Unknown, by: "SELECT * FROM users WHERE id = 1", mends: watchedLong, says: "without naming them"},
	{id: "statements", want: contract.Unknown, by: "SELECT pg_stat_statements_reset()", mends: watchedLong, says: "have been watched for 0s of 1s"},
	{id: "statements", want: contract.Unknown, breaks: "DROP EXTENSION pg_stat_statements", mends: "CREATE EXTENSION pg_stat_statements", unasked: true, says: "no extension"},
	{id: "constraints", want: contract.Fail, breaks: "ALTER TABLE users ADD CONSTRAINT c CHECK (display_name IS NOT NULL) NOT VALID", mends: "ALTER TABLE users DROP CONSTRAINT c", says: "constraint c on public.users is not validated"},
	{id: "constraints", want: contract.Fail, breaks: "CREATE INDEX i ON users (display_name); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass", mends: "DROP INDEX i", says: "index public.i on public.users is invalid"},
	{id: "constraints", want: contract.Unknown, breaks: "REVOKE SELECT ON pg_stat_progress_create_index FROM PUBLIC", mends: "GRANT SELECT ON pg_stat_progress_create_index TO PUBLIC"},
	{id: "replication", want: contract.Fail, breaks: "CREATE PUBLICATION p FOR TABLE users", mends: "DROP PUBLICATION p", says: "publication p carries public.users.full_name"},
	{id: "replication", want: contract.Pass, breaks: "CREATE PUBLICATION p FOR TABLE users (id, display_name)", mends: "DROP PUBLICATION p"},
	{id: "replication", want: contract.Unknown, breaks: "SELECT pg_create_logical_replication_slot('s', 'pgoutput')", mends: "SELECT pg_drop_replication_slot('s')", says: "slot s (pgoutput)"},
	{id: "standbys", want: contract.Unknown, with: func(o *contract.Options) {
		o.Standbys = []contract.Standby{{Name: "eu", Connect: func(context.Context) (*pgx.Conn, error) { return nil, errors.New("nobody is there") }}}
	}, says: "eu: it cannot be asked: nobody is there"},
	{id: "blinded", want: contract.Fail, breaks: "UPDATE pgbackfill.verifications SET blinded = true, blinded_by = '{row security}'", mends: "UPDATE pgbackfill.verifications SET blinded = false", says: "row security"},
	{id: "blinded", want: contract.Unknown, breaks: "UPDATE pgbackfill.verifications SET role = 'gone' || role", mends: "UPDATE pgbackfill.verifications SET role = substr(role, 5)", says: "is not there any more"},
	{id: "way-back", want: contract.Fail, with: func(o *contract.Options) { o.BackupAt = time.Now().Add(-72 * time.Hour) }, says: "it may be 24h0m0s old"},
	{id: "way-back", want: contract.Fail, with: func(o *contract.Options) { o.Job.Undo = nil }, others: true, says: "does not say how it is taken back"},
	{id: "way-back", want: contract.Unknown, with: func(o *contract.Options) { o.BackupAt = time.Time{} }, says: "nobody said --backup-at"},
	{id: "way-back", want: contract.Unknown, with: backedUpBy("SELECT at FROM nowhere"), says: `relation "nowhere" does not exist`},
}

// evicting is the last of all, since the server's counters are of no use after it.
var evicting = gateCase{id: "statements", want: contract.Unknown, by: manyStatements(), mends: "SELECT pg_stat_statements_reset()", says: "have been watched for 0s of 1s"}

// manyStatements are more than the server keeps counters of, so that it throws some out.
func manyStatements() string {
	var b strings.Builder
	for i := range 1100 {
		b.WriteString("SELECT 1")
		for bit := range 11 {
			b.WriteString([]string{" + 1", " - 1"}[i>>bit&1])
		}
		b.WriteString(";")
	}
	return b.String()
}

// on is the case as it is on a version of PostgreSQL. Until 15, DROP COLUMN takes a generated column along without a word, and a publication
// has all columns.
func (c gateCase) on(major int) gateCase {
	switch {
	case major >= 15:
	case strings.Contains(c.breaks, "GENERATED ALWAYS AS"):
		c.id = "dropped-silently"
	case strings.Contains(c.breaks, "FOR TABLE users ("):
		c.breaks, c.mends = "", ""
	}
	return c
}

// A database in which everything is as it should be passes every condition. Each condition is turned to fail alone, with its
// evidence and what was asked, and to unknown, which refuses as well; what turned it is taken back each time, and all pass again.
//
// Made to fail: each condition's question answered with nothing (its cases pass), and unknown counted as pass; without the list
// of checks in the question, one that was weakened and verified again is ready; without the number of evictions in the look, what was
// thrown out was never called; with comments read as a part of a statement, one that names us is taken for ours.
func TestGateConditions(t *testing.T) {
	t.Parallel()
	g := newGatekeeping(t)
	if r := g.ask(t, nil); r.Verdict != contract.Ready {
		t.Fatalf("of what should pass it says %+v", notPassed(r))
	}
	seen := map[string]map[contract.Status]bool{}
	for _, c := range slices.Concat(gateCases, gateLines, []gateCase{evicting}) {
		c = c.on(g.db.Server().Installation().Major)
		if c.breaks != "" {
			g.quiet(t, c.breaks)
		}
		if c.by != "" {
			g.db.Exec(c.by)
		}
		r := g.ask(t, c.with)
		if c.mends != "" {
			g.quiet(t, c.mends)
		}
		name := fmt.Sprintf("%s %s by %s%s", c.id, c.want, c.breaks, c.by)
		if got := conditionIs(r, c.id); got != c.want {
			t.Errorf("%s: it is %s: %+v", name, got, notPassed(r))
			continue
		}
		if (r.Verdict == contract.Ready) != (c.want == contract.Pass) {
			t.Errorf("%s: the verdict is %s", name, r.Verdict)
		}
		for _, one := range r.Conditions {
			if one.ID == c.id && (!strings.Contains(strings.Join(one.Evidence, "\n"), c.says) || len(one.SQL) == 0 && one.ID != "tripwire" && one.ID != "way-back" && !c.unasked) {
				t.Errorf("%s: the evidence is %q, and what was asked %q", name, one.Evidence, one.SQL)
			}
			if one.ID != c.id && c.want == contract.Fail && !c.others && one.Status != contract.Pass {
				t.Errorf("%s: %s is %s too: %q", name, one.ID, one.Status, one.Evidence)
			}
		}
		if seen[c.id] == nil {
			seen[c.id] = map[contract.Status]bool{}
		}
		seen[c.id][c.want] = true
	}
	g.standbyBehind(t, seen)
	for _, id := range contract.IDs() {
		if !seen[id][contract.Fail] || !seen[id][contract.Unknown] {
			t.Errorf("%s is not turned to fail and to unknown: %v", id, seen[id])
		}
	}
	g.quiet(t, watchedLong)
	if r := g.ask(t, nil); r.Verdict != contract.Ready {
		t.Errorf("after all is taken back: %+v", notPassed(r))
	}
}

func notPassed(r contract.Result) []contract.Condition {
	var list []contract.Condition
	for _, c := range r.Conditions {
		if c.Status != contract.Pass {
			c.SQL = nil
			list = append(list, c)
		}
	}
	return list
}

// standbyBehind has another database in the place of a standby, which shows no row of the ledger.
func (g *gatekeeping) standbyBehind(t *testing.T, seen map[string]map[contract.Status]bool) {
	t.Helper()
	behind := pgtest.NewOn(t, g.db.Server())
	must(t, behind.DSN(), t.TempDir(), "schema", "install")
	behind.Exec("CREATE EXTENSION pg_stat_statements")
	with := func(o *contract.Options) {
		o.Standbys = []contract.Standby{{Name: "eu", Connect: func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, behind.DSN()) }}}
	}
	g.ask(t, with)
	g.quiet(t, watchedLong)
	r := g.ask(t, with)
	if list := notPassed(r); len(list) != 1 || list[0].ID != "standbys" || list[0].Status != contract.Fail || !strings.Contains(list[0].Evidence[0], "eu: it shows 0 rows of the ledger, of ") {
		t.Errorf("of a standby that lacks the ledger it says %+v", list)
	}
	seen["standbys"][contract.Fail] = true
}

// gate says refused and exits with 6 until everything passes or is waived in writing; who waived what, why and until when is in
// what it says. A waiver that says too little is refused.
//
// Made to fail: with waived counted as unknown, and with the exit code left at 1.
func TestGateCommand(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	write(t, dir, "users.yaml", contractJob)
	db.Exec("CREATE TABLE users (id int PRIMARY KEY, full_name text, display_name text)")
	refuses(t, db, dir, 2, []string{"gate", "users.yaml"}, "it was never run in this database")
	must(t, db.DSN(), dir, "schema", "install")
	says(t, mustExit(t, 6, db.DSN(), dir, "gate", "users.yaml"), "users: refused", "the job was never run")
	db.Exec("DROP TABLE users")
	proven(t, db, dir)
	says(t, mustExit(t, 6, db.DSN(), dir, "gate", "users.yaml"), "users: refused: the contract migration must not run: 0 fail, 2 unknown", "no extension pg_stat_statements", "nobody said --backup-at")
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--waive", "statement", "--why", "x", "--until", "2100-01-01"}, "no condition has that id"},
		{[]string{"--waive", "statements", "--until", tomorrow()}, "a waiver says why"},
		{[]string{"--waive", "statements", "--why", "x"}, "a waiver ends"},
		{[]string{"--waive", "statements", "--why", "x", "--until", "2001-01-01"}, "a time to come"},
		{[]string{"--why", "x"}, "go with --waive"},
	} {
		refuses(t, db, dir, 2, append([]string{"gate", "users.yaml"}, c.args...), c.says)
	}
	says(t, must(t, db.DSN(), dir, "gate", "users.yaml", "--backup-at", time.Now().Add(-time.Hour).Format(time.RFC3339), "--waive", "statements", "--why", "nobody counts them", "--until", tomorrow()),
		"users: ready: the contract migration may run", "drops public.users.\"full_name\"", "waived  statements", "waived by "+who()+" until ", "nobody counts them", "SELECT pgbackfill.assert_ready('users')")
	var r contract.Result
	if err := json.Unmarshal([]byte(must(t, db.DSN(), dir, "gate", "-o", "json", "--backup-at", time.Now().Format(time.RFC3339), "users.yaml")), &r); err != nil {
		t.Fatal(err)
	}
	if r.Verdict != contract.Ready || len(r.Conditions) != 16 || conditionIs(r, "statements") != contract.Waived || conditionIs(r, "coverage") != contract.Pass || r.ID == 0 {
		t.Errorf("as JSON it says %+v", r)
	}
	is(t, db, "SELECT verdict, who = '"+who()+"' FROM pgbackfill.gates ORDER BY id DESC LIMIT 1", "(ready,t)")
	leastRoles(t, db, dir)
}

// leastRoles has a role that may only look, and one that may only verify: each may do that, and nothing else.
func leastRoles(t *testing.T, db *pgtest.DB, dir string) {
	t.Helper()
	viewer, looks := db.Role("")
	verifier, reads := db.Role("")
	db.Exec(must(t, db.DSN(), dir, "schema", "grants", "--viewer", viewer))
	db.Exec(must(t, db.DSN(), dir, "schema", "grants", "--verifier", verifier) + "GRANT SELECT ON users TO " + verifier)
	says(t, must(t, looks, dir, "status", "users"), "users: finished")
	says(t, must(t, looks, dir, "report", "users"), "the gate was ready at")
	says(t, must(t, looks, dir, "gate", "users.yaml", "--backup-at", time.Now().Format(time.RFC3339)), "users: ready")
	says(t, must(t, reads, dir, "verify", "users.yaml"), "users: proven")
	is(t, db, "SELECT role = '"+verifier+"', verdict FROM pgbackfill.verifications ORDER BY id DESC LIMIT 1", "(t,proven)")
	for _, refused := range [][]string{
		{looks, "verify", "users.yaml"},
		{looks, "run", "--again", "--yes", "users.yaml"},
		{looks, "gate", "users.yaml", "--waive", "soak", "--why", "x", "--until", tomorrow()},
		{looks, "repair", "--apply", "users.yaml"},
		{reads, "run", "--again", "--yes", "users.yaml"},
		{reads, "gate", "users.yaml"},
	} {
		if code, out := pgbackfill(t, refused[0], dir, refused[1:]...); code == 0 || code == exitRefused || !strings.Contains(out, "ermission denied") && !strings.Contains(out, "may not") && !strings.Contains(out, "lacks") && !strings.Contains(out, "privilege") {
			t.Errorf("%v: exit code %d:\n%s", refused[1:], code, out)
		}
	}
}

func tomorrow() string { return time.Now().Add(24 * time.Hour).Format(time.RFC3339) }
