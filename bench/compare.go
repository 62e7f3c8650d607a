package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

const (
	engine1 = "pgbackfill, 1 worker"
	engine2 = "pgbackfill"
	byKey1  = "pgbackfill by key, 1 worker"
	byKey2  = "pgbackfill by key, 2 workers"
)

// engines are the ways of pgbackfill that are compared with the rivals on a table, and what bounds them.
func engines(t table) []trial {
	list := []trial{{name: engine2, how: "the program, defaults (two workers)", run: pgbackfill(2)}}
	if t.name != "sequential" {
		return list
	}
	return append(
		list, trial{name: engine1, how: "the program, defaults but for `--workers 1`", run: pgbackfill(1)},
		trial{name: byKey2, how: "the program with `walk: key`, two workers: what it does where pages cannot be walked in stripes", run: pgbackfill(2, byKey)},
		trial{name: byKey1, how: "the same with one worker", run: pgbackfill(1, byKey)},
		trial{name: both, how: "the loop on the server in two sessions at once, each over the half of the keys: about what two workers by key could reach without ledger, guard and sweep", run: measured(func(ctx context.Context, b *workshop) error {
			return b.table.change().halves(ctx, b, strconv.Itoa(b.tableRows/2))
		})},
	)
}

// compare measures pgbackfill beside its rivals, on one table after the other.
func compare(ctx context.Context, b *workshop, rounds int, keep func(*result) error) error {
	for _, t := range b.tables {
		if err := b.makeTable(ctx, t, b.rowsOf(t)); err != nil {
			return err
		}
		r, err := b.interleave(ctx, "compare", slices.Insert(rivals(), 1, engines(t)...), rounds)
		if err != nil {
			return err
		}
		if err := keep(r); err != nil {
			return err
		}
	}
	return nil
}

// wanted are the trials whose names contain what was asked for, and the first one, which they are compared with.
func (b *workshop) wanted(list []trial) []trial {
	base := list[0].name
	return slices.DeleteFunc(slices.Clone(list), func(v trial) bool { return v.name != base && !strings.Contains(v.name, b.way) })
}
