package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/checkpoint"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// terminal is a pseudo-terminal so many columns wide, and the end that a program is given.
func terminal(t *testing.T, columns int) (person, programs *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(person.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(columns)}); err != nil {
		t.Fatal(err)
	}
	programs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { programs.Close() })
	return person, programs
}

// answer runs the program at a terminal where somebody answers its question, and gives what it says there.
func answer(t *testing.T, dsn, dir, text string, columns int, args ...string) (code int, stdout, said string) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	person, programs := terminal(t, columns)
	if _, err := person.WriteString(text); err != nil {
		t.Fatal(err)
	}
	seen, screen := make(chan struct{}), &output{}
	go func() {
		defer close(seen)
		b := make([]byte, 4096)
		for {
			n, err := person.Read(b)
			_, _ = screen.Write(b[:n])
			if err != nil { // the program's end is closed
				return
			}
		}
	}()
	var out bytes.Buffer
	c := exec.CommandContext(deadline(t, time.Minute), path, args...)
	c.Dir, c.Env, c.Stdin, c.Stdout, c.Stderr = dir, environment(dsn), programs, &out, programs
	if err := c.Run(); c.ProcessState == nil {
		t.Fatal(err)
	}
	programs.Close()
	<-seen
	return c.ProcessState.ExitCode(), out.String(), strings.ReplaceAll(screen.String(), "\r\n", "\n")
}

// On a terminal run asks, and so does what cannot be taken back. No is an answer and no mistake of
// the one who gives it; nothing is written then.
func TestAsked(t *testing.T) {
	t.Parallel()
	db, dir := begun(t)
	write(t, dir, "other.yaml", strings.Replace(peopleJob, "name: people", "name: other", 1))
	before := untouched(db)
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"run", "--accept", "column-contested", "other.yaml"}, []string{"Run it? [y/N]", "pgbackfill: not run, as answered; nothing was written"}},
		{[]string{"cancel", "people"}, []string{"End run 1 of people for good? 30 rows are changed and stay so. [y/N]", "pgbackfill: not cancelled, as answered"}},
		{[]string{"schema", "remove"}, []string{"schema pgbackfill: it holds unfinished runs: run 1 of people"}}, // what it would not do it does not ask
	} {
		code, _, said := answer(t, db.DSN(), dir, "n\n", 200, c.args...)
		if code != 2 || strings.Contains(said, "invalid input") {
			t.Errorf("%v: exit code %d", c.args, code)
		}
		says(t, said, c.says...)
	}
	if after := untouched(db); after != before {
		t.Errorf("something was written: %s, before: %s", after, before)
	}
	must(t, db.DSN(), dir, "run", "--yes", "people.yaml")
	code, _, said := answer(t, db.DSN(), dir, "n\n", 200, "schema", "remove")
	if says(t, said, "Drop the schema pgbackfill, and with it the history of 1 run? [y/N]", "pgbackfill: not removed, as answered"); code != 2 {
		t.Errorf("exit code %d", code)
	}
	if code, out, said := answer(t, db.DSN(), dir, "y\n", 200, "schema", "remove"); code != 0 || !strings.Contains(out, "removed") {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
}

// On a narrow terminal what is said of a job is broken between words; errors stay as they are, for SQL in them is pointed at.
func TestNarrowTerminal(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	people(t, db)
	write(t, dir, "people.yaml", peopleJob+"idempotent: false\n")
	_, _, said := answer(t, db.DSN(), dir, "n\n", 50, "run", "people.yaml")
	says(t, said, "warning [not-idempotent]", "notes: ")
	for line := range strings.Lines(strings.Replace(said, "[y/N] ", "[y/N]\n", 1)) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 50 && !strings.HasPrefix(line, "pgbackfill: ") {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
}

// Limits of `set` stay with the run and go before the flags of a later process, which is told so
// and how to change them; what is proposed is what set takes.
func TestLimitsThatStillHold(t *testing.T) {
	t.Parallel()
	db, dir := begun(t)
	must(t, db.DSN(), dir, "set", "people", "rate=2000000", "workers=1")
	_, _, said := streams(t, db.DSN(), dir, "run", "--max-chunks", "1", "--workers", "4", "people.yaml")
	says(t, said, "note: limits set while the run went on still hold, also against flags: workers=1 rate=2000000", "pgbackfill set people workers=4 rate=0")
	must(t, db.DSN(), dir, "set", "people", "workers=4", "rate=0")
	_, out, said := streams(t, db.DSN(), dir, "run", "--workers", "4", "people.yaml")
	if strings.Contains(said, "still hold") {
		t.Errorf("what is set is what is asked for, and it is noted:\n%s", said)
	}
	says(t, out, "people: finished", "the run as a whole: 300 rows walked, 300 changed", "this process: ")
}

// What is asked for already is said to be so: the reason that was given stays, and there is no event.
func TestPausedAlready(t *testing.T) {
	t.Parallel()
	db, dir := begun(t)
	events := func() int { return pgtest.One[int](db, "SELECT count(*) FROM pgbackfill.events") }
	n := events()
	says(t, must(t, db.DSN(), dir, "resume", "people"), "people: run 1 is not paused", "no process is at work on it")
	must(t, db.DSN(), dir, "pause", "people", "--why", "backup")
	says(t, must(t, db.DSN(), dir, "pause", "people"), "people: run 1 is paused by "+who()+": backup already", "pgbackfill resume people")
	if more := events() - n; more != 1 {
		t.Errorf("%d events; expected the one of the pause", more)
	}
	says(t, must(t, db.DSN(), dir, "pause", "people", "--why", "rebuild"), "run 1 pauses")
	says(t, must(t, db.DSN(), dir, "status", "people"), who()+": rebuild")
	says(t, must(t, db.DSN(), dir, "resume", "people"), "people: run 1 goes on")
}

// The grants alone can be given to a schema that is there.
func TestSchemaGrants(t *testing.T) {
	t.Parallel()
	db, dir := pgtest.New(t), t.TempDir()
	people(t, db)
	must(t, db.DSN(), dir, "schema", "install")
	write(t, dir, "people.yaml", peopleJob)
	role, dsn := db.Role("")
	db.Exec(fmt.Sprintf("GRANT SELECT, UPDATE ON people TO %s", role))
	refuses(t, db, dir, 2, []string{"schema", "grants"}, "pgbackfill schema grants takes one role")
	if code, out := pgbackfill(t, dsn, dir, "status"); code != 1 || !strings.Contains(out, "pgbackfill schema grants ROLE") {
		t.Errorf("exit code %d: %s", code, out)
	}
	db.Exec(must(t, db.DSN(), dir, "schema", "grants", role))
	says(t, must(t, dsn, dir, "run", "people.yaml"), "people: finished")
}

// A process of this machine that is gone counts for nothing, though it was heard of seconds ago.
func TestStatusWithoutTheDead(t *testing.T) {
	t.Parallel()
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	info := checkpoint.RunInfo{
		State: backfill.StateRunning, Desired: backfill.DesiredRunning, Totals: checkpoint.Totals{PassSeen: 0, PassExpected: 1000},
		Processes: []checkpoint.Process{
			{Process: "dead", Host: host, PID: gone.Process.Pid, Live: true, RowsPerSecond: 900, Waiting: "a lock"},
			{Process: "alive", Host: host, PID: os.Getpid(), Live: true, RowsPerSecond: 100},
		},
	}
	s := statusOf(info)
	if s.RowsPerSecond != 100 || s.ETASeconds != 10 || s.Live != 1 || s.Waiting != "" {
		t.Errorf("%v rows/s, ETA %v s, %d live, waiting %q", s.RowsPerSecond, s.ETASeconds, s.Live, s.Waiting)
	}
	var b strings.Builder
	if err := writeRun(&b, s, nil); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "dead") || !strings.Contains(b.String(), "alive") {
		t.Error(b.String())
	}
	if !info.Processes[0].Live {
		t.Error("the caller's list was changed")
	}
}

// A port that is none is said to come from PGPORT where it does.
func TestBadPGPORT(t *testing.T) {
	t.Parallel()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(deadline(t, time.Minute), path, "status")
	c.Env = append(clean(os.Environ()), "PGPORT=abc", "PGHOST=localhost", "XDG_CONFIG_HOME="+filepath.Join(os.TempDir(), "nowhere"))
	out, _ := c.CombinedOutput()
	if c.ProcessState.ExitCode() != 2 {
		t.Errorf("exit code %d", c.ProcessState.ExitCode())
	}
	says(t, string(out), "PGPORT: it is no port; expected a number from 1 to 65535")
}
