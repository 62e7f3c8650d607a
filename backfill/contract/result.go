package contract

import (
	"errors"
	"time"
)

// Status is what a condition comes to.
type Status string

// The statuses. Unknown never passes.
const (
	Pass    Status = "pass"
	Fail    Status = "fail"
	Unknown Status = "unknown"
	Waived  Status = "waived"
)

// Verdict is what all conditions come to: ready where each passes or is waived.
type Verdict string

// The verdicts.
const (
	Ready   Verdict = "ready"
	Refused Verdict = "refused"
)

// ErrRefused is a verdict as an error, for exit codes. The result itself says why.
var ErrRefused = errors.New("the contract migration must not run")

// Condition is one thing that must hold.
type Condition struct {
	// ID is a word: "coverage". Waivers name it.
	ID     string `json:"id"`
	Title  string `json:"title"`
	Status Status `json:"status"`
	// Evidence is what was found, a line each, the gravest first.
	Evidence []string `json:"evidence"`
	// SQL is what was asked, with its values written out; none is where nothing was.
	SQL []string `json:"sql"`
	// Remedy is what to do; "" where it passes.
	Remedy string `json:"remedy,omitempty"`
	// Waiver is who does without it; nil where nobody does. Was is the status without the waiver.
	Waiver *Waiver `json:"waiver,omitempty"`
	Was    Status  `json:"was,omitempty"`
}

// Waiver is somebody's word that a condition need not hold.
type Waiver struct {
	Condition string    `json:"condition"`
	Why       string    `json:"why"`
	Until     time.Time `json:"until"`
	Who       string    `json:"who"`
	At        time.Time `json:"at"`
}

// Result is what a look at all conditions came to.
type Result struct {
	Job     string  `json:"job"`
	Verdict Verdict `json:"verdict"`
	// ID is the result's number in pgbackfill.gates, which assert_ready looks at.
	ID int64 `json:"id,omitempty"`
	// Run is the newest run of the job; 0 is none.
	Run int64 `json:"run,omitempty"`
	// Began is by the server's clock.
	Began time.Time `json:"began"`
	// Drops are the columns that were asked about, with their tables, quoted.
	Drops      []string    `json:"drops"`
	Conditions []Condition `json:"conditions"`
}

// Err is [ErrRefused], or nil where it is ready.
func (r Result) Err() error {
	if r.Verdict == Ready {
		return nil
	}
	return ErrRefused
}

// Count is how many conditions have a status.
func (r Result) Count(s Status) int {
	n := 0
	for _, c := range r.Conditions {
		if c.Status == s {
			n++
		}
	}
	return n
}
