// Package checkpoint keeps runs in the target database: what was planned, what was done and
// what people asked for, in the schema pgbackfill.
//
// Its heart is the ledger, pgbackfill.chunks: one row per committed chunk, written in the
// transaction that changed the chunk's rows. The insert proves that the chunk begins where
// the one before ended, and the primary key that nobody did it before. A segment is closed
// with a fence row, after which the same two refuse every chunk. So no clock, lease or lock
// is trusted for safety: heartbeats only tell people, and other processes, who is there.
//
// [Install] and its siblings keep the schema. A [Store] finds and makes runs and answers
// questions about them; a [Run] is one process's part in one of them and satisfies
// [backfill.Ledger], [backfill.Segments] and [backfill.Control].
//
// Nothing depends on the state of a session: every transaction sets what it needs for
// itself and no statement is prepared by name, so a pooler in transaction mode may stand
// between. The one exception is [Run.Mark], a single statement with every name qualified,
// because it is sent over a worker's connection.
package checkpoint
