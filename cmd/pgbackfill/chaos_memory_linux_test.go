package main

import "golang.org/x/sys/unix"

// limitMemory makes every further request of a process for memory fail.
func limitMemory(pid int) error {
	return unix.Prlimit(pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}, nil)
}
