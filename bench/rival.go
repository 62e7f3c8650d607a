package main

import (
	"context"
	"fmt"
)

// rival is one way to give every row of the table users its display_name.
type rival struct {
	name string
	// how says what it does, for the notes under the table.
	how string
	// offline is set where the application could not go on meanwhile.
	offline bool
	run     func(context.Context, *workshop) (usage, error)
}

// usage is what a client used.
type usage struct {
	cpuSeconds float64
	// peakRSS is the most memory that was resident, in bytes; 0 where the client is the benchmark itself.
	peakRSS int64
}

// single is the rival that all are compared with.
const single = "one UPDATE"

const (
	scriptRows  = 1_000
	plpgsqlRows = 5_000
)

// rivals are all the ways, the first of them the one they are compared with.
func rivals() []rival {
	return []rival{
		{
			name: single, how: "`UPDATE users SET display_name = initcap(full_name)`: one transaction, every row locked until its end",
			run: sql("UPDATE users SET display_name = initcap(full_name)"),
		},
		{name: engine1, how: "the program, defaults but for `--workers 1`", run: pgbackfill(1, (*workshop).defaultJob)},
		{name: engine2, how: "the program, defaults (two workers)", run: pgbackfill(2, (*workshop).defaultJob)},
		{name: byKey2, how: "the program with `walk: key`, two workers: what it does where pages cannot be walked in stripes", run: pgbackfill(2, (*workshop).jobByKey)},
		{
			name: "script loop, 1 000 rows", how: "a client that asks for the next 1 000th key, updates up to it, commits, and begins again; no ledger, no guard, no sweep",
			run: measured(script),
		},
		{name: "PL/pgSQL loop, 5 000 rows", how: "the same loop on the server, in a `DO` block with `COMMIT`", run: sql(plpgsql)},
		{
			name: "new table (floor)", how: "`CREATE TABLE … AS SELECT`, primary key, and the names exchanged: the application would have to stand still",
			offline: true, run: sql(newTable...),
		},
	}
}

// sql is a way that is nothing but statements.
func sql(statements ...string) func(context.Context, *workshop) (usage, error) {
	return measured(func(ctx context.Context, b *workshop) error { return b.exec(ctx, statements...) })
}

// measured is a way whose client is the benchmark itself.
func measured(work func(context.Context, *workshop) error) func(context.Context, *workshop) (usage, error) {
	return func(ctx context.Context, b *workshop) (usage, error) {
		before := ownCPU()
		err := work(ctx, b)
		return usage{cpuSeconds: ownCPU() - before}, err
	}
}

var newTable = []string{
	"CREATE TABLE users_new AS SELECT " + columns + ", initcap(full_name) AS display_name FROM users",
	"ALTER TABLE users_new ADD PRIMARY KEY (id)",
	"ALTER TABLE users RENAME TO users_old",
	"ALTER TABLE users_new RENAME TO users",
	"DROP TABLE users_old",
}

// script is the loop that people write.
func script(ctx context.Context, b *workshop) error {
	for last := int64(0); ; {
		var upTo *int64
		err := b.conn.QueryRow(ctx, "SELECT max(id) FROM (SELECT id FROM users WHERE id > $1 ORDER BY id LIMIT $2) AS chunk", last, scriptRows).Scan(&upTo)
		if err != nil || upTo == nil {
			return err
		}
		if _, err := b.conn.Exec(ctx, "UPDATE users SET display_name = initcap(full_name) WHERE id > $1 AND id <= $2", last, *upTo); err != nil {
			return err
		}
		last = *upTo
	}
}

var plpgsql = fmt.Sprintf(`DO $$
DECLARE
  last bigint := 0;
  up_to bigint;
BEGIN
  LOOP
    SELECT max(id) INTO up_to FROM (SELECT id FROM users WHERE id > last ORDER BY id LIMIT %d) AS chunk;
    EXIT WHEN up_to IS NULL;
    UPDATE users SET display_name = initcap(full_name) WHERE id > last AND id <= up_to;
    COMMIT;
    last := up_to;
  END LOOP;
END $$`, plpgsqlRows)
