package throttle_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbackfill/pgbackfill/throttle"
)

// FuzzParseLimits checks that a limit is read or refused, and that what is read is written so that it is read as the same.
func FuzzParseLimits(f *testing.F) {
	for _, n := range throttle.Names() {
		for _, value := range []string{
			"3s", "off", "0", "256MiB", "1.5 GB", "16", "0.5", "ignore", "1500", `["eu-3", "a,b"]`, "eu-1, eu-2", `[{"name":"q","sql":"SELECT 1","max":1}]`, `[{"name":"q"`, "https://u:p@freno/check?token=t",
			"/tmp/stop", "Mon-Fri 22:00-06:00 Europe/Berlin; Sat,Sun 00:00-24:00 UTC", "exit", "accept", "1e400", "-1", "9223372036854775808", "NaN", "",
		} {
			f.Add(n.Name, value)
		}
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		limits, err := throttle.ParseLimits(map[string]string{name: value})
		if err != nil {
			return
		}
		named := limits.Named()
		again, err := throttle.ParseLimits(named)
		if err != nil {
			t.Fatalf("%s=%q is written as %q, which is refused: %v", name, value, named, err)
		}
		if diff := cmp.Diff(named, again.Named()); diff != "" {
			t.Fatalf("%s=%q: %s", name, value, diff)
		}
	})
}

// FuzzParseSchedule checks that windows are read or refused, that what is read opens within two weeks or never, and that nothing is
// found to open or close when it does not.
func FuzzParseSchedule(f *testing.F) {
	for _, text := range []string{
		"Mon-Fri 22:00-06:00 Europe/Berlin", "Sat,Sun 00:00-24:00 UTC", "01:00-05:00 America/New_York", "Sun 02:15-02:45 Europe/Berlin", "Fri-Mon 23:59-00:00 Australia/Lord_Howe", "0:00-24:00 UTC",
		"Mon 1:00-1:00 UTC", "mon,mon-mon 5:00-05:01 Asia/Kathmandu", "22:00-06:00 ../../../etc/passwd", "22:00-06:00 Local", "-1:00-+6:00 UTC", "Mon-Fri 24:00-24:00 UTC",
	} {
		f.Add(text, int64(1_774_746_000)) // an hour before clocks go forward in Berlin
		f.Add(text, int64(1_792_886_400))
	}
	f.Fuzz(func(t *testing.T, text string, at int64) {
		s, err := throttle.ParseSchedule(strings.Split(text, ";"))
		if err != nil {
			return
		}
		now := time.Unix(at%(1<<33), 0)
		next, ok := s.Next(now)
		if !ok {
			return
		}
		if d := next.Sub(now); d <= 0 || d > 16*24*time.Hour || s.Open(next) == s.Open(now) || next.Sub(now) > time.Minute && s.Open(next.Add(-time.Minute)) != s.Open(now) {
			t.Fatalf("%q at %s: next is %s", text, now, next)
		}
	})
}
