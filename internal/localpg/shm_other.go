//go:build unix && !linux && !darwin

package localpg

// removeSharedMemory does nothing here: a killed server leaves a segment of some bytes until the next boot.
func removeSharedMemory(int) error { return nil }
