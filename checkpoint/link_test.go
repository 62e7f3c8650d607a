package checkpoint

import (
	"testing"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

// ⚑ COMMIT of a failed transaction is answered with ROLLBACK and no error. Made to fail by not
// looking at the tag: nothing was written and nobody said so.
func TestCommitThatWasARollback(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn()
	if err := send(t.Context(), conn, step{Statement: pgsql.Begin}, step{Statement: pgsql.Statement{SQL: "SELECT 1/0"}}); err == nil {
		t.Fatal("the statement did not fail")
	}
	wants(t, send(t.Context(), conn, commit()), "COMMIT was answered with ROLLBACK")
}
