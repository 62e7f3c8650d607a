package backfill

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// An error that repeats a value of a megabyte is kept in short. Made to fail: without shortened, status printed a megabyte for each row.
func TestQuarantinedMessageIsShort(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 1<<19)
	e := &engine{plan: &Plan{}}
	q := e.quarantinedRow(Chunk{}, Segment{}, fmt.Errorf("sent: %w", &pgconn.PgError{Code: "22P02", Message: `invalid input syntax: "` + long, Detail: long}))
	for name, text := range map[string]string{"message": q.Message, "detail": q.Detail} {
		if len(text) > mostOfMessage+40 || !utf8.ValidString(text) || !strings.Contains(text, "é… (10485") {
			t.Errorf("the %s has %d bytes and ends with %q", name, len(text), text[max(0, len(text)-40):])
		}
	}
	if q.SQLState != "22P02" || shortened("as it is") != "as it is" {
		t.Errorf("%+v", q)
	}
}
