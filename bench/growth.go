package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

// growthMost is the largest table of the growth of rows; predicted is how many rows it is to say something of.
const (
	growthMost = 10_000_000
	predicted  = 1_000_000_000
)

// growth measures what a table costs by its rows, from ten thousand on, ten times as many each.
func growth(ctx context.Context, b *workshop, rounds int, keep func(*result) error) error {
	t, err := tableNamed("sequential")
	if err != nil {
		return err
	}
	var all *result
	most := b.sized(growthMost)
	for rows := min(10_000, most/10); rows <= most; rows *= 10 {
		if err := b.makeTable(ctx, t, rows); err != nil {
			return err
		}
		list := []trial{rivals()[0], engines(t)[0]}
		for i := range list {
			list[i].x = float64(rows)
		}
		of := rounds
		if rows >= growthMost { // it takes minutes, in which a machine's moods come out even
			of = 1
		}
		r, err := b.interleave(ctx, "growth", list, of)
		if err != nil {
			return err
		}
		for i := range r.Ways {
			r.Ways[i].Series = r.Ways[i].Name
			r.Ways[i].Name += ", " + human.Plural(int64(rows), "row")
		}
		if all != nil {
			r.Ways, r.Measurements = append(all.Ways, r.Ways...), append(all.Measurements, r.Measurements...)
		}
		all = r
	}
	all.Table = ""
	all.Notes = predictions(all.Ways)
	return keep(all)
}

// predictions say what the two largest tables of each series let one expect of a thousand times as many rows, or a hundred: that a row goes on to
// cost what those cost which the largest has more than the one before.
func predictions(ways []way) []string {
	var list []string
	for _, name := range []string{engine2, single} {
		var of []way
		for _, w := range ways {
			if w.Series == name {
				of = append(of, w)
			}
		}
		if len(of) < 2 {
			continue
		}
		last, before := of[len(of)-1], of[len(of)-2]
		each := (last.Seconds - before.Seconds) / (last.X - before.X)
		whole := last.Seconds + each*(predicted-last.X)
		text := fmt.Sprintf("%s: each row from %s to %s costs %.2f µs", name, human.Count(int64(before.X)), human.Count(int64(last.X)), 1e6*each)
		if len(of) > 2 {
			text += fmt.Sprintf(" (%.2f µs from %s on)", 1e6*(before.Seconds-of[len(of)-3].Seconds)/(before.X-of[len(of)-3].X), human.Count(int64(of[len(of)-3].X)))
		}
		list = append(list, fmt.Sprintf("%s; at this rate %s take %s, where disks and caches are to that table as these are to this",
			text, human.Plural(predicted, "row"), human.Duration(time.Duration(whole*float64(time.Second)).Round(time.Minute))))
	}
	return list
}

// workers measures what workers bring.
func workers(ctx context.Context, b *workshop, rounds int, keep func(*result) error) error {
	var list []trial
	for _, n := range []int{1, 2, 3, 4, 8} {
		list = append(list, trial{name: human.Plural(int64(n), "worker"), series: engine2, x: float64(n), run: pgbackfill(n)})
	}
	return b.dial(ctx, "workers", 1_000_000, list, rounds, keep)
}

// chunks measures what the size of chunks brings, with one worker by key, where it shows the most, and with two as planned.
func chunks(ctx context.Context, b *workshop, rounds int, keep func(*result) error) error {
	list := []trial{
		{name: "as many rows as fit the time", how: "the defaults: chunks of 100 ms, two workers", run: pgbackfill(2)},
		{name: "the same by key, 1 worker", run: pgbackfill(1, byKey)},
	}
	for _, n := range []int{500, 1_000, 5_000, 10_000, 50_000} {
		size := human.Count(int64(n)) + " rows"
		list = append(list, trial{name: size, series: engine2, x: float64(n), run: pgbackfill(2, fmt.Sprintf("chunk: {rows: %d, max_rows: %d}", n, max(n, 50_000)))},
			trial{name: size + ", by key, 1 worker", series: byKey1, x: float64(n), run: pgbackfill(1, byKey, fmt.Sprintf("chunk: {rows: %d, max_rows: %d}", n, max(n, 50_000)))})
	}
	return b.dial(ctx, "chunk", 500_000, list, rounds, keep)
}

// latency measures what the way to the server costs: on a large table, and on one of a hundredth of its rows, which shows how much of it is
// for planning, the installation of the schema and the end, whatever the table.
func latency(ctx context.Context, b *workshop, rounds int, keep func(*result) error) error {
	if err := b.mayLengthen(); err != nil {
		return keep(&result{Part: "latency", Machine: b.describe(ctx), Command: b.command, Seed: b.seed, Rounds: rounds, Missing: append(b.missing(), err.Error())})
	}
	var list []trial
	for _, workers := range []int{4, 1} {
		for _, roundTrip := range []int{0, 1, 10} {
			list = append(list, trial{
				name: fmt.Sprintf("%d ms, %s", roundTrip, human.Plural(int64(workers), "worker")), series: human.Plural(int64(workers), "worker"),
				x: float64(roundTrip), run: distant(time.Duration(roundTrip)*time.Millisecond, workers),
			})
		}
	}
	rows := b.sized(2_000_000)
	return b.dial(ctx, "latency", rows, list, rounds, func(r *result) error {
		if _, measured := r.way(far); !measured { // nobody asked for it
			return keep(r)
		}
		if err := b.makeTable(ctx, b.table, rows/100); err != nil {
			return err
		}
		small, err := b.interleave(ctx, "latency", []trial{{name: near, run: distant(0, 4)}, {name: far, run: distant(10*time.Millisecond, 4)}}, rounds)
		if err != nil {
			return err
		}
		here, there := small.Ways[0].Seconds, small.Ways[1].Seconds
		r.Notes = append(r.Notes, fmt.Sprintf("A table of %s takes %.2f s, and %.2f s with 10 ms of a round trip: %.0f of them one after the other for planning, the schema, "+
			"and the end, whatever the table. What is more than that has a speed of %.2f with 10 ms and 4 workers",
			human.Plural(int64(rows/100), "row"), here, there, (there-here)/0.01, beyond(r, here, there)))
		return keep(r)
	})
}

// near and far are without and with a longer way to the server.
const near, far = "0 ms, 4 workers", "10 ms, 4 workers"

// distant is the program with so long a round trip to the server.
func distant(roundTrip time.Duration, workers int) func(context.Context, *workshop) (usage, error) {
	run := pgbackfill(workers)
	if roundTrip == 0 {
		return run
	}
	return func(ctx context.Context, b *workshop) (usage, error) { return b.throughDelay(ctx, roundTrip, run) }
}

// beyond is the speed of the longer way, of that of the short one, without what both take for a small table.
func beyond(r *result, here, there float64) float64 {
	short, _ := r.way(near)
	long, _ := r.way(far)
	if long.Seconds <= there {
		return 1
	}
	return (short.Seconds - here) / (long.Seconds - there)
}

// dial measures settings of which one is turned, on the sequential table.
func (b *workshop) dial(ctx context.Context, part string, rows int, list []trial, rounds int, keep func(*result) error) error {
	t, err := tableNamed("sequential")
	if err != nil {
		return err
	}
	if err := b.makeTable(ctx, t, b.sized(rows)); err != nil {
		return err
	}
	r, err := b.interleave(ctx, part, list, rounds)
	if err != nil {
		return err
	}
	r.Table = ""
	return keep(r)
}

// latencyTargets is that of performance.md: so long a round trip against none, with as many workers.
func latencyTargets(r *result) {
	r.faster(far, near, 0.9)
}

// choice measures what the planner chooses beside fixed settings, on one table after the other.
func choice(ctx context.Context, b *workshop, rounds int, keep func(*result) error) error {
	for _, t := range b.tables {
		// Fewer rows: there are many settings.
		if err := b.makeTable(ctx, t, b.sized(min(t.rows/2, 1_000_000))); err != nil {
			return err
		}
		list := []trial{{name: chosen, how: "the program, defaults: nothing is said of walk, chunks and workers", run: pgbackfill(2)}}
		for _, walk := range []string{byKey, byHeap} {
			list = append(list, trial{name: walk, how: "`" + walk + "`; by heap in stripes where they can be", run: pgbackfill(2, walk)})
		}
		for _, n := range []int{1, 4} {
			list = append(list, trial{name: "workers: " + strconv.Itoa(n), run: pgbackfill(n)})
		}
		for _, n := range []int{2_000, 20_000} {
			line := fmt.Sprintf("chunk: {rows: %d}", n)
			list = append(list, trial{name: line, run: pgbackfill(2, line)})
		}
		r, err := b.interleave(ctx, "choice", list, rounds)
		if err != nil {
			return err
		}
		if err := keep(r); err != nil {
			return err
		}
	}
	return nil
}

// chosen is what the planner makes of a job that says nothing.
const chosen = "what the planner chooses"

// choiceTargets: the choice is within a tenth of the best setting there is.
func choiceTargets(r *result) {
	if len(r.Ways) < 2 {
		return
	}
	best := r.Ways[1]
	for _, w := range r.Ways[1:] {
		if w.Seconds < best.Seconds {
			best = w
		}
	}
	r.faster(chosen, best.Name, 0.9)
}
