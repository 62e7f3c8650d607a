// Package backfill is the engine: it changes the rows of a live PostgreSQL table in
// small chunks, each exactly once, and survives being killed at any instant.
//
// A [Job] is resolved against a database to a [Plan]: a walk over the table's key, cut
// into [Segment]s. Workers take segments and change them a [Chunk] at a time; a chunk's
// rows and its entry in the [Ledger] commit in one transaction, so the ledger is at once
// the checkpoint and the fence.
package backfill
