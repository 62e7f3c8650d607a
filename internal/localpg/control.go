package localpg

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// StopMode is how [Cluster.Stop] asks the server to stop, as in pg_ctl.
type StopMode int

// The modes of pg_ctl stop.
const (
	Fast      StopMode = iota // end sessions, write a checkpoint
	Smart                     // wait for the sessions to end by themselves
	Immediate                 // end at once, without a checkpoint: the next start recovers
)

func (m StopMode) signal() (syscall.Signal, error) {
	switch m {
	case Fast:
		return sigFast, nil
	case Smart:
		return sigSmart, nil
	case Immediate:
		return sigQuit, nil
	}
	return 0, fmt.Errorf("no such stop mode: %d", m)
}

// Stop stops the server and waits for its end. The data stay; [Cluster.Restart] starts it again. Stopping a server that is
// down does nothing.
func (c *Cluster) Stop(ctx context.Context, mode StopMode) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stop(ctx, mode)
}

func (c *Cluster) stop(ctx context.Context, mode StopMode) error {
	sig, err := mode.signal()
	if err != nil {
		return err
	}
	if !c.server.up() {
		c.server = nil
		return nil
	}
	// The order matters: a frozen server that first went on would still do some work.
	if err := errors.Join(c.tell(sig), c.thaw(ctx)); err != nil {
		return fmt.Errorf("stopping the cluster %s: %w", c.opts.Name, err)
	}
	if err := c.server.wait(ctx); err != nil {
		return fmt.Errorf("stopping the cluster %s: %w", c.opts.Name, err)
	}
	c.server = nil
	return nil
}

// Kill ends every process of the cluster with SIGKILL, as a power cut would, except that what was written is still in the
// page cache, so nothing committed is lost whether fsync is on or not. Afterwards no process holds the port or
// shared memory, and [Cluster.Restart] starts the server, which recovers from its write-ahead log.
func (c *Cluster) Kill() error {
	ctx, cancel := bounded(context.Background())
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.kill(ctx); err != nil {
		return fmt.Errorf("killing the cluster %s: %w", c.opts.Name, err)
	}
	return nil
}

// Restart starts the server on the port it had, stopping it first (Fast) when it is up. It returns when connections are
// accepted.
func (c *Cluster) Restart(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	if err := c.stop(ctx, Fast); err != nil {
		return err
	}
	var taken error
	for {
		err := c.launch(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, errPortTaken) {
			return errors.Join(err, taken)
		}
		taken = err
		// The port cannot change: clients know it. Whoever borrowed it may give it back.
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Running reports whether the postmaster lives.
func (c *Cluster) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server.up()
}

// Signal sends a signal to the postmaster alone, such as SIGHUP to have the configuration read again.
func (c *Cluster) Signal(sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.signal(sig)
}

// Freeze stops every process of the cluster where it is (SIGSTOP): connections stay open and nothing answers. New
// connections are accepted by the kernel and then hang. [Cluster.Thaw] lets it go on.
func (c *Cluster) Freeze() error {
	ctx, cancel := bounded(context.Background())
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.signal(sigStop); err != nil {
		return err
	}
	children, err := descendants(ctx, c.server.pid)
	if err != nil {
		return err
	}
	return signalAll(children, sigStop)
}

// Thaw ends a Freeze.
func (c *Cluster) Thaw() error {
	ctx, cancel := bounded(context.Background())
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.server.up() {
		return fmt.Errorf("the cluster %s is not running", c.opts.Name)
	}
	return c.thaw(ctx)
}
