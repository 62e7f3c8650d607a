package localpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a running postmaster, which is our child.
type server struct {
	pid  int
	done chan struct{} // closed when it has ended and was waited for
}

// up reports whether it has not ended.
func (s *server) up() bool {
	if s == nil {
		return false
	}
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// wait waits for the server's end.
func (s *server) wait(ctx context.Context) error {
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the postmaster %d to end: %w", s.pid, ctx.Err())
	}
}

// errPortTaken says that someone listens on the port.
var errPortTaken = errors.New("the port is taken")

// Ports are taken from below the range that Linux and macOS give to outgoing connections: a port of that range can
// be somebody's outgoing connection when the server comes back from a restart.
const (
	firstPort = 15000
	lastPort  = 32000
)

// launchAnywhere starts the server on a port that nobody has.
func (c *Cluster) launchAnywhere(ctx context.Context) error {
	var err error
	for range 30 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		l, listenErr := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if listenErr != nil {
			err = fmt.Errorf("port %d: %w", port, listenErr)
			continue
		}
		l.Close()
		c.port = port
		// Between the look and the start, another process may have taken it.
		if err = c.launch(ctx); !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return fmt.Errorf("finding a free port: %w", err)
}

// launch writes the configuration, starts the server and waits until it accepts connections.
func (c *Cluster) launch(ctx context.Context) error {
	settings := c.opts.settings()
	settings["port"] = strconv.Itoa(c.port)
	settings["unix_socket_directories"] = c.dir
	if _, own := settings["primary_conninfo"]; c.upstream != "" && !own {
		settings["primary_conninfo"] = c.upstream
	}
	if err := c.write(filepath.Join(c.data(), "postgresql.conf"), conf(settings)); err != nil {
		return err
	}
	log, err := os.OpenFile(c.Log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the server has its own handle
	info, err := log.Stat()
	if err != nil {
		return err
	}
	cmd := c.command(c.inst.program("postgres"), "-D", c.data())
	cmd.Env = append(cmd.Env, c.opts.Environ...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := startDetached(cmd, c.account); err != nil {
		return fmt.Errorf("starting postgres: %w", err)
	}
	s := &server{pid: cmd.Process.Pid, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(s.done)
	}()
	c.server = s
	err = c.awaitReady(ctx, s)
	if err == nil {
		return nil
	}
	said := c.logSince(info.Size())
	if strings.Contains(said, "could not bind") || strings.Contains(said, "could not create any TCP/IP sockets") {
		err = errPortTaken
	}
	// Our ctx may be what failed; the server has to go all the same.
	return errors.Join(fmt.Errorf("%w; its log says:\n%s", err, lastLines(said, 20)), c.endServer(context.WithoutCancel(ctx)))
}

// awaitReady waits for the pid file to say what pg_ctl waits for: that connections are accepted.
func (c *Cluster) awaitReady(ctx context.Context, s *server) error {
	for {
		// The file of a server that was killed may lie there still: only our process's counts.
		if pid, status := c.pidFile(); pid == s.pid && status == "ready" {
			return nil
		}
		select {
		case <-s.done:
			return errors.New("the server ended before it accepted connections")
		case <-ctx.Done():
			return fmt.Errorf("waiting for the server to accept connections: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (c *Cluster) pidPath() string { return filepath.Join(c.data(), "postmaster.pid") }

// pidFile reads the process and the status; zero where the file is absent or half written.
func (c *Cluster) pidFile() (pid int, status string) {
	lines := c.pidLines()
	if len(lines) < 8 {
		return 0, ""
	}
	pid, err := strconv.Atoi(lines[0])
	if err != nil {
		return 0, ""
	}
	return pid, lines[7]
}

// sharedMemory reads the identifier of the server's System V segment.
func (c *Cluster) sharedMemory() (id int, ok bool) {
	lines := c.pidLines()
	if len(lines) < 7 {
		return 0, false
	}
	f := strings.Fields(lines[6]) // key and identifier
	if len(f) != 2 {
		return 0, false
	}
	id, err := strconv.Atoi(f[1])
	return id, err == nil
}

func (c *Cluster) pidLines() []string {
	text, err := os.ReadFile(c.pidPath())
	if err != nil {
		return nil
	}
	lines := strings.Split(string(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return lines
}

// logSince gives what the log says from an offset on.
func (c *Cluster) logSince(offset int64) string {
	text, err := os.ReadFile(c.Log())
	if err != nil {
		return err.Error()
	}
	return string(text[min(offset, int64(len(text))):])
}

// command prepares a program of PostgreSQL to run with a known environment.
func (c *Cluster) command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Dir = c.dir
	// Nothing of ours: PGHOST, PGDATA, PGOPTIONS and the locale would all change what happens.
	cmd.Env = []string{"PATH=" + c.inst.BinDir + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + c.dir, "LC_ALL=C", "TZ=UTC"}
	for _, name := range []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if v := os.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	return cmd
}

// tool runs a program of PostgreSQL to its end.
func (c *Cluster) tool(ctx context.Context, env []string, name string, args ...string) error {
	cmd := c.command(c.inst.program(name), args...)
	cmd.Env = append(cmd.Env, env...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := startDetached(cmd, c.account); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = errors.Join(ctx.Err(), abandon(context.WithoutCancel(ctx), cmd.Process.Pid), <-done)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, lastLines(said.String(), 10))
	}
	return nil
}

// abandon ends a program and what it started. The servers that initdb runs hear of its end and end by themselves, giving back
// their shared memory, which they could not if they were killed.
func abandon(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	children, err := descendants(ctx, pid)
	if err := errors.Join(err, signalAll([]int{pid}, sigKill)); err != nil {
		return err
	}
	for {
		alive, err := anyAlive(ctx, children)
		if !alive {
			return err
		}
		if pause(ctx) != nil {
			return signalAll(children, sigKill)
		}
	}
}

// write writes a file for the server to read.
func (c *Cluster) write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return c.account.own(path)
}

// endServer ends the server without ceremony: immediate shutdown, in which it ends its children and gives back its
// shared memory, and if that takes too long, a kill. The caller holds mu.
func (c *Cluster) endServer(ctx context.Context) error {
	if !c.server.up() {
		c.server = nil
		return nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := errors.Join(c.thaw(ctx), c.tell(sigQuit)); err != nil {
		return err
	}
	// The postmaster itself waits 5 s for its children, and then kills them.
	patience, cancelPatience := context.WithTimeout(ctx, 10*time.Second)
	defer cancelPatience()
	if err := c.server.wait(patience); err != nil {
		return c.kill(ctx)
	}
	c.server = nil
	return nil
}

// kill ends all processes of the cluster so that none has a chance to do anything. The caller holds mu.
func (c *Cluster) kill(ctx context.Context) error {
	if !c.server.up() {
		c.server = nil
		return nil
	}
	pid := c.server.pid
	shm, hasShm := c.sharedMemory()
	// A stopped postmaster starts no children while we count them. Each child is in a session of its own, so there is no
	// process group to kill.
	if err := c.tell(sigStop); err != nil {
		return err
	}
	var killed []int
	for {
		children, err := descendants(ctx, pid)
		if err != nil {
			return err
		}
		if len(children) == 0 {
			break
		}
		if err := signalAll(children, sigKill); err != nil {
			return err
		}
		killed = append(killed, children...)
		if err := pause(ctx); err != nil {
			return fmt.Errorf("killing the children of the postmaster %d: %w", pid, err)
		}
	}
	if err := c.tell(sigKill); err != nil {
		return err
	}
	if err := c.server.wait(ctx); err != nil {
		return err
	}
	c.server = nil
	// Grandchildren (an archive_command) went to init when their parent died; they must be gone as well.
	for slices.Sort(killed); ; {
		alive, err := anyAlive(ctx, killed)
		if err != nil {
			return err
		}
		if !alive {
			break
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("waiting for the killed processes to end: %w", err)
		}
	}
	if hasShm {
		if err := removeSharedMemory(shm); err != nil {
			return fmt.Errorf("removing the shared memory of the killed server: %w", err)
		}
	}
	// The next postmaster would take a stale file for its own rival if some process had been given that pid since.
	if err := os.Remove(c.pidPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// signal sends a signal to the postmaster, which must be there. The caller holds mu.
func (c *Cluster) signal(sig syscall.Signal) error {
	if !c.server.up() {
		return fmt.Errorf("the cluster %s is not running", c.opts.Name)
	}
	return c.tell(sig)
}

// tell sends a signal to the postmaster. That it has ended by itself meanwhile is no error. The caller holds mu.
func (c *Cluster) tell(sig syscall.Signal) error {
	if !c.server.up() {
		return nil // its number may be another's by now
	}
	return signalAll([]int{c.server.pid}, sig)
}

// thaw lets every process of the cluster go on. The caller holds mu.
func (c *Cluster) thaw(ctx context.Context) error {
	children, err := descendants(ctx, c.server.pid)
	if err != nil {
		return err
	}
	return signalAll(append(children, c.server.pid), sigCont)
}

// pause waits a moment before a process table is read again.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Millisecond):
		return nil
	}
}
