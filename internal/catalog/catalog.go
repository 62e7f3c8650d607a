// Package catalog reads the shape of a server and of a table from PostgreSQL's catalogues.
//
// It needs no privilege that PUBLIC does not have by default, and says what it could not see.
// Everything is read inside the caller's transaction, in as few round trips as can be, and the Read functions pin it to a search_path
// of pg_catalog: names and types come back qualified where they are not built in.
package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Problem is a table or a key that cannot be used as it was asked for. It is the user's to mend.
type Problem struct {
	// Found is what is wrong; Expected what should have been there, and may be empty.
	Found, Expected string
	// Remedy is what to type or change.
	Remedy string
	// Missing is set where there is no such table.
	Missing bool
}

func (p *Problem) Error() string {
	s := p.Found
	if p.Expected != "" {
		s += "; expected " + p.Expected
	}
	if p.Remedy != "" {
		s += "\n  → " + p.Remedy
	}
	return s
}

// question is one statement of a reading, and what is done with its rows.
type question struct {
	// what is asked for, for people: "the columns".
	what, sql string
	args      []any
	// take is given the rows and closes them; nil drops them.
	take func(pgx.Rows) error
}

// about is a question whose rows are structs, by position.
func about[T any](what, sql string, take func([]T), args ...any) question {
	return question{what: what, sql: sql, args: args, take: func(rows pgx.Rows) error {
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
		if err == nil {
			take(list)
		}
		return err
	}}
}

// aboutOne is a question whose answer is exactly one row.
func aboutOne[T any](what, sql string, take func(T), args ...any) question {
	return question{what: what, sql: sql, args: args, take: func(rows pgx.Rows) error {
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
		switch {
		case err != nil:
			return err
		case len(list) != 1:
			return fmt.Errorf("%d rows instead of one", len(list))
		}
		take(list[0])
		return nil
	}}
}

// read asks questions in one round trip, and takes their answers in order. Each is parsed when the one before it is done, so that it is
// read under the settings that that one made. Statements are sent without a name, so that a pooler may stand between.
func read(ctx context.Context, conn *pgx.Conn, questions ...question) error {
	batch, builder := &pgconn.Batch{}, pgx.ExtendedQueryBuilder{}
	for _, q := range questions {
		if err := builder.Build(conn.TypeMap(), nil, q.args); err != nil {
			return fmt.Errorf("reading %s: %w", q.what, err)
		}
		batch.ExecParams(q.sql, builder.ParamValues, nil, builder.ParamFormats, builder.ResultFormats)
	}
	answers := conn.PgConn().ExecBatch(ctx, batch)
	for _, q := range questions {
		if !answers.NextResult() {
			break
		}
		if err := q.answered(conn, answers.ResultReader()); err != nil {
			_ = answers.Close() // it repeats what reading found
			return fmt.Errorf("reading %s: %w", q.what, err)
		}
	}
	if err := answers.Close(); err != nil {
		return fmt.Errorf("reading the catalogue: %w", err)
	}
	return nil
}

func (q question) answered(conn *pgx.Conn, answer *pgconn.ResultReader) error {
	rows := pgx.RowsFromResultReader(conn.TypeMap(), answer)
	defer rows.Close()
	if q.take == nil {
		rows.Close()
		return rows.Err()
	}
	return q.take(rows)
}

// pin makes every unqualified name that follows in this transaction a built-in one, and format_type qualify the
// types that are not.
var pin = question{what: "settings", sql: `SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)`}
