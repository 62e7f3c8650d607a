package main

import (
	"context"
	"fmt"
	"time"
)

// trial is one way to do the work, or one setting of it.
type trial struct {
	name string
	// how says what it does, for the notes under the table.
	how string
	// x is its place in a picture of growth, on the line of its series: rows, workers, milliseconds.
	series string
	x      float64
	// offline is set where the application could not go on meanwhile, reads where nothing is changed by it.
	offline, reads bool
	run            func(context.Context, *workshop) (usage, error)
}

// usage is what a client used.
type usage struct {
	cpuSeconds float64
	// peakRSS is the most memory that was resident, in bytes; 0 where the client is the benchmark itself.
	peakRSS int64
}

// measurement is one trial, measured once.
type measurement struct {
	Way     string  `json:"way"`
	Round   int     `json:"round"`
	Seconds float64 `json:"seconds"`
	// WALBytes is the write-ahead log that was written, HeapGrowthBytes and IndexGrowthBytes how much larger the table and its indexes
	// became; of a new table, how large it is, since both are there until the end.
	WALBytes         int64 `json:"wal_bytes"`
	HeapGrowthBytes  int64 `json:"heap_growth_bytes"`
	IndexGrowthBytes int64 `json:"index_growth_bytes"`
	// HOTShare is the part of the updated rows that stayed on their pages, so that no index was written; nil where none was updated.
	HOTShare *float64 `json:"hot_share,omitempty"`
	// ServerCPUSeconds is the processor time of the server: what a busy machine disturbs less than the seconds. 0 where it was not measured.
	ServerCPUSeconds float64 `json:"server_cpu_seconds,omitempty"`
	// OthersShare is how much of one core everything else on the machine used meanwhile: 1 is a whole core.
	OthersShare float64 `json:"others_share,omitempty"`
	// ClientCPUSeconds is the processor time of the client, ClientPeakRSSBytes its memory; 0 where it was not measured.
	ClientCPUSeconds   float64 `json:"client_cpu_seconds"`
	ClientPeakRSSBytes int64   `json:"client_peak_rss_bytes,omitempty"`
}

// interleave measures every trial once a round, each round in another order, each on a table as fresh as the others'. What
// was measured is in the result, which is made for the table that the workshop has.
func (b *workshop) interleave(ctx context.Context, part string, list []trial, rounds int) (*result, error) {
	r := &result{
		Part: part, Table: b.table.name, Machine: b.describe(ctx), Command: b.command, Rows: b.tableRows, RowBytes: b.rowBytes,
		Seed: b.seed, Rounds: rounds, Settings: b.given,
	}
	list = b.wanted(list)
	for round := range rounds {
		for i := range list {
			v := list[(i+round)%len(list)]
			m, err := b.undisturbed(ctx, v)
			if err != nil {
				return nil, fmt.Errorf("%s, %s, round %d: %w", b.table.name, v.name, round+1, err)
			}
			m.Round = round + 1
			fmt.Fprintf(b.progress, "%s, %s, round %d of %d: %s: %.2f s\n", part, b.table.name, m.Round, rounds, v.name, m.Seconds)
			r.Measurements = append(r.Measurements, m)
		}
	}
	r.Ways, r.Missing = summarise(list, b.tableRows, r.Measurements), b.missing()
	return r, nil
}

// sizes are what grows when a table is written.
type sizes struct{ wal, heap, indexes int64 }

func (b *workshop) sizes(ctx context.Context) (s sizes, err error) {
	err = b.conn.QueryRow(ctx, `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint, pg_relation_size('users'), pg_indexes_size('users')`).
		Scan(&s.wal, &s.heap, &s.indexes)
	return s, err
}

// once measures one way on a fresh table, and then looks whether it did what it should.
func (b *workshop) once(ctx context.Context, v trial) (measurement, error) {
	m := measurement{Way: v.name}
	if !v.reads {
		if err := b.freshTable(ctx); err != nil {
			return m, err
		}
	}
	before, err := b.sizes(ctx)
	if err != nil {
		return m, err
	}
	if err := b.awaitQuiet(ctx); err != nil {
		return m, err
	}
	all, cpu := b.machineCPU(), b.serverCPU()
	started := time.Now()
	used, err := v.run(ctx, b)
	m.Seconds = time.Since(started).Seconds()
	m.ServerCPUSeconds = b.serverCPU() - cpu
	m.OthersShare = max(0, b.machineCPU()-all-m.ServerCPUSeconds-used.cpuSeconds) / m.Seconds
	if err != nil {
		return m, err
	}
	after, err := b.sizes(ctx)
	if err != nil {
		return m, err
	}
	m.WALBytes, m.HeapGrowthBytes, m.IndexGrowthBytes = after.wal-before.wal, after.heap-before.heap, after.indexes-before.indexes
	if v.offline {
		m.HeapGrowthBytes, m.IndexGrowthBytes = after.heap, after.indexes
	}
	m.ClientCPUSeconds, m.ClientPeakRSSBytes = used.cpuSeconds, used.peakRSS
	if v.reads {
		return m, nil
	}
	if err := b.rightData(ctx); err != nil || v.offline {
		return m, err
	}
	m.HOTShare, err = b.hotShare(ctx)
	return m, err
}

// hotShare is the part of the updates of the table users, since it was made, that were heap-only; nil where there was none.
func (b *workshop) hotShare(ctx context.Context) (share *float64, err error) {
	// Sessions tell what they have counted at their end, which may come a little later than the client's, or when they are asked to;
	// before version 15, to a collector that takes its time.
	if b.version >= 150000 {
		if err := b.exec(ctx, "SELECT pg_stat_force_next_flush()"); err != nil {
			return nil, err
		}
	}
	for until := time.Now().Add(statsPatience); ; {
		var updated int64
		err := b.conn.QueryRow(ctx, `SELECT n_tup_upd, n_tup_hot_upd / NULLIF(n_tup_upd, 0)::float8 FROM pg_stat_user_tables WHERE relid = 'users'::regclass`).Scan(&updated, &share)
		if err != nil || updated >= b.inScope || time.Now().After(until) {
			return share, err
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// statsPatience is how long the server's statistics are waited for.
const statsPatience = 2 * time.Second
