package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
)

// workshop is where things are measured: a server, a connection to it, and the program.
type workshop struct {
	options
	progress io.Writer
	cluster  *localpg.Cluster
	conn     *pgx.Conn
	dir      string
	program  string
	// job is the job as users write it, keyJob the one that is walked by key.
	job, keyJob string
}

func (b *workshop) defaultJob() string { return b.job }
func (b *workshop) jobByKey() string   { return b.keyJob }

// prepare builds the program and starts the server.
func prepare(ctx context.Context, o options, progress io.Writer) (*workshop, error) {
	b := &workshop{options: o, progress: progress}
	err := b.setUp(ctx)
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *workshop) setUp(ctx context.Context) error {
	var err error
	if b.dir, err = os.MkdirTemp("", "pgbackfill-bench-"); err != nil {
		return err
	}
	if b.program, err = b.build(ctx); err != nil {
		return err
	}
	b.job, b.keyJob = filepath.Join(b.dir, "bench.yaml"), filepath.Join(b.dir, "by-key.yaml")
	for path, text := range map[string]string{b.job: jobFile, b.keyJob: keyJobFile} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	if b.cluster, err = localpg.Start(ctx, b.server()); err != nil {
		return err
	}
	b.conn, err = pgx.Connect(ctx, b.dsn())
	return err
}

// server is the server that everything is measured on. Nothing happens on it that nobody asked for: no autovacuum, and
// no checkpoint but those before each measurement.
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

func (b *workshop) dsn() string { return b.cluster.DSN("postgres") }

func (b *workshop) close() {
	ctx := context.Background()
	if b.conn != nil {
		b.conn.Close(ctx)
	}
	if b.cluster != nil {
		if err := b.cluster.Close(); err != nil {
			fmt.Fprintln(b.progress, "bench: "+err.Error())
		}
	}
	os.RemoveAll(b.dir)
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
