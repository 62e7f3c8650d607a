package localpg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Kill leaves nothing alive, loses nothing that was committed, and the cluster comes back on its port.
func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	conn := connect(t, c)
	exec1(t, conn, "CREATE TABLE kept (n int)")
	for round := range 3 {
		exec1(t, conn, fmt.Sprintf("INSERT INTO kept VALUES (%d)", round))
		// A transaction that is open at the kill, and a child that would not notice that its parent died.
		busy := connect(t, c)
		exec1(t, busy, "BEGIN")
		exec1(t, busy, "INSERT INTO kept VALUES (-1)")
		go busy.Exec(context.Background(), "SELECT count(*) FROM generate_series(1, 1000000000)") //nolint:errcheck // it is killed
		within(t, 10*time.Second, func() error {
			if query[int](t, conn, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate_series%' AND state = 'active' AND pid <> pg_backend_pid()") == 0 {
				return errors.New("the busy query has not begun")
			}
			return nil
		})
		shm, ok := c.sharedMemory()
		if !ok {
			t.Fatal("no shared memory in the pid file")
		}
		if err := c.Kill(); err != nil {
			t.Fatal(err)
		}
		if p := using(t, c.Dir()); len(p) > 0 {
			t.Fatalf("alive after Kill: %v", p)
		}
		if c.Running() {
			t.Error("Running after Kill")
		}
		if table, err := os.ReadFile("/proc/sysvipc/shm"); err == nil && containsField(string(table), strconv.Itoa(shm)) {
			t.Errorf("shared memory %d is still there:\n%s", shm, table)
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(c.Port()))
		if err != nil {
			t.Fatalf("the port is held: %v", err)
		}
		l.Close()
		if err := c.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		conn = connect(t, c)
		if got := query[int](t, conn, "SELECT count(*) FROM kept WHERE n >= 0"); got != round+1 {
			t.Errorf("%d rows after kill %d", got, round)
		}
		if got := query[int](t, conn, "SELECT count(*) FROM kept WHERE n < 0"); got != 0 {
			t.Errorf("%d rows that were never committed", got)
		}
	}
}

// containsField reports whether a line's second field, the identifier in /proc/sysvipc/shm, is the given one.
func containsField(table, id string) bool {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == id {
			return true
		}
	}
	return false
}

func TestStopModes(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	exec1(t, connect(t, c), "CREATE TABLE kept (n int)")
	for _, mode := range []StopMode{Fast, Immediate} {
		if err := c.Stop(t.Context(), mode); err != nil {
			t.Fatal(err)
		}
		if c.Running() || len(using(t, c.Dir())) > 0 {
			t.Fatalf("it runs after a stop %d", mode)
		}
		if err := c.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		query[int](t, connect(t, c), "SELECT count(*) FROM kept")
	}
	// Smart waits for the session that is open; the stop gives up with its context, and the server lives.
	conn := connect(t, c)
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.Stop(short, Smart); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("smart stop with a session open: %v", err)
	}
	if query[int](t, conn, "SELECT 1") != 1 || !c.Running() {
		t.Error("the server is not there any more")
	}
	if err := c.Stop(t.Context(), 9); err == nil {
		t.Error("stop mode 9 was accepted")
	}
}

func TestFreezeAndThaw(t *testing.T) {
	t.Parallel()
	c := start(t, Options{})
	conn := connect(t, c)
	if err := c.Freeze(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT 1")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("a frozen server answered: %v", err)
	case <-time.After(300 * time.Millisecond): // that nothing happens can only be waited for
	}
	if err := c.Thaw(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-answered:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no answer after Thaw")
	}
	// A frozen cluster can be closed, killed and restarted like any other.
	if err := c.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	expectGone(t, c.Dir())
}
