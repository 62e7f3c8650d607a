package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

func TestOfManyWhoStartAJobAtOnceOneMakesTheRun(t *testing.T) {
	t.Parallel()
	db := installed(t)
	var mu sync.Mutex
	made, ids := 0, map[backfill.RunID]bool{}
	var wg sync.WaitGroup
	for range 8 {
		s := open(t, db, Options{})
		wg.Go(func() {
			run, created, err := s.Create(t.Context(), planned("same", 100, 200))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[run.ID()] = true
			if created {
				made++
			}
		})
	}
	wg.Wait()
	if made != 1 || len(ids) != 1 {
		t.Errorf("%d runs were made, and the processes are in %v", made, ids)
	}
	if n := pgtest.One[int](db, `SELECT count(*) FROM pgbackfill.segments`); n != 2 {
		t.Errorf("there are %d segments", n)
	}
}

// Who has looked, and comes to make a run when another one was made and has ended since, is told so.
func TestWhoIsOvertakenMakesNoRun(t *testing.T) {
	t.Parallel()
	db := installed(t)
	s := open(t, db, Options{})
	first, created, err := s.CreateAfter(t.Context(), planned("once"), 0)
	if err != nil || !created {
		t.Fatalf("the first run: %v, %v", created, err)
	}
	if late, created, err := s.CreateAfter(t.Context(), planned("once"), 0); err != nil || created || late.ID() != first.ID() {
		t.Errorf("while it is unfinished: %v, %v; want the run that is there", created, err)
	}
	if err := ends(t, first); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateAfter(t.Context(), planned("once"), 0); !errors.Is(err, ErrOvertaken) {
		t.Errorf("who saw no run: %v", err)
	}
	if n := pgtest.One[int](db, `SELECT count(*) FROM pgbackfill.runs`); n != 1 {
		t.Errorf("there are %d runs", n)
	}
	if _, created, err := s.CreateAfter(t.Context(), planned("once"), first.ID()); err != nil || !created {
		t.Errorf("who saw the finished run: %v, %v", created, err)
	}
}

func TestRunIsFoundAsItWasMade(t *testing.T) {
	t.Parallel()
	db := installed(t)
	s := open(t, db, Options{Version: "1.4.2", Who: "ann@laptop"})
	if _, err := s.Newest(t.Context(), "kept"); !errors.Is(err, backfill.ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	plan := withNulls(planned("kept", 100, 200))
	plan.Job.Origin, plan.Table.OID = "users.yaml#2", 16384
	plan.Job.Where = &backfill.Expr{SQL: "t.a < 1 AND t.b > 'x & y'"}
	run := create(t, s, plan)
	info, err := s.Find(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	want := RunInfo{
		ID: run.ID(), Job: "kept", SpecHash: plan.Job.Hash(), TableOID: 16384, Table: "public.users",
		Walk:        Walk{Walk: "key", Key: plan.Key, Unique: true, SearchPath: `"$user", public`, Origin: "users.yaml#2", Segments: 3, Nulls: true},
		Fingerprint: plan.Fingerprint, State: backfill.StatePlanned, Desired: backfill.DesiredRunning, Pass: backfill.PassWalk,
		EstimatedRows: 2000, ToolVersion: "1.4.2", CreatedBy: "ann@laptop", Totals: Totals{Segments: 3, PassExpected: 2000},
	}
	got := info
	got.Spec, got.Params, got.CreatedAt = nil, nil, time.Time{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var job backfill.Job
	if err := json.Unmarshal(info.Spec, &job); err != nil || job.Where.SQL != plan.Job.Where.SQL {
		t.Errorf("%+v, %v", job, err)
	}
	later := planned("kept", 100, 300, 400)
	later.Key, later.SearchPath = nil, "other"
	info.Resume(later)
	if later.SearchPath != plan.SearchPath || len(later.Key) != 1 || later.Segments != nil {
		t.Errorf("%+v", later)
	}
	if len(Compare(info, later, "1.4.9")) == 0 {
		t.Error("the changed job went unnoticed")
	}

	if err := run.Supersede(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(t.Context(), "kept"); !errors.Is(err, backfill.ErrNotFound) {
		t.Errorf("no run is unfinished: %v", err)
	}
	again := create(t, s, plan)
	if newest := state(t, s, "kept"); newest.ID != again.ID() {
		t.Errorf("the newest run is %d, want %d", newest.ID, again.ID())
	}
	if all, err := s.Runs(t.Context()); err != nil || len(all) != 2 || all[0].ID != run.ID() {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestUnreadableIsNotNotFound(t *testing.T) {
	t.Parallel()
	db := installed(t)
	s := open(t, db, Options{})
	run := create(t, s, planned("torn", 100))
	db.Exec(`UPDATE pgbackfill.runs SET plan = '[1]'`)
	_, err := s.Find(t.Context(), "torn")
	wants(t, err, "run 1", "pgbackfill.runs.plan cannot be read", "backup")
	if !errors.Is(err, backfill.ErrUnreadable) || errors.Is(err, backfill.ErrNotFound) {
		t.Error(err)
	}
	if err := ends(t, run); !errors.Is(err, backfill.ErrUnreadable) {
		t.Error(err)
	}
	db.Exec(`DELETE FROM pgbackfill.runs`)
	if _, err := run.Beat(t.Context(), backfill.Beat{}); !errors.Is(err, backfill.ErrNotFound) {
		t.Error(err)
	}
}

func TestHeartbeatTellsTheOthersAndBringsOrders(t *testing.T) {
	t.Parallel()
	db := installed(t)
	ann, bob := open(t, db, Options{Process: "ann"}), open(t, db, Options{Process: "bob"})
	run := create(t, ann, planned("beats", 100, 200, 300))
	other := bob.Attach(state(t, bob, "beats"))
	if _, err := run.Beat(t.Context(), backfill.Beat{Segments: []int{1, 3}, Workers: 2, ChunkRows: 500, RowsPerSecond: 1500, Waiting: "replica lag 4s"}); err != nil {
		t.Fatal(err)
	}
	if got := segmentsOf(t, other, backfill.PassWalk); got[1].Owner != "ann" || got[2].Owner != "" || got[3].Owner != "ann" {
		t.Errorf("what bob sees: %+v", got)
	}
	if got := segmentsOf(t, run, backfill.PassWalk); got[1].Owner != "" {
		t.Errorf("ann is told to leave %q alone", got[1].Owner)
	}
	p := state(t, bob, "beats").Processes
	if len(p) != 1 || !p[0].Live || p[0].Waiting != "replica lag 4s" || p[0].RowsPerSecond != 1500 || !cmp.Equal(p[0].Segments, []int{1, 3}) {
		t.Errorf("%+v", p)
	}

	if _, err := bob.SetOverrides(t.Context(), "beats", backfill.Pace{Rate: 5000, LockTimeout: time.Second}, "bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.SetOverrides(t.Context(), "beats", backfill.Pace{Rate: backfill.Off, Workers: 8}, "bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.SetDesired(t.Context(), "beats", backfill.DesiredPaused, "bob", "replica rebuild"); err != nil {
		t.Fatal(err)
	}
	orders, err := run.Beat(t.Context(), backfill.Beat{})
	want := backfill.Orders{
		State: backfill.StatePlanned, Desired: backfill.DesiredPaused, Reason: "paused by bob: replica rebuild",
		Pass: backfill.PassWalk, Overrides: backfill.Pace{Rate: backfill.Off, Workers: 8, LockTimeout: time.Second},
	}
	if diff := cmp.Diff(want, orders); diff != "" || err != nil {
		t.Error(err, diff)
	}

	db.Exec(`UPDATE pgbackfill.processes SET heartbeat_at = heartbeat_at - interval '11 s', segments = '{1}'`)
	if got := segmentsOf(t, other, backfill.PassWalk); got[1].Owner != "" {
		t.Error("a silent process still owns a segment")
	}
	if err := run.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := state(t, bob, "beats").Processes; len(p) != 0 {
		t.Errorf("%+v", p)
	}
	events, err := bob.Events(t.Context(), run.ID())
	var what []string
	for _, e := range events {
		what = append(what, e.What)
	}
	if diff := cmp.Diff([]string{"created", "limits changed", "limits changed", "paused asked for", "left"}, what); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

// Hundreds of heartbeats leave the table of processes as small as one does. On a server of its
// own: a long transaction anywhere, such as another test's, keeps the server from pruning.
func TestHeartbeatsDoNotBloat(t *testing.T) {
	t.Parallel()
	db := pgtest.NewOn(t, pgtest.Cluster(t, localpg.Options{}))
	if err := Install(t.Context(), db.Conn(), InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	run := create(t, open(t, db, Options{}), planned("hot", 100))
	for range 300 {
		if _, err := run.Beat(t.Context(), backfill.Beat{Segments: []int{1, 2, 3}}); err != nil {
			t.Fatal(err)
		}
	}
	if pages := pgtest.One[int](db, `SELECT pg_relation_size('pgbackfill.processes') / 8192`); pages > 1 {
		t.Errorf("the table has %d pages", pages)
	}
}

// Of several processes each says what state the run is in by what it saw a moment ago; what is out of date does not count.
//
// Made to fail: without the look at how far the run has got, bob's "running" took the place of "finishing".
func TestStatesOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	db := installed(t)
	ann, bob := open(t, db, Options{}), open(t, db, Options{})
	run := create(t, ann, planned("states", 100))
	other := bob.Attach(state(t, bob, "states"))
	set := func(r *Run, to, want backfill.State) {
		t.Helper()
		if err := r.SetState(t.Context(), to, "because"); err != nil {
			t.Fatal(err)
		}
		if got := state(t, ann, "states").State; got != want {
			t.Errorf("after %q it is %q, want %q", to, got, want)
		}
	}
	desire := func(d backfill.Desired) {
		t.Helper()
		if _, err := ann.SetDesired(t.Context(), "states", d, "ann", ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*Run{run, other} {
		if _, err := r.Beat(t.Context(), backfill.Beat{}); err != nil {
			t.Fatal(err)
		}
	}
	set(run, backfill.StateRunning, backfill.StateRunning)
	if state(t, ann, "states").StartedAt == nil {
		t.Error("it has not started")
	}
	set(other, backfill.StatePaused, backfill.StateRunning) // what bob thought before somebody resumed it
	desire(backfill.DesiredPaused)
	set(run, backfill.StateRunning, backfill.StateRunning)
	set(run, backfill.StatePaused, backfill.StatePaused)
	set(other, backfill.StateRunning, backfill.StatePaused) // what bob thought before it was paused
	desire(backfill.DesiredRunning)
	set(other, backfill.StateRunning, backfill.StateRunning)
	if err := other.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	set(run, backfill.StatePaused, backfill.StatePaused) // nobody else is at work
	set(run, backfill.StateFailed, backfill.StateFailed)
	set(run, backfill.StateRunning, backfill.StateRunning)
	set(other, backfill.StatePreparing, backfill.StateRunning) // what bob thought before ann had prepared it
	set(run, backfill.StateFinishing, backfill.StateFinishing)
	set(other, backfill.StateRunning, backfill.StateFinishing) // what bob thought before ann was done walking
	if err := run.Pause(t.Context(), "half of the chunks fail"); err != nil {
		t.Fatal(err)
	}
	if o, err := run.Beat(t.Context(), backfill.Beat{}); err != nil || o.Desired != backfill.DesiredPaused || o.Reason != "half of the chunks fail" {
		t.Errorf("%+v, %v", o, err)
	}
	wants(t, run.SetState(t.Context(), backfill.StateFinished, ""), "Finish")
	desire(backfill.DesiredCancelled)
	_, err := bob.SetDesired(t.Context(), "states", backfill.DesiredRunning, "bob", "")
	wants(t, err, "asked for it to be cancelled", "pgbackfill cancel states")
	if err := run.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = other.SetState(t.Context(), backfill.StateFailed, "late")
	wants(t, err, "it is cancelled")
	if _, err := bob.SetDesired(t.Context(), "states", backfill.DesiredPaused, "bob", ""); !errors.Is(err, backfill.ErrNotFound) {
		t.Errorf("pausing what is over: %v", err)
	}
}

func TestStoreFindsItsWayBackToTheServer(t *testing.T) {
	t.Parallel()
	db := installed(t)
	s := open(t, db, Options{})
	run := create(t, s, planned("lost", 100))
	for range 3 {
		db.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		if _, err := run.Beat(t.Context(), backfill.Beat{}); err != nil {
			t.Fatal(err)
		}
		db.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		if err := run.SetState(t.Context(), backfill.StateRunning, ""); err != nil {
			t.Fatal(err)
		}
	}
	// A call that is given up leaves the store usable.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := run.Beat(gone, backfill.Beat{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a call given up: %v", err)
	}
	if _, err := run.Beat(t.Context(), backfill.Beat{}); err != nil {
		t.Error(err)
	}
}

func TestServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := nobody.Addr().String()
	nobody.Close()
	began := time.Now()
	if _, err := Open(t.Context(), connecting("postgres://u:secret@"+address+"/d"), Options{}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("at the start: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s to say so", took)
	}

	db := installed(t)
	tries := 0
	s, err := Open(t.Context(), func(ctx context.Context) (*pgx.Conn, error) {
		if tries++; tries == 1 {
			return pgx.Connect(ctx, db.DSN())
		}
		return pgx.Connect(ctx, "postgres://u:secret@"+address+"/d")
	}, Options{Patience: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	run := create(t, s, planned("away", 100))
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Beat(t.Context(), backfill.Beat{}); err == nil || tries < 3 {
		t.Errorf("after %d tries: %v", tries, err)
	}
}
