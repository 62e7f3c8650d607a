package catalog

import (
	"cmp"
	"slices"
	"strings"
)

// Similar returns up to three of the names that somebody who wrote name may have meant, the likeliest first.
func Similar(name string, names []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	limit := max(2, len(name)/3)
	var found []candidate
	folded := strings.ToLower(name)
	for _, n := range names {
		other := strings.ToLower(n)
		d := distance(folded, other)
		if len(folded) >= 4 && (strings.Contains(other, folded) || strings.Contains(folded, other) && len(other) >= 4) {
			d = min(d, limit)
		}
		if d <= limit {
			found = append(found, candidate{n, d})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), strings.Compare(a.name, b.name))
	})
	list := make([]string, 0, 3)
	for _, c := range found[:min(3, len(found))] {
		list = append(list, c.name)
	}
	return list
}

// distance is Levenshtein's, in runes, with a swap of two neighbours counted once.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	older, old, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range old {
		old[j] = j
	}
	for i := range x {
		row[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, old[j+1]+1, old[j]+cost)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], older[j-1]+1)
			}
		}
		older, old, row = old, row, older
	}
	return old[len(y)]
}

// orList joins names for a sentence: "a", "a or b", "a, b or c".
func orList(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}
