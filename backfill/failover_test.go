package backfill_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// atPass does something the first time that a pass begins.
func atPass(pass backfill.Pass, do func()) backfill.Observer {
	done := false
	return func(e backfill.Event) {
		if p, ok := e.(backfill.PassStarted); ok && p.Pass == pass && !done {
			done = true
			do()
		}
	}
}

// A failover to an asynchronous standby takes back an acknowledged beginning of the tail: what is in the ledger then is
// covered, and is not all.
//
// Made to fail: with a Finish that does not look at the run's pass, it is called finished and a hundred rows are not done.
func TestTailThatWasTakenBack(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100))
	plan := planned(t, db, counts("numbers"), whole)
	db.Exec("INSERT INTO numbers SELECT generate_series(101, 200)")
	w := join(t, db, plan, part{observer: atPass(backfill.PassTail, func() {
		db.Exec("DELETE FROM pgbackfill.segments WHERE pass = 2; UPDATE pgbackfill.runs SET pass = 1")
	})})
	w.finished()
	onceEach(t, db, "numbers")
	tiled(t, db, plan, w.run.ID())
}

// So it is with the closing sweep.
//
// Made to fail: as [TestTailThatWasTakenBack], for the row that was committed behind the walk.
func TestSweepThatWasTakenBack(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100))
	plan := planned(t, db, sets("numbers", map[string]string{"n": "7"}), whole)
	behind := atPass(backfill.PassTail, func() { db.Exec("INSERT INTO numbers VALUES (-5)") })
	lost := atPass(backfill.PassSweep, func() {
		db.Exec("DELETE FROM pgbackfill.segments WHERE pass = 3; UPDATE pgbackfill.runs SET pass = 2")
	})
	join(t, db, plan, part{observer: backfill.Tee(behind, lost)}).finished()
	if n := pgtest.One[int](db, "SELECT count(*) FROM numbers WHERE n <> 7"); n != 0 {
		t.Errorf("%d rows are not done", n)
	}
}

// Chunks of the walk that are gone while the run is in its last pass are done again.
//
// Made to fail: with a look at the last pass only, the run fails with the gap in the walk.
func TestWalkThatIsOpenAgain(t *testing.T) {
	t.Parallel()
	db := installed(t, numbered(100))
	plan := planned(t, db, counts("numbers"), every(50))
	w := join(t, db, plan, part{observer: atPass(backfill.PassTail, func() {
		db.Exec("UPDATE numbers SET n = 0 WHERE id > (SELECT through[1]::int FROM pgbackfill.chunks WHERE segment = 2 AND seq = 1) AND id <= 100")
		db.Exec("DELETE FROM pgbackfill.chunks WHERE segment = 2 AND seq > 1")
	})})
	w.finished()
	onceEach(t, db, "numbers")
	tiled(t, db, plan, w.run.ID())
}

// A name that leads to a standby for a moment, as it does after a failover, is waited for: no connection to a standby is
// kept, since it would stay one.
//
// Made to fail: with the refusal of BEGIN READ WRITE (0A000) taken for an error that will not pass the run fails; with the
// connection kept, it is tried for ever.
func TestStandbyForAMoment(t *testing.T) {
	t.Parallel()
	primary := pgtest.Cluster(t, localpg.Options{})
	db := prepared(t, pgtest.NewOn(t, primary), numbered(100))
	plan := planned(t, db, counts("numbers"), whole)
	plan.Pace.Workers = 1
	standby := pgtest.Standby(t, primary, localpg.StandbyOptions{})
	p, dsn := between(t, primary, db.DSN())
	var name atomic.Pointer[string]
	name.Store(&dsn)
	observe, stopped, goOn := stopper(3)
	defer goOn()
	w := join(t, db, plan, part{observer: observe, connect: func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, *name.Load()) }})
	<-stopped
	if err := standby.CatchUp(t.Context(), primary); err != nil {
		t.Fatal(err)
	}
	elsewhere := standby.DSN(db.Name())
	name.Store(&elsewhere)
	p.CutAll()
	goOn()
	until(w, "a word about the standby", func(e backfill.Waiting) bool { return strings.Contains(e.Reason, "0A000") })
	name.Store(&dsn)
	w.finished()
	onceEach(t, db, "numbers")
}
