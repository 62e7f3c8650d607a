package main

import (
	"context"
	"fmt"
)

// mark is the comment on the benchmark's schema, by which it is known again.
const mark = "made by pgbackfill's benchmark, which drops it"

// takeSchema makes the benchmark's schema, after what a benchmark left that was killed. On a server of somebody else's
// nothing is dropped that the benchmark has not made: neither a schema of that name nor a ledger.
func (b *workshop) takeSchema(ctx context.Context) error {
	var ours, theirs, ledger bool
	err := b.conn.QueryRow(ctx, `SELECT COALESCE(bool_or(nspname = $1 AND made), false), COALESCE(bool_or(nspname = $1 AND NOT made), false),
       COALESCE(bool_or(nspname = 'pgbackfill'), false)
  FROM (SELECT nspname, COALESCE(obj_description(oid, 'pg_namespace') = $2, false) AS made FROM pg_namespace) AS n`, schema, mark).Scan(&ours, &theirs, &ledger)
	switch {
	case err != nil:
		return err
	case theirs:
		return fmt.Errorf("the database has a schema %s that the benchmark has not made: drop it, or give the benchmark another database", schema)
	case ledger && !ours:
		return fmt.Errorf("the database has a schema pgbackfill, and the benchmark drops that for every measurement: give it another database")
	}
	if err := b.forget(ctx); err != nil {
		return err
	}
	b.owned = true
	return b.exec(ctx, "DROP SCHEMA IF EXISTS "+schema+" CASCADE", "CREATE SCHEMA "+schema, "COMMENT ON SCHEMA "+schema+" IS $$"+mark+"$$")
}

// forget drops the ledger, unless it has a run that is not the benchmark's.
func (b *workshop) forget(ctx context.Context) error {
	var there bool
	if err := b.conn.QueryRow(ctx, "SELECT to_regclass('pgbackfill.runs') IS NOT NULL").Scan(&there); err != nil {
		return err
	}
	if there {
		var others int
		if err := b.conn.QueryRow(ctx, "SELECT count(*) FROM pgbackfill.runs WHERE job <> $1", jobName).Scan(&others); err != nil {
			return err
		}
		if others > 0 {
			return fmt.Errorf("the schema pgbackfill has runs that are not the benchmark's: give it a database that nobody else backfills")
		}
	}
	return b.exec(ctx, "DROP SCHEMA IF EXISTS pgbackfill CASCADE")
}
