package checkpoint

import (
	"strings"
	"testing"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// What is said to be missing is what is: each statement of it given, nothing is, and taken away, it is said again.
//
// Made to fail: with ON w.name left out, everything is missing; with the USAGE of the schema not looked at.
func TestMissingGrantsAreSaid(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	role, dsn := db.Role("")
	quoted := pgsql.Ident(role)
	conn := pgtest.Connect(t, dsn)
	access := func() Access {
		t.Helper()
		a, err := ReadAccess(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := access(); a.Owner != "" || a.Owns || len(a.Missing) != 0 {
		t.Errorf("without the schema: %+v", a)
	}
	if err := Install(t.Context(), db.Conn(), InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	a := access()
	if a.Owner == "" || a.Owns || len(a.Missing) < 4 || a.Missing[0] != "GRANT USAGE ON SCHEMA pgbackfill TO "+quoted {
		t.Errorf("without grants: %+v", a)
	}
	db.Exec(strings.Join(a.Missing, "; "))
	if a := access(); len(a.Missing) != 0 {
		t.Errorf("what was missing is granted, and there is more: %q", a.Missing)
	}
	s, err := Open(t.Context(), connecting(dsn), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close(t.Context())
	create(t, s, planned("granted", 10))
	db.Exec("REVOKE DELETE, INSERT ON pgbackfill.processes FROM " + quoted + "; REVOKE INSERT ON pgbackfill.chunks FROM " + quoted)
	want := "GRANT INSERT ON pgbackfill.chunks TO " + quoted + "; GRANT INSERT, DELETE ON pgbackfill.processes TO " + quoted
	if got := strings.Join(access().Missing, "; "); got != want {
		t.Errorf("%s, expected %s", got, want)
	}
	owner, err := ReadAccess(t.Context(), db.Conn())
	if err != nil || !owner.Owns || len(owner.Missing) != 0 {
		t.Errorf("the owner: %+v, %v", owner, err)
	}
}
