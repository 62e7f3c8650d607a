//go:build cgo

package pgparse

import (
	"errors"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"github.com/pganalyze/pg_query_go/v6/parser"
)

// parseTree parses statements with PostgreSQL's parser, compiled from C.
func parseTree(sql string) (*pg_query.ParseResult, error) { return pg_query.Parse(sql) }

// scanTokens cuts SQL into tokens with PostgreSQL's lexer.
func scanTokens(sql string) (*pg_query.ScanResult, error) { return pg_query.Scan(sql) }

// complaint is what the parser said and at which character, from 1; 0 is nowhere.
func complaint(err error) (message string, character int) {
	var e *parser.Error
	if errors.As(err, &e) {
		return e.Message, e.Cursorpos
	}
	return err.Error(), 0
}
