package checkpoint

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
)

const place = "schema pgbackfill"

// translate turns the server's errors about the schema into errors for people; others stay as they are.
func translate(err error) error {
	var made *backfill.Error
	var server *pgconn.PgError
	if errors.As(err, &made) || !errors.As(err, &server) {
		return err
	}
	switch server.Code {
	case "3F000", "42P01": // invalid_schema_name, undefined_table
		return &backfill.Error{
			Place: place, Found: "it is not there, or not whole any more", Err: err,
			Remedy: "install it with: pgbackfill schema install; where it is damaged, restore it from a backup first", Kind: backfill.ErrNotFound,
		}
	case "42703": // undefined_column
		return &backfill.Error{
			Place: place, Found: "its tables are not as this version made them", Err: err,
			Remedy: "restore the schema from a backup, or remove it: DROP SCHEMA pgbackfill CASCADE", Kind: backfill.ErrUnreadable,
		}
	case "42501": // insufficient_privilege
		if strings.Contains(server.Message, "pgbackfill") || ours(server.Message) {
			return &backfill.Error{
				Place: place, Found: "this role may not use it", Err: err,
				Remedy: "let its owner grant what is printed by: pgbackfill schema grants ROLE", Kind: backfill.ErrUnreadable,
			}
		}
	}
	return err
}

// ours reports whether a message names one of our tables; messages about tables leave the schema out.
func ours(message string) bool {
	for _, table := range tables {
		if strings.HasSuffix(message, " "+table) {
			return true
		}
	}
	return false
}
