package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

// measurement is one way, measured once.
type measurement struct {
	Rival   string  `json:"rival"`
	Round   int     `json:"round"`
	Seconds float64 `json:"seconds"`
	// WALBytes is the write-ahead log that was written, HeapGrowthBytes how much larger the table became; of a new table,
	// how large it is, since both are there until the end.
	WALBytes        int64 `json:"wal_bytes"`
	HeapGrowthBytes int64 `json:"heap_growth_bytes"`
	// ServerCPUSeconds is the processor time of the server: what a busy machine disturbs less than the seconds.
	ServerCPUSeconds float64 `json:"server_cpu_seconds"`
	// OthersShare is how much of one core everything else on the machine used meanwhile: 1 is a whole core.
	OthersShare float64 `json:"others_share"`
	// ClientCPUSeconds is the processor time of the client, ClientPeakRSSBytes its memory; 0 where it was not measured.
	ClientCPUSeconds   float64 `json:"client_cpu_seconds"`
	ClientPeakRSSBytes int64   `json:"client_peak_rss_bytes,omitempty"`
}

// compare measures every way once a round, each round in another order, each on a table as fresh as the others'.
func (b *workshop) compare(ctx context.Context, list []rival, r *report) error {
	fmt.Fprintf(b.progress, "making a table of %s rows\n", human.Count(int64(b.rows)))
	if err := b.createTable(ctx, "template"); err != nil {
		return err
	}
	truth, err := b.fingerprintOf(ctx, trueRows)
	if err != nil {
		return err
	}
	bytes, err := b.size(ctx, "template")
	if err != nil {
		return err
	}
	r.RowBytes = int(bytes / int64(b.rows))
	list = slices.DeleteFunc(list, func(v rival) bool { return v.name != single && !strings.Contains(v.name, b.only) })
	for round := range b.repeat {
		for i := range list {
			v := list[(i+round)%len(list)]
			m, err := b.undisturbed(ctx, v, truth)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", v.name, round+1, err)
			}
			m.Round = round + 1
			fmt.Fprintf(b.progress, "round %d of %d: %s: %.2f s\n", m.Round, b.repeat, v.name, m.Seconds)
			r.Measurements = append(r.Measurements, m)
		}
	}
	r.Ways = summarise(list, b.rows, r.Measurements)
	return nil
}

// once measures one way on a fresh table, and then looks whether it did what it should.
func (b *workshop) once(ctx context.Context, v rival, truth string) (measurement, error) {
	m := measurement{Rival: v.name}
	if err := b.freshTable(ctx); err != nil {
		return m, err
	}
	heap, err := b.size(ctx, "users")
	if err != nil {
		return m, err
	}
	wal, err := b.wal(ctx)
	if err != nil {
		return m, err
	}
	if err := b.awaitQuiet(ctx); err != nil {
		return m, err
	}
	all, cpu := machineCPU(), b.serverCPU()
	started := time.Now()
	used, err := v.run(ctx, b)
	m.Seconds = time.Since(started).Seconds()
	m.ServerCPUSeconds = b.serverCPU() - cpu
	m.OthersShare = max(0, machineCPU()-all-m.ServerCPUSeconds-used.cpuSeconds) / m.Seconds
	if err != nil {
		return m, err
	}
	walAfter, err := b.wal(ctx)
	if err != nil {
		return m, err
	}
	heapAfter, err := b.size(ctx, "users")
	if err != nil {
		return m, err
	}
	m.WALBytes, m.HeapGrowthBytes = walAfter-wal, heapAfter-heap
	if v.offline {
		m.HeapGrowthBytes = heapAfter
	}
	m.ClientCPUSeconds, m.ClientPeakRSSBytes = used.cpuSeconds, used.peakRSS
	got, err := b.fingerprintOf(ctx, actualRows)
	if err == nil && got != truth {
		err = fmt.Errorf("%w: found %s; expected %s", errData, got, truth)
	}
	return m, err
}

// way is what the measurements of one rival come to.
type way struct {
	Name    string `json:"name"`
	How     string `json:"how"`
	Offline bool   `json:"offline,omitempty"`
	// Seconds is the median.
	Seconds       float64 `json:"seconds"`
	RowsPerSecond float64 `json:"rows_per_second"`
	// Ratio is the speed against one UPDATE, of medians; RatioLeast and RatioMost are those of single rounds.
	Ratio      float64 `json:"ratio"`
	RatioLeast float64 `json:"ratio_least"`
	RatioMost  float64 `json:"ratio_most"`
	// The others are medians too.
	WALBytes         int64   `json:"wal_bytes"`
	HeapGrowthBytes  int64   `json:"heap_growth_bytes"`
	ServerCPUSeconds float64 `json:"server_cpu_seconds"`
	// OthersShare is the greatest of all rounds, and so is ClientPeakRSSBytes.
	OthersShare        float64 `json:"others_share"`
	ClientCPUSeconds   float64 `json:"client_cpu_seconds"`
	ClientPeakRSSBytes int64   `json:"client_peak_rss_bytes,omitempty"`
}

// summarise adds measurements up, a way for each rival, in their order.
func summarise(list []rival, rows int, all []measurement) []way {
	base := map[int]float64{} // seconds of the one UPDATE, by round
	var baseSeconds []float64
	for _, m := range all {
		if m.Rival == single {
			base[m.Round] = m.Seconds
			baseSeconds = append(baseSeconds, m.Seconds)
		}
	}
	var ways []way
	for _, v := range list {
		w := way{Name: v.name, How: v.how, Offline: v.offline}
		var seconds, server, client []float64
		var wal, heap []int64
		for _, m := range all {
			if m.Rival != v.name {
				continue
			}
			seconds = append(seconds, m.Seconds)
			server, client = append(server, m.ServerCPUSeconds), append(client, m.ClientCPUSeconds)
			wal, heap = append(wal, m.WALBytes), append(heap, m.HeapGrowthBytes)
			w.ClientPeakRSSBytes = max(w.ClientPeakRSSBytes, m.ClientPeakRSSBytes)
			w.OthersShare = max(w.OthersShare, m.OthersShare)
			ratio := base[m.Round] / m.Seconds
			if w.RatioLeast == 0 || ratio < w.RatioLeast {
				w.RatioLeast = ratio
			}
			w.RatioMost = max(w.RatioMost, ratio)
		}
		w.Seconds, w.ServerCPUSeconds, w.ClientCPUSeconds = median(seconds), median(server), median(client)
		w.WALBytes, w.HeapGrowthBytes = median(wal), median(heap)
		w.RowsPerSecond = float64(rows) / w.Seconds
		w.Ratio = median(baseSeconds) / w.Seconds
		ways = append(ways, w)
	}
	return ways
}

// median is the middle one, or what lies between the two in the middle.
func median[N int64 | float64](list []N) N {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
