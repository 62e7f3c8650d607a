package throttle

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Off is the value of a limit that switches its signal off; zero takes the default.
const Off = -1

// Limits say what the signals are held against. The zero value of each field means its default; [Off] (any negative
// number) means no limit, and that its signal is not read. The names in a job file are in parentheses.
type Limits struct {
	Lag LagLimits
	// Slots bounds what the worst replication slot, physical or logical, keeps of the write-ahead log.
	Slots SlotLimits
	// ArchiveMaxSegments is how many segments of the log may wait to be archived; default 64 (archive.max_segments).
	ArchiveMaxSegments int64
	// YieldAfter is how long somebody else may wait for a lock of ours; default 200 ms (yield_after).
	YieldAfter time.Duration
	// SnapshotMaxAge is how old the oldest transaction that holds back the removal of old row versions may be; default 1 h,
	// a warning from half of it on (snapshots.max_age).
	SnapshotMaxAge time.Duration
	Vacuum         VacuumLimits
	// SessionsMax is how many sessions that are not ours may be active, which is best the number of the server's cores. A
	// client cannot see how many it has: the default is no limit (sessions.max).
	SessionsMax int
	// CommitsMaxRatio is how many times slower than usual our own commits may get; default 3 (commits.max_ratio).
	CommitsMaxRatio float64
	// WALMaxRate is how many bytes of write-ahead log the whole server may write in a second; default no limit (wal.max_rate).
	WALMaxRate int64
	// Queries are the operator's own signals (queries).
	Queries []QueryLimit
	// HTTP are addresses that must answer a GET with a 2xx status (http).
	HTTP []string
	// FlagFiles are paths; while there is a file at one of them, work stops (flag_file).
	FlagFiles []string
	// Windows are the times to work, such as "Mon-Fri 22:00-06:00 Europe/Berlin": one of each list must be open. The
	// default is any time. A job has one list; [Limits.Clamp] adds the operator's (window).
	Windows [][]string
	// WindowEnd says what to do at a window's end: "wait" for the next, the default, or "exit", resumable (window_end).
	WindowEnd string
	// Unmonitored says what becomes of signals that this role may not read for want of pg_monitor: "refuse", the default,
	// keeps the gate shut; "accept" says in writing that they are done without (unmonitored).
	Unmonitored string
}

// LagLimits are about replicas.
type LagLimits struct {
	// Max is how far behind in time a standby may be; default 10 s (lag.max).
	Max time.Duration
	// MaxBytes is the same in bytes of the log; default 256 MiB (lag.max_bytes).
	MaxBytes int64
	// Grace is for how long a standby that is gone keeps the gate shut, before it is forgotten; default 60 s (lag.grace).
	Grace time.Duration
	// Ignore names standbys that do not count (lag.ignore), and Require those without which nothing is written
	// (lag.require): by application_name, by address, or as name@address.
	Ignore, Require []string
}

// SlotLimits are about replication slots.
type SlotLimits struct {
	// MaxBytes is the most that a slot may keep; default 4 GiB (slots.max_bytes).
	MaxBytes int64
	// Ignore names slots that do not count (slots.ignore).
	Ignore []string
}

// VacuumLimits are about vacuum on the table.
type VacuumLimits struct {
	// MaxDead is how many dead rows a live one there may be before fewer workers write; default 1 (vacuum.max_dead).
	MaxDead float64
	// Wraparound says what to do while a vacuum against wraparound is at the table: "wait", the default, or "ignore"
	// (vacuum.wraparound).
	Wraparound string
}

// QueryLimit is a signal of the operator's own: a query that returns one number.
type QueryLimit struct {
	// Name is what the signal is called.
	Name string `json:"name"`
	// SQL is one SELECT; it is sent in a transaction of its own that is read-only and short.
	SQL string `json:"sql"`
	// Max is the limit of what it returns; above it, work stops, or is scaled where Gradual is set.
	Max     float64 `json:"max"`
	Gradual bool    `json:"gradual,omitempty"`
}

// The words of the limits that are one of two.
const (
	Refuse    = "refuse" // unmonitored
	Accept    = "accept"
	WaitForIt = "wait" // vacuum.wraparound, window_end
	Ignored   = "ignore"
	Exit      = "exit"
)

// WithDefaults gives every field that is zero its default.
func (l Limits) WithDefaults() Limits {
	or(&l.Lag.Max, 10*time.Second)
	or(&l.Lag.MaxBytes, 256<<20)
	or(&l.Lag.Grace, time.Minute)
	or(&l.Slots.MaxBytes, 4<<30)
	or(&l.ArchiveMaxSegments, 64)
	or(&l.YieldAfter, 200*time.Millisecond)
	or(&l.SnapshotMaxAge, time.Hour)
	or(&l.Vacuum.MaxDead, 1)
	or(&l.Vacuum.Wraparound, WaitForIt)
	or(&l.SessionsMax, Off)
	or(&l.CommitsMaxRatio, 3)
	or(&l.WALMaxRate, Off)
	or(&l.WindowEnd, WaitForIt)
	or(&l.Unmonitored, Refuse)
	return l
}

func or[T comparable](field *T, value T) {
	var none T
	if *field == none {
		*field = value
	}
}

// Validate says all that is wrong with the limits at once, each by its name in a job file.
func (l Limits) Validate() error {
	var errs []error
	oneOf := func(name, value string, words ...string) {
		if value != "" && !slices.Contains(words, value) {
			errs = append(errs, fmt.Errorf("%s: found %q; expected %s or %s", name, value, words[0], words[1]))
		}
	}
	oneOf("vacuum.wraparound", l.Vacuum.Wraparound, WaitForIt, Ignored)
	oneOf("window_end", l.WindowEnd, WaitForIt, Exit)
	oneOf("unmonitored", l.Unmonitored, Refuse, Accept)
	if l.Vacuum.MaxDead != l.Vacuum.MaxDead || l.CommitsMaxRatio != l.CommitsMaxRatio {
		errs = append(errs, errors.New("vacuum.max_dead, commits.max_ratio: found NaN; expected a number"))
	}
	if r := l.CommitsMaxRatio; r > 0 && r <= 1 {
		errs = append(errs, fmt.Errorf("commits.max_ratio: found %v; expected more than 1: it says how many times slower than usual a commit may get", r))
	}
	for _, r := range l.Lag.Require {
		if slices.Contains(l.Lag.Ignore, r) {
			errs = append(errs, fmt.Errorf("lag.require: %s is in lag.ignore too; take it out of one of them", r))
		}
	}
	for i, q := range l.Queries {
		switch {
		case q.Name == "" || q.SQL == "":
			errs = append(errs, fmt.Errorf("queries: number %d has no name or no sql", i+1))
		case !(q.Max > 0):
			errs = append(errs, fmt.Errorf("queries: %s: max is %v; expected a number above 0", q.Name, q.Max))
		}
	}
	for _, address := range l.HTTP {
		if _, err := parseAddress(address); err != nil {
			errs = append(errs, fmt.Errorf("http: %w", err))
		}
	}
	for _, list := range l.Windows {
		if _, err := ParseSchedule(list); err != nil {
			errs = append(errs, fmt.Errorf("window: %w", err))
		}
	}
	return errors.Join(errs...)
}
