package throttle

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Name is a limit as job files, the configuration and `set` have it.
type Name struct {
	// Name is written with dots: "lag.max".
	Name string
	// Expected says what its value can be, for people.
	Expected string
	// List is set where the value is a list, Objects where it is one of objects: in a job file a sequence.
	List, Objects bool
	// Fixed is set where the value holds for as long as a process is at work: it names what is run, asked or looked at on the
	// machine of that process, which whoever may write to the database of a run is not to choose.
	Fixed bool

	set func(l *Limits, text string) error
	get func(l *Limits) string
}

// Names are all limits there are, in the order in which they are documented.
func Names() []Name { return slices.Clone(names) }

var names = []Name{
	durationName("lag.max", func(l *Limits) *time.Duration { return &l.Lag.Max }),
	bytesName("lag.max_bytes", func(l *Limits) *int64 { return &l.Lag.MaxBytes }),
	durationName("lag.grace", func(l *Limits) *time.Duration { return &l.Lag.Grace }),
	listName("lag.ignore", "names of standbys", func(l *Limits) *[]string { return &l.Lag.Ignore }),
	listName("lag.require", "names of standbys", func(l *Limits) *[]string { return &l.Lag.Require }),
	bytesName("slots.max_bytes", func(l *Limits) *int64 { return &l.Slots.MaxBytes }),
	listName("slots.ignore", "names of replication slots", func(l *Limits) *[]string { return &l.Slots.Ignore }),
	numberName("archive.max_segments", func(l *Limits) *int64 { return &l.ArchiveMaxSegments }),
	durationName("yield_after", func(l *Limits) *time.Duration { return &l.YieldAfter }),
	durationName("snapshots.max_age", func(l *Limits) *time.Duration { return &l.SnapshotMaxAge }),
	ratioName("vacuum.max_dead", func(l *Limits) *float64 { return &l.Vacuum.MaxDead }),
	wordName("vacuum.wraparound", func(l *Limits) *string { return &l.Vacuum.Wraparound }, WaitForIt, Ignored),
	numberName("sessions.max", func(l *Limits) *int { return &l.SessionsMax }),
	ratioName("commits.max_ratio", func(l *Limits) *float64 { return &l.CommitsMaxRatio }),
	bytesName("wal.max_rate", func(l *Limits) *int64 { return &l.WALMaxRate }),
	{
		Name: "queries", Expected: "a list of {name, sql, max, gradual}", List: true, Objects: true, Fixed: true,
		set: func(l *Limits, text string) error {
			if isOff(text) {
				l.Queries = nil
				return nil
			}
			return strictJSON(text, &l.Queries)
		},
		get: func(l *Limits) string { return textOf(l.Queries) },
	},
	fixed(listName("http", "addresses that answer a GET with 2xx", func(l *Limits) *[]string { return &l.HTTP })),
	fixed(listName("flag_file", "paths", func(l *Limits) *[]string { return &l.FlagFiles })),
	{
		Name: "window", Expected: `times to work, as "Mon-Fri 22:00-06:00 Europe/Berlin"`, List: true,
		set: func(l *Limits, text string) error {
			if strings.HasPrefix(text, "[[") {
				return strictJSON(text, &l.Windows)
			}
			list, err := listOf(text, ";")
			l.Windows = nil
			if len(list) > 0 {
				l.Windows = [][]string{list}
			}
			return err
		},
		get: func(l *Limits) string { return textOf(l.Windows) },
	},
	wordName("window_end", func(l *Limits) *string { return &l.WindowEnd }, WaitForIt, Exit),
	wordName("unmonitored", func(l *Limits) *string { return &l.Unmonitored }, Refuse, Accept),
}

// ParseLimits reads limits by name, as "lag.max" is "3s". All that is wrong is said at once, each by its name; fields that
// are not named are zero.
func ParseLimits(named map[string]string) (Limits, error) {
	var l Limits
	var errs []error
	for _, n := range names {
		text, said := named[n.Name]
		if !said {
			continue
		}
		// A name that is not UTF-8 is none that a server has, and would be kept as another one.
		if err := n.set(&l, strings.TrimSpace(text)); err != nil || !utf8.ValidString(text) {
			errs = append(errs, fmt.Errorf("%s: found %q; expected %s", n.Name, text, n.Expected))
		}
	}
	for name := range named {
		if !slices.ContainsFunc(names, func(n Name) bool { return n.Name == name }) {
			errs = append(errs, fmt.Errorf("%s: there is no such limit", name))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, l.Validate())
	}
	return l, errors.Join(errs...)
}

// Named are the limits that are not zero, as [ParseLimits] reads them.
func (l Limits) Named() map[string]string {
	named := map[string]string{}
	for _, n := range names {
		if text := n.get(&l); text != "" {
			named[n.Name] = text
		}
	}
	return named
}

var errAmount = errors.New("not an amount")

func isOff(text string) bool { return text == "off" || text == "0" || text == "none" }

func durationName(name string, field func(*Limits) *time.Duration) Name {
	return Name{
		Name: name, Expected: "a duration, as 3s or 500ms, or off",
		set: func(l *Limits, text string) error {
			d, err := time.ParseDuration(text)
			switch {
			case isOff(text):
				d = Off
			case err != nil || d < time.Millisecond || d > 365*24*time.Hour:
				return errAmount
			}
			*field(l) = d
			return nil
		},
		get: func(l *Limits) string {
			return shown(*field(l), func(d time.Duration) string { return d.String() })
		},
	}
}

// shown is the text of a limit: "" where it is zero, "off" where it is.
func shown[T int | int64 | float64 | time.Duration](v T, show func(T) string) string {
	switch {
	case v == 0:
		return ""
	case v < 0:
		return "off"
	}
	return show(v)
}

func numberName[T int | int64](name string, field func(*Limits) *T) Name {
	return Name{
		Name: name, Expected: "a whole number from 1, or off",
		set: func(l *Limits, text string) error {
			n, err := strconv.ParseInt(text, 10, 32)
			switch {
			case isOff(text):
				n = Off
			case err != nil || n < 1:
				return errAmount
			}
			*field(l) = T(n)
			return nil
		},
		get: func(l *Limits) string {
			return shown(*field(l), func(n T) string { return strconv.FormatInt(int64(n), 10) })
		},
	}
}

func ratioName(name string, field func(*Limits) *float64) Name {
	return Name{
		Name: name, Expected: "a number above 0, or off",
		set: func(l *Limits, text string) error {
			v, err := strconv.ParseFloat(text, 64)
			switch {
			case isOff(text):
				v = Off
			case err != nil || !(v > 0) || math.IsInf(v, 0):
				return errAmount
			}
			*field(l) = v
			return nil
		},
		get: func(l *Limits) string {
			return shown(*field(l), func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) })
		},
	}
}

// byteUnits are those that PostgreSQL and people write; all of them are powers of 1024.
var byteUnits = []struct {
	name string
	size int64
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
	{"", 1},
}

func bytesName(name string, field func(*Limits) *int64) Name {
	return Name{
		Name: name, Expected: "an amount of bytes, as 256MiB or 4GB, or off",
		set: func(l *Limits, text string) error {
			if isOff(text) {
				*field(l) = Off
				return nil
			}
			for _, u := range byteUnits {
				digits, ends := strings.CutSuffix(text, u.name)
				v, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
				if !ends || err != nil {
					continue
				}
				if bytes := v * float64(u.size); bytes >= 1 && bytes < math.MaxInt64/2 {
					*field(l) = int64(bytes)
					return nil
				}
			}
			return errAmount
		},
		get: func(l *Limits) string {
			return shown(*field(l), func(n int64) string {
				for i := len(byteUnits) - 1; i >= 0; i-- {
					if u := byteUnits[i]; strings.HasSuffix(u.name, "iB") && n%u.size == 0 {
						return strconv.FormatInt(n/u.size, 10) + u.name
					}
				}
				return strconv.FormatInt(n, 10)
			})
		},
	}
}

func wordName(name string, field func(*Limits) *string, words ...string) Name {
	return Name{
		Name: name, Expected: strings.Join(words, " or "),
		set: func(l *Limits, text string) error {
			if !slices.Contains(words, text) {
				return errAmount
			}
			*field(l) = text
			return nil
		},
		get: func(l *Limits) string { return *field(l) },
	}
}

func listName(name, of string, field func(*Limits) *[]string) Name {
	return Name{
		Name: name, Expected: "a list of " + of, List: true,
		set: func(l *Limits, text string) (err error) { *field(l), err = listOf(text, ","); return err },
		get: func(l *Limits) string { return textOf(*field(l)) },
	}
}

func fixed(n Name) Name {
	n.Fixed = true
	return n
}

// Changed are the names of limits that hold for as long as a process is at work and are not the same in two sets of them.
func Changed(before, after Limits) []string {
	var list []string
	for _, n := range names {
		if n.Fixed && n.get(&before) != n.get(&after) {
			list = append(list, n.Name)
		}
	}
	return list
}

// listOf reads a JSON array of texts, or texts with separators between them. Off is an empty list.
func listOf(text, separator string) ([]string, error) {
	var list []string
	if strings.HasPrefix(text, "[") {
		err := strictJSON(text, &list)
		return list, err
	}
	if isOff(text) {
		return nil, nil
	}
	for item := range strings.SplitSeq(text, separator) {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list, nil
}

func strictJSON(text string, into any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errAmount
	}
	return nil
}

// textOf is a list as JSON; "" where it is empty.
func textOf[T any](list []T) string {
	if len(list) == 0 {
		return ""
	}
	text, err := json.Marshal(list)
	if err != nil {
		return "" // texts and numbers are always JSON
	}
	return string(text)
}
