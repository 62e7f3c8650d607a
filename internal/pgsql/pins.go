package pgsql

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Setting is one PostgreSQL setting and its value.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// KeyPins are the settings under which the engine renders, reads and compares keys.
// They are its own and never the job's: a date or a float that is written under one
// setting and read under another is another key. IntervalStyle is iso_8601 because
// only that form is read alike under every style.
func KeyPins() []Setting {
	return []Setting{
		{"search_path", "pg_catalog, pg_temp"},
		{"TimeZone", "UTC"},
		{"DateStyle", "ISO, MDY"},
		{"IntervalStyle", "iso_8601"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"lc_monetary", "C"},
		{"row_security", "off"},
		// The boundary walks an index, whatever stale statistics say. A sort would read the
		// segment to its end, for each chunk.
		{"enable_seqscan", "off"},
		{"enable_bitmapscan", "off"},
		{"enable_sort", "off"},
		{"jit", "off"}, // compiling costs more than a chunk
	}
}

// JobPins are the settings under which the job's own statements run: the same on every
// connection and every day, so that an expression means one thing throughout a run.
// The job's settings override them.
func JobPins(searchPath string, job map[string]string) []Setting {
	pins := []Setting{
		{"search_path", searchPath},
		{"TimeZone", "UTC"},
		{"DateStyle", "ISO, MDY"},
		{"IntervalStyle", "postgres"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"lc_monetary", "C"},
		{"row_security", "off"}, // hidden rows are an error, not rows that are silently left out
		{"jit", "off"},
	}
	names := make([]string, 0, len(job))
	for name := range job {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		at := slices.IndexFunc(pins, func(p Setting) bool { return strings.EqualFold(p.Name, name) })
		if at < 0 {
			pins = append(pins, Setting{name, job[name]})
		} else {
			pins[at].Value = job[name]
		}
	}
	return pins
}

// Limits are the bounds that every transaction of a run sets for itself.
type Limits struct {
	// Lock bounds each wait for a lock, Statement each statement, and Idle how long the
	// server keeps a transaction whose client says nothing. Zero leaves the server's.
	Lock, Statement, Idle time.Duration
	// SynchronousCommit is the setting of that name; "" leaves the server's.
	SynchronousCommit string
}

// Settings are the limits as PostgreSQL names them.
func (l Limits) Settings() []Setting {
	var s []Setting
	for _, t := range []struct {
		name string
		d    time.Duration
	}{
		{"lock_timeout", l.Lock},
		{"statement_timeout", l.Statement},
		{"idle_in_transaction_session_timeout", l.Idle},
	} {
		if t.d > 0 {
			s = append(s, Setting{t.name, fmt.Sprintf("%dms", max(t.d.Milliseconds(), 1))})
		}
	}
	if l.SynchronousCommit != "" {
		s = append(s, Setting{"synchronous_commit", l.SynchronousCommit})
	}
	// What bounds a transaction of ours is above, and what it waits for is bounded too. Where a role or a database has a bound of its own
	// for transactions, the server would end the connection: of a chunk that waits for a lock, of a look that reads a table in one snapshot.
	return append(s, Setting{transactionTimeout, "0"})
}

// transactionTimeout is a setting that PostgreSQL has from 17 on: it is set where it is there.
const transactionTimeout = "transaction_timeout"

// The statements around every transaction. Nothing depends on the state of a session,
// so a pooler in transaction mode may stand between.
var (
	Begin    = Statement{Name: "begin", SQL: "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"}
	Commit   = Statement{Name: "commit", SQL: "COMMIT"}
	Rollback = Statement{Name: "rollback", SQL: "ROLLBACK"}
)

// SetLocal pins settings for the rest of the transaction.
func SetLocal(settings ...Setting) Statement { return setConfig(settings, true) }

// setConfig makes settings for the rest of the transaction, or of the session.
func setConfig(settings []Setting, local bool) Statement {
	calls := make([]string, len(settings))
	args := make([][]byte, len(settings))
	for i, s := range settings {
		name, value := strings.TrimSpace(Literal(s.Name)), fmt.Sprintf("$%d", i+1)
		if s.Name == XIDSetting {
			value += ownXID
		}
		calls[i] = fmt.Sprintf("pg_catalog.set_config(%s, %s, %t)", name, value, local)
		if s.Name == transactionTimeout {
			calls[i] = fmt.Sprintf("CASE WHEN pg_catalog.current_setting(%s, true) IS NOT NULL THEN %s END", name, calls[i])
		}
		args[i] = Text(s.Value)
	}
	return Statement{Name: "settings", SQL: "SELECT " + strings.Join(calls, ",\n       "), Args: args}
}
