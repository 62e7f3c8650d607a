// Package ledger is what holds of the ledger, without a database: which row it takes, in which order those statements are sent that
// close a segment, and when a run is covered. Package checkpoint sends it to PostgreSQL; the simulation of the protocol in package
// backfill drives it against a model.
package ledger

import (
	"slices"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/planted"
)

// Row is what decides about a row that is to be added: what its worker believes, and where it is to stand.
type Row struct {
	// Created is when the run was made, by which it is told from another of the same number.
	Created time.Time
	// Segment is the segment as its worker knows it.
	Segment backfill.Segment
	Seq     int
	Range   backfill.KeyRange
}

// Standing is what is there when a row is added: of its run, its segment and the row with the number before its own.
type Standing struct {
	// Created is when the run with that number was made; the zero time is that there is none.
	Created time.Time
	// SameTable is set where the run's table is there, under its name.
	SameTable bool
	// Segment is the segment with that number; nil is none.
	Segment *backfill.Segment
	// Before is the row with the number before, and Fence why it closed the segment; nil is none.
	Before *backfill.KeyRange
	Fence  string
	// Taken is set where a row with that number is there already.
	Taken bool
}

// condition is a part of the rule: in SQL, where n is the new row, r its run, s its segment and p the row before it, each NULL where
// there is none; and in Go. No condition is NULL.
type condition struct {
	sql     string
	holds   func(n Row, at Standing) bool
	without planted.Bug
}

// rule is what a row must be to be taken: every condition holds. Operators are qualified, since the job's search_path is in
// force; IS NOT DISTINCT FROM is not in it, which takes its = from there.
var rule = []condition{
	{ // A failover takes back runs too, whose numbers others then get.
		sql:     `COALESCE(r.created_at OPERATOR(pg_catalog.=) n.created_at, false)`,
		holds:   func(n Row, at Standing) bool { return !at.Created.IsZero() && at.Created.Equal(n.Created) },
		without: planted.RunUnchecked,
	},
	{ // A name can be given to another table.
		sql:   `COALESCE(` + SameTable + `, false)`,
		holds: func(_ Row, at Standing) bool { return at.SameTable },
	},
	{ // Where a failover takes a split back, another one can put a segment of the same number and start, and with another end, in its place.
		sql: `COALESCE(s.through OPERATOR(pg_catalog.=) n.segment_through, s.no IS NOT NULL AND s.through IS NULL AND n.segment_through IS NULL)`,
		holds: func(n Row, at Standing) bool {
			return at.Segment != nil && same(at.Segment.Range.Through, n.Segment.Range.Through)
		},
		without: planted.EndUnchecked,
	},
	{ // The same with a segment of another pass, which does other things to its rows, or with the same pages of another leaf.
		sql: `COALESCE(s.pass OPERATOR(pg_catalog.=) n.segment_pass AND s.leaf OPERATOR(pg_catalog.=) n.segment_leaf, false)`,
		holds: func(n Row, at Standing) bool {
			return at.Segment != nil && at.Segment.Pass == n.Segment.Pass && at.Segment.Leaf == n.Segment.Leaf
		},
		without: planted.PassUnchecked,
	},
	{ // It takes up where the row before it ended, or where its segment begins.
		sql: `CASE WHEN n.seq OPERATOR(pg_catalog.=) 1
           THEN COALESCE(s.after OPERATOR(pg_catalog.=) n.after, s.no IS NOT NULL AND s.after IS NULL AND n.after IS NULL)
           ELSE COALESCE(p.through OPERATOR(pg_catalog.=) n.after, false) END`,
		holds: func(n Row, at Standing) bool {
			if n.Seq == 1 {
				return at.Segment != nil && same(at.Segment.Range.After, n.Range.After)
			}
			return at.Before != nil && n.Range.After != nil && same(at.Before.Through, n.Range.After)
		},
		without: planted.NoContiguity,
	},
	{ // The segment was not closed by the row before.
		sql:     `p.fence IS NULL`,
		holds:   func(_ Row, at Standing) bool { return at.Before == nil || at.Fence == "" },
		without: planted.FenceIgnored,
	},
	{ // Nor was that its last one.
		sql: `(p.seq IS NULL OR NOT COALESCE(s.nulls OR p.through OPERATOR(pg_catalog.=) s.through, false))`,
		holds: func(_ Row, at Standing) bool {
			return at.Before == nil || at.Segment == nil || !at.Segment.Nulls && !same(at.Before.Through, at.Segment.Range.Through)
		},
	},
}

// SameTable says of run r that its table is there still, under its name. A run whose table is not known has the OID 0.
const SameTable = `(r.table_oid OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR EXISTS (
           SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS h ON h.oid OPERATOR(pg_catalog.=) c.relnamespace
            WHERE c.oid OPERATOR(pg_catalog.=) r.table_oid
              AND (h.nspname::pg_catalog.text OPERATOR(pg_catalog.||) '.'::pg_catalog.text OPERATOR(pg_catalog.||) c.relname::pg_catalog.text) OPERATOR(pg_catalog.=) r.table_name))`

// Follows is the rule in SQL: an expression over n, r, s and p that is true where the row may be added. The primary key sees to
// it that its number is free.
func Follows() string {
	parts := make([]string, len(rule))
	for i, c := range rule {
		parts[i] = c.sql
	}
	return strings.Join(parts, "\n         AND ")
}

// Takes is the rule in Go: whether the ledger takes the row.
func Takes(n Row, at Standing) bool {
	for _, c := range rule {
		if !c.holds(n, at) && (c.without == planted.None || !planted.In(c.without)) {
			return false
		}
	}
	return !at.Taken
}

// same reports whether two keys are written alike; an open end is like an open end only.
func same(a, b backfill.Key) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }
