// Command pgbackfill changes hundreds of millions of rows of a live PostgreSQL table in
// small exactly-once chunks. This package wires the others; each command has a file.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/backfill/contract"
	"github.com/pgbackfill/pgbackfill/backfill/verify"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	a := &app{args: args, in: os.Stdin, out: os.Stdout, err: os.Stderr, version: version(), verb: "run"}
	ctx, stop := a.signals()
	defer stop()
	root := a.root()
	root.SetArgs(args)
	err := unanswered(interrupted(ctx, root.ExecuteContext(ctx)))
	if err != nil && !errors.Is(err, errSaid) {
		a.fail(err)
	}
	return exitCode(err)
}

// interrupted makes of a step that was broken off by a signal, before there was a run to say so,
// an error that says it.
func interrupted(ctx context.Context, err error) error {
	brokenOff := errors.Is(err, context.Canceled) || pgerr.Code(err) == pgerr.CodeQueryCanceled
	if ctx.Err() == nil || !brokenOff || errors.Is(err, errSaid) {
		return err
	}
	return &backfill.Error{Found: "interrupted; what is committed stays", Remedy: "start it again to go on", Kind: backfill.ErrInterrupted}
}

// unanswered makes of an error that only says that a connection is gone, as it is between the moments at which one waits for the
// server, one that says what that means.
func unanswered(err error) error {
	code := pgerr.Code(err)
	if err == nil || errors.Is(err, errSaid) || pgerr.Class(err) != pgerr.Retry || code != "" && !strings.HasPrefix(code, "57P") {
		return err
	}
	const remedy = "start it again: what is committed stays. Where it happens again, look at the network, and into the server's log"
	var said *backfill.Error
	if !errors.As(err, &said) {
		return &backfill.Error{Place: "connection", Found: "the server did not answer, or the connection to it was lost", Err: err, Remedy: remedy}
	}
	if said.Remedy == "" && said.Error() == err.Error() { // nobody has said more about it
		told := *said
		told.Remedy = remedy
		return &told
	}
	return err
}

// The exit codes, as product.md has them.
const (
	exitDone        = 0
	exitError       = 1
	exitInput       = 2
	exitMismatch    = 3
	exitIncomplete  = 4
	exitUnresolved  = 5
	exitRefused     = 6
	exitInterrupted = 130
)

// errSaid marks an error that was shown already; errUsage one of the command line's.
var (
	errSaid  = errors.New("already said")
	errUsage = errors.New("usage")
)

// exitCode is the one place where an error becomes an exit code.
func exitCode(err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, backfill.ErrInterrupted):
		return exitInterrupted
	case errors.Is(err, backfill.ErrInput), errors.Is(err, backfill.ErrChanged), errors.Is(err, errUsage):
		return exitInput
	case errors.Is(err, verify.ErrMismatched):
		return exitMismatch
	case errors.Is(err, verify.ErrIncomplete), errors.Is(err, backfill.ErrIncomplete):
		return exitIncomplete
	case errors.Is(err, verify.ErrUnresolved):
		return exitUnresolved
	}
	if errors.Is(err, contract.ErrRefused) {
		return exitRefused
	}
	return exitError
}

// signals returns a context that the first SIGINT or SIGTERM ends: begun chunks finish. The
// second ends a.abort: they are cancelled. After that a signal does what it does to any program.
func (a *app) signals() (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(context.Background())
	abort, abortNow := context.WithCancel(context.Background())
	a.abort = abort
	heard := make(chan os.Signal, 2)
	signal.Notify(heard, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer signal.Stop(heard)
		for _, act := range []context.CancelFunc{stop, abortNow} {
			select {
			case <-heard:
				act()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() { close(done); stop(); abortNow() }
}

// version is the module's version, as the Go tool recorded it: "dev" for a build of a work tree.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}
