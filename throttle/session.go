package throttle

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Querier sends a statement to one server and returns its rows in PostgreSQL's text form; nil is NULL. [Session] is one.
type Querier interface {
	Query(ctx context.Context, s pgsql.Statement) ([][]*string, error)
}

// Reconnector is a [Querier] that can be told that it is connected to the wrong server: one that is not the primary
// any more answers as well as before.
type Reconnector interface{ Reconnect() }

// connectPause is for how long a server that could not be reached is not tried again.
const connectPause = time.Second

// Session is a connection of the signals' own, made when first needed and again whenever it is lost. One statement is
// sent at a time, in a read-only transaction whose settings are local to it, so that a pooler by transaction may stand
// between. [NewSession] makes one.
type Session struct {
	connect func(context.Context) (*pgx.Conn, error)

	// turn is held by who uses what follows. It is a channel, so that waiting for it ends with a context.
	turn  chan struct{}
	conn  *pgx.Conn
	wrong bool // the connection is to be made anew
	// failed is why the last attempt to connect failed, at when; nil where it did not.
	failed error
	at     time.Time
}

// NewSession makes a session that connects with connect; ctx bounds each attempt.
func NewSession(connect func(context.Context) (*pgx.Conn, error)) *Session {
	return &Session{connect: connect, turn: make(chan struct{}, 1)}
}

// Close ends the connection, if there is one. A later Query makes a new one.
func (s *Session) Close(ctx context.Context) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.end(ctx)
}

// Reconnect has the next statement sent over a new connection.
func (s *Session) Reconnect() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.wrong = true
}

func (s *Session) end(ctx context.Context) {
	if s.conn != nil {
		s.conn.Close(ctx)
		s.conn = nil
	}
	s.wrong = false
}

// Query sends a statement. When ctx ends first the connection is given up.
func (s *Session) Query(ctx context.Context, statement pgsql.Statement) ([][]*string, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	rows, err := exchange(ctx, s.conn.PgConn(), statement)
	if err == nil {
		return rows, nil
	}
	if s.conn.PgConn().TxStatus() != 'I' {
		if rollback := s.conn.PgConn().Exec(ctx, "ROLLBACK").Close(); rollback != nil {
			s.end(ctx)
		}
	}
	return nil, err
}

// ready connects where there is no connection.
func (s *Session) ready(ctx context.Context) error {
	if s.conn != nil && !s.conn.IsClosed() && !s.wrong {
		return nil
	}
	s.end(ctx)
	if s.failed != nil && time.Since(s.at) < connectPause {
		return s.failed
	}
	conn, err := s.connect(ctx)
	s.failed, s.at = err, time.Now()
	if err != nil {
		s.failed = fmt.Errorf("connecting: %w", err)
		return s.failed
	}
	s.conn = conn
	return nil
}

// readingSettings are those of a transaction that reads a signal.
func readingSettings(patience time.Duration) pgsql.Statement {
	wait := strconv.FormatInt(max(patience.Milliseconds(), 1), 10) + "ms"
	return pgsql.SetLocal(pgsql.Setting{Name: "application_name", Value: "pgbackfill signals"},
		pgsql.Setting{Name: "statement_timeout", Value: wait}, pgsql.Setting{Name: "lock_timeout", Value: wait})
}

// exchange sends the statement in a transaction, all in one round trip.
func exchange(ctx context.Context, conn *pgconn.PgConn, s pgsql.Statement) ([][]*string, error) {
	patience := time.Minute
	if deadline, ok := ctx.Deadline(); ok {
		patience = time.Until(deadline)
	}
	var batch pgconn.Batch
	for _, one := range []pgsql.Statement{pgsql.BeginSignal, readingSettings(patience), s, pgsql.Commit} {
		batch.ExecParams(one.SQL, one.Args, nil, nil, nil)
	}
	results := conn.ExecBatch(ctx, &batch)
	var rows [][]*string
	for n := 0; results.NextResult(); n++ {
		reader := results.ResultReader()
		for n == 2 && reader.NextRow() {
			rows = append(rows, textRow(reader.Values()))
		}
		if _, err := reader.Close(); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", s.Name, err), closed(results))
		}
	}
	if err := results.Close(); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	return rows, nil
}

// closed ends the answers after an error that is told already; what it says itself is the same error.
func closed(results *pgconn.MultiResultReader) error {
	var server *pgconn.PgError
	if err := results.Close(); err != nil && !errors.As(err, &server) {
		return err
	}
	return nil
}

// textRow copies a row, whose bytes belong to the connection.
func textRow(values [][]byte) []*string {
	row := make([]*string, len(values))
	for i, v := range values {
		if v != nil {
			text := string(v)
			row[i] = &text
		}
	}
	return row
}
