package pgparse

import (
	"fmt"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// MaxNameBytes is the longest name PostgreSQL keeps; it cuts a longer one with no more than a notice.
const MaxNameBytes = 63

// Name reads a table's name as SQL writes it and returns its parts as PostgreSQL folds
// them: `Public.Users` is public and users, `"Users"` is Users. Its error is an *[Error].
func Name(sql string) (parts []string, err error) {
	f := &fragment{sql: sql, expected: "a table's name: name or schema.name"}
	list, e := f.tokens()
	if e != nil {
		return nil, e
	}
	if e := f.names(list); e != nil {
		return nil, e
	}
	bare, e := f.parseBare(selectFrom)
	if e != nil {
		return nil, e
	}
	// The tokens are names and dots alone, so what was parsed is one item without an alias of its own.
	var table *pg_query.RangeVar
	if len(bare.GetFromClause()) == 1 {
		table = bare.GetFromClause()[0].GetRangeVar()
	}
	switch {
	case table == nil || table.GetAlias() != nil:
		return nil, f.wrong(0, "not a name", quoteRemedy(sql))
	case table.GetCatalogname() != "":
		return nil, f.wrong(0, "a name in three parts", "name the database in the connection, not here")
	case table.GetSchemaname() != "":
		return []string{table.GetSchemaname(), table.GetRelname()}, nil
	}
	return []string{table.GetRelname()}, nil
}

// names refuses tokens that are not names and dots by turns.
func (f *fragment) names(list []*pg_query.ScanToken) *Error {
	for i, t := range list {
		text, at := f.sql[t.GetStart():t.GetEnd()], int(t.GetStart())
		dot := t.GetToken() == pg_query.Token_ASCII_46
		name := t.GetToken() == pg_query.Token_IDENT || t.GetToken() == pg_query.Token_UIDENT || t.GetKeywordKind() != pg_query.KeywordKind_NO_KEYWORD
		switch {
		case t.GetKeywordKind() == pg_query.KeywordKind_RESERVED_KEYWORD:
			return f.wrong(at, "the keyword "+text, fmt.Sprintf(`a table of that name is written in double quotes: "%s"`, strings.ToLower(text)))
		case dot != (i%2 == 1) || !dot && !name:
			return f.wrong(at, text+" in the name", quoteRemedy(f.sql))
		case len(unquote(text)) > MaxNameBytes:
			return f.wrong(at, fmt.Sprintf("a name of %d bytes, of which PostgreSQL keeps %d", len(unquote(text)), MaxNameBytes), "")
		}
	}
	if len(list)%2 == 0 {
		return f.wrong(len(f.sql), "a dot at the end of the name", "")
	}
	return nil
}

func unquote(name string) string {
	if len(name) >= 2 && name[0] == '"' {
		return strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
	}
	return name
}

func quoteRemedy(name string) string {
	return fmt.Sprintf(`if that is its name, write it in double quotes: '"%s"'`, strings.ReplaceAll(strings.TrimSpace(name), `"`, `""`))
}

// Columns reads a list of column names as SQL writes it, "d.org_id, d.id", and returns
// each in its parts, folded. Its error is an *[Error].
func Columns(sql string) ([][]string, error) {
	f := &fragment{sql: sql, expected: "names of columns, separated by commas"}
	if _, e := f.tokens(); e != nil {
		return nil, e
	}
	bare, e := f.parseBare(selectList)
	if e != nil {
		return nil, e
	}
	if e := f.clauses(bare, &pg_query.SelectStmt{TargetList: bare.GetTargetList()}, ""); e != nil {
		return nil, e
	}
	columns := make([][]string, len(bare.GetTargetList()))
	for i, target := range bare.GetTargetList() {
		r := target.GetResTarget()
		fields := r.GetVal().GetColumnRef().GetFields()
		if len(fields) == 0 || r.GetName() != "" {
			return nil, f.wrong(f.at(r.GetLocation()), "something that is not a column's name", "")
		}
		for _, field := range fields {
			if field.GetString_() == nil {
				return nil, f.wrong(f.at(r.GetLocation()), "a *", "")
			}
			columns[i] = append(columns[i], field.GetString_().GetSval())
		}
	}
	return columns, nil
}
