//go:build unix

package localpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// process is one row of the system's process table.
type process struct {
	pid, parent int
	zombie      bool // dead, and not yet waited for: it holds nothing any more
}

// processes reads the process table: from /proc, or from ps where there is none.
func processes(ctx context.Context) ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil || !isDir("/proc/self") {
		return processesByPS(ctx)
	}
	var all []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // gone since
		}
		// "pid (name) state parent …": the name can hold anything, so count from its end.
		rest := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(rest) < 2 {
			continue
		}
		parent, err := strconv.Atoi(rest[1])
		if err != nil {
			return nil, fmt.Errorf("reading /proc/%d/stat: %w", pid, err)
		}
		all = append(all, process{pid, parent, rest[0] == "Z" || rest[0] == "X"})
	}
	return all, nil
}

func processesByPS(ctx context.Context) ([]process, error) {
	out, err := output(ctx, "ps", "-axo", "pid=,ppid=,stat=")
	if err != nil {
		return nil, fmt.Errorf("listing processes with ps: %w", err)
	}
	var all []process
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		pid, err1 := strconv.Atoi(f[0])
		parent, err2 := strconv.Atoi(f[1])
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("reading %q of ps: %w", line, err)
		}
		all = append(all, process{pid, parent, strings.HasPrefix(f[2], "Z")})
	}
	return all, nil
}

// descendants lists the living children of a process, and theirs.
func descendants(ctx context.Context, pid int) ([]int, error) {
	all, err := processes(ctx)
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, p := range all {
		if !p.zombie {
			children[p.parent] = append(children[p.parent], p.pid)
		}
	}
	found := children[pid]
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found, nil
}

// anyAlive reports whether one of the processes still runs.
func anyAlive(ctx context.Context, pids []int) (bool, error) {
	all, err := processes(ctx)
	if err != nil {
		return false, err
	}
	living := map[int]bool{}
	for _, p := range all {
		living[p.pid] = !p.zombie
	}
	for _, pid := range pids {
		if living[pid] {
			return true, nil
		}
	}
	return false, nil
}

// signalAll sends a signal to each, and does not mind those that are gone.
func signalAll(pids []int, sig syscall.Signal) error {
	var errs []error
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("sending %v to process %d: %w", sig, pid, err))
		}
	}
	return errors.Join(errs...)
}

const (
	sigStop  = syscall.SIGSTOP
	sigCont  = syscall.SIGCONT
	sigKill  = syscall.SIGKILL
	sigSmart = syscall.SIGTERM
	sigFast  = syscall.SIGINT
	sigQuit  = syscall.SIGQUIT
)

// startDetached starts a command as the account, in a session of its own.
func startDetached(cmd *exec.Cmd, a account) error {
	a.detach(cmd)
	return cmd.Start()
}
