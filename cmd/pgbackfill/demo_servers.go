package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/localpg"
)

func (d *demo) servers(ctx context.Context) error {
	d.chapter("A PostgreSQL primary with a streaming standby, made on the spot")
	if _, err := localpg.Ensure(ctx, d.out); err != nil {
		return err
	}
	var err error
	if d.primary, err = localpg.Start(ctx, localpg.Options{}); err != nil {
		return err
	}
	if d.standby, err = d.primary.Standby(ctx, localpg.StandbyOptions{}); err != nil {
		return err
	}
	d.say("PostgreSQL %s, primary on port %d, standby on port %d", d.primary.Installation().Version, d.primary.Port(), d.standby.Port())
	return nil
}

func (d *demo) file() string { return filepath.Join(d.dir, "users.yaml") }

// command is this program once more, as a user would start it. The connection goes through the
// environment: what is on a command line is for everybody to read.
func (d *demo) command(ctx context.Context, args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	c := exec.CommandContext(ctx, self, args...)
	c.Dir = d.dir
	c.Env = append(os.Environ(), "DATABASE_URL="+d.primary.DSN("postgres"))
	return c
}

// status shows what status says.
func (d *demo) status(ctx context.Context) error {
	text, err := d.command(ctx, "status").Output()
	if err != nil {
		return fmt.Errorf("pgbackfill status: %w", err)
	}
	d.say("$ pgbackfill status")
	fmt.Fprintln(d.out, indent(string(text), "     "))
	return nil
}

// until polls the run until it is as wanted.
func (d *demo) until(ctx context.Context, wanted func(checkpoint.RunInfo) bool, ended <-chan error) (checkpoint.RunInfo, error) {
	for {
		select {
		case <-ctx.Done():
			return checkpoint.RunInfo{}, ctx.Err()
		case err := <-ended:
			return checkpoint.RunInfo{}, errors.Join(errors.New("the run ended before it was killed"), err)
		case <-time.After(20 * time.Millisecond):
		}
		info, err := d.newest(ctx)
		if err == nil && wanted(info) {
			return info, nil
		}
		if err != nil && !notFound(err) {
			return info, err
		}
	}
}

func (d *demo) newest(ctx context.Context) (checkpoint.RunInfo, error) {
	if d.store == nil {
		connect := func(ctx context.Context) (*pgx.Conn, error) { return connectTo(ctx, d.primary.DSN("postgres")) }
		store, err := checkpoint.Open(ctx, connect, checkpoint.Options{Version: d.version, Who: "demo"})
		if err != nil {
			return checkpoint.RunInfo{}, err
		}
		d.store = store
	}
	return d.store.Newest(ctx, "users-display-name")
}

func (d *demo) onPrimary(ctx context.Context, f func(*pgx.Conn) error) error {
	return d.on(ctx, d.primary, f)
}

func (d *demo) on(ctx context.Context, cluster *localpg.Cluster, f func(*pgx.Conn) error) error {
	conn, err := connectTo(ctx, cluster.DSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return f(conn)
}

// connectTo connects as the demo's application does: to the standby too.
func connectTo(ctx context.Context, dsn string) (*pgx.Conn, error) { return pgx.Connect(ctx, dsn) }
