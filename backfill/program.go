package backfill

import (
	"context"
	"errors"
	"time"
)

// Programs starts the programs that transforms name. Package internal/programs has the real one.
type Programs interface {
	// Find reports, as an [ErrInput], why command cannot be started in the folder dir; it starts nothing.
	Find(command []string, dir string) error
	// Start starts it, without a shell. said is told of each line it writes to its standard error, until the
	// program's Close returns.
	Start(command []string, dir string, said func(line string)) (Program, error)
}

// Program is a process of a program's, which answers lines with lines.
type Program interface {
	// Exchange writes lines, each of which ends with a line feed, and gives each the count lines that come back,
	// without their ends. Writing never waits for reading nor the other way around. It ends early with an error
	// of each or ctx, with [ErrProgramEnded] where the program did, and with [ErrProgramSilent] where no line came
	// for as long as patience, or [ErrProgramHoldsBack] where all that was missing came once its input was closed then. After an error the program is of no further use.
	Exchange(ctx context.Context, lines []byte, count int, patience time.Duration, each func(line []byte) error) error
	// Close ends the program and every process that it started, and waits for their end.
	Close()
}

// What can become of a program.
var (
	// ErrProgramEnded is a program that ended, or closed its output, before it had answered.
	ErrProgramEnded = errors.New("the program ended")
	// ErrProgramMissing is a program that cannot be found or started: another try makes nothing better.
	ErrProgramMissing = errors.New("the program is missing")
	// ErrProgramSilent is a program that did not answer in time.
	ErrProgramSilent = errors.New("the program did not answer in time")
	// ErrProgramHoldsBack is a program that answers only at the end of its input: it does not flush its output, or reads
	// all lines before it answers the first. That is no row's fault.
	ErrProgramHoldsBack = errors.New("the program holds its answers back")
	// ErrProgramAnswer is an answer that is not what was asked for: the program has to be mended.
	ErrProgramAnswer = errors.New("the program's answer is wrong")
)
