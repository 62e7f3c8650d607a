package checkpoint

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

var spaces = regexp.MustCompile(`\s+`)

// sent are the statements in a server's log, by the role that sent them.
func sent(t *testing.T, log, role string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	statements := map[string]bool{}
	// An entry goes over several lines; those after the first begin with a tab.
	for _, entry := range strings.Split(strings.ReplaceAll(string(text), "\n\t", " "), "\n") {
		_, statement, ok := strings.Cut(entry, "LOG:  execute <unnamed>: ")
		if !ok {
			_, statement, ok = strings.Cut(entry, "LOG:  statement: ")
		}
		if ok && strings.Contains(entry, " "+role+"@") {
			statements[strings.TrimSpace(spaces.ReplaceAllString(statement, " "))] = true
		}
	}
	return statements
}

// Promise 5: what plan prints is what run sends. Every statement that a store sends is in the
// list, and every one in the list is sent.
func TestEveryStatementIsListed(t *testing.T) {
	t.Parallel()
	server := pgtest.Cluster(t, localpg.Options{Settings: map[string]string{"log_statement": "all"}})
	db := pgtest.NewOn(t, server)
	if err := Install(t.Context(), db.Conn(), InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	role, dsn := db.Role("")
	db.Exec(Grants(role))
	db.Exec("GRANT CREATE ON SCHEMA pgbackfill TO " + pgsql.Ident(role) + "; CREATE TABLE kept (id int PRIMARY KEY, n int); ALTER TABLE kept OWNER TO " + pgsql.Ident(role))
	s, err := Open(t.Context(), connecting(dsn), Options{CancelPatience: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	conn := pgtest.Connect(t, dsn)
	run := create(t, s, planned("listed", 100, 200))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = run.Beat(t.Context(), backfill.Beat{})
	must(err)
	must(run.SetState(t.Context(), backfill.StateRunning, ""))
	must(run.SetState(t.Context(), backfill.StatePaused, ""))
	_, err = run.Mark(t.Context(), conn, 1)
	must(err)
	before := segmentsOf(t, run, backfill.PassWalk)[1]
	appendTo(t, conn, run, chunk(1, 1, -1, 50), chunk(2, 1, 100, 200))
	_, err = run.Split(t.Context(), before, key(70)) // too late: rolled back
	must(err)
	_, err = run.Split(t.Context(), segmentsOf(t, run, backfill.PassWalk)[1], key(70))
	must(err)
	appendTo(t, conn, run, chunk(3, 1, 50, 70), chunk(4, 1, 70, 100))
	_, err = run.Cuts(t.Context(), backfill.PassWalk, 100)
	must(err)
	_, err = run.Advance(t.Context(), backfill.PassWalk, backfill.PassTail, nil)
	must(err)
	_, err = s.Runs(t.Context())
	must(err)
	_, err = s.Find(t.Context(), "listed")
	must(err)
	_, err = s.SetOverrides(t.Context(), "listed", backfill.Pace{Workers: 3}, "ann")
	must(err)
	bad := backfill.QuarantinedRow{Key: key(7), Rows: 1, Step: "update", SQLState: "22012", Message: "division by zero"}
	for _, st := range append(run.Keep(backfill.Chunk{Segment: 2, Seq: 1, Quarantined: []backfill.QuarantinedRow{bad}}), run.FailedAgain(bad), run.Open(), run.Resolve(bad, 0)) {
		must(inTransaction(t.Context(), conn, "public", st))
	}
	_, err = s.Quarantined(t.Context(), run.ID(), 5)
	must(err)
	must(run.Pause(t.Context(), "trouble"))
	must(ends(t, run))
	must(run.Leave(t.Context()))

	again, _, err := s.CreateAfter(t.Context(), planned("listed", 100), run.ID())
	must(err)
	tables := []pgsql.Capture{{
		Run: int64(again.ID()), No: 1, OID: pgtest.One[uint32](db, "SELECT 'kept'::regclass::oid"), Table: "public.kept", Updates: true,
		Key:  []pgsql.KeyColumn{{Name: "id", Type: "integer", Equal: "pg_catalog.="}},
		Kept: []pgsql.KeptColumn{{Number: 2, Name: "n", Type: "integer", Bare: "integer", Updated: true}},
	}}
	must(again.Capture(t.Context(), tables))
	asleep := sleepingTransaction(t, db, record(t, again, chunk(1, 1, -1, 50)))
	if err := again.Cancel(t.Context()); err == nil {
		t.Fatal("it was cancelled under a chunk in flight")
	}
	must(asleep.Close(t.Context()))
	pgtest.Eventually(t, 10*time.Second, func() error { return again.Cancel(t.Context()) })
	must(again.Release(t.Context()))

	doTasks(t, s, conn)

	listed := map[string]bool{}
	for _, p := range append(pgsql.Install(tables), pgsql.Uninstall(tables)...) { // plan prints them with the job's statements
		listed[strings.TrimSpace(spaces.ReplaceAllString(p.SQL, " "))] = true
	}
	for _, p := range Statements() {
		listed[strings.TrimSpace(spaces.ReplaceAllString(p.SQL, " "))] = true
	}
	inTest := regexp.MustCompile(`'lc_monetary'|^;?$`) // the settings of this test's own chunks
	logged := sent(t, server.Log(), role)
	for statement := range logged {
		if !listed[statement] && !inTest.MatchString(statement) {
			t.Errorf("sent, and not listed:\n%s", statement)
		}
	}
	for statement := range listed {
		if !logged[statement] {
			t.Errorf("listed, and not sent:\n%s", statement)
		}
	}
}

// doTasks makes two runs of a job with a helper, whose tasks are recorded over conn, as the engine does.
func doTasks(t *testing.T, s *Store, conn *pgx.Conn) {
	t.Helper()
	for again := range 2 {
		plan := planned("tasks", 100)
		plan.Pending = true
		run := create(t, s, plan)
		task := backfill.Task{Part: backfill.PartHelper, No: 1, Relation: "helper_<run>_<name>"}
		for _, st := range []pgsql.Statement{pgsql.Begin, settings, run.Begin(task), run.Recorded(task), run.Done(task), pgsql.Commit} {
			if err := send(t.Context(), conn, step{Statement: st}); err != nil {
				t.Fatalf("%s: %v", st.Name, err)
			}
		}
		if again == 1 {
			if err := run.DropOlderHelpers(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		plan.Pending = false
		if first, err := run.Planned(t.Context(), plan); err != nil || !first {
			t.Fatalf("planned: %v, %v", first, err)
		}
		if first, err := run.Planned(t.Context(), plan); err != nil || first {
			t.Fatalf("planned once more: %v, %v", first, err)
		}
		if err := run.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
