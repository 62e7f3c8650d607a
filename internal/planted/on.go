//go:build planted

package planted

var planted Bug

// In reports whether the bug is in the code.
func In(bug Bug) bool { return bug == planted }

// Plant puts a bug into the code, in place of the one that was there; [None] takes it out. It is for one test at a time.
func Plant(bug Bug) { planted = bug }
