package main

import (
	"strings"
	"testing"
)

// The demo is the first thing that people run: it tells the whole story and its truth holds.
func TestDemo(t *testing.T) {
	t.Parallel()
	out := must(t, "", t.TempDir(), "demo", "--rows", "300000")
	for _, said := range []string{"standby on port", "kill -9", "run resumed", "0 failed", "primary: ", "standby: ", "not a value lost", "ERROR:  pgbackfill: job users-display-name is not ready", "users-display-name: ready", "full_name is gone"} {
		if !strings.Contains(out, said) {
			t.Errorf("the demo does not say %q:\n%s", said, out)
		}
	}
}
