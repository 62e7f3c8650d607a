package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// part is one question that the benchmark answers.
type part struct {
	// name is its word on the command line, and of its file and its place in the document.
	name, title string
	// tabled is set where it is answered for each table.
	tabled bool
	// rounds are as many as there are where nobody asks for others.
	rounds int
	run    func(ctx context.Context, b *workshop, rounds int, keep func(*result) error) error
	// targets are what was aimed at, as far as this part measures it; nil is nothing.
	targets func(r *result)
}

// parts are all questions, in the order in which they are asked and told.
func parts() []part {
	return []part{
		{"compare", "Side by side", true, 3, compare, compareTargets},
		{"choice", "What the planner chooses, beside fixed settings", true, 3, choice, choiceTargets},
		{"growth", "Growth: rows", false, 2, growth, (*result).memory},
		{"workers", "Growth: workers", false, 2, workers, (*result).memory},
		{"latency", "Growth: round trips", false, 2, latency, latencyTargets},
		{"chunk", "Growth: chunks", false, 2, chunks, nil},
		{"transform", "Values from a program", false, 3, transform, transformTargets},
		{"verify", "Verification", false, 5, verification, verifyTargets},
		{"foreground", "What the application notices", false, 2, foreground, foregroundTargets},
		{"start", "From the start to the first chunk", false, 3, starts, startTargets},
		{"tripwire", "What a tripwire costs the application", false, 3, tripwire, nil},
	}
}

func partNamed(name string) part {
	all := parts()
	i := slices.IndexFunc(all, func(p part) bool { return p.name == name })
	if i < 0 {
		return part{name: name}
	}
	return all[i]
}

// partsNamed are those of a list of names; "" is all.
func partsNamed(names string) ([]part, error) {
	if names == "" {
		return parts(), nil
	}
	var list []part
	for name := range strings.SplitSeq(names, ",") {
		p := partNamed(name)
		if p.run == nil {
			var known []string
			for _, p := range parts() {
				known = append(known, p.name)
			}
			return nil, fmt.Errorf("there is no part %q; expected of %s", name, strings.Join(known, ", "))
		}
		list = append(list, p)
	}
	return list, nil
}
