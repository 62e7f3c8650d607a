package throttle

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// limit is how one limit is written.
type limit struct {
	name string
	set  func(l *Limits, value string) error
}

// limits are those that are one word, or a list of them, by their names in a job file and in `set`.
var limits = []limit{
	{"lag.max", func(l *Limits, v string) error { return setDuration(&l.Lag.Max, v) }},
	{"lag.max_bytes", func(l *Limits, v string) error { return setSize(&l.Lag.MaxBytes, v) }},
	{"lag.grace", func(l *Limits, v string) error { return setDuration(&l.Lag.Grace, v) }},
	{"lag.ignore", func(l *Limits, v string) error { return setList(&l.Lag.Ignore, v) }},
	{"lag.require", func(l *Limits, v string) error { return setList(&l.Lag.Require, v) }},
	{"slots.max_bytes", func(l *Limits, v string) error { return setSize(&l.Slots.MaxBytes, v) }},
	{"slots.ignore", func(l *Limits, v string) error { return setList(&l.Slots.Ignore, v) }},
	{"archive.max_segments", func(l *Limits, v string) error { return setWhole(&l.ArchiveMaxSegments, v) }},
	{"yield_after", func(l *Limits, v string) error { return setDuration(&l.YieldAfter, v) }},
	{"snapshots.max_age", func(l *Limits, v string) error { return setDuration(&l.SnapshotMaxAge, v) }},
	{"vacuum.max_dead", func(l *Limits, v string) error { return setNumber(&l.Vacuum.MaxDead, v) }},
	{"vacuum.wraparound", func(l *Limits, v string) error { return setWord(&l.Vacuum.Wraparound, v, WaitForIt, Ignored) }},
	{"sessions.max", func(l *Limits, v string) error { return setWhole(&l.SessionsMax, v) }},
	{"commits.max_ratio", func(l *Limits, v string) error { return setNumber(&l.CommitsMaxRatio, v) }},
	{"wal.max_rate", func(l *Limits, v string) error { return setSize(&l.WALMaxRate, strings.TrimSuffix(v, "/s")) }},
	{"window_end", func(l *Limits, v string) error { return setWord(&l.WindowEnd, v, WaitForIt, Exit) }},
	{"unmonitored", func(l *Limits, v string) error { return setWord(&l.Unmonitored, v, Refuse, Accept) }},
}

// LimitNames are the names that [Limits.Set] knows.
func LimitNames() []string {
	names := make([]string, len(limits))
	for i, l := range limits {
		names[i] = l.name
	}
	return names
}

// Set sets one limit by its name in a job file, from a value as people write it: "lag.max" to "3s" or "off",
// "slots.max_bytes" to "4GiB", "lag.ignore" to "eu-1,reports". A list replaces the one before; an empty value is none.
// Windows, queries, addresses and flag files are not set so.
func (l *Limits) Set(name, value string) error {
	at := slices.IndexFunc(limits, func(one limit) bool { return one.name == name })
	if at < 0 {
		return fmt.Errorf("%s is no limit; expected one of %s", name, strings.Join(LimitNames(), ", "))
	}
	if err := limits[at].set(l, strings.TrimSpace(value)); err != nil {
		return fmt.Errorf("%s: found %q; expected %w", name, value, err)
	}
	return nil
}

const offWord = "off"

func setDuration(to *time.Duration, value string) error {
	if value == offWord {
		*to = Off
		return nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		return errors.New("a time such as 10s or 500ms, or off")
	}
	*to = d
	return nil
}

func setWhole[T int | int64](to *T, value string) error {
	if value == offWord {
		*to = Off
		return nil
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n <= 0 {
		return errors.New("a whole number above 0, or off")
	}
	*to = T(n)
	return nil
}

func setNumber(to *float64, value string) error {
	if value == offWord {
		*to = Off
		return nil
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || !(n > 0) || math.IsInf(n, 0) {
		return errors.New("a number above 0, or off")
	}
	*to = n
	return nil
}

// sizes are the units of a number of bytes; those of PostgreSQL mean the same as in its settings.
var sizes = []struct {
	unit  string
	bytes float64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1 << 10},
	{"MB", 1 << 20},
	{"GB", 1 << 30},
	{"TB", 1 << 40},
	{"B", 1},
}

func setSize(to *int64, value string) error {
	if value == offWord {
		*to = Off
		return nil
	}
	for _, s := range sizes {
		number, ok := strings.CutSuffix(value, s.unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if bytes := n * s.bytes; err == nil && bytes >= 1 && bytes < 1<<62 {
			*to = int64(bytes)
			return nil
		}
		break
	}
	return errors.New("a size such as 256MiB or 4GiB, or off")
}

func setList(to *[]string, value string) error {
	*to = nil
	for one := range strings.SplitSeq(value, ",") {
		if one = strings.TrimSpace(one); one != "" {
			*to = append(*to, one)
		}
	}
	return nil
}

func setWord(to *string, value string, words ...string) error {
	if !slices.Contains(words, value) {
		return errors.New(strings.Join(words, " or "))
	}
	*to = value
	return nil
}
