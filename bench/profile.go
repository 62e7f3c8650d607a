package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync/atomic"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// allocationEvery and blockingEvery are how much is allocated, in bytes, and waited, in nanoseconds, for each sample of a profile.
const (
	allocationEvery = 4 << 10
	blockingEvery   = 10_000
)

// profile runs the job of the first table once, with the engine within this process, and writes profiles of it into a folder: cpu, allocs, block and
// mutex. It is the engine as embedded: without the command's display and metrics.
func profile(ctx context.Context, b *workshop, out io.Writer) (err error) {
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return err
	}
	t := b.tables[0]
	if err := b.makeTable(ctx, t, b.rowsOf(t)); err != nil {
		return err
	}
	if err := b.freshTable(ctx); err != nil {
		return err
	}
	job, err := b.jobFile(t.job())
	if err != nil {
		return err
	}
	cpu, err := os.Create(filepath.Join(b.profiles, "cpu.pprof"))
	if err != nil {
		return err
	}
	runtime.MemProfileRate = allocationEvery
	runtime.SetBlockProfileRate(blockingEvery)
	runtime.SetMutexProfileFraction(1)
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return errors.Join(err, cpu.Close())
	}
	var chunks atomic.Int64
	e := embed(b.address(), backfill.Pace{Workers: 2})
	e.observer = func(event backfill.Event) {
		if _, committed := event.(backfill.ChunkCommitted); committed {
			chunks.Add(1)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = e.run(ctx, job)
	runtime.ReadMemStats(&after)
	pprof.StopCPUProfile()
	if err = errors.Join(err, cpu.Close()); err != nil {
		return err
	}
	runtime.GC() // what was allocated since the last one is in no profile yet
	for _, name := range []string{"allocs", "block", "mutex"} {
		if err := writeProfile(name, filepath.Join(b.profiles, name+".pprof")); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "%d chunks; %d allocations and %d bytes each, planning and all; go tool pprof -top %s\n", chunks.Load(),
		(after.Mallocs-before.Mallocs)/uint64(max(1, chunks.Load())), (after.TotalAlloc-before.TotalAlloc)/uint64(max(1, chunks.Load())), cpu.Name())
	return b.rightData(ctx)
}

func writeProfile(name, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(name).WriteTo(f, 0), f.Close())
}
