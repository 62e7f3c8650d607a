package configs

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// What a pooler says of itself is told as that: PgBouncer says everything with one SQLSTATE, which PostgreSQL has for settings that it
// refuses. Their names are left out as ever.
//
// Made to fail: without the case for poolers, a server that is down behind one "refuses a setting of the connection string".
func TestPoolerThatDoesNotReachTheServer(t *testing.T) {
	t.Parallel()
	cc, err := pgx.ParseConfig("host=db user=app dbname=shop")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		said      pgconn.PgError
		want, not string
	}{
		{pgconn.PgError{Code: "08P01", Message: "server login has been failing, try again later"}, "pooler answers for the server: server login has been failing", "setting"},
		{pgconn.PgError{Code: "08P01", Message: "unsupported startup parameter: secret"}, "refuses a setting", "secret"},
		{pgconn.PgError{Code: "08P01", Routine: "ProcessStartupPacket", Message: "unsupported secret"}, "refuses a setting", "secret"},
	} {
		if found, remedy := explainServer(cc, &c.said); !strings.Contains(found, c.want) || strings.Contains(found+remedy, c.not) || remedy == "" {
			t.Errorf("%s: it says %q, %q", c.said.Message, found, remedy)
		}
	}
}
