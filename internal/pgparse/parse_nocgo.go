//go:build !cgo

package pgparse

import (
	"errors"
	"runtime/debug"
	"sync"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	wasm "github.com/wasilibs/go-pgquery"
	"github.com/wasilibs/go-pgquery/parser"
)

// compiled gives the memory back that translating the WebAssembly module took: some
// 200 MB, once a process, which the collector would keep for minutes.
var compiled sync.Once

// parseTree parses statements with PostgreSQL's parser, translated from WebAssembly.
func parseTree(sql string) (*pg_query.ParseResult, error) {
	defer compiled.Do(debug.FreeOSMemory)
	return wasm.Parse(sql)
}

// scanTokens cuts SQL into tokens with PostgreSQL's lexer.
func scanTokens(sql string) (*pg_query.ScanResult, error) {
	defer compiled.Do(debug.FreeOSMemory)
	return wasm.Scan(sql)
}

// complaint is what the parser said and at which character, from 1; 0 is nowhere.
func complaint(err error) (message string, character int) {
	var e *parser.Error
	if errors.As(err, &e) {
		return e.Message, e.Cursorpos
	}
	return err.Error(), 0
}
