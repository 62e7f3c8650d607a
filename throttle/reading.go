package throttle

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

// Unit says what the numbers of a [Reading] count.
type Unit int

// The units.
const (
	Number         Unit = iota // a number of something
	Seconds                    // seconds of time
	Bytes                      // bytes
	BytesPerSecond             // bytes a second
	Ratio                      // one thing over another
)

// Reading is one measurement against its limit.
type Reading struct {
	// Value is what was measured and Limit the most that is well, both in Unit.
	Value, Limit float64
	Unit         Unit
	// Detail says whose value it is, where there are several: "standby eu-2".
	Detail string
	// Says takes the place of the numbers where the answer is yes or no: "present", "closed". Shut is that answer then.
	Says string
	Shut bool
	// Off is set where nothing is measured: the limit is off, or there is nothing there that could be measured. It
	// shuts nothing and scales nothing. Note says why.
	Off bool
	// Note is something that people should know about the reading and that decides nothing.
	Note string
	// Ends is set where the process should end, resumable, rather than wait until the gate opens.
	Ends bool
}

// Utilisation is how much of the limit is used: 0 is nothing, 1 is all of it.
func (r Reading) Utilisation() float64 {
	switch {
	case r.Off:
		return 0
	case r.Says != "" && r.Shut:
		return math.Inf(1)
	case r.Says != "":
		return 0
	case r.Limit <= 0 || math.IsNaN(r.Value):
		return math.Inf(1) // no limit that could be kept
	}
	return r.Value / r.Limit
}

// over reports whether the limit is passed, as far as one reading tells.
func (r Reading) over() bool { return r.Utilisation() > 1 }

// Text is the reading in the one form that is used everywhere, after the name of its signal:
// "replica_lag 12.4s > 10s (standby eu-2)"; "replica_lag 1.2s of 10s (standby eu-2)" where it is within the limit.
func (r Reading) Text(name string) string {
	if r.Off {
		return withDetail(name+" off", r.Note)
	}
	if r.Says != "" {
		return withDetail(name+" "+r.Says, r.Detail)
	}
	between := " of "
	if r.over() {
		between = " > "
	}
	value, limit := amounts(r.Value, r.Limit, r.Unit)
	return withDetail(name+" "+value+between+limit, r.Detail)
}

func withDetail(text, detail string) string {
	if detail == "" {
		return text
	}
	return text + " (" + detail + ")"
}

// amounts shows both numbers with as many digits as it takes to tell them apart.
func amounts(value, limit float64, unit Unit) (string, string) {
	for digits := 1; ; digits++ {
		v, l := amount(value, unit, digits), amount(limit, unit, digits)
		if v != l || value == limit || digits == 4 {
			return v, l
		}
	}
}

func amount(v float64, unit Unit, digits int) string {
	switch unit {
	case Seconds:
		return seconds(v, digits)
	case Bytes:
		return size(v, digits)
	case BytesPerSecond:
		return size(v, digits) + "/s"
	case Ratio:
		return trimmed(v, digits+1)
	}
	return trimmed(v, digits)
}

func seconds(v float64, digits int) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return fmt.Sprint(v) + "s"
	case v < 1 && v > 0:
		return trimmed(v*1000, digits-1) + "ms"
	case v < 100 || digits > 1:
		return trimmed(v, digits) + "s"
	}
	return human.Duration(time.Duration(min(v, float64(math.MaxInt64)/2e9) * float64(time.Second)))
}

func size(v float64, digits int) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for math.Abs(v) >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return trimmed(v, digits) + " " + units[i]
}

// trimmed is v with so many decimals, without those that say nothing.
func trimmed(v float64, digits int) string {
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}
