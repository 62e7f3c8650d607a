package main

import (
	"fmt"
	"io"
	"net"
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
	if len(r.Targets) != 3 || !strings.Contains(out, "2 0") || len(s.Planning) != 2 || s.Planning[1].Pages <= 0 {
		t.Errorf("targets %+v in:\n%s", r.Targets, out)
	}
}

// The application is watched beside each work, and its transactions are counted from when they should have begun.
//
// Made to fail: with sessions that are not ended pgbench went on for its ten minutes.
func TestForeground(t *testing.T) {
	t.Parallel()
	out, kept, _ := bench(t, "-only", "foreground", "-way", "pgbackfill")
	r := kept["foreground"]
	if len(r.Foreground) != 3 || len(r.Targets) != 2 {
		t.Fatalf("result: %+v", r)
	}
	for _, d := range r.Foreground {
		if d.Transactions <= 0 || d.P50 <= 0 || d.P99 < d.P50 || d.Worst < d.P99 || !strings.Contains(out, d.Name) {
			t.Errorf("%+v, in:\n%s", d, out)
		}
	}
}

// A part is measured, held against what it is to be compared with, and has its place in the document.
//
// Made to fail: with a scan of another expression its data were said to be wrong.
func TestParts(t *testing.T) {
	t.Parallel()
	_, kept, _ := bench(t, "-only", "transform,verify", "-way", "2 workers")
	for name, want := range map[string]struct{ ways, targets int }{"transform": {2, 1}, "verify": {2, 1}} {
		if r := kept[name]; len(r.Ways) != want.ways || len(r.Targets) != want.targets || len(r.Missing) > 0 {
			t.Errorf("%s: %d ways, %d targets, missing %q", name, len(r.Ways), len(r.Targets), r.Missing)
		}
	}
}

// What it predicts is that each row goes on to cost what the last ones did.
func TestPredictions(t *testing.T) {
	t.Parallel()
	got := predictions([]way{{Series: engine2, X: 1e5, Seconds: 1}, {Series: engine2, X: 1e6, Seconds: 3}, {Series: engine2, X: 1e7, Seconds: 30}, {Series: single, X: 1e7, Seconds: 1}})
	want := "pgbackfill: each row from 1 000 000 to 10 000 000 costs 3.00 µs (2.22 µs from 100 000 on); at this rate 1 000 000 000 rows take 50m00s, " +
		"where disks and caches are to that table as these are to this"
	if diff := cmp.Diff([]string{want}, got); diff != "" {
		t.Error(diff)
	}
}

// Over a longer way everything takes its time, in both directions, and nothing waits for what came before it.
func TestDelay(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }() // it ends when the client does
		}
	}()
	const roundTrip = 60 * time.Millisecond
	d, err := lengthen("tcp", server.Addr().String(), roundTrip)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", d.port()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const words = 50
	go func() {
		for i := range words {
			if _, err := c.Write([]byte{byte(i)}); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	started := time.Now()
	for i := range words {
		var word [1]byte
		if _, err := io.ReadFull(c, word[:]); err != nil || word[0] != byte(i) {
			t.Fatalf("word %d: %v, %v", i, word, err)
		}
		if i == 0 && time.Since(started) < roundTrip {
			t.Errorf("the first answer came after %s; expected %s at least", time.Since(started), roundTrip)
		}
	}
	// One after the other they would have taken three seconds.
	if took := time.Since(started); took > words*roundTrip/2 {
		t.Errorf("%d words took %s", words, took)
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
