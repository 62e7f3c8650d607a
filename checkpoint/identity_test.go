package checkpoint

import (
	"errors"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// What the ledger says is of one table. Where another has taken its name no chunk is recorded, and whoever asks is told why; where it
// has its name again the run goes on.
//
// Made to fail: without sameTable in the ledger's proof, the chunk is recorded of a table whose rows nobody has changed.
func TestTableThatIsAnother(t *testing.T) {
	t.Parallel()
	db := installed(t)
	db.Exec("CREATE TABLE users (id int)")
	s := open(t, db, Options{})
	plan := planned("moved", 100)
	plan.Table.OID = pgtest.One[uint32](db, "SELECT 'users'::regclass::oid")
	run := create(t, s, plan)
	conn := db.Conn()
	appendTo(t, conn, run, chunk(1, 1, -1, 10))
	next := record(t, run, chunk(1, 2, 10, 20))
	for _, away := range []string{"ALTER TABLE users RENAME TO users_old", "CREATE TABLE users (id int)", "CREATE SCHEMA old; ALTER TABLE users_old SET SCHEMA old"} {
		db.Exec(away)
		if err := inTransaction(t.Context(), conn, "public", next); !run.Refused(err) {
			t.Errorf("after %s the ledger says %v", away, err)
		}
		_, err := run.List(t.Context(), backfill.PassWalk)
		wants(t, err, "public.users", "is gone, or has another name now", "--again")
		if !errors.Is(err, backfill.ErrChanged) {
			t.Errorf("after %s: %v", away, err)
		}
	}
	db.Exec("DROP TABLE users; ALTER TABLE old.users_old SET SCHEMA public; ALTER TABLE users_old RENAME TO users")
	appendTo(t, conn, run, chunk(1, 2, 10, 100))
	if err := ends(t, run); err != nil {
		t.Error(err)
	}
}

// A failover to a standby that was behind takes back a run, and the next one that is made, of whatever job, gets its number. Who was at
// work on the first one does nothing to the second: no chunk, no heartbeat, no change of its state.
//
// Made to fail: with the number alone compared, the chunk is recorded and the second run is failed with the first one's reason.
func TestRunWhoseNumberAnotherHas(t *testing.T) {
	t.Parallel()
	db := installed(t)
	s := open(t, db, Options{})
	lost := create(t, s, planned("lost", 100))
	first := record(t, lost, chunk(1, 1, -1, 10))
	db.Exec("DELETE FROM pgbackfill.events; DELETE FROM pgbackfill.segments; DELETE FROM pgbackfill.runs; ALTER TABLE pgbackfill.runs ALTER COLUMN id RESTART")
	other := create(t, s, planned("other", 100))
	if other.ID() != lost.ID() {
		t.Fatalf("run %d and run %d: this test is about two of the same number", lost.ID(), other.ID())
	}
	if err := inTransaction(t.Context(), db.Conn(), "public", first); !lost.Refused(err) {
		t.Errorf("the ledger says %v", err)
	}
	_, beat := lost.Beat(t.Context(), backfill.Beat{})
	_, list := lost.List(t.Context(), backfill.PassWalk)
	for what, err := range map[string]error{
		"beat": beat, "list": list, "state": lost.SetState(t.Context(), backfill.StateFailed, "x"), "pause": lost.Pause(t.Context(), "x"),
	} {
		if !errors.Is(err, backfill.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if info := state(t, s, "other"); info.State != backfill.StatePlanned || info.Desired != backfill.DesiredRunning || len(info.Processes) > 0 {
		t.Errorf("the other run is %s, and is to be %s, with %d processes", info.State, info.Desired, len(info.Processes))
	}
	appendTo(t, db.Conn(), other, chunk(1, 1, -1, 100))
}
