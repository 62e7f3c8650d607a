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

	"github.com/jackc/pgx/v5"
)

// jobName is the name of every job of the benchmark: by it its runs are known from those of others.
const jobName = "bench"

// job is the job of a table as users write it, the smallest there is. more are further lines of it.
func (t table) job(more ...string) string {
	lines := []string{"name: " + jobName, "table: " + schema + ".users"}
	if t.where != "" {
		lines = append(lines, fmt.Sprintf("where: %q", t.where))
	}
	return strings.Join(append(append(lines, "update: {set: {display_name: "+t.filling()+"}}"), more...), "\n") + "\n"
}

// byKey has a job walked by key, byHeap in physical order, whatever would be chosen.
const (
	byKey  = "walk: key"
	byHeap = "walk: heap"
)

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

// jobFile writes a job for the program to read.
func (b *workshop) jobFile(text string) (string, error) {
	path := filepath.Join(b.dir, "bench.yaml")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// pgbackfill is the program at work on the table's job, with further lines of it, in a process of its own, so that what it uses can
// be told from what the benchmark uses.
func pgbackfill(workers int, more ...string) func(context.Context, *workshop) (usage, error) {
	return func(ctx context.Context, b *workshop) (usage, error) {
		return b.runJob(ctx, b.table.job(more...), "--workers", strconv.Itoa(workers))
	}
}

// runJob runs a job to its end.
func (b *workshop) runJob(ctx context.Context, text string, flags ...string) (usage, error) {
	path, err := b.jobFile(text)
	if err != nil {
		return usage{}, err
	}
	return b.call(ctx, exitDone, append([]string{"run", path, "--yes", "--log-format", "json"}, flags...)...)
}

// call runs the program to its end, which must have the given exit code.
func (b *workshop) call(ctx context.Context, code int, args ...string) (usage, error) {
	c := exec.CommandContext(ctx, b.program, args...)
	c.Dir = b.dir
	var err error
	if c.Env, err = b.environment(); err != nil {
		return usage{}, err
	}
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 30 * time.Second
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	err = c.Run()
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

// environment is what the program is told. It has nothing of the machine's configuration: the built-in values are what is measured. The
// password is in no argument.
func (b *workshop) environment() ([]string, error) {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir}
	address := b.address()
	if b.via != "" {
		address = b.via
	}
	if b.cluster == nil {
		// Whatever the connection needs besides: certificates, a service file, a password in .pgpass.
		c, err := pgx.ParseConfig(b.address())
		if err != nil {
			return nil, err
		}
		env = append(env, "PGPASSWORD="+c.Password)
		for _, v := range os.Environ() {
			if strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "PGBACKFILL") && !strings.HasPrefix(v, "PGPASSWORD=") {
				env = append(env, v)
			}
		}
	}
	return append(env, "DATABASE_URL="+address), nil
}
