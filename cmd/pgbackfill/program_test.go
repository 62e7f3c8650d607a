package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/lineprogram"
)

func TestMain(m *testing.M) {
	lineprogram.Main()
	shim := python()
	pgtest.Main(m)
	_ = os.RemoveAll(shim)
	if programDir != "" {
		_ = os.RemoveAll(programDir)
	}
}

// python puts a python3 first in PATH that does what transform.py of corpus case 12 does, whatever it is given: a machine
// need not have the other one. It returns its folder.
func python() string {
	dir, err := os.MkdirTemp("", "pgbackfill-python-")
	if err != nil {
		panic(err)
	}
	command := lineprogram.Command("token")
	if err := os.WriteFile(filepath.Join(dir, "python3"), []byte(fmt.Sprintf("#!/bin/sh\nexec '%s' '%s'\n", command[0], command[1])), 0o755); err != nil {
		panic(err)
	}
	if err := os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		panic(err)
	}
	return dir
}

// programDir is where the program was built; "" where no test needed it.
var programDir string

// program is the path of the real program, built once for all tests of the package. What is
// killed must be a process of its own.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pgbackfill-program-")
	if err != nil {
		return "", err
	}
	programDir = dir
	path := filepath.Join(dir, "pgbackfill")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// process is the program at work.
type process struct {
	cmd  *exec.Cmd
	out  *output
	done chan struct{}
	err  error
}

// output is what a process has printed so far, on both streams.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start starts the program against a database, in a directory of the test's.
func start(t *testing.T, dsn, dir string, args ...string) *process {
	t.Helper()
	return startIn(t, nil, dsn, dir, args...)
}

// startIn is start with further variables in the program's environment.
func startIn(t *testing.T, environ []string, dsn, dir string, args ...string) *process {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{out: &output{}, done: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.Env = append(append(clean(os.Environ()), "DATABASE_URL="+dsn), environ...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

// clean leaves out what a developer's own environment says about databases.
func clean(environ []string) []string {
	var kept []string
	for _, v := range environ {
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "DATABASE_URL=") {
			kept = append(kept, v)
		}
	}
	return kept
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// kill ends the process with SIGKILL and waits for its end.
func (p *process) kill(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	<-p.done
}

// ended reports whether the process has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// wait waits for the end and returns the exit code.
func (p *process) wait(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		t.Fatalf("pgbackfill %v has not ended within %s; it said:\n%s", p.cmd.Args[1:], within, p.out)
	}
	return p.cmd.ProcessState.ExitCode()
}

// pgbackfill runs the program to its end.
func pgbackfill(t *testing.T, dsn, dir string, args ...string) (code int, out string) {
	t.Helper()
	p := start(t, dsn, dir, args...)
	code = p.wait(t, 4*time.Minute)
	return code, p.out.String()
}

// must runs the program and fails the test where it does not exit with 0.
func must(t *testing.T, dsn, dir string, args ...string) string {
	t.Helper()
	code, out := pgbackfill(t, dsn, dir, args...)
	if code != 0 {
		t.Fatalf("pgbackfill %v: exit code %d\n%s", args, code, out)
	}
	return out
}

// write writes a file into a directory of the test's and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// deadline is a context that ends before the test binary does.
func deadline(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// errNotYet is what a condition returns that is polled for.
var errNotYet = errors.New("not yet")
