package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/debian"
)

const fullJob = `name: count
table: public.counters
idempotent: false
steps:
  - name: change
    update: {set: {counter: t.counter + 1}}
  - name: keep
    sql: INSERT INTO details SELECT c.id FROM {{chunk}} AS c
workers: 3
chunk: {rows: 40}
timeouts: {lock: 300ms, statement: 2s, idle: 1s, connect: 2s}
`

// A disk that is full is waited for, and status says so; when there is room again the run goes on by itself.
//
// The file of the table that is written to is /dev/full, where every write fails as on a full disk: that needs no root.
//
// Made to fail: with 53100 taken for an error that does not pass, the run fails.
func TestChaosOfAFullDisk(t *testing.T) {
	t.Parallel()
	const name = "disk full"
	scenario(t, name, func(t *testing.T) {
		w := newWorld(t, worldOptions{name: name, seed: firstSeed(t), rows: 4000, rate: 2000, jobText: fullJob, sql: "CREATE TABLE details (id int)"})
		path := filepath.Join(w.server().Dir(), "data", ask[string](w, "SELECT pg_relation_filepath('details')"))
		w.exec("CHECKPOINT")
		w.forget()
		if err := os.Rename(path, path+".kept"); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/dev/full", path); err != nil {
			t.Fatal(err)
		}
		w.start()
		pgtest.Eventually(t, 30*time.Second, func() error {
			w.alive(name)
			if !strings.Contains(w.procs[0].out.String(), "53100") {
				return errNotYet
			}
			return nil
		})
		pgtest.Eventually(t, 20*time.Second, func() error {
			w.alive(name)
			if out := must(t, w.direct(), w.dir, "status", "count"); !strings.Contains(out, "No space left") && !strings.Contains(out, "disk_full") {
				return errNotYet
			}
			return nil
		})
		injected(name, w.seed)
		if n := ask[int](w, "SELECT count(*) FROM counters WHERE counter <> 0"); n > 0 {
			t.Errorf("%d rows are changed whose chunk could not be written", n)
		}
		w.forget()
		if err := os.Rename(path+".kept", path); err != nil { // in the link's place
			t.Fatal(err)
		}
		w.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + ours) // they have the other file open
		w.lives(fault{name: name})
		w.finishes()
		if off := ask[int](w, "SELECT count(*) FROM counters AS t WHERE t.counter <> (SELECT count(*) FROM details AS d WHERE d.id = t.id)"); off > 0 {
			t.Errorf("%d rows were changed another number of times than the other table says", off)
		}
	})
}

// The server's clock jumps an hour forward, and two back. Nothing that is safe depends on it.
//
// Made to fail: with a clock that stands as it was, by the look at it.
func TestChaosOfClocks(t *testing.T) {
	t.Parallel()
	const name = "server's clock jumps"
	scenario(t, name, func(t *testing.T) {
		root := debian.Unpacked(t, "libfaketime")
		dir, err := os.MkdirTemp("", "pgbackfill-clock-") // the server's account reads it
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		clock := func(offset string) {
			if err := os.WriteFile(filepath.Join(dir, "offset"), []byte(offset), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		library := filepath.Join(dir, "libfaketime.so.1")
		text, err := os.ReadFile(filepath.Join(debian.Libraries(t, root, "libfaketime.so.1"), "libfaketime.so.1"))
		if err == nil {
			err = os.WriteFile(library, text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		clock("+0")
		w := newWorld(t, worldOptions{name: name, seed: firstSeed(t), rows: 8000, rate: 1500, processes: 2, server: []string{
			"LD_PRELOAD=" + library, "FAKETIME_TIMESTAMP_FILE=" + filepath.Join(dir, "offset"), "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1",
		}})
		w.start()
		w.awaits(5, "the beginning")
		for _, offset := range []string{"+3600", "-3600", "+0"} {
			w.note("the clock is at %s s", offset)
			before := ask[time.Time](w, "SELECT clock_timestamp()")
			clock(offset)
			if after := ask[time.Time](w, "SELECT clock_timestamp()"); after.Sub(before).Abs() < 30*time.Minute {
				t.Errorf("the clock has not jumped: %s, then %s", before, after)
			}
			injected(name, w.seed)
			w.lives(fault{name: name})
			w.killEngine()
			w.lives(fault{name: name})
			w.tellsTheTruth(false)
		}
		w.finishes()
	})
}
