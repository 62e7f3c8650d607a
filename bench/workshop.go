package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
)

// workshop is where things are measured: a server, a connection to it, the program, and the table that is at work.
type workshop struct {
	options
	progress io.Writer
	// cluster is our own server; nil where it is the user's.
	cluster *localpg.Cluster
	conn    *pgx.Conn
	version int // server_version_num
	dir     string
	program string
	ssl     string // how pgbench is told to speak to the server
	// owned is set where the schemas are ours to drop.
	owned bool
	// via is the address that the program is given instead of the server's own; "" is none.
	via string
	// given are the settings that the server has for the table; lacking is what could not be done, for the report.
	given   map[string]string
	lacking []string

	table     table
	tableRows int
	rowBytes  int
	inScope   int64  // rows to be changed
	truth     string // the fingerprint of what it has to become
}

// prepare builds the program and starts the server.
func prepare(ctx context.Context, o options, progress io.Writer) (*workshop, error) {
	b := &workshop{options: o, progress: progress}
	if err := b.setUp(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *workshop) setUp(ctx context.Context) error {
	var err error
	if b.dir, err = os.MkdirTemp("", "pgbackfill-bench-"); err != nil {
		return err
	}
	if b.profiles == "" {
		if b.program, err = b.build(ctx); err != nil {
			return err
		}
	}
	if b.dsn == "" {
		if b.cluster, err = localpg.Start(ctx, b.server()); err != nil {
			return err
		}
	}
	if err := b.connect(ctx); err != nil {
		return err
	}
	return b.takeSchema(ctx)
}

// server is the server that everything is measured on, where it is ours. Nothing happens on it that nobody asked for: no
// autovacuum, and no checkpoint but those before each measurement.
func (b *workshop) server() localpg.Options {
	initdb := []string{"--locale=" + b.locale, "--encoding=UTF8"}
	return localpg.Options{Name: "bench", InitdbArgs: initdb, Durable: b.durable, Progress: b.progress, Settings: map[string]string{
		"shared_buffers":       b.sharedBuffers,
		"autovacuum":           "off",
		"max_wal_size":         "16GB",
		"checkpoint_timeout":   "1h",
		"wal_keep_size":        "0",
		"maintenance_work_mem": "256MB",
	}}
}

// address is how the server is reached.
func (b *workshop) address() string {
	if b.cluster != nil {
		return b.cluster.DSN("postgres")
	}
	return b.dsn
}

// connect makes the benchmark's own connection, whose tables are those of its schema.
func (b *workshop) connect(ctx context.Context) error {
	c, err := pgx.ParseConfig(b.address())
	if err != nil {
		return err
	}
	c.RuntimeParams["search_path"], c.RuntimeParams["application_name"] = schema, "pgbackfill bench"
	if b.conn, err = pgx.ConnectConfig(ctx, c); err != nil {
		return err
	}
	return b.conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&b.version)
}

// configure gives the server the settings that a table asks for, where it is ours.
func (b *workshop) configure(ctx context.Context, t table, rows int) error {
	want := map[string]string{}
	if t.settings != nil {
		want = t.settings(rows)
	}
	b.lacking = nil
	if b.cluster == nil {
		if len(want) > 0 {
			b.lacking = append(b.lacking, "the server's settings are its own; the table is meant for "+settingsText(want))
		}
		if t.cold {
			b.lacking = append(b.lacking, "no cold start: the caches of somebody else's server are not emptied")
		}
		return nil
	}
	if maps.Equal(want, b.given) {
		return nil
	}
	statements := []string{"ALTER SYSTEM RESET ALL"}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		statements = append(statements, fmt.Sprintf("ALTER SYSTEM SET %s = '%s'", name, want[name]))
	}
	if err := b.exec(ctx, statements...); err != nil {
		return err
	}
	b.given = want
	return b.restart(ctx)
}

func (b *workshop) restart(ctx context.Context) error {
	b.conn.Close(ctx)
	if err := b.cluster.Restart(ctx); err != nil {
		return err
	}
	return b.connect(ctx)
}

// chill empties the caches, where the server is ours: its own by starting it again, the system's by telling it so.
func (b *workshop) chill(ctx context.Context) error {
	if b.cluster == nil {
		return nil
	}
	b.conn.Close(ctx)
	if err := b.cluster.Stop(ctx, localpg.Fast); err != nil {
		return err
	}
	if err := evict(b.cluster.Dir()); err != nil && !slices.Contains(b.lacking, err.Error()) {
		b.lacking = append(b.lacking, err.Error())
	}
	if err := b.cluster.Restart(ctx); err != nil {
		return err
	}
	return b.connect(ctx)
}

// checkpoint makes one, so that none comes in between, and every measurement begins with pages that were not written since. On
// a server of somebody else's it may be refused.
func (b *workshop) checkpoint(ctx context.Context) error {
	err := b.exec(ctx, "CHECKPOINT")
	if err == nil || b.cluster != nil {
		return err
	}
	const refused = "no checkpoint before each measurement: the role may not (pg_checkpoint)"
	if !slices.Contains(b.lacking, refused) {
		b.lacking = append(b.lacking, refused)
	}
	return nil
}

// missing is what could not be measured, or not as it is meant.
func (b *workshop) missing() []string {
	if b.cluster != nil {
		return b.lacking
	}
	return append([]string{"server CPU, and what else its machine does: nothing of its operating system is known"}, b.lacking...)
}

// close gives everything back: the benchmark's schemas, or the server that was ours.
func (b *workshop) close() (err error) {
	ctx := context.Background()
	if b.conn != nil {
		if b.cluster == nil && b.owned {
			if b.conn.IsClosed() { // as after an interrupt in the middle of a statement
				if err := b.connect(ctx); err != nil {
					return errors.Join(err, os.RemoveAll(b.dir))
				}
			}
			err = errors.Join(b.forget(ctx), b.exec(ctx, "DROP SCHEMA "+schema+" CASCADE"))
		}
		b.conn.Close(ctx)
	}
	if b.cluster != nil {
		err = errors.Join(err, b.cluster.Close())
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// exec carries out statements, one after the other.
func (b *workshop) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := b.conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%w, in: %s", err, s)
		}
	}
	return nil
}

// errData says that a way did not do what all of them should.
var errData = errors.New("the data are not the same")
