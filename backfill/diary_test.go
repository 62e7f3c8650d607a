package backfill

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A gate that shuts is written down at once, and that it opens; one that shuts every few seconds is counted, less and less
// often, and none of it is lost. All of it is in the sums.
//
// Made to fail: without the quiet after an entry, a night is 17 000 rows; with what is counted dropped at the end, 3 closings
// are missing.
func TestDiaryCoalesces(t *testing.T) {
	t.Parallel()
	var d diary
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	lag := []Reason{{"replica_lag", "replica_lag 12s > 10s (standby eu-2)"}}
	both := append([]Reason{{"flag_file", "flag_file present (/run/stop)"}}, lag...)
	var said []string
	write := func(last bool) {
		for _, e := range d.take(now, last) {
			said = append(said, e.what+": "+e.reason)
		}
	}
	pass := func(d time.Duration) { now = now.Add(d); write(false) }
	if d.shut(lag, now) {
		t.Error("it was shut for the same before it was shut at all")
	}
	pass(time.Second)
	newer := []Reason{{"replica_lag", "replica_lag 13s > 10s (standby eu-2)"}}
	if !d.shut(newer, now) {
		t.Error("newer numbers are another reason")
	}
	pass(9 * time.Second)
	if d.shut(both, now) {
		t.Error("one more reason is the same")
	}
	pass(2 * time.Second)
	d.shut(nil, now)
	write(false)
	want := []string{"throttled: replica_lag 12s > 10s (standby eu-2)", "goes on: after 12s of flag_file, replica_lag"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	said = nil
	closings := int64(1)
	for range 12 * 3600 / 5 { // twelve hours, every five seconds
		pass(4 * time.Second)
		d.shut(lag, now)
		closings++
		pass(time.Second)
		d.shut(nil, now)
	}
	write(true)
	if len(said) < 5 || len(said) > 60 {
		t.Errorf("%d entries of a night:\n%s", len(said), strings.Join(said, "\n"))
	}
	told := int64(1)
	for _, line := range said {
		var more int64
		switch n, _ := fmt.Sscanf(line, "throttled often: %d times,", &more); {
		case n == 1:
			told += more
		case strings.HasPrefix(line, "throttled often: 1 time,"), strings.HasPrefix(line, "throttled: replica_lag"):
			told++
		}
	}
	var s Summary
	d.sum(&s, now)
	if told != closings || len(s.Waited) != 2 || s.Waited[0].Signal != "replica_lag" || s.Waited[0].Times != closings ||
		s.Waited[0].For != s.ShutFor || s.ShutFor != 12*time.Second+time.Duration(closings-1)*time.Second || s.Waited[1] != (Waited{"flag_file", 1, 2 * time.Second}) {
		t.Errorf("%d closings, %d of them told; the sums: %+v for %s", closings, told, s.Waited, s.ShutFor)
	}
	said = nil
	pass(3 * time.Hour) // it is calm again, and then shut for long
	d.shut(lag, now)
	pass(time.Second)
	if len(said) == 0 || said[len(said)-1] != "throttled: replica_lag 12s > 10s (standby eu-2)" {
		t.Errorf("after a calm: %q", said)
	}
}

// What could not be written is kept, up to a bound, and chunks that give way again and again are counted.
func TestDiaryKeeps(t *testing.T) {
	t.Parallel()
	var d diary
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for n := range 100 {
		d.happened(&d.yields, "gave way", fmt.Sprintf("pid %d", n), now)
		now = now.Add(time.Second)
	}
	d.noticed("standby eu-2 is forgotten: gone for 1m00s", now)
	d.giveBack(d.take(now, false))
	var said []string
	for _, e := range d.take(now, true) {
		said = append(said, e.what+": "+e.reason)
	}
	want := []string{
		"gave way: pid 0", "gave way: 59 times, the last time: pid 59", "standby: standby eu-2 is forgotten: gone for 1m00s",
		"gave way: 40 times, the last time: pid 99",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for range 100 {
		d.giveBack([]entry{{"throttled", "x"}})
	}
	if n := len(d.take(now, false)); n != diaryKept {
		t.Errorf("%d entries are kept", n)
	}
}

// Made to fail: without the grouping the server's error was said three times.
func TestReasonsThatAreAlikeAreSaidOnce(t *testing.T) {
	t.Parallel()
	down := " cannot be read: connection refused"
	got := joinReasons([]Reason{{"replica_lag", "replica_lag" + down}, {"locks", "locks 3 > 2"}, {"slots", "slots" + down}, {"http", "somebody said so"}})
	if want := "replica_lag, slots" + down + "; locks 3 > 2; somebody said so"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
