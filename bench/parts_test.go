package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The first chunk is measured on a new run and on a long ledger, which the engine then finishes: it believes that ledger.
func TestStart(t *testing.T) {
	t.Parallel()
	out, kept, _ := bench(t, "-only", "start", "-rows", "20000")
	r := kept["start"]
	s := r.Start
	if s == nil || s.LedgerRows < 1_900 || s.LedgerRows > 2_010 {
		t.Fatalf("result: %+v", r)
	}
	for _, b := range []beginning{s.Fresh, s.Resumed} {
		if b.Process <= 0 || b.FirstChunk <= 0 || b.Worst < b.FirstChunk || b.Planned > b.FirstChunk {
			t.Errorf("%+v", b)
		}
	}
	if len(r.Targets) != 2 || !strings.Contains(out, "2 0") {
		t.Errorf("targets %+v in:\n%s", r.Targets, out)
	}
}

// The application is watched beside each work, and its transactions are counted from when they should have begun.
//
// Made to fail: with sessions that are not ended pgbench went on for its ten minutes; with another expression in the one UPDATE, its data were said to be wrong.
func TestForeground(t *testing.T) {
	t.Parallel()
	out, kept, _ := bench(t, "-only", "foreground")
	r := kept["foreground"]
	if len(r.Foreground) != 5 || len(r.Targets) != 2 {
		t.Fatalf("result: %+v", r)
	}
	for _, d := range r.Foreground {
		if d.Transactions <= 0 || d.P50 <= 0 || d.P99 < d.P50 || d.Worst < d.P99 || !strings.Contains(out, d.Name) {
			t.Errorf("%+v, in:\n%s", d, out)
		}
	}
}

// Of pgbench's log, what was at work within the time counts, as long as it took.
func TestLatencies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const log = `0 1 1000 0 100 500000 0
1 1 900000 0 101 900000 20
0 2 2000 0 101 500000 0
0 3 failed 0 101 500000 0
0 4 3000 0 102 2000 0
0 5 4000 0 103 0 0
`
	if err := os.WriteFile(filepath.Join(dir, "app.7"), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := latencies(dir, time.Unix(101, 0), time.Unix(102, 0))
	if diff := cmp.Diff([]float64{2, 3, 900}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if p50, p99 := quantile(got, 0.5), quantile(got, 0.99); p50 != 3 || p99 != 900 {
		t.Errorf("p50 %g, p99 %g", p50, p99)
	}
}
