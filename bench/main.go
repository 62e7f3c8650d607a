// Command bench measures pgbackfill side by side with what people do instead: one UPDATE, a loop in a script, a loop
// in PL/pgSQL, and the floor, a new table. Everything counts that a user waits for: the whole program is run, from its
// start over planning, ledger and closing sweep to its end. Only the schema pgbackfill is there before, as it is from a database's second job on.
//
//	go run ./bench                          everything, on a throwaway server; the document is docs/benchmarks.md
//	go run ./bench -only compare            one part; parts.go has them
//	go run ./bench -table random -repeat 5  some tables; tables.go has them
//	go run ./bench -dsn ADDRESS -out DIR    on a server of your own, in schemas that are dropped afterwards
//	go run ./bench -profile DIR             profiles of the engine
//	go run ./bench -render                  nothing is measured: the document is put together from what is kept
//	go run ./bench -smoke -out ""           any of it, small: shows that the benchmark works, measures nothing
//
// It fails where a way does not leave the same data as the others. A target that is missed is reported, and no failure.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, progress io.Writer) int {
	o, err := parse(args, progress)
	if err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !o.render {
		err = measureParts(ctx, o, out, progress)
	}
	if err == nil && o.out != "" && o.profiles == "" {
		err = render(o.out)
	}
	if err != nil {
		fmt.Fprintln(progress, "bench: "+err.Error())
		return 1
	}
	return 0
}

// measureParts measures what the options ask for, and prints and keeps each result as soon as it is there.
func measureParts(ctx context.Context, o options, out, progress io.Writer) (err error) {
	b, err := prepare(ctx, o, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if o.profiles != "" {
		return profile(ctx, b, out)
	}
	for _, p := range o.parts {
		rounds := p.rounds
		if o.repeat > 0 {
			rounds = o.repeat
		}
		err := p.run(ctx, b, rounds, func(r *result) error {
			if p.targets != nil {
				p.targets(r)
			}
			r.print(out)
			if o.out == "" {
				return nil
			}
			return r.save(o.out)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}
