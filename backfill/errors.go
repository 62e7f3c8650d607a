package backfill

import (
	"errors"
	"fmt"
	"strings"
)

// Error is an error made for the person who reads it: the place, what was found, what
// was expected, and what to do.
type Error struct {
	// Place is where: "users.yaml:7:5", "table public.users", "run 12".
	Place string
	// Found is what is wrong; Expected what should have been there, and may be empty.
	Found, Expected string
	// Remedy is what to type or change.
	Remedy string
	// Kind is one of the sentinels below, for exit codes and tests; nil is a plain error.
	Kind error
	// Err is the cause, if another error was.
	Err error
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Place != "" {
		b.WriteString(e.Place + ": ")
	}
	b.WriteString(e.Found)
	if e.Err != nil {
		if e.Found != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	if e.Expected != "" {
		b.WriteString("; expected " + e.Expected)
	}
	if e.Remedy != "" {
		b.WriteString("\n  → " + e.Remedy)
	}
	return b.String()
}

// Unwrap gives errors.Is and errors.As both the kind and the cause.
func (e *Error) Unwrap() []error {
	var list []error
	if e.Kind != nil {
		list = append(list, e.Kind)
	}
	if e.Err != nil {
		list = append(list, e.Err)
	}
	return list
}

// The kinds of error that callers tell apart.
var (
	// ErrInput is input that cannot be run: a malformed job, a wrong column, a refused finding. Exit code 2.
	ErrInput = errors.New("invalid input")
	// ErrBlinded is a role that may not see what is to be verified, or not all of it. It comes with ErrInput.
	ErrBlinded = errors.New("the role may not see all of it")
	// ErrInterrupted is a run that was asked to stop and can be resumed. Exit code 130.
	ErrInterrupted = errors.New("interrupted")
	// ErrCancelled is a run that somebody cancelled.
	ErrCancelled = errors.New("cancelled")
	// ErrIncomplete is work that has done all it could and left something undone: rows that are quarantined, or that
	// something undoes again, ranges that could not be verified. Exit code 4.
	ErrIncomplete = errors.New("incomplete")
	// ErrChanged is a run whose job, parameters, table or tool is not what it was when the run began.
	ErrChanged = errors.New("changed since the run began")
	// ErrUnreadable is stored state that is there and cannot be read. It is not ErrNotFound.
	ErrUnreadable = errors.New("unreadable")
	// ErrNotFound is a job or run that is not there.
	ErrNotFound = errors.New("not found")
	// ErrIncompatible is stored state of another version of the tool.
	ErrIncompatible = errors.New("incompatible")
)

// Inputf is an ErrInput at a place.
func Inputf(place, remedy, format string, args ...any) *Error {
	return &Error{Place: place, Found: fmt.Sprintf(format, args...), Remedy: remedy, Kind: ErrInput}
}
