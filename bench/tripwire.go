package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// wiring is what a kind of transaction costs without and with a tripwire: microseconds of the server's processor for a row.
type wiring struct {
	Name    string  `json:"name"`
	Without float64 `json:"without_us"`
	With    float64 `json:"with_us"`
}

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
func tripwire(ctx context.Context, b *workshop, rounds int, keep func(*result) error) error {
	t, err := tableNamed("sequential")
	if err != nil {
		return err
	}
	if err := b.makeTable(ctx, t, b.sized(100_000)); err != nil {
		return err
	}
	if err := b.freshTable(ctx); err != nil {
		return err
	}
	if err := b.exec(ctx, t.change().update(), "VACUUM FULL users", "ANALYZE users", "SET synchronous_commit = off"); err != nil {
		return err
	}
	r := &result{Part: "tripwire", Machine: b.describe(ctx), Command: b.command, Rows: b.tableRows, Seed: b.seed, Rounds: rounds, Missing: b.missing()}
	if b.cluster == nil {
		r.Missing = append(r.Missing, "what a tripwire costs is in time, with all that the server waits for")
	}
	if r.Tripwire, err = b.wirings(ctx, t.job("dual_write: {by: application}"), rounds); err != nil {
		return err
	}
	return errors.Join(b.exec(ctx, "RESET ALL"), keep(r))
}

// wirings makes all kinds of transactions once a round with the tripwire of a job, and once without.
func (b *workshop) wirings(ctx context.Context, text string, rounds int) ([]wiring, error) {
	job, err := b.jobFile(text)
	if err != nil {
		return nil, err
	}
	taken := map[string]map[bool][]float64{}
	next := 1_000_000_000
	for round := range rounds {
		for _, wired := range []bool{round%2 == 0, round%2 != 0} {
			// Nothing is there to be removed in the first round, nor is the schema.
			if _, err := b.call(ctx, exitDone, "tripwire", "remove", job); err != nil && (round > 0 || !wired) {
				return nil, err
			}
			if wired {
				if _, err := b.call(ctx, exitDone, "tripwire", "install", job); err != nil {
					return nil, err
				}
			}
			for _, w := range writings {
				next += 1_000_000
				seconds, err := b.write(ctx, w, next)
				if err != nil {
					return nil, err
				}
				if taken[w.name] == nil {
					taken[w.name] = map[bool][]float64{}
				}
				taken[w.name][wired] = append(taken[w.name][wired], seconds*1e6/float64(b.transactions(w)*w.rows))
			}
			if err := b.allSeen(ctx, wired); err != nil {
				return nil, err
			}
		}
		fmt.Fprintf(b.progress, "tripwire, round %d of %d\n", round+1, rounds)
	}
	var drift int64
	if err := b.conn.QueryRow(ctx, "SELECT count(*) FROM pgbackfill.drift").Scan(&drift); err != nil {
		return nil, err
	}
	if drift > 0 {
		return nil, fmt.Errorf("%w: %d commits tripped the wire, and both columns were written", errData, drift)
	}
	var list []wiring
	for _, w := range writings {
		list = append(list, wiring{w.name, slices.Min(taken[w.name][false]), slices.Min(taken[w.name][true])})
	}
	return list, nil
}

// transactions is how many of a kind are made: no more than there are rows to be updated.
func (b *workshop) transactions(w writing) int { return min(w.transactions, b.tableRows) }

// allSeen makes sure that a tripwire has looked at all writes but those of another column.
func (b *workshop) allSeen(ctx context.Context, wired bool) error {
	if !wired {
		return nil
	}
	want := 0
	for _, w := range writings[:len(writings)-1] {
		want += w.rows * b.transactions(w)
	}
	var seen int
	err := b.conn.QueryRow(ctx, "SELECT last_value FROM "+pgsql.TripwireSequence(jobName)).Scan(&seen)
	if err == nil && seen != want {
		err = fmt.Errorf("%w: the tripwire has looked at %d writes of %d", errData, seen, want)
	}
	return err
}

// write makes transactions of one kind and returns how much time of the processor the server took for them, which what else the
// machine does changes the least; where that is not known, how long they took.
func (b *workshop) write(ctx context.Context, w writing, from int) (float64, error) {
	loop := fmt.Sprintf("DO $$ BEGIN FOR i IN 0 .. %d LOOP "+w.sql+"; COMMIT; END LOOP; END $$", b.transactions(w)-1, from)
	if err := b.checkpoint(ctx); err != nil {
		return 0, err
	}
	started, cpu := time.Now(), b.serverCPU()
	err := b.exec(ctx, loop)
	if used := b.serverCPU() - cpu; used > 0 {
		return used, err
	}
	return time.Since(started).Seconds(), err
}

func tripwireGrid(list []wiring) grid {
	g := grid{{"µs of the server for a row, with its transaction", "without", "with a tripwire", "more"}}
	for _, w := range list {
		g = append(g, []string{w.Name, fmt.Sprintf("%.1f", w.Without), fmt.Sprintf("%.1f", w.With), fmt.Sprintf("%.1f", w.With-w.Without)})
	}
	return g
}
