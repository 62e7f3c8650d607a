//go:build unix

package programs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/programs"
)

func started(t *testing.T, script string) backfill.Program {
	t.Helper()
	p, err := programs.Runner{}.Start([]string{"sh", "-c", script}, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// A program is ended together with what it started, on its timeout as at its end. Made to fail: with Process.Kill alone
// the child lived on.
func TestEndsWithAllThatItStarted(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]func(*testing.T, backfill.Program){
		"closed": func(_ *testing.T, p backfill.Program) { p.Close() },
		"silent": func(t *testing.T, p backfill.Program) {
			err := p.Exchange(t.Context(), []byte("{}\n"), 1, 50*time.Millisecond, func([]byte) error { return nil })
			if !errors.Is(err, backfill.ErrProgramSilent) {
				t.Errorf("got %v", err)
			}
		},
		"cancelled": func(t *testing.T, p backfill.Program) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := p.Exchange(ctx, []byte("{}\n"), 1, time.Minute, func([]byte) error { return nil }); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "child")
			p := started(t, "sleep 1000 & echo $! > "+file+".new; mv "+file+".new "+file+"; cat > /dev/null; wait")
			var child int
			for deadline := time.Now().Add(20 * time.Second); child == 0; time.Sleep(5 * time.Millisecond) {
				text, _ := os.ReadFile(file)
				child, _ = strconv.Atoi(strings.TrimSpace(string(text)))
				if time.Now().After(deadline) {
					t.Fatal("the program has not started its child")
				}
			}
			how(t, p)
			for deadline := time.Now().Add(20 * time.Second); alive(child); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the child is still there")
				}
			}
		})
	}
}

// alive reports whether a process is there and no zombie, which nobody may have waited for.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

// Writing and reading do not wait for one another: neither a program that answers much before it has read all, nor one
// that reads all first, stands still.
func TestManyLines(t *testing.T) {
	t.Parallel()
	lines, n := []byte(strings.Repeat(`{"v":"`+strings.Repeat("x", 1000)+`"}`+"\n", 3000)), 3000
	for name, script := range map[string]string{"at once": "cat", "at the end": "head -n 3000 > all; cat all; cat > /dev/null"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := 0
			if err := started(t, script).Exchange(t.Context(), lines, n, 20*time.Second, func([]byte) error { got++; return nil }); err != nil || got != n {
				t.Errorf("%d lines came back: %v", got, err)
			}
		})
	}
}

// What became of the program is told apart.
func TestHowItEnds(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]struct {
		kind error
		said string
	}{
		"echo why >&2; exit 4":             {backfill.ErrProgramEnded, "exit status 4 after 0 of 2 lines; the last it said: why"},
		"exit 127":                         {backfill.ErrProgramMissing, "exit status 127"},
		"nobody-at-all":                    {backfill.ErrProgramMissing, "nobody-at-all"},
		"head -n 1; exec >&-; sleep 100":   {backfill.ErrProgramEnded, "signal: killed after 1 of 2 lines"},
		"kill -9 $$":                       {backfill.ErrProgramEnded, "signal: killed"},
		"printf half":                      {backfill.ErrProgramEnded, "after 0 of 2 lines"},
		"printf '1\\n2\\n3\\n'; sleep 100": {backfill.ErrProgramAnswer, "a line more than asked for"},
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			err := started(t, script).Exchange(t.Context(), []byte("1\n2\n"), 2, 20*time.Second, func([]byte) error { return nil })
			if !errors.Is(err, want.kind) || !strings.Contains(err.Error(), want.said) {
				t.Errorf("got %v, want %q", err, want.said)
			}
		})
	}
}

// What cannot be started is found out without starting it, and the error says where it was looked for.
func TestFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"./plain", "./nobody", "nobody-at-all", ""} {
		if err := (programs.Runner{}).Find([]string{name}, dir); !errors.Is(err, backfill.ErrInput) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "plain"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"./plain", "sh"} {
		if err := (programs.Runner{}).Find([]string{name}, dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The program of a job file in the current folder is the one beside it, and never a stranger's of the same name in PATH;
// where there is none beside it, that is an error. Not parallel: it changes the folder and PATH. Made to fail: with
// filepath.Join alone, which makes "encrypt" of "." and "./encrypt", the stranger answered.
func TestBesideAJobFileInTheCurrentFolder(t *testing.T) {
	dir, strange := t.TempDir(), t.TempDir()
	script := func(folder, says string) {
		if err := os.WriteFile(filepath.Join(folder, "encrypt"), []byte("#!/bin/sh\nread line; echo "+says+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script(strange, "stranger")
	t.Setenv("PATH", strange+string(filepath.ListSeparator)+os.Getenv("PATH"))
	t.Chdir(dir)
	for _, folder := range []string{".", ""} {
		if err := (programs.Runner{}).Find([]string{"./encrypt"}, folder); !errors.Is(err, backfill.ErrInput) {
			t.Errorf("with none beside the job file: got %v", err)
		}
	}
	script(dir, "own")
	p, err := programs.Runner{}.Start([]string{"./encrypt"}, ".", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var got string
	err = p.Exchange(t.Context(), []byte("{}\n"), 1, time.Minute, func(line []byte) error { got = string(line); return nil })
	if err != nil || got != "own" {
		t.Errorf("got %q, %v", got, err)
	}
}
