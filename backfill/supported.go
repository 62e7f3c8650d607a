package backfill

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Supported is the error, an [ErrInput], of a connection whose server is older than the oldest PostgreSQL that pgbackfill
// works with; nil is that it is not. It asks nothing: the server has said its version when the connection was made. A
// version that cannot be read is left to what comes.
func Supported(conn *pgconn.PgConn) error {
	version := conn.ParameterStatus("server_version")
	digits := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(version)
	}
	major, err := strconv.Atoi(version[:digits])
	if err != nil || major >= pgsql.MinMajor {
		return nil //nolint:nilerr // nobody knows what that is
	}
	return &Error{
		Place: "server", Found: "it is PostgreSQL " + version, Expected: fmt.Sprintf("PostgreSQL %d or newer", pgsql.MinMajor),
		Remedy: "upgrade the server first", Kind: ErrInput,
	}
}
