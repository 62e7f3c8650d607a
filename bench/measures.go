package main

import (
	"fmt"
	"strconv"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

// measure is one thing that is measured of every way: its column.
type measure struct {
	name string
	of   func(way) string
	// always is set where it is shown though nothing was measured.
	always bool
}

// none is what stands where nothing was measured.
const none = "–"

// measures are the columns of a table of ways, after their names.
func measures() []measure {
	number := func(n float64, format string) string {
		if n == 0 {
			return none
		}
		return fmt.Sprintf(format, n)
	}
	bytes := func(n int64) string {
		if n <= 0 {
			return "0"
		}
		return human.Bytes(n)
	}
	return []measure{
		{"seconds", func(w way) string { return fmt.Sprintf("%.2f", w.Seconds) }, true},
		{"rows/s", func(w way) string { return human.Count(int64(w.RowsPerSecond)) }, true},
		{"speed", func(w way) string { return fmt.Sprintf("%.2f", w.Ratio) }, true},
		{"(rounds)", func(w way) string { return fmt.Sprintf("%.2f–%.2f", w.RatioLeast, w.RatioMost) }, true},
		{"WAL", func(w way) string { return bytes(w.WALBytes) }, true},
		{"heap growth", func(w way) string { return bytes(w.HeapGrowthBytes) }, true},
		{"index growth", func(w way) string { return bytes(w.IndexGrowthBytes) }, true},
		{"HOT", func(w way) string {
			if w.HOTShare == nil {
				return none
			}
			return strconv.Itoa(int(100**w.HOTShare+0.5)) + " %"
		}, true},
		{"server CPU", func(w way) string { return number(w.ServerCPUSeconds, "%.2f s") }, false},
		{"client CPU", func(w way) string { return fmt.Sprintf("%.2f s", w.ClientCPUSeconds) }, true},
		{"client memory", func(w way) string {
			if w.ClientPeakRSSBytes == 0 {
				return none
			}
			return human.Bytes(w.ClientPeakRSSBytes)
		}, true},
	}
}

// waysGrid has a row for each way and a column for each measure.
func waysGrid(ways []way) grid {
	head := []string{"way"}
	g := grid{nil}
	for _, w := range ways {
		g = append(g, []string{w.Name})
	}
	for _, m := range measures() {
		seen := m.always
		column := make([]string, len(ways))
		for i, w := range ways {
			column[i] = m.of(w)
			seen = seen || column[i] != none
		}
		if !seen {
			continue
		}
		head = append(head, m.name)
		for i := range ways {
			g[i+1] = append(g[i+1], column[i])
		}
	}
	g[0] = head
	return g
}
