package pgsql

import "strings"

// Covered is a predicate over t: the row's key is in one of the ranges. The ends are literals, since it becomes
// part of a job; [KeyPins] renders keys so that they are read alike under any settings.
func Covered(key []KeyColumn, ranges []Range) string {
	if len(ranges) == 0 {
		return "false"
	}
	parts := make([]string, len(ranges))
	for i, r := range ranges {
		parts[i] = "(" + r.where(&Binder{literal: true}, key, keyColumns(key, "t")) + ")"
	}
	return strings.Join(parts, "\n OR ")
}
