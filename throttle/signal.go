package throttle

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Class says what a signal can do.
type Class int

// The classes.
const (
	// Gating signals are yes or no: over the limit, no chunk begins.
	Gating Class = iota
	// Gradual signals move the number of workers; they stop nothing.
	Gradual
)

// String is the word for people.
func (c Class) String() string {
	if c == Gradual {
		return "gradual"
	}
	return "gate"
}

// Signal is one thing that is measured again and again. It is read by one goroutine at a time.
type Signal interface {
	// Name is what the signal is called in reasons, metrics and the job file: "replica_lag". Several may share one,
	// and tell themselves apart by their readings' details.
	Name() string
	// Class says whether it stops work or scales it.
	Class() Class
	// Read measures, within ctx. An error means that nothing is known: it shuts a gate.
	Read(ctx context.Context) (Reading, error)
}

// Paced is a [Signal] that must be read more often than others.
type Paced interface {
	// Interval is the longest time between two readings; 0 leaves it to the gate.
	Interval() time.Duration
}

// ErrPrivilege is the kind of error of a signal that this role may not read.
var ErrPrivilege = errors.New("missing privilege")

// Problem says why a signal cannot be read, and what to do about it.
type Problem struct {
	// Found is what is wrong, Remedy what to type or change.
	Found, Remedy string
	// Kind is [ErrPrivilege] or nil; Err is the cause, if another error was.
	Kind, Err error
}

// Error is all of it on one line, since it becomes part of a reason.
func (p *Problem) Error() string {
	text := p.Found
	if p.Err != nil {
		text += ": " + p.Err.Error()
	}
	if p.Remedy != "" {
		text += "; " + p.Remedy
	}
	return strings.Join(strings.Fields(text), " ")
}

// Unwrap gives the kind and the cause.
func (p *Problem) Unwrap() []error {
	var list []error
	for _, err := range []error{p.Kind, p.Err} {
		if err != nil {
			list = append(list, err)
		}
	}
	return list
}
