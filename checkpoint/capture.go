package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

const readCaptures = `SELECT shape, removed_at IS NOT NULL FROM pgbackfill.undo_tables WHERE run_id = $1::bigint ORDER BY no`

const insertCapture = `INSERT INTO pgbackfill.undo_tables (run_id, no, table_oid, table_name, shape)
VALUES ($1::bigint, $2::integer, $3::oid, $4::text, $5::jsonb)`

const removeCaptures = `UPDATE pgbackfill.undo_tables SET removed_at = clock_timestamp() WHERE run_id = $1::bigint AND removed_at IS NULL`

// readReplaced finds a table that run $1 has kept rows of, where another one has its name now, or none.
const readReplaced = `SELECT k.table_name FROM pgbackfill.undo_tables AS k WHERE k.run_id = $1::bigint AND NOT ` + keptTable + ` ORDER BY k.no LIMIT 1`

// keptTable says of table k that a run has kept rows of that it has its name still.
const keptTable = `COALESCE(pg_catalog.to_regclass(k.table_name)::pg_catalog.oid OPERATOR(pg_catalog.=) k.table_oid, false)`

const anyChunk = `SELECT EXISTS (SELECT FROM pgbackfill.chunks WHERE run_id = $1::bigint AND fence IS NULL)`

// Capture makes what keeps rows for undo, before the run's first chunk, in one transaction; where it is made it does
// nothing, so that any number of processes may call it. Making triggers waits for writers of the tables, no longer
// than a lock is waited for, and then again.
func (r *Run) Capture(ctx context.Context, tables []pgsql.Capture) error {
	if len(tables) == 0 {
		return nil
	}
	err := r.store.transact(ctx, settings, func(t *tx) error {
		if _, err := r.lock(t); err != nil {
			return err
		}
		there, _, err := r.captures(t)
		if err != nil || len(there) > 0 {
			return err
		}
		var begun bool
		if err := t.send(step{Statement: pgsql.Statement{Name: "any chunk", SQL: anyChunk, Args: [][]byte{pgsql.Int(r.id)}}, read: one(&begun)}); err != nil {
			return err
		}
		if begun {
			return &backfill.Error{
				Place: r.place(), Found: "it has changed rows, and nothing has kept what was there", Expected: "what keeps it, from before the first chunk",
				Remedy: "start over with --again: what was changed until now cannot be taken back", Kind: backfill.ErrChanged,
			}
		}
		var steps []step
		for _, st := range pgsql.Install(tables) {
			steps = append(steps, step{Statement: st})
		}
		for _, c := range tables {
			shape, err := jsonParam(c)
			if err != nil {
				return err
			}
			steps = append(steps, step{Statement: pgsql.Statement{Name: "capture", SQL: insertCapture, Args: [][]byte{
				pgsql.Int(r.id), pgsql.Int(c.No), pgsql.Int(int64(c.OID)), pgsql.Text(c.Table), shape,
			}}})
		}
		detail, err := jsonParam(map[string]any{"tables": len(tables)})
		if err != nil {
			return err
		}
		return t.send(append(steps, step{Statement: r.event("undo: rows are kept", detail)})...)
	})
	if err != nil {
		return r.failed("making what keeps rows for undo", err)
	}
	return nil
}

// captures are the tables whose rows the run keeps, and whether the triggers are gone again.
func (r *Run) captures(t *tx) (list []pgsql.Capture, removed bool, err error) {
	err = t.send(step{
		Statement: pgsql.Statement{Name: "captures", SQL: readCaptures, Args: [][]byte{pgsql.Int(r.id)}},
		read: func(rows pgx.Rows) error {
			var shape []byte
			if err := rows.Scan(&shape, &removed); err != nil {
				return err
			}
			var c pgsql.Capture
			if err := json.Unmarshal(shape, &c); err != nil {
				return unreadable(r.id, "shape", err)
			}
			list = append(list, c)
			return nil
		},
	})
	return list, removed, err
}

// Captures are the tables whose rows the run keeps; none where it keeps nothing.
func (r *Run) Captures(ctx context.Context) ([]pgsql.Capture, error) {
	var list []pgsql.Capture
	err := r.store.transact(ctx, settings, func(t *tx) (err error) {
		list, _, err = r.captures(t)
		return err
	})
	if err != nil {
		return nil, r.failed("reading what it keeps", err)
	}
	return list, nil
}

// Release removes the triggers that kept rows, once the run is over; what they kept stays. Where there are none, or
// the run is not over, or has quarantined rows that may still be done, it does nothing. Removing them waits for whoever uses the tables, as [Run.Capture] does.
func (r *Run) Release(ctx context.Context) error {
	err := r.store.transact(ctx, settings, func(t *tx) error {
		row, err := r.lock(t)
		if err != nil || !row.state.Over() {
			return err
		}
		list, removed, err := r.captures(t)
		if err != nil || len(list) == 0 || removed {
			return err
		}
		var aside int64
		var open bool
		err = t.send(step{Statement: r.counting(), read: one(&aside)}, step{Statement: r.Open(), read: func(pgx.Rows) error { open = true; return nil }})
		if err != nil || open && aside > 0 {
			return err
		}
		var steps []step
		for _, st := range pgsql.Uninstall(list) {
			steps = append(steps, step{Statement: st})
		}
		return t.send(append(steps, step{Statement: pgsql.Statement{Name: "released", SQL: removeCaptures, Args: [][]byte{pgsql.Int(r.id)}}})...)
	})
	if err != nil {
		return r.failed("removing the triggers that kept rows for undo", err)
	}
	return nil
}

// replaced reads which table that rows were kept of is another one now; "" is none.
func (r *Run) replaced(name *string) step {
	return step{
		Statement: pgsql.Statement{Name: "replaced", SQL: readReplaced, Args: [][]byte{pgsql.Int(r.id)}},
		read:      func(rows pgx.Rows) error { return rows.Scan(name) },
	}
}

func (r *Run) anotherTable(replaced string) error {
	if replaced == "" {
		return nil
	}
	return &backfill.Error{
		Place: r.place(), Found: "table " + replaced + " is gone, or another one has its name now: what was kept is of the one that the run has changed",
		Remedy: "put it back under its name and undo again, or take back by hand what is in pgbackfill.undo_…", Kind: backfill.ErrChanged,
	}
}

const readUndoMark = `SELECT COALESCE(b.seq, 0), COALESCE(b.low, 9223372036854775807), r.kept, COALESCE(b.total_restored, 0), COALESCE(b.total_missed, 0)
  FROM (SELECT u.run_id AS id, u.kept FROM pgbackfill.undos AS u WHERE u.run_id = $1::bigint) AS r LEFT JOIN LATERAL (` + undoMark + `) AS b ON true`

// UndoMark reads how far the run is taken back.
func (r *Run) UndoMark(ctx context.Context) (backfill.UndoMark, error) {
	mark, replaced := backfill.UndoMark{Low: backfill.UndoAll}, ""
	err := r.store.once(ctx, settings, r.replaced(&replaced), step{
		Statement: pgsql.Statement{Name: "undo mark", SQL: readUndoMark, Args: [][]byte{pgsql.Int(r.id)}},
		read:      one(&mark.Seq, &mark.Low, &mark.Kept, &mark.Restored, &mark.Missed),
	})
	if err == nil {
		err = r.anotherTable(replaced)
	}
	if err != nil {
		return mark, r.failed("reading how far it is taken back", err)
	}
	return mark, nil
}

// appendUndo proves, as the ledger does, that the chunk begins where the one before ended, that the run is
// being taken back, and that the tables are those whose rows were kept.
const appendUndo = `INSERT INTO pgbackfill.undo_chunks (run_id, seq, below, low, follows, restored, missed, worker, total_restored, total_missed)
SELECT n.run_id, n.seq, n.below, n.low,
       u.run_id IS NOT NULL AND u.ended_at IS NULL
         AND NOT EXISTS (SELECT FROM pgbackfill.undo_tables AS k WHERE k.run_id = n.run_id AND NOT ` + keptTable + `) AND CASE WHEN n.seq = 1 THEN n.below = 9223372036854775807
            ELSE COALESCE(p.low = n.below, false) END,
       n.restored, n.missed, n.worker, COALESCE(p.total_restored, 0) + n.restored, COALESCE(p.total_missed, 0) + n.missed
  FROM (SELECT $1::int8 AS run_id, $2::int4 AS seq, $3::int8 AS below, $4::int8 AS low, $5::int8 AS restored, $6::int8 AS missed, $7::text AS worker) AS n
  LEFT JOIN pgbackfill.undos AS u ON u.run_id = n.run_id
  LEFT JOIN pgbackfill.undo_chunks AS p ON p.run_id = n.run_id AND p.seq = n.seq - 1
RETURNING pg_catalog.pg_current_wal_insert_lsn() OPERATOR(pg_catalog.-) '0/0'::pg_catalog.pg_lsn`

// AppendUndo is the statement that records a chunk of an undo, the last of its transaction.
func (r *Run) AppendUndo(c backfill.UndoChunk) pgsql.Statement {
	return pgsql.Statement{Name: "undo: ledger", SQL: appendUndo, Args: [][]byte{
		pgsql.Int(r.id), pgsql.Int(c.Seq), pgsql.Int(c.Below), pgsql.Int(c.Low), pgsql.Int(c.Restored), pgsql.Int(c.Missed), pgsql.Text(r.store.process),
	}}
}

// UndoRefused reports whether err is the refusal of a chunk of an undo that another process did.
func (r *Run) UndoRefused(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.SchemaName == "pgbackfill" && refusal.TableName == "undo_chunks" &&
		(refusal.ConstraintName == "undo_chunks_pkey" || refusal.ConstraintName == "undo_chunk_follows_its_predecessor")
}

// LeftRow is a row that could not be taken back.
type LeftRow struct {
	Table string       `json:"table"`
	Key   backfill.Key `json:"key"`
	// What is what the run did to it: "insert", "update", "delete"; Why is why it is as it is.
	What string `json:"what"`
	Why  string `json:"why"`
}

const countLeft = `SELECT count(*) FILTER (WHERE cause = 'others'), count(*) FILTER (WHERE cause = 'constraint') FROM pgbackfill.undo_left WHERE run_id = $1::bigint`

// LeftFor counts the rows that could not be taken back: since others have changed them, and since a constraint does not let them.
func (r *Run) LeftFor(ctx context.Context) (others, constraint int64, err error) {
	err = r.store.once(ctx, settings, step{
		Statement: pgsql.Statement{Name: "count left", SQL: countLeft, Args: [][]byte{pgsql.Int(r.id)}}, read: one(&others, &constraint),
	})
	if err != nil {
		err = fmt.Errorf("%s: counting what was left: %w", r.place(), translate(err))
	}
	return others, constraint, err
}

const readLeft = `SELECT table_name, key, what, why FROM pgbackfill.undo_left WHERE run_id = $1::bigint ORDER BY no, id DESC LIMIT $2::bigint`

// Left are the first rows that could not be taken back, at most so many.
func (r *Run) Left(ctx context.Context, most int) ([]LeftRow, error) {
	var list []LeftRow
	err := r.store.once(ctx, settings, step{
		Statement: pgsql.Statement{Name: "left", SQL: readLeft, Args: [][]byte{pgsql.Int(r.id), pgsql.Int(most)}},
		read: func(rows pgx.Rows) error {
			var l LeftRow
			err := rows.Scan(&l.Table, (*[]string)(&l.Key), &l.What, &l.Why)
			list = append(list, l)
			return err
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%s: reading what was left: %w", r.place(), translate(err))
	}
	return list, nil
}

var (
	_ backfill.UndoLedger  = (*Run)(nil)
	_ backfill.UndoControl = (*Run)(nil)
)
