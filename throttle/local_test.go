package throttle_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/throttle"
)

// Made to fail: without the look at the folder, a path that nobody can make a file at is an open gate.
func TestFlagFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "run", "stop")
	limits := off()
	limits.FlagFiles = []string{path}
	th := run(t, "", throttle.Options{Limits: limits})
	shut(t, th, "flag_file cannot be read: ", "no such file")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	open(t, th)
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	shut(t, th, "flag_file present ("+path+")")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	open(t, th)
}

// Made to fail: with the error of http.Client.Do as it is, the token is in the reason.
func TestHTTP(t *testing.T) {
	t.Parallel()
	answers := make(chan int, 1)
	answers <- http.StatusNoContent
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status := <-answers
		answers <- status
		w.WriteHeader(status)
	}))
	t.Cleanup(web.Close)
	limits := off()
	limits.HTTP = []string{web.URL + "/check/app?token=secret-word"}
	th := run(t, "", throttle.Options{Limits: limits})
	open(t, th)
	<-answers
	answers <- http.StatusTooManyRequests
	shut(t, th, "http says no ("+web.URL+"/check/app: 429 Too Many Requests)")
	<-answers
	answers <- http.StatusOK
	open(t, th)
	web.Close()
	pgtest.Eventually(t, patience, func() error {
		s := one(th, "http")
		if strings.Contains(s.Text, "secret-word") {
			t.Fatalf("the token: %s", s.Text)
		}
		if !s.Shut || !strings.HasPrefix(s.Text, "http cannot be read: "+web.URL+"/check/app: ") {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	tm, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return tm
}

// Made to fail: with UTC's weekday for the zone's, or today's for the opening day's, several fail; with spans added to
// midnight as durations, the two days on which the clocks change do.
func TestWindows(t *testing.T) {
	t.Parallel()
	const berlin = "Mon-Fri 22:00-06:00 Europe/Berlin"
	for _, c := range []struct {
		window, at string
		open       bool
		next       string
	}{
		{berlin, "2026-11-23T21:00:00Z", true, "2026-11-24T05:00:00Z"},  // Monday 22:00
		{berlin, "2026-11-23T20:59:59Z", false, "2026-11-23T21:00:00Z"}, // a second before
		{berlin, "2026-11-23T02:00:00Z", false, "2026-11-23T21:00:00Z"}, // Monday 03:00: Sunday's does not open
		{berlin, "2026-11-28T04:59:00Z", true, "2026-11-28T05:00:00Z"},  // Saturday 05:59: Friday's
		{berlin, "2026-11-28T05:00:00Z", false, "2026-11-30T21:00:00Z"},
		{berlin, "2026-07-06T20:00:00Z", true, "2026-07-07T04:00:00Z"}, // summer time
		// The night in which 02:00 becomes 03:00, and the one in which 03:00 becomes 02:00.
		{"Sat 22:00-06:00 Europe/Berlin", "2026-03-28T21:00:00Z", true, "2026-03-29T04:00:00Z"},
		{"Sat 22:00-06:00 Europe/Berlin", "2026-10-24T20:00:00Z", true, "2026-10-25T05:00:00Z"},
		{"Sun 02:00-03:00 Europe/Berlin", "2026-03-29T00:59:00Z", false, "2026-04-05T00:00:00Z"}, // the hour never comes
		{"Sun 02:00-03:00 Europe/Berlin", "2026-10-25T01:30:00Z", true, "2026-10-25T02:00:00Z"},  // the second 02:30
		{"Sun 02:30-04:00 Europe/Berlin", "2026-03-29T01:00:00Z", true, "2026-03-29T02:00:00Z"},  // opens at 03:00
		{"Sat,Sun 00:00-24:00 UTC", "2026-11-21T00:00:00Z", true, "2026-11-23T00:00:00Z"},
		{"Fri-Mon 09:00-10:00 UTC", "2026-11-22T09:30:00Z", true, "2026-11-22T10:00:00Z"},
		{"Fri-Mon 09:00-10:00 UTC", "2026-11-23T10:00:00Z", false, "2026-11-27T09:00:00Z"},
		{"01:00-05:00 America/New_York", "2026-11-25T06:00:00Z", true, "2026-11-25T10:00:00Z"},
		{"00:00-24:00 UTC", "2026-11-25T06:00:00Z", true, ""},
	} {
		s, err := throttle.ParseSchedule([]string{c.window})
		if err != nil {
			t.Errorf("%s: %v", c.window, err)
			continue
		}
		now := at(t, c.at)
		next, ok := s.Next(now)
		if got := s.Open(now); got != c.open || ok != (c.next != "") || ok && !next.Equal(at(t, c.next)) {
			t.Errorf("%s at %s: open %v until %v; expected %v until %s", c.window, c.at, got, next.UTC(), c.open, c.next)
		}
	}
	two, err := throttle.ParseSchedule([]string{"Mon 01:00-02:00 UTC", "Tue 01:00-02:00 UTC"})
	if err != nil || !two.Open(at(t, "2026-11-24T01:30:00Z")) || two.Open(at(t, "2026-11-25T01:30:00Z")) || two.String() != "Mon 01:00-02:00 UTC, Tue 01:00-02:00 UTC" {
		t.Errorf("several windows: %v, %v", two, err)
	}
}

func TestWindowsThatAreNone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Mon-Fri 22:00-06:00":               "Mon-Fri", // no zone: the words are taken for a span and a zone
		"Mon-Fri 22:00-06:00 Berlin":        `the time zone "Berlin"`,
		"Mon-Fri 22:00-06:00 Local":         "time zone Local",
		"Mo-Fr 22:00-06:00 UTC":             `the days "Mo-Fr"`,
		"Mon-Fri 25:00-06:00 UTC":           `the time "25:00"`,
		"Mon-Fri 22:60-06:00 UTC":           `the time "22:60"`,
		"Mon-Fri 22:00 UTC":                 `the time ""`,
		"Mon-Fri 22:00-22:00 UTC":           "a whole day is 00:00-24:00",
		"Mon-Fri 24:00-06:00 UTC":           "a whole day is",
		"Mon-Fri 22:00x-06:00 UTC":          `the time "22:00x"`,
		"":                                  "found 0 words",
		"Mon-Fri from 22:00-06:00 in Paris": "found 5 words",
	} {
		_, err := throttle.ParseSchedule([]string{"Mon 01:00-02:00 UTC", text})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "expected something like") {
			t.Errorf("%q: %v; expected %q", text, err, want)
		}
	}
}

// The operator's window and the job's must both be open. At the end of a window that it worked in, a process may have
// been told to leave; one that came too early waits.
//
// Made to fail: without `been`, Wait ends before the first window.
func TestWindowShutsAndEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // it is 2000-01-01, a Saturday, 00:00 UTC
		limits := off()
		limits.Windows, limits.WindowEnd = [][]string{{"00:02-00:06 UTC"}, {"00:01-00:04 UTC", "00:10-00:12 UTC"}, {"00:00-00:04 UTC", "00:11-00:12 UTC"}}, throttle.Exit
		limits.Windows[0] = append(limits.Windows[0], "00:08-00:14 UTC")
		th, err := throttle.New(throttle.Options{Limits: limits, Primary: nobody{}})
		if err != nil {
			t.Fatal(err)
		}
		stop := running(t, th)
		defer stop()
		clock := func() string { return time.Now().UTC().Truncate(time.Second).Format("15:04:05") }
		time.Sleep(90 * time.Second)
		reasons(t, th.Gate, "window closed (00:02-00:06 UTC, 00:08-00:14 UTC; opens Sat 2000-01-01 00:02 UTC)")
		if err := th.Wait(t.Context(), 1); err != nil || clock() != "00:02:00" {
			t.Fatalf("opened at %s, %v", clock(), err)
		}
		time.Sleep(2*time.Minute + 2*time.Second)
		if err := th.Wait(t.Context(), 1); !errors.Is(err, throttle.ErrEnds) || !strings.Contains(err.Error(), "window closed (00:01-00:04 UTC, 00:10-00:12 UTC; opens Sat 2000-01-01 00:10 UTC)") {
			t.Errorf("at its end: %v", err)
		}
		limits.WindowEnd = throttle.WaitForIt
		if err := th.SetLimits(limits); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := th.Wait(t.Context(), 1); err != nil || clock() != "00:11:00" {
			t.Errorf("waited until %s, %v", clock(), err)
		}
	})
}
