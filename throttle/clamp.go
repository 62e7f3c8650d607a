package throttle

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Clamp holds what somebody asks for against the operator's ceilings: less is allowed, more is not. A field of most that
// is zero is no ceiling. Each thing that is changed is a note for people. The receiver and the result have their defaults.
//
// Besides numbers: standbys and slots may be ignored only where the operator ignores them too, if there is a ceiling of
// their lag or of what they keep; those that the operator requires, the operator's queries, addresses, flag files and
// windows hold besides the job's own; the grace of a standby that is gone may be longer, not shorter; and running
// unmonitored, past a vacuum against wraparound or past a window's end must be agreed to by the operator where the
// ceilings speak of it.
func (l Limits) Clamp(most Limits) (Limits, []string) {
	l = l.WithDefaults()
	c := clamping{}
	duration := func(d time.Duration) string { return brief(d) }
	clampTo(&c, "lag.max", &l.Lag.Max, most.Lag.Max, duration)
	clampTo(&c, "lag.max_bytes", &l.Lag.MaxBytes, most.Lag.MaxBytes, bytesText)
	clampTo(&c, "slots.max_bytes", &l.Slots.MaxBytes, most.Slots.MaxBytes, bytesText)
	clampTo(&c, "archive.max_segments", &l.ArchiveMaxSegments, most.ArchiveMaxSegments, plain)
	clampTo(&c, "yield_after", &l.YieldAfter, most.YieldAfter, duration)
	clampTo(&c, "snapshots.max_age", &l.SnapshotMaxAge, most.SnapshotMaxAge, duration)
	clampTo(&c, "vacuum.max_dead", &l.Vacuum.MaxDead, most.Vacuum.MaxDead, plain)
	clampTo(&c, "sessions.max", &l.SessionsMax, most.SessionsMax, plain)
	clampTo(&c, "commits.max_ratio", &l.CommitsMaxRatio, most.CommitsMaxRatio, plain)
	clampTo(&c, "wal.max_rate", &l.WALMaxRate, most.WALMaxRate, func(n int64) string { return bytesText(n) + "/s" })
	if most.Lag.Grace > 0 && l.Lag.Grace < most.Lag.Grace {
		c.note("lag.grace", brief(l.Lag.Grace), brief(most.Lag.Grace))
		l.Lag.Grace = most.Lag.Grace
	}
	if most.Lag.Max > 0 || most.Lag.MaxBytes > 0 {
		l.Lag.Ignore = c.allowed("lag.ignore", l.Lag.Ignore, most.Lag.Ignore)
	}
	if most.Slots.MaxBytes > 0 {
		l.Slots.Ignore = c.allowed("slots.ignore", l.Slots.Ignore, most.Slots.Ignore)
	}
	c.word("unmonitored", &l.Unmonitored, most.Unmonitored, Refuse)
	c.word("vacuum.wraparound", &l.Vacuum.Wraparound, most.Vacuum.Wraparound, WaitForIt)
	c.word("window_end", &l.WindowEnd, most.WindowEnd, Exit)
	l.Lag.Require = union(l.Lag.Require, most.Lag.Require)
	l.HTTP = union(l.HTTP, most.HTTP)
	l.FlagFiles = union(l.FlagFiles, most.FlagFiles)
	l.Windows = slices.Concat(l.Windows, most.Windows)
	l.Queries = slices.Concat(most.Queries, slices.DeleteFunc(slices.Clone(l.Queries), func(q QueryLimit) bool {
		return slices.Contains(most.Queries, q)
	}))
	l.Lag.Ignore = slices.DeleteFunc(slices.Clone(l.Lag.Ignore), func(name string) bool {
		required := slices.Contains(most.Lag.Require, name)
		if required {
			c.notes = append(c.notes, fmt.Sprintf("lag.ignore: %s asked for, which the operator requires", name))
		}
		return required
	})
	return l, c.notes
}

type clamping struct{ notes []string }

func (c *clamping) note(name, asked, used string) {
	c.notes = append(c.notes, fmt.Sprintf("%s: %s asked for, %s allowed: using %s", name, asked, used, used))
}

// clampTo lowers a limit to its ceiling; a limit that is off is above all of them.
func clampTo[T cmp.Ordered](c *clamping, name string, limit *T, most T, show func(T) string) {
	var none T
	if most <= none || *limit > none && *limit <= most {
		return
	}
	asked := "no limit"
	if *limit > none {
		asked = show(*limit)
	}
	c.note(name, asked, show(most))
	*limit = most
}

// word keeps a word to the strict one where the operator says that.
func (c *clamping) word(name string, asked *string, operators, strict string) {
	if operators == strict && *asked != strict {
		c.note(name, *asked, strict)
		*asked = strict
	}
}

// allowed leaves in a list what is in the operator's too.
func (c *clamping) allowed(name string, asked, operators []string) []string {
	return slices.DeleteFunc(slices.Clone(asked), func(one string) bool {
		if slices.Contains(operators, one) {
			return false
		}
		c.notes = append(c.notes, fmt.Sprintf("%s: %s asked for, which the operator does not allow", name, one))
		return true
	})
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, one := range b {
		if !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	return out
}

func bytesText(n int64) string { return size(float64(n), 1) }

func plain[T any](n T) string { return fmt.Sprint(n) }
