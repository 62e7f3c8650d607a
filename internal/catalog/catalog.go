// Package catalog reads the shape of a server and of a table from PostgreSQL's catalogues.
//
// It needs no privilege that PUBLIC does not have by default, and says what it could not see.
// Everything is read inside the caller's transaction, which the Read functions pin to a search_path
// of pg_catalog: names and types come back qualified where they are not built in.
package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Querier is a connection or a transaction. The readers hold nothing open between two calls.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

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

// collect reads rows into structs by position. Statements are sent without a name, so that a pooler may
// stand between.
func collect[T any](ctx context.Context, q Querier, what, sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", what, err)
	}
	return list, nil
}

// one is collect for a query that gives exactly one row.
func one[T any](ctx context.Context, q Querier, what, sql string, args ...any) (T, error) {
	list, err := collect[T](ctx, q, what, sql, args...)
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("reading %s: %d rows instead of one", what, len(list))
	}
	if err != nil {
		var none T
		return none, err
	}
	return list[0], nil
}

// pin makes every unqualified name that follows in this transaction a built-in one, and format_type qualify the
// types that are not.
func pin(ctx context.Context, q Querier) error {
	_, err := one[struct{ Path string }](ctx, q, "settings",
		`SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)`)
	return err
}
