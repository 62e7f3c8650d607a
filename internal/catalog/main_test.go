package catalog

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// look reads a table as the planner does: in one read-only transaction.
func look(t *testing.T, conn *pgx.Conn, schema, name string) (Table, error) {
	t.Helper()
	tx, err := conn.BeginTx(t.Context(), pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	s, err := ReadServer(t.Context(), tx.Conn())
	if err != nil {
		t.Fatal(err)
	}
	return ReadTable(t.Context(), tx.Conn(), s, schema, name)
}

// mustLook is look for a table that is there.
func mustLook(t *testing.T, db *pgtest.DB, name string) Table {
	t.Helper()
	table, err := look(t, db.Conn(), "", name)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// problem asserts that err is a Problem whose text holds all the words.
func problem(t *testing.T, err error, words ...string) {
	t.Helper()
	var p *Problem
	if !errors.As(err, &p) {
		t.Fatalf("%v is no Problem; want one that says %q", err, words)
	}
	for _, w := range words {
		if !strings.Contains(p.Error(), w) {
			t.Errorf("the problem is\n%s\nand does not say %q", p, w)
		}
	}
}
