package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// single is the way that all are compared with.
const single = "one UPDATE"

const (
	script  = "script loop, 1 000 rows"
	plpgsql = "PL/pgSQL loop, 5 000 rows"
	both    = "two PL/pgSQL loops"
	floor   = "new table (floor)"

	scriptRows  = 1_000
	plpgsqlRows = 5_000
)

// change is some work on a table: what is said of it once for all ways to do it. SQL is over t.
type change struct {
	table, key, keyType string
	// first is smaller than every key.
	first      string
	set, scope string
}

// update is all of the work as one statement, which conditions can be added to.
func (c change) update() string {
	return "UPDATE " + c.table + " AS t SET " + c.set + " WHERE " + c.scope
}

// loop is the work as people write it: the client asks for the last of the next keys, updates up to it, commits, and begins again.
func (c change) loop(ctx context.Context, b *workshop) error {
	next := fmt.Sprintf("SELECT %[1]s::text FROM (SELECT %[1]s FROM %[2]s AS t WHERE %[1]s > $1::text::%[3]s AND %[4]s ORDER BY %[1]s LIMIT $2) AS chunk ORDER BY %[1]s DESC LIMIT 1",
		c.key, c.table, c.keyType, c.scope)
	update := fmt.Sprintf("%s AND %[2]s > $1::text::%[3]s AND %[2]s <= $2::text::%[3]s", c.update(), c.key, c.keyType)
	for last := c.first; ; {
		var upTo string
		err := b.conn.QueryRow(ctx, next, last, scriptRows).Scan(&upTo)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := b.conn.Exec(ctx, update, last, upTo); err != nil {
			return err
		}
		last = upTo
	}
}

// halves are two loops on the server at once, each over the half of the keys below or above the middle: what by key two
// sessions can reach at most.
func (c change) halves(ctx context.Context, b *workshop, middle string) error {
	below, above := c, c
	below.scope += " AND t." + c.key + " <= " + middle
	above.first = middle
	second, err := pgx.ConnectConfig(ctx, b.conn.Config())
	if err != nil {
		return err
	}
	defer second.Close(context.WithoutCancel(ctx))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.exec(ctx, below.block()) })
	g.Go(func() error {
		_, err := second.Exec(ctx, above.block())
		return err
	})
	return g.Wait()
}

// block is the same loop on the server.
func (c change) block() string {
	return fmt.Sprintf(`DO $$
DECLARE
  last %[1]s := '%[2]s';
  up_to %[1]s;
BEGIN
  LOOP
    SELECT %[6]s INTO up_to FROM (SELECT %[6]s FROM %[7]s AS t WHERE %[6]s > last AND %[3]s ORDER BY %[6]s LIMIT %[4]d) AS chunk ORDER BY %[6]s DESC LIMIT 1;
    EXIT WHEN up_to IS NULL;
    %[5]s AND %[6]s > last AND %[6]s <= up_to;
    COMMIT;
    last := up_to;
  END LOOP;
END $$`, c.keyType, c.first, c.scope, plpgsqlRows, c.update(), c.key, c.table)
}

// rivals are what people do instead, the first of them the one that all are compared with.
func rivals() []trial {
	return []trial{
		{
			name: single, how: "`UPDATE users SET display_name = initcap(full_name)`: one transaction, every row locked until its end",
			run: measured(func(ctx context.Context, b *workshop) error { return b.exec(ctx, b.table.change().update()) }),
		},
		{
			name: script, how: "a client that asks for the next 1 000th key, updates up to it, commits, and begins again; no ledger, no guard, no sweep",
			run: measured(func(ctx context.Context, b *workshop) error { return b.table.change().loop(ctx, b) }),
		},
		{
			name: plpgsql, how: "the same loop on the server, in a `DO` block with `COMMIT`",
			run: measured(func(ctx context.Context, b *workshop) error { return b.exec(ctx, b.table.change().block()) }),
		},
		{
			name: floor, how: "`CREATE TABLE … AS SELECT`, primary key, indexes, and the names exchanged: the application would have to stand still",
			offline: true, run: measured(func(ctx context.Context, b *workshop) error { return b.exec(ctx, newTable(b.table)...) }),
		},
	}
}

// measured is a way whose client is the benchmark itself.
func measured(work func(context.Context, *workshop) error) func(context.Context, *workshop) (usage, error) {
	return func(ctx context.Context, b *workshop) (usage, error) {
		before := ownCPU()
		err := work(ctx, b)
		return usage{cpuSeconds: ownCPU() - before}, err
	}
}

func newTable(t table) []string {
	return append(t.copySQL("users_new", "SELECT "+t.columns()+", "+t.filled()+" AS display_name FROM users AS t"),
		"ALTER TABLE users RENAME TO users_old", "ALTER TABLE users_new RENAME TO users", "DROP TABLE users_old")
}
