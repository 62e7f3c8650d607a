package verify_test

import (
	"testing"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// ⚑ A row's writer is 32 bits, and the ledger's transactions are 64: the epoch is rebuilt from the next id to be given out.
//
// Made to fail: without the parentheses around the product (all OPERATOR(…) bind alike) 700 becomes 3 006 477 107 200.
func TestARowsWriterGetsItsEpochBack(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn()
	for _, c := range []struct{ xid, next, want string }{
		{"700", "750", "700"},
		{"700", "4294968046", "4294967996"},          // 750 in epoch 1: written in it
		{"4294967290", "4294968046", "4294967290"},   // written before the wraparound
		{"4294967290", "12884902638", "12884901882"}, // epoch 3: the one before it
		{"2", "12884902638", "3"},                    // frozen in the old way: it was always there
		{"4294967290", "750", "3"},                   // cannot be; and no error
	} {
		st := pgsql.FullXID(c.xid, c.next)
		result := conn.PgConn().ExecParams(t.Context(), st.SQL, st.Args, nil, nil, nil).Read()
		if result.Err != nil {
			t.Fatal(result.Err)
		}
		if got := string(result.Rows[0][0]); got != c.want {
			t.Errorf("%s where %s is next: %s, want %s", c.xid, c.next, got, c.want)
		}
	}
}
