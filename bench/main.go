// Command bench measures pgbackfill side by side with what people do instead: one UPDATE, a loop in a script, a loop
// in PL/pgSQL, and the floor, a new table. Everything counts that a user waits for: the whole program is run, from its
// start over planning, ledger and closing sweep to its end.
//
//	go run ./bench             the ways compared, interleaved, in rounds
//	go run ./bench -start      how soon the first chunk is committed on a large table, and on a long ledger
//	go run ./bench -foreground what an application notices: pgbench's transactions meanwhile
//	go run ./bench -tripwire   what the tripwire costs the application's transactions
//	go run ./bench -smoke      any of them, small: shows that the benchmark works, measures nothing
//
// It fails where a way does not leave the same data as the others.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, progress io.Writer) int {
	o, err := parse(args, progress)
	if err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, o, out, progress); err != nil {
		fmt.Fprintln(progress, "bench: "+err.Error())
		return 1
	}
	return 0
}

// options are what the flags say.
type options struct {
	rows, repeat  int
	start, smoke  bool
	foreground    bool
	tripwire      bool
	ledgerRows    int
	seed          int64
	sharedBuffers string
	locale        string
	durable       bool
	// patience is how long in all may be waited for a quiet machine, and spent on measuring again what was disturbed.
	patience       time.Duration
	only           string
	json, markdown string
	// binary is a pgbackfill that was built already; "" builds one.
	binary string
	// command is how the benchmark was called, for whoever wants to do it again.
	command string
}

// parse reads the flags. It has said what was wrong where it returns an error.
func parse(args []string, progress io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(progress)
	f.IntVar(&o.rows, "rows", 0, "rows of the table (default 1 000 000; with -foreground 2 000 000, with -start 10 000 000)")
	f.IntVar(&o.repeat, "repeat", 3, "rounds; each measures every way once, in another order")
	f.BoolVar(&o.start, "start", false, "measure how soon the first chunk is committed, instead of the whole run")
	f.BoolVar(&o.foreground, "foreground", false, "measure what an application notices meanwhile, instead: the latency of pgbench's transactions")
	f.BoolVar(&o.tripwire, "tripwire", false, "measure what a tripwire costs the application's transactions, instead")
	f.BoolVar(&o.smoke, "smoke", false, "20 000 rows, one round: shows that the benchmark works")
	f.IntVar(&o.ledgerRows, "ledger", 1_000_000, "with -start: ledger rows to resume from")
	f.Int64Var(&o.seed, "seed", 1, "seed of the table's contents")
	f.StringVar(&o.sharedBuffers, "shared-buffers", "2GB", "shared_buffers of the server")
	f.StringVar(&o.locale, "locale", "C.UTF-8", "locale of the server: it decides what functions on text cost")
	f.BoolVar(&o.durable, "durable", true, "fsync on, so that every way pays for its commits")
	f.DurationVar(&o.patience, "patience", 0, "time for waiting until nothing else is at work, and for measuring again what was disturbed; 0 measures at once")
	f.StringVar(&o.only, "only", "", "measure only the ways whose names contain this, and the one UPDATE")
	f.StringVar(&o.json, "json", "", "write everything measured to this file")
	f.StringVar(&o.markdown, "markdown", "", "put the tables into this file, between the marks that are in it")
	f.StringVar(&o.binary, "binary", "", "the pgbackfill to measure; it is built where none is named")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.command = strings.Join(append([]string{"go run ./bench"}, args...), " ")
	if o.smoke {
		o.rows, o.repeat, o.ledgerRows, o.sharedBuffers, o.locale = 20_000, 1, 2_000, "64MB", "C"
	}
	if o.rows == 0 {
		switch o.rows = 1_000_000; {
		case o.start:
			o.rows = 10_000_000
		case o.foreground:
			o.rows = 2_000_000
		case o.tripwire:
			o.rows = 100_000
		}
	}
	if f.NArg() > 0 || o.rows < 1000 || o.repeat < 1 || o.start && (o.ledgerRows < 1 || o.ledgerRows > o.rows/2) {
		err := fmt.Errorf("expected flags only, at least 1 000 rows and one round, and a ledger of at most half as many rows as the table has")
		fmt.Fprintln(progress, "bench: "+err.Error())
		return o, err
	}
	return o, nil
}

// measure does what the options ask for, prints the tables and writes the files.
func measure(ctx context.Context, o options, out, progress io.Writer) error {
	b, err := prepare(ctx, o, progress)
	if err != nil {
		return err
	}
	defer b.close()
	if o.tripwire {
		return b.tripwire(ctx, out)
	}
	r := report{Machine: describe(ctx, b), Command: o.command, Rows: o.rows, Seed: o.seed, Rounds: o.repeat}
	switch {
	case o.start:
		r.Start, err = b.starts(ctx)
	case o.foreground:
		err = b.foreground(ctx, &r)
	default:
		err = b.compare(ctx, rivals(), &r)
	}
	if err != nil {
		return err
	}
	r.judge()
	r.print(out)
	if o.json != "" {
		if err := r.writeJSON(o.json); err != nil {
			return err
		}
	}
	if o.markdown != "" {
		return r.writeMarkdown(o.markdown)
	}
	return nil
}
