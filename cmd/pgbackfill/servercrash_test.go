package main

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// ledgerRow names one commit of a chunk: a chunk that is done again has another beginning.
const ledgerRow = "segment || '/' || seq || ' ' || started_at"

// Promise 1 on the other side of the wire: the server is ended with SIGKILL three times while one
// process works, and started again. The process connects again by itself and ends with 0; every
// row is changed exactly once.
//
// With asynchronous commit, and with the server's own writer of the log stopped, a crash takes
// chunks that were acknowledged: the test shows that rows of the ledger it had read are gone. What
// the process remembers is then ahead of the ledger.
//
// It failed when a lost connection was not tried again; and, with asynchronous commit, when a worker kept its
// watermark over a lost connection and the ledger did not prove contiguity (chunks that vanished were left out).
// Either of the two is enough by itself.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// settings of the server, args of the program.
		settings map[string]string
		args     []string
		// vanish is whether acknowledged chunks must be seen to vanish.
		vanish bool
		seed   uint64
	}{
		{name: "synchronous commit", seed: 1, args: []string{"--set", "synchronous_commit=on"}},
		{
			name: "asynchronous commit", seed: 2, vanish: true,
			// Whoever writes a page of the table writes the log first.
			settings: map[string]string{"wal_buffers": "64MB", "shared_buffers": "256MB", "bgwriter_lru_maxpages": "0", "autovacuum": "off"},
			args:     []string{"--set", "synchronous_commit=off"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const rows, crashes = 60_000, 3
			random := rand.New(rand.NewPCG(c.seed, c.seed))
			db := pgtest.NewOn(t, pgtest.Cluster(t, localpg.Options{Name: "crashed", Settings: c.settings}))
			dir := t.TempDir()
			counters(db, rows)
			job := write(t, dir, "count.yaml", counterJob)
			p := start(t, db.DSN(), dir, append([]string{"run", "--yes", job}, c.args...)...)
			vanished, stayed := 0, 0
			for crash := range crashes {
				target := int64(rows/100) * int64(crash+1) / (crashes + 2)
				if c.vanish {
					stopLogWriter(t, db)
					awaitChunks(t, db, p, target/2)
					db.Exec("CHECKPOINT") // what is there by now stays
				}
				awaitChunks(t, db, p, target)
				<-time.After(time.Duration(random.Int64N(int64(50 * time.Millisecond)))) // any instant: this is the fault
				seen := pgtest.All[string](db, "SELECT "+ledgerRow+" FROM pgbackfill.chunks")
				if err := db.Server().Kill(); err != nil {
					t.Fatal(err)
				}
				<-time.After(time.Duration(random.Int64N(int64(time.Second)))) // how long the server is away
				if err := db.Server().Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				db.Pool().Reset()
				gone := pgtest.One[int](db, "SELECT count(*) FROM unnest($1::text[]) AS seen WHERE seen NOT IN (SELECT "+ledgerRow+" FROM pgbackfill.chunks)", seen)
				t.Logf("crash %d (seed %d): %d chunks were seen, %d of them are gone", crash, c.seed, len(seen), gone)
				vanished, stayed = vanished+gone, stayed+len(seen)-gone
			}
			if code := p.wait(t, 2*time.Minute); code != 0 {
				t.Fatalf("the process that lived through %d crashes exits with %d (seed %d); it said:\n%s", crashes, code, c.seed, p.out)
			}
			exactlyOnce(t, db, rows)
			if c.vanish && (vanished == 0 || stayed == 0) {
				t.Errorf("%d acknowledged chunks vanished and %d stayed: this test has proven nothing", vanished, stayed)
			}
			if !c.vanish && vanished > 0 {
				t.Errorf("%d chunks vanished that were committed synchronously", vanished)
			}
		})
	}
}

// awaitChunks waits until the ledger of all runs has so many rows, while a process is at work.
func awaitChunks(t *testing.T, db *pgtest.DB, p *process, target int64) {
	t.Helper()
	pgtest.Eventually(t, time.Minute, func() error {
		if p.ended() {
			t.Fatalf("the process ended early:\n%s", p.out)
		}
		if n := chunks(db); n < target {
			return errors.Join(errNotYet, errors.New(p.out.String()))
		}
		return nil
	})
}

// chunks counts the rows of the ledger.
func chunks(db *pgtest.DB) int64 {
	if !pgtest.One[bool](db, "SELECT to_regclass('pgbackfill.chunks') IS NOT NULL") {
		return 0
	}
	return pgtest.One[int64](db, "SELECT count(*) FROM pgbackfill.chunks")
}

// stopLogWriter stops the process of the server's that writes the log of asynchronous commits:
// what they say stays in the server's memory until somebody else needs it on disk.
func stopLogWriter(t *testing.T, db *pgtest.DB) {
	t.Helper()
	pid := pgtest.One[int](db, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}
