package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// askDoctor is what doctor says, in JSON, and its exit code.
func askDoctor(t *testing.T, dsn, dir string, args ...string) (int, diagnosis) {
	t.Helper()
	code, out, said := streams(t, dsn, dir, append([]string{"doctor", "-o", "json"}, args...)...)
	var d diagnosis
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatalf("%v: exit code %d\n%s%s", err, code, out, said)
	}
	if d.Well != (code == 0) || d.Well != (len(d.Remedies) == 0) {
		t.Errorf("exit code %d, and it says well: %t, with %d remedies", code, d.Well, len(d.Remedies))
	}
	return code, d
}

// statesOf are the signals' states by their names.
func statesOf(list []signalHealth) map[string]string {
	all := map[string]string{}
	for _, s := range list {
		all[s.Name] = s.State
	}
	return all
}

// A role that may next to nothing is told what to grant, and when exactly that was granted all is well: with a schema that
// is not there, with one that somebody else owns, and with the table of a job.
//
// Made to fail: with a remedy's SQL left out, with a privilege that ReadAccess does not look at, and with the signals of
// NeedsOf.Monitor taken to work as long as nobody is there.
func TestWhatDoctorSaysToGrantIsEnough(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	people(t, db)
	write(t, dir, "people.yaml", peopleJob)
	before := untouched(db)
	// obeyed sends what is to be granted, and reads again.
	obeyed := func(dsn string, d diagnosis, args ...string) diagnosis {
		t.Helper()
		for _, r := range d.Remedies {
			for _, sql := range r.SQL {
				db.Exec(sql)
			}
			if _, grants, there := strings.Cut(r.Text, "as the owner: "); there {
				db.Exec(grants)
			}
		}
		code, after := askDoctor(t, dsn, dir, args...)
		if code != 0 {
			t.Errorf("after what it said to grant: %+v", after.Remedies)
		}
		return after
	}

	role, dsn := db.Role("")
	code, d := askDoctor(t, dsn, dir)
	if code != 2 || d.Server.Role != role || d.Schema.Installed || d.Pooler || d.Server.Version < 140000 {
		t.Errorf("exit code %d: %+v", code, d)
	}
	signals := statesOf(d.Signals)
	for name, want := range map[string]string{
		"replica_lag": signalFails, "replica_lag_bytes": signalFails, "old_snapshot": signalFails, "slot_retention": signalWorks,
		"blocked_sessions": signalWorks, "active_sessions": signalOff, "wal_rate": signalOff, "window": signalOff,
	} {
		if signals[name] != want {
			t.Errorf("%s: %q, expected %q", name, signals[name], want)
		}
	}
	if after := untouched(db); after != before {
		t.Errorf("something was written: %s, before: %s", after, before)
	}
	d = obeyed(dsn, d)
	for _, s := range d.Signals {
		if s.State == signalFails || s.Shut {
			t.Errorf("%+v", s)
		}
	}

	other, dsn := db.Role("")
	must(t, db.DSN(), dir, "schema", "install")
	_, d = askDoctor(t, dsn, dir, "people.yaml")
	if len(d.Signals) != 0 || len(d.Jobs) != 1 || d.Jobs[0].Runs || !strings.Contains(d.Jobs[0].Error, "lacks SELECT") {
		t.Errorf("%+v", d.Jobs)
	}
	out := mustExit(t, 2, dsn, dir, "doctor", "people.yaml")
	says(t, out, other+" on "+db.Name()+": 3 things are in the way", "people: cannot be run: table public.people", "GRANT pg_monitor TO "+pgsql.Ident(other)+";",
		"GRANT USAGE ON SCHEMA pgbackfill TO "+pgsql.Ident(other)+";", "replica_lag will not work role "+other+" may not see")
	d = obeyed(dsn, d, "people.yaml")
	signals = statesOf(d.Jobs[0].Signals)
	if !d.Jobs[0].Runs || signals["dead_rows"] != signalWorks || signals["wraparound_vacuum"] != signalWorks || !d.Schema.Installed {
		t.Errorf("%+v", d)
	}
	says(t, must(t, dsn, dir, "doctor", "people.yaml"), "all is well", "people: can be run", fmt.Sprintf("pgbackfill: version %d, as this program needs it", checkpoint.Latest()))
	says(t, must(t, dsn, dir, "run", "people.yaml"), "people: finished")
}

// What is wrong with the limits, the job and the schema is told where it is, and by whom it can be mended.
//
// Made to fail: with the jobs of a file planned and their errors returned at once.
func TestDoctorTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	people(t, db)
	must(t, db.DSN(), dir, "schema", "install")
	write(t, dir, "jobs.yaml", peopleJob+`throttle:
  flag_file: [`+dir+`/nowhere/stop]
  queries: [{name: queue, sql: SELECT 5, max: 3}, {name: wrong, sql: SELECT nothing, max: 3}]
---
name: other
table: people
update: {set: {nothere: "1"}}
---
name: fine
table: people
where: t.id < 3
update: {set: {shown: "''"}}
throttle: {lag: {max: "off"}}
`)
	code, d := askDoctor(t, db.DSN(), dir, "jobs.yaml")
	if code != 2 || len(d.Jobs) != 3 {
		t.Fatalf("exit code %d, %+v", code, d)
	}
	first, second, third := d.Jobs[0], d.Jobs[1], d.Jobs[2]
	signals := statesOf(first.Signals)
	if !first.Runs || signals["flag_file"] != signalFails || signals["wrong"] != signalFails || signals["queue"] != signalWorks {
		t.Errorf("%+v", first)
	}
	if i := slices.IndexFunc(first.Signals, func(s signalHealth) bool { return s.Name == "queue" }); !first.Signals[i].Shut || !strings.Contains(first.Signals[i].Evidence, "5 > 3: no chunk would begin now") {
		t.Errorf("%+v", first.Signals[i])
	}
	if second.Runs || !strings.Contains(second.Error, "has no column nothere") {
		t.Errorf("%+v", second)
	}
	if !third.Runs || statesOf(third.Signals)["replica_lag"] != signalOff {
		t.Errorf("%+v", third)
	}
	out := mustExit(t, 2, db.DSN(), dir, "doctor", "jobs.yaml")
	says(t, out, "3 things are in the way", "wrong cannot be read: query: ERROR: column \"nothing\" does not exist", "or take it out of the configuration or the job file",
		"other: cannot be run: jobs.yaml#2:", "→ the columns are", "fine: can be run", "Signals that are not as above replica_lag off lag.max is off What to do")

	role, dsn := db.Role("IN ROLE pg_monitor")
	db.Exec(fmt.Sprintf("CREATE TABLE pgbackfill.set_aside AS TABLE pgbackfill.migrations; DELETE FROM pgbackfill.migrations WHERE version = %d", checkpoint.Latest()))
	says(t, must(t, db.DSN(), dir, "doctor"), fmt.Sprintf("version %d; run brings it to version %d", checkpoint.Latest()-1, checkpoint.Latest()))
	db.Exec(strings.Join(accessOf(t, dsn).Missing, "; "))
	says(t, mustExit(t, 2, dsn, dir, "doctor"), "1 thing is in the way", "this program needs version", "which owns it: pgbackfill schema upgrade")
	db.Exec("UPDATE pgbackfill.migrations SET name = 'other' WHERE version = 1")
	says(t, mustExit(t, 2, dsn, dir, "doctor"), "it is damaged: version 1 is called", "restore it from a backup")
	db.Exec("DROP SCHEMA pgbackfill CASCADE")

	// Done without in writing, it is off and nothing is in the way but the schema.
	db.Exec("REVOKE pg_monitor FROM " + pgsql.Ident(role) + "; GRANT CREATE ON DATABASE " + pgsql.Ident(db.Name()) + " TO " + pgsql.Ident(role))
	says(t, must(t, dsn, dir, "doctor", "--set", "unmonitored=accept"), "all is well", "replica_lag        off    done without, by agreement (unmonitored: accept)", "not installed; run installs it")
	refuses(t, db, dir, 2, []string{"doctor", "a", "b"}, "pgbackfill doctor takes at most one job file; found 2 arguments")
}

// accessOf is what a role may do with the schema.
func accessOf(t *testing.T, dsn string) checkpoint.Access {
	t.Helper()
	a, err := checkpoint.ReadAccess(t.Context(), pgtest.Connect(t, dsn))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The line of the server says that something stands between.
func TestDoctorShowsAPooler(t *testing.T) {
	t.Parallel()
	d := diagnosis{Well: true, Pooler: true}
	says(t, diagnosisText(&d, 0), "behind a connection pooler")
	d.Pooler = false
	says(t, diagnosisText(&d, 0), "no connection pooler seen", "all is well")
}
