package pgtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/localpg"
)

func TestMain(m *testing.M) { Main(m) }

// Each test has a database of its own on one server, and none is left.
func TestFreshDatabases(t *testing.T) {
	t.Parallel()
	names := make([]string, 4)
	t.Run("group", func(t *testing.T) {
		for i := range names {
			t.Run(fmt.Sprintf("Ünwieldy/name %d", i), func(t *testing.T) {
				t.Parallel()
				db := New(t)
				names[i] = db.Name()
				db.Exec("CREATE TABLE mine (n int); INSERT INTO mine SELECT generate_series(1, 3)")
				if tag := db.Exec("UPDATE mine SET n = n + $1", i); tag.RowsAffected() != 3 {
					t.Errorf("updated %d rows", tag.RowsAffected())
				}
				if got := All[int](db, "SELECT n FROM mine ORDER BY n"); len(got) != 3 || got[0] != 1+i {
					t.Errorf("rows: %v", got)
				}
				var here string
				if err := db.QueryRow("SELECT current_database()").Scan(&here); err != nil || here != db.Name() {
					t.Errorf("connected to %s, %v", here, err)
				}
				// A connection that is never closed does not keep the database.
				if _, err := pgx.Connect(context.Background(), db.DSN()); err != nil {
					t.Error(err)
				}
				db.Conn()
			})
		}
	})
	left := New(t)
	for _, name := range names {
		if name == "" || One[bool](left, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name) {
			t.Errorf("the database %q was not dropped", name)
		}
	}
}

func TestRole(t *testing.T) {
	t.Parallel()
	db := New(t)
	name, dsn := db.Role("IN ROLE pg_monitor")
	db.Exec("CREATE TABLE guarded AS SELECT 1 AS n")
	conn := Connect(t, dsn)
	if _, err := conn.Exec(t.Context(), "SELECT FROM guarded"); err == nil {
		t.Error("a role without a grant may read")
	}
	db.Exec("GRANT SELECT ON guarded TO " + name)
	if _, err := conn.Exec(t.Context(), "SELECT FROM guarded"); err != nil {
		t.Error(err)
	}
}

func TestOwnClusterAndStandby(t *testing.T) {
	t.Parallel()
	c := Cluster(t, localpg.Options{})
	if c == Shared(t) {
		t.Fatal("it is the shared one")
	}
	db := NewOn(t, c)
	db.Exec("CREATE TABLE n AS SELECT 5 AS n")
	s := Standby(t, c, localpg.StandbyOptions{})
	if err := s.CatchUp(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := Connect(t, s.DSN(db.Name())).QueryRow(t.Context(), "SELECT n FROM n").Scan(&n); err != nil || n != 5 {
		t.Errorf("the standby says %d, %v", n, err)
	}
	// A server that the test left dead does not fail its cleanup.
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
}

func TestEventually(t *testing.T) {
	t.Parallel()
	calls := 0
	Eventually(t, 10*time.Second, func() error {
		if calls++; calls < 4 {
			return errors.New("not yet")
		}
		return nil
	})
	if calls != 4 {
		t.Errorf("called %d times", calls)
	}
	broken := errors.New("it is broken")
	err := eventually(t.Context(), 20*time.Millisecond, func() error { return broken })
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "20ms") {
		t.Errorf("error: %v", err)
	}
}
