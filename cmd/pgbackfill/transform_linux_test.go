package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/lineprogram"
)

// transformJob is a job that has a program write words.out, with what is to be read.
func transformJob(t *testing.T, dir, read string, command []string) string {
	t.Helper()
	quoted := make([]string, len(command))
	for i, word := range command {
		quoted[i] = fmt.Sprintf("%q", word)
	}
	return write(t, dir, "words.yaml", fmt.Sprintf("name: words\ntable: words\ntransform:\n  read: %s\n  command: [%s]\n  write: [out]\n  on_error: fail\n", read, strings.Join(quoted, ", ")))
}

const wordsTable = "CREATE TABLE words (id bigint PRIMARY KEY, v text, out text); INSERT INTO words SELECT g, 'word ' || g FROM generate_series(1, 500) AS g; ANALYZE words"

// A program runs only where somebody said so; else the run is refused before anything is written. A plan needs no leave,
// for it starts nothing.
//
// The same holds for verifying by the program.
//
// Made to fail: without the question in runJob the schema was installed first; without that in checksOf, and with
// programs.Runner in its place, verify ran the program.
func TestProgramsNeedLeave(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(wordsTable)
	job := transformJob(t, dir, "[v]", lineprogram.Command("upper"))
	must(t, db.DSN(), dir, "plan", job)
	code, out := pgbackfill(t, db.DSN(), dir, "run", "--yes", job)
	if code != exitInput || !strings.Contains(out, "programs are not allowed") || !strings.Contains(out, "--allow-programs") {
		t.Errorf("exit code %d, it said:\n%s", code, out)
	}
	if pgtest.One[bool](db, "SELECT to_regnamespace('pgbackfill') IS NOT NULL") {
		t.Error("something was written")
	}
	must(t, db.DSN(), dir, "run", "--yes", "--dry-run", "3", "--allow-programs", job)
	if n := pgtest.One[int](db, "SELECT count(*) FROM words WHERE out IS NOT NULL"); n != 0 {
		t.Errorf("%d rows stay of a dry run", n)
	}
	must(t, db.DSN(), dir, "run", "--yes", "--allow-programs", job)
	if n := pgtest.One[int](db, "SELECT count(*) FROM words WHERE out = upper(v)"); n != 500 {
		t.Errorf("%d rows are right, want 500", n)
	}
	text, err := os.ReadFile(job)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(job, append(text, "verify: {recompute: true}\n"...), 0o600); err != nil { // the same job still
		t.Fatal(err)
	}
	if code, out := pgbackfill(t, db.DSN(), dir, "verify", job); code != exitInput || !strings.Contains(out, "--allow-programs") {
		t.Errorf("verify without leave: exit code %d, it said:\n%s", code, out)
	}
	if out := must(t, db.DSN(), dir, "verify", "--allow-programs", job); !strings.HasPrefix(out, "words: proven: 500 rows") {
		t.Errorf("verify said:\n%s", out)
	}
	db.Exec("UPDATE words SET out = 'wrong' WHERE id = 77")
	if code, out := pgbackfill(t, db.DSN(), dir, "verify", "--allow-programs", job); code != exitMismatch || !strings.Contains(out, "different (77): out") {
		t.Errorf("verify of a wrong row: exit code %d, it said:\n%s", code, out)
	}
}

// A program that is not there is found out before anything is written; so is one beside the job file, and the folder it
// runs in is that of the job file.
func TestProgramIsLookedUp(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(wordsTable)
	for _, name := range []string{"./nobody", "nobody-at-all"} {
		code, out := pgbackfill(t, db.DSN(), dir, "run", "--yes", "--allow-programs", transformJob(t, dir, "[v]", []string{name}))
		if code != exitInput || !strings.Contains(out, "cannot be started") {
			t.Errorf("%s: exit code %d, it said:\n%s", name, code, out)
		}
	}
	if pgtest.One[bool](db, "SELECT to_regnamespace('pgbackfill') IS NOT NULL") {
		t.Error("something was written")
	}
	command := lineprogram.Command("upper")
	beside := filepath.Join(dir, "upper")
	if err := os.WriteFile(beside, []byte(fmt.Sprintf("#!/bin/sh\n[ -f words.yaml ] || exit 1\nexec '%s' '%s'\n", command[0], command[1])), 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, db.DSN(), t.TempDir(), "run", "--yes", "--allow-programs", transformJob(t, dir, "[v]", []string{"./upper"}))
	if n := pgtest.One[int](db, "SELECT count(*) FROM words WHERE out = upper(v)"); n != 500 {
		t.Errorf("%d rows are right, want 500", n)
	}
}

// However large the rows, and however slow the program, the engine needs at most 64 MiB.
//
// It failed where a chunk was not broken off that had too many bytes (73 MiB).
func TestTransformMemory(t *testing.T) {
	if os.Getenv("PGBACKFILL_TEST_LONG") == "" {
		return // a minute; TestMemory looks at the engine each time
	}
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	db.Exec(`CREATE TABLE words (id bigint PRIMARY KEY, v text, out text);
		INSERT INTO words SELECT g, repeat(md5(g::text), 1500) FROM generate_series(1, 3000) AS g; ANALYZE words`)
	p := start(t, db.DSN(), dir, "run", "--yes", "--allow-programs", "--workers", "3", transformJob(t, dir, "[v]", lineprogram.Command("waits", "500us")))
	awaitChunks(t, db, p, 1)
	peak, readings := 0, 0
	for !p.ended() {
		if kib, err := resident(p.cmd.Process.Pid); err == nil {
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
	if peak > most || readings < 20 {
		t.Errorf("%d KiB were resident, by %d readings; want at most %d", peak, readings, most)
	}
	if n := pgtest.One[int](db, "SELECT count(*) FROM words WHERE out = upper(v)"); n != 3000 {
		t.Errorf("%d rows are right, want 3000", n)
	}
}
