package main

import (
	"os"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
)

// A run that was to pause, and whose process died before it could say that it had, is paused and not pausing; one that a process is
// at work on is pausing, and one that is wanted running again is interrupted.
//
// Made to fail: without the look at who lives in statusOf ("pausing" in JSON, "interrupted" in words).
func TestStatusOfAPauseThatDied(t *testing.T) {
	t.Parallel()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	process := checkpoint.Process{Host: host, PID: os.Getpid(), HeartbeatAt: time.Now(), Live: true, RowsPerSecond: 7}
	for name, c := range map[string]struct {
		desired   backfill.Desired
		processes []checkpoint.Process
		state     backfill.State
		text      string
	}{
		"dead":          {backfill.DesiredPaused, nil, backfill.StatePaused, "paused"},
		"alive":         {backfill.DesiredPaused, []checkpoint.Process{process}, backfill.StatePausing, "pausing"},
		"dead, resumed": {backfill.DesiredRunning, nil, backfill.StatePausing, stateInterrupted},
	} {
		s := statusOf(checkpoint.RunInfo{Job: "names", State: backfill.StatePausing, Desired: c.desired, DesiredReason: "by ann", Processes: c.processes})
		if s.State != c.state || stateText(s) != c.text || s.RowsPerSecond != 0 {
			t.Errorf("%s: %s, %q, %v rows/s; want %s, %q and none", name, s.State, stateText(s), s.RowsPerSecond, c.state, c.text)
		}
	}
}
