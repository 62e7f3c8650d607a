package main

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// allocated is how many allocations, and how many bytes, a chunk of 50 rows costs the client: what a run of more chunks has more than one of
// fewer, so that what is done once does not count.
func allocated(ctx context.Context, tb testing.TB, b *workshop, walk string) (allocations, bytes float64) {
	tb.Helper()
	if err := b.freshTable(ctx); err != nil {
		tb.Fatal(err)
	}
	job, err := b.jobFile(b.table.job(walk, "chunk: {rows: 50}"))
	if err != nil {
		tb.Fatal(err)
	}
	chunks := func(n int64) runtime.MemStats {
		e := embed(b.address(), backfill.Pace{Workers: 1})
		e.maxChunks = n
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := e.run(ctx, job); !errors.Is(err, backfill.ErrInterrupted) {
			tb.Fatalf("the end of %d chunks: %v", n, err)
		}
		runtime.ReadMemStats(&after)
		return runtime.MemStats{Mallocs: after.Mallocs - before.Mallocs, TotalAlloc: after.TotalAlloc - before.TotalAlloc}
	}
	const few, many = 10, 110
	chunks(few) // the schema, the run
	short, long := chunks(few), chunks(many)
	return float64(long.Mallocs-short.Mallocs) / (many - few), float64(long.TotalAlloc-short.TotalAlloc) / (many - few)
}

// BenchmarkChunk says what a chunk of 50 rows costs the client, by either walk, and fails where that is more than it may be: `go test ./bench -run '^$'
// -bench Chunk`. The suite has a bound of its own, in package backfill; these figures are of the whole engine with its ledger in PostgreSQL.
func BenchmarkChunk(b *testing.B) {
	o, err := parse([]string{"-smoke", "-durable=false", "-binary", os.Args[0], "-out", b.TempDir()}, os.Stderr)
	if err != nil {
		b.Fatal(err)
	}
	shop, err := prepare(b.Context(), o, os.Stderr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := shop.close(); err != nil {
			b.Error(err)
		}
	})
	if err := shop.makeTable(b.Context(), tables()[0], 20_000); err != nil {
		b.Fatal(err)
	}
	for walk, most := range map[string]struct{ allocations, bytes float64 }{byKey: {600, 60 << 10}, byHeap: {480, 45 << 10}} {
		b.Run(walk, func(b *testing.B) {
			for b.Loop() {
				allocations, bytes := allocated(b.Context(), b, shop, walk)
				b.ReportMetric(allocations, "allocs/chunk")
				b.ReportMetric(bytes, "B/chunk")
				if allocations > most.allocations || bytes > most.bytes {
					b.Errorf("a chunk costs %.0f allocations, %.0f bytes; expected at most %.0f, %.0f", allocations, bytes, most.allocations, most.bytes)
				}
			}
		})
	}
}
