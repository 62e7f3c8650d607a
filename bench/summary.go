package main

import "slices"

// way is what the measurements of one trial come to.
type way struct {
	Name    string  `json:"name"`
	How     string  `json:"how,omitempty"`
	Series  string  `json:"series,omitempty"`
	X       float64 `json:"x,omitempty"`
	Offline bool    `json:"offline,omitempty"`
	// Seconds is the median.
	Seconds       float64 `json:"seconds"`
	RowsPerSecond float64 `json:"rows_per_second"`
	// Ratio is the speed against the first way of the list, of medians; RatioLeast and RatioMost are those of single rounds.
	Ratio      float64 `json:"ratio"`
	RatioLeast float64 `json:"ratio_least"`
	RatioMost  float64 `json:"ratio_most"`
	// The others are medians too.
	WALBytes         int64    `json:"wal_bytes"`
	HeapGrowthBytes  int64    `json:"heap_growth_bytes"`
	IndexGrowthBytes int64    `json:"index_growth_bytes"`
	HOTShare         *float64 `json:"hot_share,omitempty"`
	ServerCPUSeconds float64  `json:"server_cpu_seconds,omitempty"`
	// OthersShare is the greatest of all rounds, and so is ClientPeakRSSBytes.
	OthersShare        float64 `json:"others_share,omitempty"`
	ClientCPUSeconds   float64 `json:"client_cpu_seconds"`
	ClientPeakRSSBytes int64   `json:"client_peak_rss_bytes,omitempty"`
}

// summarise adds measurements up, a way for each trial, in their order. The first is what the others are compared with.
func summarise(list []trial, rows int, all []measurement) []way {
	base := map[int]float64{} // seconds of the first, by round
	for _, m := range all {
		if m.Way == list[0].name {
			base[m.Round] = m.Seconds
		}
	}
	var ways []way
	for _, v := range list {
		w := way{Name: v.name, How: v.how, Series: v.series, X: v.x, Offline: v.offline}
		var of []measurement
		for _, m := range all {
			if m.Way == v.name {
				of = append(of, m)
			}
		}
		for _, m := range of {
			w.ClientPeakRSSBytes = max(w.ClientPeakRSSBytes, m.ClientPeakRSSBytes)
			w.OthersShare = max(w.OthersShare, m.OthersShare)
			ratio := base[m.Round] / m.Seconds
			if w.RatioLeast == 0 || ratio < w.RatioLeast {
				w.RatioLeast = ratio
			}
			w.RatioMost = max(w.RatioMost, ratio)
			if m.HOTShare != nil {
				hot := medianOf(of, func(m measurement) float64 {
					if m.HOTShare == nil {
						return 0
					}
					return *m.HOTShare
				})
				w.HOTShare = &hot
			}
		}
		w.Seconds = medianOf(of, func(m measurement) float64 { return m.Seconds })
		w.ServerCPUSeconds = medianOf(of, func(m measurement) float64 { return m.ServerCPUSeconds })
		w.ClientCPUSeconds = medianOf(of, func(m measurement) float64 { return m.ClientCPUSeconds })
		w.WALBytes = medianOf(of, func(m measurement) int64 { return m.WALBytes })
		w.HeapGrowthBytes = medianOf(of, func(m measurement) int64 { return m.HeapGrowthBytes })
		w.IndexGrowthBytes = medianOf(of, func(m measurement) int64 { return m.IndexGrowthBytes })
		w.RowsPerSecond = float64(rows) / w.Seconds
		w.Ratio = 1
		if len(ways) > 0 {
			w.Ratio = ways[0].Seconds / w.Seconds
		}
		ways = append(ways, w)
	}
	return ways
}

// medianOf is the median of one thing that was measured.
func medianOf[N int64 | float64](of []measurement, what func(measurement) N) N {
	var list []N
	for _, m := range of {
		list = append(list, what(m))
	}
	return median(list)
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
