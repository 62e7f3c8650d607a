//go:build !planted

package planted

// In reports whether the bug is in the code: in a program that is built without the tag none is.
func In(Bug) bool { return false }
