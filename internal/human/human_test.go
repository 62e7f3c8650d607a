package human_test

import (
	"testing"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

func TestNumbersAsPeopleReadThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{human.Count(0), "0"},
		{human.Count(999), "999"},
		{human.Count(1000), "1 000"},
		{human.Count(4210000), "4 210 000"},
		{human.Count(-12345), "-12 345"},
		{human.Short(950), "950"},
		{human.Short(9999), "10.0k"},
		{human.Short(31200), "31.2k"},
		{human.Short(4210000), "4.21M"},
		{human.Short(999_999), "1.00M"},
		{human.Short(400_000_000), "400M"},
		{human.Plural(1, "row"), "1 row"},
		{human.Plural(0, "row"), "0 rows"},
		{human.PerSecond(0.4), "0 rows/s"},
		{human.PerSecond(999.6), "1 000 rows/s"},
		{human.PerSecond(31_249), "31 200 rows/s"},
		{human.PerSecond(1_234_567), "1 230 000 rows/s"},
		{human.Remaining(5600 * time.Millisecond), "6s"},
		{human.Remaining(184600 * time.Millisecond), "3m05s"},
		{human.Percent(0), "0.0%"},
		{human.Percent(0.421), "42.1%"},
		{human.Percent(0.99999), "99.9%"},
		{human.Percent(1), "100.0%"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestDurationsAsPeopleReadThem(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0:                                       "0ms",
		98 * time.Millisecond:                   "98ms",
		1260 * time.Millisecond:                 "1.2s",
		47 * time.Second:                        "47s",
		185 * time.Second:                       "3m05s",
		2*time.Hour + 7*time.Minute:             "2h07m",
		76*time.Hour + 59*time.Minute:           "3d04h",
		-3 * time.Second:                        "-3.0s",
		59*time.Minute + 59900*time.Millisecond: "59m59s",
	} {
		if got := human.Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", int64(d), got, want)
		}
	}
}
