package pgparse

import (
	"cmp"
	"strings"
	"unicode/utf8"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// The parser works on C strings, and it recurses over the tree on a stack whose end is
// the end of the process: at some 20 000 levels where it is C, at 1300 SELECTs within
// one another where it is WebAssembly. So what is given to it is bounded here, to half of
// what the weaker of the two was seen to bear.
const (
	maxBytes   = 1 << 20
	maxNesting = 1000
)

// tokens cuts the fragment into tokens and refuses what no fragment may hold.
func (f *fragment) tokens() ([]*pg_query.ScanToken, *Error) {
	if e := f.readable(); e != nil {
		return nil, e
	}
	result, err := scanTokens(f.sql)
	if err != nil {
		return nil, f.parserError(err, f.sql, 0)
	}
	list := result.GetTokens()
	f.end = len(f.sql)
	nesting, code := 0, 0
	for i, t := range list {
		at := int(t.GetStart())
		switch t.GetToken() {
		case pg_query.Token_SQL_COMMENT, pg_query.Token_C_COMMENT:
			continue
		case pg_query.Token_ASCII_59:
			if e := f.semicolon(list[i:]); e != nil {
				return nil, e
			}
			if f.many {
				nesting = 0
				continue
			}
			f.end = min(f.end, at)
			continue
		case pg_query.Token_PARAM:
			return nil, f.wrong(at, "the parameter "+f.sql[at:t.GetEnd()], "write the value itself, or declare it under `params` and write :name")
		default:
			if nests(t.GetToken()) {
				nesting++
			}
		}
		code++
		if nesting > maxNesting {
			return nil, f.wrong(at, "SQL of more than 1000 operators and parentheses", "put the values into a table and join it by `from`")
		}
	}
	if code == 0 {
		return nil, f.wrong(0, "nothing but white space or comments", "")
	}
	return list, nil
}

// nests reports whether a token can open a level of the tree. Names, constants and lists
// cannot, a comparison only in parentheses, and a row of ANDs or ORs is one level.
func nests(t pg_query.Token) bool {
	switch t {
	case pg_query.Token_IDENT, pg_query.Token_ICONST, pg_query.Token_FCONST, pg_query.Token_SCONST,
		pg_query.Token_ASCII_41, pg_query.Token_ASCII_44, pg_query.Token_ASCII_46, pg_query.Token_ASCII_93,
		pg_query.Token_ASCII_60, pg_query.Token_ASCII_61, pg_query.Token_ASCII_62,
		pg_query.Token_WHEN, pg_query.Token_THEN, pg_query.Token_AND, pg_query.Token_OR:
		return false
	}
	return true
}

// readable refuses what cannot be handed to the parser as text.
func (f *fragment) readable() *Error {
	if len(f.sql) > maxBytes {
		return f.wrong(maxBytes, "SQL of more than 1 MiB", "put the values into a table and join it by `from`")
	}
	if i := strings.IndexByte(f.sql, 0); i >= 0 {
		return f.wrong(i, "a NUL character, which PostgreSQL takes for the end of the text", "")
	}
	for i := 0; i < len(f.sql); {
		r, size := utf8.DecodeRuneInString(f.sql[i:])
		if r == utf8.RuneError && size == 1 {
			return f.wrong(i, "text that is not UTF-8", "")
		}
		i += size
	}
	return nil
}

// semicolon says what a ; at the head of list does there; nil where it ends a statement and may.
func (f *fragment) semicolon(list []*pg_query.ScanToken) *Error {
	if f.many {
		return nil
	}
	e := f.wrong(int(list[0].GetStart()), "a ; which ends the statement", "remove the ;")
	for _, t := range list[1:] {
		switch t.GetToken() {
		case pg_query.Token_ASCII_59, pg_query.Token_SQL_COMMENT, pg_query.Token_C_COMMENT:
		default:
			e.Found, e.Remedy = "a ; and a second statement after it", cmp.Or(f.second, "remove everything from the ; on")
			return e
		}
	}
	if f.whole {
		return nil
	}
	return e
}
