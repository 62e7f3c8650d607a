package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// most is how much memory the program may have resident while it works on a run, in KiB.
const most = 64 << 10

// The engine needs at most 64 MiB, with four workers and some thousand chunks behind it, up to the sweep and the
// summary. What reads the job file before it is not counted: without a C compiler PostgreSQL's parser is WebAssembly,
// and translating it takes four times that for a moment (docs/adr/0003-sql-parser.md).
//
// It failed when 20 kB were kept of every chunk (112 MiB).
func TestMemory(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE users (id bigint PRIMARY KEY, full_name text NOT NULL, display_name text);
		INSERT INTO users SELECT g, 'user number ' || g FROM generate_series(1, 150000) AS g; ANALYZE users`)
	job := write(t, dir, "users.yaml", "name: users\ntable: users\nworkers: 4\nchunk: {rows: 50}\nupdate: {set: {display_name: initcap(t.full_name)}}\n")
	p := start(t, db.DSN(), dir, "run", "--yes", job)
	awaitChunks(t, db, p, 1)
	peak, readings := 0, 0
	for !p.ended() {
		if kib, err := resident(p.cmd.Process.Pid); err == nil { // it may have ended since
			peak = max(peak, kib)
			readings++
		}
		select {
		case <-p.done:
		case <-time.After(5 * time.Millisecond):
		}
	}
	if code := p.wait(t, time.Second); code != 0 {
		t.Fatalf("exit code %d; it said:\n%s", code, p.out)
	}
	t.Logf("%d MiB resident at most, by %d readings", peak>>10, readings)
	if peak > most {
		t.Errorf("%d KiB were resident, want at most %d", peak, most)
	}
	if readings < 20 || peak < 1<<10 {
		t.Errorf("%d readings, at most %d KiB: this test has proven nothing", readings, peak)
	}
	if n := chunks(db); n < 3000 {
		t.Errorf("%d chunks only", n)
	}
}

var vmRSS = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)

// resident is how much memory a process has resident now, in KiB.
func resident(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	m := vmRSS.FindSubmatch(status)
	if m == nil {
		return 0, fmt.Errorf("process %d has no memory any more", pid)
	}
	return strconv.Atoi(string(m[1]))
}
