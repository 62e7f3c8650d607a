package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// tripwireJob is the benchmark's job with a tripwire.
const tripwireJob = jobFile + "dual_write: {by: application}\n"

// writing is a kind of transaction of an application: the body of a loop over i, with how many rows it writes.
type writing struct {
	name, sql string
	// rows are what a transaction writes; transactions how many each measurement makes.
	rows, transactions int
}

// writings write both columns, as an application that knows of the new one does, but for the last.
var writings = []writing{
	{"insert of one row", "INSERT INTO users (id, full_name, display_name) VALUES (%d + i, 'ann lee', 'Ann Lee')", 1, 20_000},
	{"insert of 100 rows", "INSERT INTO users (id, full_name, display_name) SELECT %d + 100 * i + n, 'ann lee', 'Ann Lee' FROM generate_series(1, 100) AS n", 100, 2_000},
	{"update of both columns", "UPDATE users SET full_name = 'bo ' || chr(97 + (i + %[2]d) %% 26), display_name = 'Bo ' || chr(65 + (i + %[2]d) %% 26) WHERE id = 1 + i", 1, 20_000},
	{"update of another column", "UPDATE users SET email = 'x' || %d + i WHERE id = 1 + i", 1, 20_000},
}

// tripwire measures what the tripwire costs the application: transactions of one connection, without a network between and
// without waiting for the disk, so that nothing hides it. The least of all rounds counts.
func (b *workshop) tripwire(ctx context.Context, out io.Writer) error {
	job := filepath.Join(b.dir, "tripwire.yaml")
	if err := os.WriteFile(job, []byte(tripwireJob), 0o600); err != nil {
		return err
	}
	if err := b.createTable(ctx, "users"); err != nil {
		return err
	}
	if err := b.exec(ctx, "UPDATE users SET display_name = initcap(full_name)", "VACUUM FULL users", "ANALYZE users", "SET synchronous_commit = off"); err != nil {
		return err
	}
	taken := map[string]map[bool][]float64{}
	next := 1_000_000_000
	for round := range b.repeat {
		for _, wired := range []bool{round%2 == 0, round%2 != 0} {
			// Nothing is there to be removed in the first round, nor is the schema.
			if _, err := b.call(ctx, exitDone, "tripwire", "remove", job); err != nil && (round > 0 || !wired) {
				return err
			}
			if wired {
				if _, err := b.call(ctx, exitDone, "tripwire", "install", job); err != nil {
					return err
				}
			}
			for _, w := range writings {
				next += 1_000_000
				seconds, err := b.write(ctx, w, next)
				if err != nil {
					return err
				}
				if taken[w.name] == nil {
					taken[w.name] = map[bool][]float64{}
				}
				taken[w.name][wired] = append(taken[w.name][wired], seconds*1e6/float64(w.transactions*w.rows))
			}
			if err := b.allSeen(ctx, wired); err != nil {
				return err
			}
		}
		fmt.Fprintf(b.progress, "round %d of %d\n", round+1, b.repeat)
	}
	var drift int64
	if err := b.conn.QueryRow(ctx, "SELECT count(*) FROM pgbackfill.drift").Scan(&drift); err != nil {
		return err
	}
	if drift > 0 {
		return fmt.Errorf("%w: %d commits tripped the wire, and both columns were written", errData, drift)
	}
	fmt.Fprintf(out, "\n| µs of the server for a row, with its transaction | without | with a tripwire | more |\n|---|---|---|---|\n")
	for _, w := range writings {
		without, with := slices.Min(taken[w.name][false]), slices.Min(taken[w.name][true])
		fmt.Fprintf(out, "| %s | %.1f | %.1f | %.1f |\n", w.name, without, with, with-without)
	}
	return nil
}

// allSeen makes sure that a tripwire has looked at all writes but those of another column.
func (b *workshop) allSeen(ctx context.Context, wired bool) error {
	if !wired {
		return nil
	}
	want := 0
	for _, w := range writings[:len(writings)-1] {
		want += w.rows * w.transactions
	}
	var seen int
	err := b.conn.QueryRow(ctx, "SELECT last_value FROM "+pgsql.TripwireSequence("bench")).Scan(&seen)
	if err == nil && seen != want {
		err = fmt.Errorf("%w: the tripwire has looked at %d writes of %d", errData, seen, want)
	}
	return err
}

// write makes transactions of one kind and returns how much time of the processor the server took for them, which what else the
// machine does changes the least; where that is not known, how long they took.
func (b *workshop) write(ctx context.Context, w writing, from int) (float64, error) {
	loop := fmt.Sprintf("DO $$ BEGIN FOR i IN 0 .. %d LOOP "+w.sql+"; COMMIT; END LOOP; END $$", w.transactions-1, from)
	if err := b.exec(ctx, "CHECKPOINT"); err != nil {
		return 0, err
	}
	started, cpu := time.Now(), b.serverCPU()
	err := b.exec(ctx, loop)
	if used := b.serverCPU() - cpu; used > 0 {
		return used, err
	}
	return time.Since(started).Seconds(), err
}
