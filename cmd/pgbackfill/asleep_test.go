package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// sleepyRows and sleepyJob are small: 16 segments of 500 rows, each 25 chunks. The sleeper is slow
// enough to be met in the middle.
const sleepyRows = 8000

const sleepyJob = `name: count
table: public.counters
idempotent: false
update:
  set:
    counter: t.counter + 1
workers: 2
chunk: {rows: 20}
`

// sleeping is how a process is asleep.
type sleeping struct {
	name string
	// idle is how long the server keeps its open transactions.
	idle string
	// inFlight is whether there are such, with rows that are changed.
	inFlight bool
	// ended is whether the server has ended them before it wakes up.
	ended bool
}

var sleeps = []sleeping{
	{name: "between chunks", idle: "2s"},
	{name: "in flight", idle: "2s", inFlight: true, ended: true},
	// Here nothing but the ledger keeps the sleeper from committing.
	{name: "in flight, still open", idle: "60s", inFlight: true},
}

// Promise 2: a process that slept (SIGSTOP) through its own replacement commits nothing when it
// wakes up. It is woken when another one has finished the run, when the run is cancelled, and when
// a new run has taken its place; and it is woken when another has divided its segments and works on
// them: then it goes on elsewhere. In every case a row is changed as often as the ledgers say.
//
// It failed, in every case, when the ledger took a chunk whose number was there already; when cancelling and replacing
// wrote no fences (chunks in the ledger after the end of the run); and, divided and finished, when a process whose run
// was finished by another took that for an error.
func TestAsleep(t *testing.T) {
	t.Parallel()
	fates := map[string]func(*sleeper, *testing.T){
		"divided":    (*sleeper).divided,
		"finished":   (*sleeper).finished,
		"cancelled":  (*sleeper).cancelled,
		"superseded": (*sleeper).superseded,
	}
	for _, how := range sleeps {
		for name, fate := range fates {
			if name == "finished" && how.inFlight && !how.ended {
				continue // the rows are locked: nobody can finish the run
			}
			t.Run(how.name+", "+name, func(t *testing.T) {
				t.Parallel()
				fate(fallAsleep(t, how), t)
			})
		}
	}
}

// sleeper is a process that has been stopped.
type sleeper struct {
	*process
	how      sleeping
	db       *pgtest.DB
	dir, job string
	// backends are those of its transactions in flight.
	backends []int32
}

// fallAsleep starts a run and stops its process in the middle.
func fallAsleep(t *testing.T, how sleeping) *sleeper {
	t.Helper()
	s := &sleeper{how: how, db: pgtest.New(t), dir: t.TempDir()}
	counters(s.db, sleepyRows)
	s.job = write(t, s.dir, "count.yaml", sleepyJob)
	s.process = start(t, s.db.DSN(), s.dir, "run", "--yes", "--rate", "200", "--set", "timeouts.lock=60s", "--set", "timeouts.idle="+how.idle, s.job)
	awaitChunks(t, s.db, s.process, 6)
	// The others leave a segment alone whose process has said in a heartbeat that it has it.
	s.await(t, 2, "SELECT COALESCE(max(cardinality(segments)), 0) FROM pgbackfill.processes")
	if how.inFlight {
		s.stopInFlight(t)
	} else {
		s.stopBetweenChunks(t)
	}
	return s
}

// inTransaction are the workers' transactions that have changed something.
const inTransaction = `FROM pg_stat_activity
	WHERE datname = current_database() AND application_name LIKE 'pgbackfill count %' AND backend_xid IS NOT NULL`

func (s *sleeper) stopBetweenChunks(t *testing.T) {
	t.Helper()
	pgtest.Eventually(t, time.Minute, func() error {
		s.stop(t)
		if pgtest.One[int](s.db, "SELECT count(*) "+inTransaction) == 0 {
			return nil
		}
		s.signal(t, syscall.SIGCONT)
		return errNotYet
	})
}

// stopInFlight stops the process while both its workers wait for rows that are locked, and lets the
// server carry out their statements: two transactions are open that have changed a chunk, and
// nobody ends them.
func (s *sleeper) stopInFlight(t *testing.T) {
	t.Helper()
	gate, err := s.db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Rollback(t.Context())
	if _, err := gate.Exec(t.Context(), "SELECT FROM counters WHERE counter = 0 FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	s.await(t, 2, "SELECT count(*) "+inTransaction+" AND wait_event_type = 'Lock'")
	s.backends = pgtest.All[int32](s.db, "SELECT pid "+inTransaction)
	s.stop(t)
	if err := gate.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.await(t, 2, s.open())
}

// open counts the sleeper's transactions that the server still keeps.
func (s *sleeper) open() string {
	return fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ('{%s}') AND state = 'idle in transaction'",
		strings.Trim(strings.ReplaceAll(fmt.Sprint(s.backends), " ", ","), "[]"))
}

// stop stops the process with SIGSTOP and returns when none of its threads runs any more: on a busy
// machine that takes a while.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGSTOP)
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
		if err == nil && status.Stopped() {
			return
		}
		if !errors.Is(err, syscall.EINTR) {
			t.Fatalf("the process has not stopped: %v, %v; it said:\n%s", status, err, p.out)
		}
	}
}

// await waits until a count is so much.
func (s *sleeper) await(t *testing.T, want int, count string) {
	t.Helper()
	pgtest.Eventually(t, time.Minute, func() error {
		if n := pgtest.One[int](s.db, count); n != want {
			return fmt.Errorf("%d, want %d: %s", n, want, count)
		}
		return nil
	})
}

// divided: another process divides one of the sleeper's segments, having run out of others, and is at
// work on the halves when the sleeper wakes up: their rows are locked until then. Both end well.
func (s *sleeper) divided(t *testing.T) {
	gate, err := s.db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Rollback(t.Context())
	if _, err := gate.Exec(t.Context(), `SELECT FROM counters AS t WHERE EXISTS (
		SELECT FROM pgbackfill.segments AS s WHERE t.id > COALESCE(s.after[1]::int, -2147483648) AND t.id <= s.through[1]::int
		   AND EXISTS (SELECT FROM pgbackfill.chunks AS c WHERE c.segment = s.no)) FOR UPDATE SKIP LOCKED`); err != nil {
		t.Fatal(err)
	}
	other := start(t, s.db.DSN(), s.dir, "run", "--yes", s.job)
	s.await(t, 1, fmt.Sprintf(`SELECT count(*) FROM pgbackfill.chunks AS c WHERE fence = 'split' AND EXISTS (
		SELECT FROM pgbackfill.chunks AS p WHERE p.segment = c.segment AND p.seq = c.seq - 1 AND p.worker LIKE '%%/%d/%%')`, s.cmd.Process.Pid))
	s.signal(t, syscall.SIGCONT)
	if err := gate.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*process{s.process, other} {
		if code := p.wait(t, time.Minute); code != 0 {
			t.Errorf("exit code %d; it said:\n%s", code, p.out)
		}
	}
	exactlyOnce(t, s.db, sleepyRows)
}

// finished: another process takes everything over and finishes the run.
func (s *sleeper) finished(t *testing.T) {
	must(t, s.db.DSN(), s.dir, "run", "--yes", "--rate", "20000", s.job)
	exactlyOnce(t, s.db, sleepyRows)
	s.wakes(t, 0, "finished")
	exactlyOnce(t, s.db, sleepyRows)
}

// cancelled: somebody cancels the run. A transaction of the sleeper's that is still open has
// recorded nothing yet, and so holds nobody up.
func (s *sleeper) cancelled(t *testing.T) {
	if s.how.ended {
		s.await(t, 0, s.open())
	}
	must(t, s.db.DSN(), s.dir, "cancel", "--yes", "count")
	s.wakes(t, 1, "cancelled by")
	s.asTheLedgersSay(t)
}

// superseded: another process begins the job anew. Where the sleeper still holds its locks it is
// woken as soon as the old run is closed, else when the new one is finished.
func (s *sleeper) superseded(t *testing.T) {
	other := start(t, s.db.DSN(), s.dir, "run", "--yes", "--again", "--accept", "not-idempotent", "--rate", "20000", s.job)
	if s.how.inFlight && !s.how.ended {
		s.await(t, 1, "SELECT count(*) FROM pgbackfill.runs WHERE id = 1 AND state = 'cancelled'")
	} else if code := other.wait(t, time.Minute); code != 0 {
		t.Errorf("the new run's process exits with %d; it said:\n%s", code, other.out)
	}
	s.wakes(t, 1, "replaced by a new run")
	if code := other.wait(t, time.Minute); code != 0 {
		t.Errorf("the new run's process exits with %d; it said:\n%s", code, other.out)
	}
	s.asTheLedgersSay(t)
	if least := pgtest.One[int](s.db, "SELECT min(counter) FROM counters"); least != 1 {
		t.Errorf("the new run left out rows: the least counter is %d", least)
	}
}

// wakes wakes the sleeper up: it writes nothing, says what has happened, and ends.
func (s *sleeper) wakes(t *testing.T, code int, says string) {
	t.Helper()
	if still := pgtest.One[int](s.db, s.open()); (still == 2) != (s.how.inFlight && !s.how.ended) {
		t.Errorf("the server keeps %d of the sleeper's transactions", still)
	}
	const wrote = "SELECT md5(string_agg(c::text, ',' ORDER BY run_id, segment, seq)) FROM pgbackfill.chunks AS c WHERE run_id = 1"
	before := pgtest.One[string](s.db, wrote)
	s.signal(t, syscall.SIGCONT)
	if got := s.wait(t, time.Minute); got != code || !strings.Contains(s.out.String(), says) {
		t.Errorf("the sleeper exits with %d, want %d and %q; it said:\n%s", got, code, says, s.out)
	}
	if after := pgtest.One[string](s.db, wrote); after != before {
		t.Error("the sleeper has written to the ledger after it was replaced")
	}
}

// asTheLedgersSay asserts that every row was changed once for every chunk that held it.
func (s *sleeper) asTheLedgersSay(t *testing.T) {
	t.Helper()
	const differ = `SELECT count(*) FROM counters AS t WHERE counter <> (
		SELECT count(*) FROM pgbackfill.chunks AS c
		 WHERE fence IS NULL AND t.id > COALESCE(after[1]::int, -2147483648) AND t.id <= through[1]::int)`
	if n := pgtest.One[int](s.db, differ); n != 0 {
		t.Errorf("%d rows were changed another number of times than the ledgers say", n)
	}
	if n := pgtest.One[int](s.db, "SELECT count(*) FROM counters WHERE counter = 0 OR counter > 1"); n == 0 {
		t.Error("every row was changed once: the run was not stopped in the middle, and this test has proven nothing")
	}
}
