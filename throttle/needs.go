package throttle

// Needs is what one of the signals of this package depends on.
type Needs struct {
	// Limit is the name of the limit that it is held against, and that can switch it off.
	Limit string
	// Monitor is set where the role has to see what others do, as a member of pg_monitor: else it works as long as there is
	// nobody to be seen, and no longer.
	Monitor bool
}

// needs of the signals by their names. Those of the operator's own (queries, http, flag_file) are switched off by leaving
// them out.
var needs = map[string]Needs{
	"replica_lag":       {Limit: "lag.max", Monitor: true},
	"replica_lag_bytes": {Limit: "lag.max_bytes", Monitor: true},
	"slot_retention":    {Limit: "slots.max_bytes"},
	"archive_backlog":   {Limit: "archive.max_segments"},
	"blocked_sessions":  {Limit: "yield_after"},
	"old_snapshot":      {Limit: "snapshots.max_age", Monitor: true},
	"window":            {Limit: "window"},
	"active_sessions":   {Limit: "sessions.max", Monitor: true},
	"commit_latency":    {Limit: "commits.max_ratio"},
	"wal_rate":          {Limit: "wal.max_rate"},
	"wraparound_vacuum": {Limit: "vacuum.wraparound"},
	"dead_rows":         {Limit: "vacuum.max_dead"},
}

// NeedsOf is what the signal of a name depends on; nothing where it is not of this package's own.
func NeedsOf(signal string) Needs { return needs[signal] }

// Off reports whether a signal is switched off by its limit, rather than that there is nothing to be measured now.
func (l Limits) Off(signal string) bool {
	limit := NeedsOf(signal).Limit
	if limit == "" {
		return false
	}
	switch l.WithDefaults().Named()[limit] {
	case "", "off", Ignored:
		return true
	}
	return false
}
