package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// clockTick is the unit of processor times in /proc, in seconds: 1/100 on every Linux there is.
const clockTick = 0.01

// serverCPU is the processor time, in seconds, that all processes of the server have used until now: those that are
// there, and those that have ended. It is 0 where there is no /proc, and where the server is not ours.
func (b *workshop) serverCPU() float64 {
	if b.cluster == nil {
		return 0
	}
	text, err := os.ReadFile(filepath.Join(b.cluster.Dir(), "data", "postmaster.pid"))
	if err != nil {
		return 0
	}
	postmaster, _, _ := strings.Cut(string(text), "\n")
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	var ticks int64
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil { // it has just ended, and counts at its parent's
			continue
		}
		// Field 2 is the name in parentheses, and may hold anything.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		own := filepath.Base(filepath.Dir(path)) == postmaster
		if len(fields) < 15 || !own && fields[1] != postmaster {
			continue
		}
		// Fields 14 to 17 of proc(5): user and system time of the process, and of the children it has waited for.
		for _, field := range fields[11:15] {
			n, _ := strconv.ParseInt(field, 10, 64)
			ticks += n
		}
	}
	return float64(ticks) * clockTick
}
