package pgparse

import (
	"testing"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// What the lists hold is what the server says of its own functions.
func TestFunctionListsAreTheServers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	names := func(condition string) []string {
		return pgtest.One[[]string](db, `SELECT array_agg(DISTINCT proname::text) FROM pg_proc p
			WHERE pronamespace = 'pg_catalog'::regnamespace AND `+condition+`
			  AND NOT EXISTS (SELECT FROM pg_proc q WHERE q.proname = p.proname AND q.pronamespace = p.pronamespace
			                  AND (q.prokind, q.proretset) IS DISTINCT FROM (p.prokind, p.proretset))`)
	}
	for _, name := range names("prokind = 'a'") {
		if !aggregates[name] {
			t.Errorf("the aggregate %s is not in the list", name)
		}
	}
	for _, name := range names(`proretset AND proname !~ '^_?pg_|^txid_'`) {
		if !setReturning[name] {
			t.Errorf("%s() returns rows and is not in the list", name)
		}
	}
	for name := range aggregates {
		if n := pgtest.One[int](db, "SELECT count(*)::int FROM pg_proc WHERE proname = '"+name+"' AND prokind <> 'a' AND pronamespace = 'pg_catalog'::regnamespace"); n > 0 {
			t.Errorf("%s is in the list and is also something else than an aggregate", name)
		}
	}
}
