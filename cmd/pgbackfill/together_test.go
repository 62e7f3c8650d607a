package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// slowJob is counterJob at a pace that leaves time for others to come.
const slowJob = `name: count
table: public.counters
idempotent: false
update:
  set:
    counter: t.counter + 1
workers: 2
chunk: {rows: 50}
rate: 500
`

// Two and four processes are started on the same new job at the same instant, the schema not yet
// installed: one of them makes the run, all work on it, each ends with 0, and every row is
// changed exactly once; also where one of them is ended with SIGKILL in the middle.
//
// It failed when the ledger took a chunk whose number was there already (rows changed twelve times), and when a
// process whose run was finished by another took that for an error.
func TestTogether(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		processes int
		kill      bool
		seed      uint64
	}{{2, false, 1}, {2, true, 2}, {4, false, 3}, {4, true, 4}} {
		t.Run(fmt.Sprintf("%d processes, killed %t", c.processes, c.kill), func(t *testing.T) {
			t.Parallel()
			const rows = 20_000
			random := rand.New(rand.NewPCG(c.seed, c.seed))
			db, dir := pgtest.New(t), t.TempDir()
			counters(db, rows)
			job := write(t, dir, "count.yaml", slowJob)
			all := make([]*process, c.processes)
			for i := range all {
				all[i] = start(t, db.DSN(), dir, "run", "--yes", job)
			}
			awaitWorkers(t, db, all...)
			must(t, db.DSN(), dir, "set", "count", "rate=10000")
			if c.kill {
				victim := random.IntN(c.processes)
				awaitChunks(t, db, all[victim], rows/50*(10+random.Int64N(60))/100)
				all[victim].kill(t)
				if n := chunks(db); n > rows/50*95/100 {
					t.Fatalf("the kill (seed %d) was not in mid-run: %d chunks are committed", c.seed, n)
				}
				all = append(all[:victim], all[victim+1:]...)
			}
			for _, p := range all {
				if code := p.wait(t, time.Minute); code != 0 {
					t.Errorf("one of %d processes (seed %d) exits with %d; it said:\n%s", c.processes, c.seed, code, p.out)
				}
			}
			if runs := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.runs"); runs != 1 {
				t.Errorf("%d runs were made", runs)
			}
			exactlyOnce(t, db, rows)
		})
	}
}

// awaitWorkers waits until every one of the processes has committed a chunk.
func awaitWorkers(t *testing.T, db *pgtest.DB, all ...*process) {
	t.Helper()
	pgtest.Eventually(t, time.Minute, func() error {
		for _, p := range all {
			if p.ended() {
				t.Fatalf("a process ended early:\n%s", p.out)
			}
		}
		if chunks(db) == 0 {
			return errNotYet
		}
		// A worker is host/pid/random/number.
		if n := pgtest.One[int](db, "SELECT count(DISTINCT split_part(worker, '/', 2)) FROM pgbackfill.chunks"); n < len(all) {
			return fmt.Errorf("%d of %d processes have committed a chunk", n, len(all))
		}
		return nil
	})
}

// A process that is started while another is at work says that it joins it, and helps.
//
// It failed when run did not ask who is at work.
func TestJoins(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	const rows = 4000
	counters(db, rows)
	job := write(t, dir, "count.yaml", slowJob)
	first := start(t, db.DSN(), dir, "run", "--yes", job)
	awaitWorkers(t, db, first)
	second := start(t, db.DSN(), dir, "run", "--yes", job)
	awaitWorkers(t, db, first, second)
	must(t, db.DSN(), dir, "set", "count", "rate=100000")
	for _, p := range []*process{first, second} {
		if code := p.wait(t, time.Minute); code != 0 {
			t.Errorf("exit code %d; it said:\n%s", code, p.out)
		}
	}
	if said := first.out.String(); !strings.Contains(said, "run started") || strings.Contains(said, "run joined") {
		t.Errorf("the first process does not say that it starts the run:\n%s", said)
	}
	if said := second.out.String(); !strings.Contains(said, "run joined") || strings.Contains(said, "run started") {
		t.Errorf("the second process does not say that it joins:\n%s", said)
	}
	exactlyOnce(t, db, rows)
}

// A job so small that one process has finished it while the others are still on their way to make
// the run: they find it finished, and do not change the rows once more.
//
// It failed when a process whose run was finished by another took that for an error.
func TestTogetherOnATinyTable(t *testing.T) {
	t.Parallel()
	for range 4 {
		t.Run("round", func(t *testing.T) {
			t.Parallel()
			db, dir := pgtest.New(t), t.TempDir()
			const rows = 20
			counters(db, rows)
			job := write(t, dir, "count.yaml", strings.Replace(slowJob, "rate: 500\n", "", 1))
			all := make([]*process, 4)
			for i := range all {
				all[i] = start(t, db.DSN(), dir, "run", "--yes", job)
				<-time.After(time.Duration(i) * 20 * time.Millisecond) // so that they come to every step at different times
			}
			for _, p := range all {
				if code := p.wait(t, time.Minute); code != 0 {
					t.Errorf("exit code %d; it said:\n%s", code, p.out)
				}
			}
			if runs := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.runs"); runs != 1 {
				t.Errorf("%d runs were made", runs)
			}
			exactlyOnce(t, db, rows)
		})
	}
}

// The worst case of that: a process has seen that there is no run, and is stopped just before it makes
// one; another makes the run and finishes it. The first one must not make a second run of a job that
// must not be done twice: it says that there is nothing to do.
//
// It failed when a run was made wherever no unfinished one was there: all rows were changed twice.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	const rows = 1000
	counters(db, rows)
	job := write(t, dir, "count.yaml", strings.Replace(slowJob, "rate: 500\n", "", 1))
	must(t, db.DSN(), dir, "schema", "install")

	gate, err := db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Rollback(t.Context())
	if _, err := gate.Exec(t.Context(), "LOCK TABLE pgbackfill.runs IN SHARE MODE"); err != nil { // lets look, and keeps from making
		t.Fatal(err)
	}
	late := start(t, db.DSN(), dir, "run", "--yes", job)
	pgtest.Eventually(t, time.Minute, func() error {
		if !pgtest.One[bool](db, "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'pgbackfill.runs'::regclass AND NOT granted)") {
			return errNotYet
		}
		return nil
	})
	late.stop(t)
	db.Exec("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'pgbackfill.runs'::regclass AND NOT granted")
	if err := gate.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, db.DSN(), dir, "run", "--yes", job)
	late.signal(t, syscall.SIGCONT)
	if code := late.wait(t, time.Minute); code != 0 || !strings.Contains(late.out.String(), "Nothing to do") {
		t.Errorf("exit code %d, want 0 and that there is nothing to do; it said:\n%s", code, late.out)
	}
	if runs := pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.runs"); runs != 1 {
		t.Errorf("%d runs were made", runs)
	}
	exactlyOnce(t, db, rows)
}
