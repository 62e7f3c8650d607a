package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// options are what the flags say.
type options struct {
	parts  []part
	tables []table
	way    string
	// rows and repeat are 0 where each part and each table has its own.
	rows, repeat  int
	ledgerRows    int
	smoke, render bool
	seed          int64
	// dsn is a server of the user's own; "" starts one.
	dsn           string
	sharedBuffers string
	locale        string
	durable       bool
	// patience is how long in all may be waited for a quiet machine, and spent on measuring again what was disturbed.
	patience time.Duration
	// out is the folder where results are kept; the document is beside it. "" keeps nothing.
	out string
	// profiles is a folder for profiles of the engine, which are then all that is made; "" is none.
	profiles string
	// binary is a pgbackfill that was built already; "" builds one.
	binary string
	// command is how the benchmark was called, for whoever wants to do it again.
	command string
}

// smokeRows are the rows of every table of a smoke test.
const smokeRows = 4_000

// parse reads the flags. It has said what was wrong where it returns an error.
func parse(args []string, progress io.Writer) (options, error) {
	var o options
	var only, names string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(progress)
	f.StringVar(&only, "only", "", "measure only these parts, a list with commas between (default all)")
	f.StringVar(&names, "table", "", "measure only these tables, a list with commas between (default all)")
	f.StringVar(&o.way, "way", "", "measure only the ways whose names contain this, and the one that they are compared with")
	f.IntVar(&o.rows, "rows", 0, "rows of every table, and the most of a growing one (default: each its own)")
	f.IntVar(&o.repeat, "repeat", 0, "rounds; each measures every way once, in another order (default: each part its own, two or three)")
	f.IntVar(&o.ledgerRows, "ledger", 1_000_000, "ledger rows to resume from, at most half of the table's")
	f.BoolVar(&o.smoke, "smoke", false, "small tables, one round: shows that the benchmark works")
	f.BoolVar(&o.render, "render", false, "measure nothing: put the document together from what is kept in the folder of -out")
	f.Int64Var(&o.seed, "seed", 1, "seed of the tables' contents")
	f.StringVar(&o.dsn, "dsn", "", "measure on this server, in the schemas pgbackfill_bench and pgbackfill, which must not be there, instead of a throwaway one")
	f.StringVar(&o.sharedBuffers, "shared-buffers", "2GB", "shared_buffers of the throwaway server, for tables that ask for nothing else")
	f.StringVar(&o.locale, "locale", "C.UTF-8", "locale of the throwaway server: it decides what functions on text cost")
	f.BoolVar(&o.durable, "durable", true, "fsync on, so that every way pays for its commits")
	f.DurationVar(&o.patience, "patience", 0, "time for waiting until nothing else is at work, and for measuring again what was disturbed; 0 measures at once")
	f.StringVar(&o.out, "out", "docs/benchmarks", "keep what was measured in this folder, and put together the document beside it, of the same name with .md; \"\" keeps nothing")
	f.StringVar(&o.profiles, "profile", "", "instead of measuring: run the job of the first table within this process, and write CPU, allocation, block and mutex profiles into this folder")
	f.StringVar(&o.binary, "binary", "", "the pgbackfill to measure; it is built where none is named")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	err := o.settle(f, only, names)
	if err != nil {
		fmt.Fprintln(progress, "bench: "+err.Error())
	}
	return o, err
}

// settle checks the flags and adds what follows from them.
func (o *options) settle(f *flag.FlagSet, only, names string) (err error) {
	if o.parts, err = partsNamed(only); err != nil {
		return err
	}
	if o.tables, err = tablesNamed(names); err != nil {
		return err
	}
	if f.NArg() > 0 || o.rows < 0 || o.rows > 0 && o.rows < 1000 || o.repeat < 0 || o.ledgerRows < 1 {
		return fmt.Errorf("expected flags only, at least 1 000 rows and one round, and a ledger of some rows")
	}
	given := func(name string) (found bool) {
		f.Visit(func(g *flag.Flag) { found = found || g.Name == name })
		return found
	}
	if o.dsn != "" && !given("out") {
		return fmt.Errorf("say where the results of a server of yours are to be kept, as in -out measured: docs/benchmarks has those of the project")
	}
	if o.smoke {
		o.repeat, o.sharedBuffers, o.locale, o.ledgerRows = 1, "64MB", "C", min(o.ledgerRows, smokeRows/2)
		if o.rows == 0 {
			o.rows = smokeRows
		}
	}
	o.command = "go run ./bench"
	f.Visit(func(g *flag.Flag) {
		word := g.Value.String()
		if g.Name == "dsn" { // it may have a password
			word = "…"
		}
		if slices.Contains([]string{"smoke", "render"}, g.Name) {
			o.command += " -" + g.Name
			return
		}
		if word == "" || strings.ContainsAny(word, " '\"") {
			word = fmt.Sprintf("%q", word)
		}
		o.command += " -" + g.Name + "=" + word
	})
	return nil
}

// rowsOf is how many rows a table gets, sized how many one that would have so many.
func (o options) rowsOf(t table) int { return o.sized(t.rows) }

func (o options) sized(rows int) int {
	if o.rows > 0 {
		return o.rows
	}
	return rows
}
