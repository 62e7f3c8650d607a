package backfill

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// answer is what the server said to one statement.
type answer struct {
	tag  pgconn.CommandTag
	rows [][]string
	// columns is how many columns the answer has, also where it has no row.
	columns int
	// fields are the columns of a statement that was only described.
	fields []pgconn.FieldDescription
}

// exchange sends statements in one round trip and returns the answers to those that were
// carried out, in order; with an error, the answers before it. Every statement is unnamed
// and parsed where it stands in the row, so that it is read under the settings that the
// ones before it made: a constant keeps the time zone of the session that parsed it.
// Parameters and results are in PostgreSQL's text form.
func exchange(ctx context.Context, conn *pgconn.PgConn, statements ...pgsql.Statement) ([]answer, error) {
	return exchangeRows(ctx, conn, -1, nil, statements...)
}

// exchangeRows is [exchange] that hands over the rows of one of the answers as they come, and keeps none of them. What a
// row holds is good until the next one comes; a nil value is NULL.
func exchangeRows(ctx context.Context, conn *pgconn.PgConn, at int, row func([][]byte), statements ...pgsql.Statement) ([]answer, error) {
	pipeline := conn.StartPipeline(ctx)
	for _, s := range statements {
		if s.Described {
			pipeline.SendPrepare("", s.SQL, nil) // an unnamed statement is forgotten by itself
			continue
		}
		pipeline.SendQueryParams(s.SQL, s.Args, nil, nil, nil)
	}
	err := pipeline.Sync()
	answers := make([]answer, 0, len(statements))
	for len(answers) < len(statements) && err == nil {
		var a answer
		each := row
		if len(answers) != at {
			each = nil
		}
		if a, err = readAnswer(pipeline, each); err == nil {
			answers = append(answers, a)
		} else {
			err = &statementError{name: statements[len(answers)].Name, err: err}
		}
	}
	// Close reads what is left up to the end of the pipeline; it repeats the error that was seen.
	if closeErr := pipeline.Close(); err == nil {
		err = closeErr
	}
	return answers, err
}

func readAnswer(pipeline *pgconn.Pipeline, each func([][]byte)) (answer, error) {
	results, err := pipeline.GetResults()
	if err != nil {
		return answer{}, err
	}
	reader, ok := results.(*pgconn.ResultReader)
	if described, is := results.(*pgconn.StatementDescription); is {
		return answer{fields: described.Fields, columns: len(described.Fields)}, nil
	}
	if !ok {
		return answer{}, fmt.Errorf("unexpected answer from the server: %T", results)
	}
	a := answer{columns: len(reader.FieldDescriptions())}
	for reader.NextRow() {
		if each != nil {
			each(reader.Values())
			continue
		}
		row := make([]string, len(reader.Values()))
		for i, v := range reader.Values() {
			row[i] = string(v)
		}
		a.rows = append(a.rows, row)
	}
	a.tag, err = reader.Close()
	return a, err
}

// statementError says which statement of an exchange failed.
type statementError struct {
	name string
	err  error
}

func (e *statementError) Error() string { return e.name + ": " + e.err.Error() }
func (e *statementError) Unwrap() error { return e.err }

// errNotCommitted is a COMMIT that the server answered with ROLLBACK, which it does, without
// an error, where the transaction had failed.
var errNotCommitted = errors.New("the server answered COMMIT with ROLLBACK")

// rollback leaves no transaction open on the connection, or no connection.
func rollback(ctx context.Context, conn *pgconn.PgConn) {
	if conn.IsClosed() || conn.TxStatus() == 'I' {
		return
	}
	if _, err := exchange(ctx, conn, pgsql.Rollback); err != nil {
		_ = conn.Close(ctx)
	}
}
