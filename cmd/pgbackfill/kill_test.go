package main

import (
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

const counterJob = `name: count
table: public.counters
idempotent: false
update:
  set:
    counter: t.counter + 1
workers: 4
chunk: {rows: 100}
rate: 20000
`

const counterRows = 200_000

func counters(db *pgtest.DB, rows int) {
	db.Exec("CREATE TABLE counters (id int PRIMARY KEY, counter int NOT NULL DEFAULT 0, pad text DEFAULT 'x')")
	db.Exec("INSERT INTO counters (id) SELECT g * 3 - 1000 FROM generate_series(1, $1::int) AS g", rows)
	db.Exec("ANALYZE counters")
}

// exactlyOnce asserts that every row was changed once, and that the ledger of the newest run
// says so too: chunks that follow one another without a gap or an overlap, and count every row once.
func exactlyOnce(t *testing.T, db *pgtest.DB, rows int64) {
	t.Helper()
	for _, off := range pgtest.All[string](db, "SELECT counter || ' in ' || count(*) || ' rows, first ' || min(id) FROM counters WHERE counter <> 1 GROUP BY counter") {
		t.Errorf("a row was not changed exactly once: counter %s", off)
	}
	if state := pgtest.One[string](db, "SELECT state FROM pgbackfill.runs ORDER BY id DESC LIMIT 1"); state != "finished" {
		t.Errorf("the run is %s", state)
	}
	const ledger = `FROM pgbackfill.chunks c WHERE c.run_id = (SELECT max(id) FROM pgbackfill.runs) AND c.fence IS NULL`
	if seen := pgtest.One[int64](db, "SELECT sum(rows_seen)::bigint "+ledger); seen != rows {
		t.Errorf("the ledger counts %d rows, the table has %d", seen, rows)
	}
	if gaps := pgtest.One[int64](db, `SELECT count(*) FROM (
		SELECT after IS DISTINCT FROM lag(through) OVER (PARTITION BY segment ORDER BY seq) AND seq > 1 AS gap,
		       seq <> row_number() OVER (PARTITION BY segment ORDER BY seq) AS jump `+ledger+`) AS x WHERE gap OR jump`); gaps != 0 {
		t.Errorf("%d chunks of the ledger do not begin where the one before ended", gaps)
	}
}

// Promise 1: killed at any instant, a run resumes with no chunk lost and none applied twice,
// also for an update that is not idempotent. SIGKILL, fifty times, each in mid-run, every other
// one with a chunk proven to be in flight: the process is stopped first, and killed only if one
// of its transactions has written and is open.
//
// It failed when the ledger row was written after the COMMIT instead of before it (chunks
// applied twice), and when a worker began a segment after its planned beginning instead of
// after its watermark.
func TestKilledFiftyTimes(t *testing.T) {
	t.Parallel()
	const kills = 50
	seed := uint64(20261122)
	random := rand.New(rand.NewPCG(seed, seed))
	db := pgtest.New(t)
	dir := t.TempDir()
	counters(db, counterRows)
	job := write(t, dir, "count.yaml", strings.Replace(counterJob, "rows: 100", "rows: 200", 1))
	const chunks = counterRows / 200
	committed := func() int64 {
		if !pgtest.One[bool](db, "SELECT to_regclass('pgbackfill.chunks') IS NOT NULL") {
			return 0
		}
		return pgtest.One[int64](db, "SELECT count(*) FROM pgbackfill.chunks")
	}
	inFlight := func() bool {
		return pgtest.One[bool](db, `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND application_name LIKE 'pgbackfill count %' AND backend_xid IS NOT NULL)`)
	}
	flying := 0
	for kill := range kills {
		p := start(t, db.DSN(), dir, "run", "--yes", job)
		// Spread over the run, so that the last one still finds it in the middle.
		target := int64(chunks/50) + int64(kill)*chunks*9/10/kills + random.Int64N(chunks/100)
		pgtest.Eventually(t, time.Minute, func() error {
			if p.ended() {
				t.Fatalf("kill %d (seed %d): the run ended before it was killed:\n%s", kill, seed, p.out)
			}
			if committed() < target {
				return errNotYet
			}
			return nil
		})
		if kill%2 == 0 {
			pgtest.Eventually(t, time.Minute, func() error {
				p.stop(t)
				if inFlight() {
					return nil
				}
				p.signal(t, syscall.SIGCONT)
				return errNotYet
			})
			flying++
		} else {
			<-time.After(time.Duration(random.Int64N(int64(20 * time.Millisecond)))) // any instant: this is the fault, not a wait for something
		}
		p.kill(t)
		if n := committed(); n < chunks/100 || n > chunks*99/100 {
			t.Fatalf("kill %d (seed %d) was not in mid-run: %d of %d chunks committed", kill, seed, n, chunks)
		}
	}
	if flying < kills/2 {
		t.Errorf("only %d of %d kills met a chunk in flight", flying, kills)
	}
	must(t, db.DSN(), dir, "run", "--yes", job)
	exactlyOnce(t, db, counterRows)
}
