package backfill

import (
	"context"
)

// Options are what an engine is made of. All are required but where it says otherwise.
type Options struct {
	Run  RunID
	Plan *Plan
	// Process names this process among those of the run: "host:pid:start".
	Process string
	// Resumed is set where the run had begun before, Joined where others are at work on it.
	Resumed, Joined bool

	Connect  Connect
	Ledger   Ledger
	Segments Segments
	Control  Control
	// Tasks is needed where the job has prepare, helpers or finish.
	Tasks    Tasks
	Throttle Throttle
	// Programs starts the programs that a transform may name; nil allows none. Transforms are the functions that it
	// may name instead, by name. Both are needed only where the job says so.
	Programs   Programs
	Transforms map[string]TransformFunc
	// Quarantine keeps the rows aside that cannot be changed; nil is none: the first such row stops the run.
	Quarantine Quarantine
	// Prepared is called by each process after prepare and helpers, and before its first chunk, with the plan that is made
	// then: so that what is to surround the chunks (undo: capture, dual_write) is about what they have made. It must
	// bear being called again; nil does nothing.
	Prepared func(context.Context, *Plan) error
	// Blocked says who waits for locks of chunks: these are cancelled, and tried again smaller. Nil is nobody.
	Blocked <-chan Blocked
	// Notices are what else the throttle tells, for the run's record, as that a standby is forgotten. Nil is nothing.
	Notices <-chan string
	// Observer is told what happens; nil is nobody.
	Observer Observer
	// Clamp lowers a pace to what the operator allows; nil allows all.
	Clamp func(Pace) Pace
	// Abort, when done, cancels chunks that have begun: the second Ctrl-C. Nil is never.
	Abort context.Context
	// Unattended ends the work of a process with [ErrIncomplete] once the run has paused itself, where nobody is there who would see it
	// wait: in a pipeline. What somebody else has paused is waited for.
	Unattended bool
	// MaxChunks ends the work after so many chunks of this process; 0 is no limit.
	MaxChunks int64
}
