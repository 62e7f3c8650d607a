package localpg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// StandbyOptions say what standby [Cluster.Standby] makes. The zero value streams and answers queries.
type StandbyOptions struct {
	// Name as in [Options]; also the application_name under which the primary knows the standby, in
	// pg_stat_replication and in synchronous_standby_names. The default is "standby".
	Name string

	// Settings win over those of the primary, which win over this package's own:
	// {"recovery_min_apply_delay": "10s"} makes it lag.
	Settings map[string]string

	// Copy makes the base backup by copying files even where pg_basebackup is there.
	Copy bool
}

// Standby makes a streaming standby of the cluster, which must be running, and starts it. It is closed with the cluster,
// or before.
func (c *Cluster) Standby(ctx context.Context, opts StandbyOptions) (*Cluster, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if opts.Name == "" {
		opts.Name = "standby"
	}
	of := c.opts
	of.Installation = c.inst
	of.Name = opts.Name
	of.Settings = map[string]string{}
	maps.Copy(of.Settings, c.opts.Settings)
	maps.Copy(of.Settings, opts.Settings)
	s, err := newCluster(ctx, of)
	if err != nil {
		return nil, fmt.Errorf("starting a standby: %w", err)
	}
	if err := s.follow(ctx, c, opts.Copy); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a standby: %w", err), s.Close())
	}
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.standbys = append(c.standbys, s)
	}
	c.mu.Unlock()
	if closed {
		return nil, errors.Join(errClosed, s.Close())
	}
	return s, nil
}

// follow fills the data directory from the primary and starts the server.
func (c *Cluster) follow(ctx context.Context, primary *Cluster, byCopy bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.password = primary.password
	c.upstream = fmt.Sprintf("host=127.0.0.1 port=%d user=%s password=%s application_name=%s sslmode=disable",
		primary.port, superuser, primary.password, c.opts.Name)
	var err error
	if byCopy || !c.inst.has("pg_basebackup") {
		err = c.copyFrom(ctx, primary)
	} else {
		err = c.tool(ctx, []string{"PGPASSWORD=" + primary.password}, "pg_basebackup",
			"-D", c.data(), "-h", "127.0.0.1", "-p", fmt.Sprint(primary.port), "-U", superuser,
			"--checkpoint=fast", "--wal-method=stream", "--no-sync", "--no-password")
	}
	if err != nil {
		return fmt.Errorf("base backup: %w", err)
	}
	if err := c.write(filepath.Join(c.data(), "standby.signal"), ""); err != nil {
		return err
	}
	return c.launchAnywhere(ctx)
}

// copyFrom makes a base backup with the functions that pg_basebackup is made of, for installations without it. The
// write-ahead log is not copied: the standby streams it, and wal_keep_size keeps it there.
func (c *Cluster) copyFrom(ctx context.Context, primary *Cluster) error {
	conn, err := primary.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	begin, end := "SELECT pg_backup_start('localpg', true)", "SELECT labelfile FROM pg_backup_stop(false)"
	if primary.inst.Major < 15 {
		begin, end = "SELECT pg_start_backup('localpg', true, false)", "SELECT labelfile FROM pg_stop_backup(false, false)"
	}
	if _, err := conn.Exec(ctx, begin); err != nil {
		return err
	}
	if err := copyLive(c.data(), primary.data()); err != nil {
		return err
	}
	var label string
	if err := conn.QueryRow(ctx, end).Scan(&label); err != nil {
		return err
	}
	if err := c.account.own(c.data()); err != nil {
		return err
	}
	return c.write(filepath.Join(c.data(), "backup_label"), label)
}

// emptied are directories whose content is not part of a base backup.
var emptied = []string{"pg_wal", "pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"}

// copyLive copies a data directory that a server is writing to. Files may come and go and be torn: recovery from the
// backup's label on puts that right.
func copyLive(to, from string) error {
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		base := filepath.Base(rel)
		switch {
		case d.IsDir():
			if err := os.Mkdir(filepath.Join(to, rel), 0o700); err != nil {
				return err
			}
			if slices.Contains(emptied, rel) {
				return fs.SkipDir
			}
			return nil
		case strings.HasPrefix(base, "postmaster."), base == "pg_internal.init", strings.HasPrefix(base, "pgsql_tmp"):
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s: a tablespace cannot be copied", path)
		}
		if err := copyFile(filepath.Join(to, rel), path, 0o600); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	return os.Mkdir(filepath.Join(to, "pg_wal", "archive_status"), 0o700)
}

// CatchUp waits until the standby has replayed everything that its primary had written when it was called.
func (c *Cluster) CatchUp(ctx context.Context, primary *Cluster) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	from, err := primary.connect(ctx)
	if err != nil {
		return err
	}
	defer from.Close(context.WithoutCancel(ctx))
	var lsn string
	if err := from.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&lsn); err != nil {
		return fmt.Errorf("reading the primary's position: %w", err)
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return poll(ctx, conn, "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)", lsn)
}

// poll asks until the answer is yes.
func poll(ctx context.Context, conn *pgx.Conn, sql string, args ...any) error {
	for {
		var yes bool
		if err := conn.QueryRow(ctx, sql, args...).Scan(&yes); err != nil {
			return fmt.Errorf("waiting for %s: %w", sql, err)
		}
		if yes {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", sql, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Promote makes a primary of a standby and returns when it accepts writes.
func (c *Cluster) Promote(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var done bool
	if err := conn.QueryRow(ctx, "SELECT pg_promote(true, 60)").Scan(&done); err != nil {
		return fmt.Errorf("promoting the cluster %s: %w", c.opts.Name, err)
	}
	if !done {
		return fmt.Errorf("promoting the cluster %s: not done within 60 s", c.opts.Name)
	}
	return poll(ctx, conn, "SELECT NOT pg_is_in_recovery()")
}

func quoteConninfo(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}
