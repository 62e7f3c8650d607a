package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// quietShare is how much of one core others may use for a machine to count as quiet. Writing back what the server
	// wrote, which the system does by itself, is below that.
	quietShare = 0.3
	quietLook  = time.Second
)

// machineCPU is the processor time, in seconds, that everything on the server's machine has used until now; 0 where there is no
// /proc, and where that is another machine.
func (b *workshop) machineCPU() float64 {
	if b.cluster == nil {
		return 0
	}
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	// user nice system idle iowait irq softirq steal; see proc(5)
	var ticks int64
	for i, field := range strings.Fields(line)[1:] {
		if i == 3 || i == 4 || i > 7 {
			continue
		}
		n, _ := strconv.ParseInt(field, 10, 64)
		ticks += n
	}
	return float64(ticks) * clockTick
}

// awaitQuiet returns when nothing else has used the machine for a moment, or the patience is at its end.
func (b *workshop) awaitQuiet(ctx context.Context) error {
	for said := false; b.patience > 0 && b.cluster != nil; said = true {
		started, before := time.Now(), b.machineCPU()
		timer := time.NewTimer(quietLook)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		waited := time.Since(started)
		if (b.machineCPU()-before)/waited.Seconds() < quietShare {
			return nil
		}
		b.patience -= waited
		if !said {
			fmt.Fprintln(b.progress, "waiting for the machine to be quiet")
		}
	}
	return nil
}

// undisturbed measures until nothing else was at work meanwhile, or the patience is at its end.
func (b *workshop) undisturbed(ctx context.Context, v trial) (measurement, error) {
	for {
		m, err := b.once(ctx, v)
		if err != nil || b.patience <= 0 || m.OthersShare < quietShare {
			return m, err
		}
		b.patience -= time.Duration(m.Seconds * float64(time.Second))
		fmt.Fprintf(b.progress, "%s: %.2f s, but others used %.0f %% of a core: measured again\n", v.name, m.Seconds, 100*m.OthersShare)
	}
}
