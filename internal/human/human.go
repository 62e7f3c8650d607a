// Package human writes numbers and durations for people. The progress lines, the live
// display, the summary and the tables of status use the same forms.
package human

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Count groups the digits of n by thousands: 4 210 000.
func Count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	var b []byte
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b = append(b, ' ')
		}
		b = append(b, digits[i])
	}
	return sign + string(b)
}

// Short is n in at most five characters: 950, 4.21M, 31.2k.
func Short(n int64) string {
	f, units := float64(n), []string{"", "k", "M", "G", "T"}
	i := 0
	for math.Abs(f) >= 999.5 && i < len(units)-1 {
		f, i = f/1000, i+1
	}
	if i == 0 {
		return strconv.FormatInt(n, 10)
	}
	decimals := 2
	switch {
	case math.Abs(f) >= 99.95:
		decimals = 0
	case math.Abs(f) >= 9.995:
		decimals = 1
	}
	return strconv.FormatFloat(f, 'f', decimals, 64) + units[i]
}

// Plural is the count with its noun: 1 row, 4 210 000 rows.
func Plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Count(n) + " " + noun + "s"
}

// Percent shows a fraction with one decimal, cut off and not rounded, so that 100.0%
// is only said of 1.
func Percent(fraction float64) string {
	// The small addition keeps 0.421, which is 0.42099… in binary, from showing as 42.0%.
	tenths := math.Floor(fraction*1000 + 1e-9)
	return fmt.Sprintf("%.1f%%", tenths/10)
}

// PerSecond is a pace to three digits, since no more of it means anything: 31 200 rows/s.
func PerSecond(rows float64) string {
	step := int64(1)
	for rows/float64(step) >= 999.5 {
		step *= 10
	}
	return Count(int64(math.Round(rows/float64(step)))*step) + " rows/s"
}

// Remaining shows how long something will take yet, in whole seconds: 6s, 3m05s.
func Remaining(d time.Duration) string {
	d = d.Round(time.Second)
	if d < 10*time.Second {
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return Duration(d)
}

// Duration shows d with the precision that people can use: 98ms, 1.2s, 47s, 3m05s, 2h07m, 3d04h.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Duration(-d)
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	}
	s := int64(d / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
}

// Bytes shows a size in binary units: 512 B, 1.5 GiB.
func Bytes(n int64) string {
	f, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for math.Abs(f) >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
