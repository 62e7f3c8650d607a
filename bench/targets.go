package main

import (
	"fmt"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

// target is what the engine should reach.
type target struct {
	Name string  `json:"name"`
	Want string  `json:"want"`
	Got  string  `json:"got"`
	Met  bool    `json:"met"`
	Size float64 `json:"measured"`
}

const mebibyte = 1 << 20

// least adds a target that is met from a number on, most one that is met up to a number.
func (r *result) least(name string, want, got float64) {
	r.Targets = append(r.Targets, target{Name: name, Want: fmt.Sprintf("≥ %.2f", want), Got: fmt.Sprintf("%.2f", got), Met: got >= want, Size: got})
}

func (r *result) most(name string, want, got float64) {
	r.Targets = append(r.Targets, target{Name: name, Want: fmt.Sprintf("≤ %.2f", want), Got: fmt.Sprintf("%.2f", got), Met: got <= want, Size: got})
}

// faster is for a way that should be so many times as fast as another.
func (r *result) faster(name, than string, want float64) {
	w, measured := r.way(name)
	base, compared := r.way(than)
	if measured && compared {
		r.least("speed of "+name+", of that of "+than, want, base.Seconds/w.Seconds)
	}
}

// less is for a way that should write no more than a part of what the one UPDATE does.
func (r *result) less(name, what string, want float64, of func(way) int64) {
	w, measured := r.way(name)
	base, compared := r.way(single)
	if measured && compared && of(base) > 0 {
		r.most(what+" of "+name+", of that of "+single, want, float64(of(w))/float64(of(base)))
	}
}

// memory is for all ways of the program.
func (r *result) memory() {
	var peak int64
	for _, w := range r.Ways {
		peak = max(peak, w.ClientPeakRSSBytes)
	}
	if peak > 0 {
		r.Targets = append(r.Targets, target{"memory of pgbackfill", "≤ 64 MiB", human.Bytes(peak), peak <= 64*mebibyte, float64(peak)})
	}
}

// compareTargets are those of performance.md. Tables that it does not speak of have none but memory.
func compareTargets(r *result) {
	wal, heap := func(w way) int64 { return w.WALBytes }, func(w way) int64 { return w.HeapGrowthBytes }
	switch r.Table {
	case "sequential":
		r.faster(engine2, single, 1.8)
		r.less(engine2, "WAL", 0.75, wal)
		r.less(engine2, "heap growth", 0.7, heap)
		r.faster(engine2, floor, 0.8)
		r.faster(byKey2, single, 1.45)
		r.faster(byKey1, single, 0.92)
	case "random":
		r.faster(engine2, single, 2.2)
		r.less(engine2, "WAL", 0.8, wal)
	}
	r.memory()
}

func foregroundTargets(r *result) {
	var alone float64
	for _, d := range r.Foreground {
		switch d.Name {
		case idle:
			alone = d.P99
		case engine2:
			r.Targets = append(r.Targets, target{"worst transaction of the application", "≤ 150 ms", fmt.Sprintf("%.0f ms", d.Worst), d.Worst <= 150, d.Worst})
			if alone > 0 {
				r.Targets = append(r.Targets, target{"its p99, against the application alone", "≤ 4 ×", fmt.Sprintf("%.1f ×", d.P99/alone), d.P99 <= 4*alone, d.P99 / alone})
			}
		}
	}
}

// evenly is how much more planning may look at of a table of ten times the rows: what a tree of keys is higher, and what a sample hits.
const evenly = 1.25

func startTargets(r *result) {
	if p := r.Start.Planning; len(p) == 2 && p[0].Pages > 0 {
		more := float64(p[1].Pages) / float64(p[0].Pages)
		name := fmt.Sprintf("pages that planning looks at, of %s rows against %s", human.Count(p[1].Rows), human.Count(p[0].Rows))
		r.Targets = append(r.Targets, target{name, fmt.Sprintf("≤ %.2f ×", evenly), fmt.Sprintf("%.2f ×", more), more <= evenly, more})
	}
	for _, b := range []beginning{r.Start.Fresh, r.Start.Resumed} {
		r.Targets = append(r.Targets, target{"first chunk of " + b.Case, "< 1 s", fmt.Sprintf("%.2f s", b.FirstChunk), b.FirstChunk < 1, b.FirstChunk})
	}
}

// targetsGrid has a row for each target.
func targetsGrid(list []target) grid {
	g := grid{{"target", "wanted", "found", ""}}
	for _, t := range list {
		verdict := "not met"
		if t.Met {
			verdict = "met"
		}
		g = append(g, []string{t.Name, t.Want, t.Got, verdict})
	}
	return g
}
