package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	engine1 = "pgbackfill, 1 worker"
	engine2 = "pgbackfill, 2 workers"
	byKey2  = "pgbackfill by key, 2 workers"
)

// jobFile is the job that is measured: the smallest there is.
const jobFile = `name: bench
table: public.users
update:
  set:
    display_name: initcap(t.full_name)
`

// keyJobFile is the same, walked by key whatever would be chosen.
const keyJobFile = jobFile + "walk: key\n"

// build makes the program that users run, once.
func (b *workshop) build(ctx context.Context) (string, error) {
	if b.binary != "" {
		return filepath.Abs(b.binary)
	}
	fmt.Fprintln(b.progress, "building pgbackfill")
	path := filepath.Join(b.dir, "pgbackfill")
	said, err := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/pgbackfill/pgbackfill/cmd/pgbackfill").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building pgbackfill: %w\n%s", err, said)
	}
	return path, nil
}

// pgbackfill is the program at work, in a process of its own, so that what it uses can be told from what the
// benchmark uses.
func pgbackfill(workers int, job func(*workshop) string) func(context.Context, *workshop) (usage, error) {
	return func(ctx context.Context, b *workshop) (usage, error) {
		return b.call(ctx, exitDone, "run", job(b), "--yes", "--log-format", "json", "--workers", strconv.Itoa(workers))
	}
}

// call runs the program to its end, which must have the given exit code.
func (b *workshop) call(ctx context.Context, code int, args ...string) (usage, error) {
	c := exec.CommandContext(ctx, b.program, args...)
	c.Dir = b.dir
	// Nothing of the machine's configuration: the built-in values are what is measured. The password is in no argument.
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "DATABASE_URL=" + b.dsn()}
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 30 * time.Second
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return usage{}, fmt.Errorf("running pgbackfill %s: %w", strings.Join(args, " "), err)
	}
	if c.ProcessState.ExitCode() != code {
		return usage{}, fmt.Errorf("pgbackfill %s ended with %s; expected exit code %d:\n%s", strings.Join(args, " "), c.ProcessState, code, said.String())
	}
	cpu := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	return usage{cpuSeconds: cpu.Seconds(), peakRSS: peakRSS(c.ProcessState)}, nil
}
