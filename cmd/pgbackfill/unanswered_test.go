package main

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// A connection that is lost where nobody waits for the server is an error with a remedy, and everything else is what it was.
//
// Made to fail: without unanswered, a run that is started while the network swallows everything says "conn closed".
func TestUnanswered(t *testing.T) {
	t.Parallel()
	planning := &backfill.Error{Place: "job.yaml", Found: "it could not be planned", Err: io.ErrUnexpectedEOF}
	for _, err := range []error{pgconn.ErrConnClosed, fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), syscall.ECONNRESET, planning.Err, &pgconn.PgError{Code: "57P01"}} {
		var said *backfill.Error
		if got := unanswered(err); !errors.As(got, &said) || said.Remedy == "" || !errors.Is(got, err) {
			t.Errorf("of %v it makes %v", err, got)
		}
	}
	var told *backfill.Error
	if got := unanswered(planning); !errors.As(got, &told) || told.Place != "job.yaml" || told.Remedy == "" {
		t.Errorf("of %v it makes %v", planning, got)
	}
	other := &backfill.Error{Found: "x", Remedy: "y", Err: io.EOF}
	for _, err := range []error{nil, errSaid, errors.Join(io.EOF, errSaid), other, errUsage, &pgconn.PgError{Code: "40001"}} {
		if got := unanswered(err); !errors.Is(got, err) || got != nil && got.Error() != err.Error() {
			t.Errorf("of %v it makes %v", err, got)
		}
	}
}
