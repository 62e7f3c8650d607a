package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

const (
	exitDone        = 0
	exitInterrupted = 130
)

// beginning is how soon a process of pgbackfill committed its first chunk. Times are seconds since the process was
// started, medians of all rounds but Worst.
type beginning struct {
	Case string `json:"case"`
	// Process is what the program needs to start at all: `pgbackfill --version`.
	Process float64 `json:"process_seconds"`
	// Planned is when the run was recorded: planning was over, and the schema installed. 0 where a run was resumed.
	Planned float64 `json:"planned_seconds,omitempty"`
	// FirstChunk is when the first chunk was committed, Worst the longest of all rounds.
	FirstChunk float64 `json:"first_chunk_seconds"`
	Worst      float64 `json:"worst_seconds"`
}

// planning is how many pages of a table, and of its index, planning a job has looked at.
type planning struct {
	Rows  int64 `json:"rows"`
	Pages int64 `json:"pages"`
}

// starting is what was measured about beginnings.
type starting struct {
	// Planning is of the table, and of one of a tenth of its rows before it.
	Planning []planning `json:"planning"`
	Fresh    beginning  `json:"fresh"`
	Resumed  beginning  `json:"resumed"`
	// LedgerRows is how many rows the ledger had that was resumed from.
	LedgerRows int64 `json:"ledger_rows"`
	// Rest is how long the last process took to the end of the run, over what the ledger left to do: it shows that the
	// ledger was one that the engine believes.
	Rest float64 `json:"rest_seconds"`
}

// starts measures how soon the first chunk is committed: of a new run on a large table, and of a run with a long ledger.
func starts(ctx context.Context, b *workshop, rounds int, keep func(*result) error) error {
	t, err := tableNamed("sequential")
	if err != nil {
		return err
	}
	rows := b.sized(10_000_000)
	ledger := min(b.ledgerRows, rows/2)
	if err := b.configure(ctx, t, rows); err != nil {
		return err
	}
	var looked []planning
	for _, n := range []int{rows / 10, rows} {
		p, err := b.planned(ctx, t, n)
		if err != nil {
			return err
		}
		looked = append(looked, p)
	}
	s, err := b.starting(ctx, t, rows, ledger, rounds)
	if err != nil {
		return err
	}
	s.Planning = looked
	return keep(&result{
		Part: "start", Machine: b.describe(ctx), Command: b.command, Rows: rows, Seed: b.seed, Rounds: rounds, Missing: b.missing(), Start: s,
	})
}

// planned makes the table users of so many rows, and plans its job.
func (b *workshop) planned(ctx context.Context, t table, rows int) (planning, error) {
	p := planning{Rows: int64(rows)}
	fmt.Fprintf(b.progress, "start: making %s rows\n", human.Count(p.Rows))
	if err := b.forget(ctx); err != nil {
		return p, err
	}
	steps := append(sequential, "DROP TABLE IF EXISTS users, template")
	steps = append(steps, t.copySQL("users", t.rowsSQL(rows, b.seed))...)
	if err := b.exec(ctx, append(steps, "VACUUM ANALYZE users", "RESET ALL")...); err != nil {
		return p, err
	}
	if err := b.checkpoint(ctx); err != nil {
		return p, err
	}
	job, err := b.jobFile(t.job())
	if err != nil {
		return p, err
	}
	before, err := b.looked(ctx)
	if err != nil {
		return p, err
	}
	if _, err := b.call(ctx, exitDone, "plan", job); err != nil {
		return p, err
	}
	// What a session has counted is told a moment after its client has ended.
	for until := time.Now().Add(statsPatience); p.Pages == 0 && time.Now().Before(until); {
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return p, err
		}
		after, err := b.looked(ctx)
		if err != nil {
			return p, err
		}
		p.Pages = after - before
	}
	return p, nil
}

// looked is how many pages of the table users and of its index were looked at since it was made, by sessions that have told.
func (b *workshop) looked(ctx context.Context) (pages int64, err error) {
	if b.version >= 150000 {
		if err := b.exec(ctx, "SELECT pg_stat_force_next_flush()"); err != nil {
			return 0, err
		}
	}
	err = b.conn.QueryRow(ctx, `SELECT heap_blks_read + heap_blks_hit + COALESCE(idx_blks_read + idx_blks_hit, 0) FROM pg_statio_user_tables WHERE relid = 'users'::regclass`).Scan(&pages)
	return pages, err
}

func (b *workshop) starting(ctx context.Context, t table, rows, ledger, rounds int) (*starting, error) {
	process, err := b.processTime(ctx, rounds)
	if err != nil {
		return nil, err
	}
	s := &starting{}
	s.Fresh, err = b.beginnings(ctx, t.job(), rounds, b.forget)
	if err != nil {
		return nil, err
	}
	s.Fresh.Case, s.Fresh.Process = fmt.Sprintf("a new run, %s rows", human.Count(int64(rows))), process
	fmt.Fprintf(b.progress, "start: making a ledger of %s rows\n", human.Count(int64(ledger)))
	if err := b.forget(ctx); err != nil {
		return nil, err
	}
	job, err := b.jobFile(t.job(byKey)) // its ledger is made up of keys
	if err != nil {
		return nil, err
	}
	if _, err := b.call(ctx, exitInterrupted, "run", job, "--yes", "--log-format", "json", "--max-chunks", "1"); err != nil {
		return nil, err
	}
	if err := b.lengthenLedger(ctx, ledger); err != nil {
		return nil, err
	}
	if err := b.conn.QueryRow(ctx, "SELECT count(*) FROM pgbackfill.chunks").Scan(&s.LedgerRows); err != nil {
		return nil, err
	}
	if s.Resumed, err = b.beginnings(ctx, t.job(byKey), rounds, func(context.Context) error { return nil }); err != nil {
		return nil, err
	}
	s.Resumed.Case, s.Resumed.Process, s.Resumed.Planned = fmt.Sprintf("resumed, %s ledger rows", human.Count(s.LedgerRows)), process, 0
	started := time.Now()
	if _, err := b.runJob(ctx, t.job(byKey)); err != nil {
		return nil, fmt.Errorf("finishing the run with the long ledger: %w", err)
	}
	s.Rest = time.Since(started).Seconds()
	return s, nil
}

func (b *workshop) processTime(ctx context.Context, rounds int) (float64, error) {
	var seconds []float64
	for range rounds {
		started := time.Now()
		if _, err := b.call(ctx, exitDone, "--version"); err != nil {
			return 0, err
		}
		seconds = append(seconds, time.Since(started).Seconds())
	}
	return median(seconds), nil
}

// beginnings starts the program with a job once a round, each time for one chunk, after what is to be done before.
func (b *workshop) beginnings(ctx context.Context, text string, rounds int, before func(context.Context) error) (beginning, error) {
	var at beginning
	job, err := b.jobFile(text)
	if err != nil {
		return at, err
	}
	var planned, first []float64
	for round := range rounds {
		if err := before(ctx); err != nil {
			return at, err
		}
		started := time.Now()
		if _, err := b.call(ctx, exitInterrupted, "run", job, "--yes", "--log-format", "json", "--max-chunks", "1"); err != nil {
			return at, err
		}
		// Server and program have the same clock. Both times are taken by the server, committed_at just before the commit.
		var p, f float64
		err := b.conn.QueryRow(ctx, `SELECT extract(epoch FROM max(r.created_at) - $1)::float8,
		       (SELECT extract(epoch FROM min(c.committed_at) - $1)::float8 FROM pgbackfill.chunks AS c WHERE c.committed_at > $1)
		  FROM pgbackfill.runs AS r`, started).Scan(&p, &f)
		if err != nil {
			return at, err
		}
		fmt.Fprintf(b.progress, "start, round %d of %d: the first chunk after %.3f s\n", round+1, rounds, f)
		planned, first = append(planned, p), append(first, f)
		at.Worst = max(at.Worst, f)
	}
	at.Planned, at.FirstChunk = median(planned), median(first)
	return at, nil
}

// lengthenLedger adds ledger rows to the segments of the walk, as if their chunks had been small: each begins where the
// one before ended, and the totals add up. A tenth of every segment is left to do. The keys are 1, 2, 3, ….
func (b *workshop) lengthenLedger(ctx context.Context, rows int) error {
	return b.exec(ctx, fmt.Sprintf(`INSERT INTO pgbackfill.chunks
  (run_id, segment, seq, after, through, follows, rows_seen, rows_changed, unmatched, multiple,
   total_seen, total_changed, total_unmatched, total_multiple, total_duration, started_at, duration, attempt, worker)
SELECT s.run_id, s.no, s.seq + i,
       CASE WHEN s.seq + i = 1 THEN s.after ELSE ARRAY[(s.low + (i - 1) * s.step)::text] END, ARRAY[(s.low + i * s.step)::text], true,
       s.step, ARRAY[s.step], 0, 0, s.seen + i * s.step, s.changed + i * s.step, 0, 0,
       s.spent + i * interval '1 ms', clock_timestamp(), '1 ms', 1, 'bench'
  FROM (SELECT s.*, (s.high - s.low) * 9 / 10 / s.more AS step
          FROM (SELECT s.run_id, s.no, s.after, COALESCE(m.seq, 0) AS seq, COALESCE(m.total_seen, 0) AS seen,
                       COALESCE(m.total_changed, 0) AS changed, COALESCE(m.total_duration, '0') AS spent,
                       (COALESCE(m.through, s.after, '{0}'))[1]::bigint AS low, (s.through)[1]::bigint AS high,
                       %d / count(*) OVER () AS more
                  FROM pgbackfill.segments AS s
                  LEFT JOIN LATERAL (SELECT c.* FROM pgbackfill.chunks AS c
                                      WHERE c.run_id = s.run_id AND c.segment = s.no ORDER BY c.seq DESC LIMIT 1) AS m ON true
                 WHERE m.through IS DISTINCT FROM s.through) AS s) AS s,
       generate_series(1, s.more) AS i
 ORDER BY s.no, i`, rows), "VACUUM ANALYZE pgbackfill.chunks")
}

func (s *starting) planningGrid() grid {
	g := grid{{"pages that planning looks at", "rows", "pages"}}
	for _, p := range s.Planning {
		g = append(g, []string{"", human.Count(p.Rows), human.Count(p.Pages)})
	}
	return g
}

func (s *starting) grid() grid {
	g := grid{{"seconds from the start of the process", "a process at all", "planned and recorded", "first chunk", "worst"}}
	for _, b := range []beginning{s.Fresh, s.Resumed} {
		planned := none
		if b.Planned > 0 {
			planned = fmt.Sprintf("%.3f", b.Planned)
		}
		g = append(g, []string{b.Case, fmt.Sprintf("%.3f", b.Process), planned, fmt.Sprintf("%.3f", b.FirstChunk), fmt.Sprintf("%.3f", b.Worst)})
	}
	return g
}
