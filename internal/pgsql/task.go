package pgsql

import (
	"fmt"
	"slices"
	"strings"
)

// HelperTable is the name of the table of a run's helper, in the schema pgbackfill. run is the run's number as text,
// so that a plan of a run that is not there yet can say "<run>".
func HelperTable(run, name string) string { return "helper_" + run + "_" + name }

// OfRun is a fragment as it is said in a job that takes a run back: {{helper x}} is the table that the run built, and
// {{scope}} what the run's scope was, since that job's own is another. What else it holds stays.
func OfRun(sql, run, scope string) (string, error) {
	return Expand(sql, func(d Directive) (string, error) {
		switch d.Name {
		case "helper":
			return Ident("pgbackfill", HelperTable(run, d.Arg)), nil
		case "scope":
			if scope == "" {
				return "(true)", nil
			}
			of, err := OfRun(scope, run, "")
			return "(" + of + "\n)", err
		}
		return d.String(), nil
	})
}

// Once is SQL of a job's that is done once, filled in: its parameters bound, and {{helper x}} replaced.
func (s Scope) Once(name, sql string) (Statement, error) {
	f := s.filling(Part{})
	_, err := Expand(sql, func(d Directive) (string, error) {
		if d.Name != "helper" {
			return "", fmt.Errorf("%s: what is done once is about no chunk", d)
		}
		return "", nil
	})
	if err != nil {
		return Statement{}, err
	}
	sql = f.fill(sql)
	return Statement{Name: name, SQL: sql, Args: f.b.Args()}, f.err
}

// Helper are the statements that build a helper's table. It is an ordinary table: the server empties an unlogged one
// when it recovers from a crash, and what joins it would then find nothing.
func (s Scope) Helper(name, table, query string, key []string) ([]Statement, error) {
	made, err := s.Once("helper "+name, query)
	if err != nil {
		return nil, err
	}
	quoted := Ident("pgbackfill", table)
	made.SQL = "CREATE TABLE " + quoted + " AS\n" + made.SQL
	list := []Statement{made}
	if len(key) > 0 {
		columns := make([]string, len(key))
		for i, k := range key {
			columns[i] = Ident(k)
		}
		list = append(list, Statement{Name: "helper " + name + ": key", SQL: fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (%s)", quoted, strings.Join(columns, ", "))})
	}
	return append(list, Statement{Name: "helper " + name + ": statistics", SQL: "ANALYZE " + quoted}), nil
}

// TryAlone asks for the lock that keeps two processes from sending the same statements at once. It is held until the
// transaction ends, which then has to [LetGo] of its snapshot.
func TryAlone(run int64, part string) Statement {
	return Statement{
		Name: "alone", SQL: "SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended($1::pg_catalog.text, 0))",
		Args: [][]byte{fmt.Appendf(nil, "pgbackfill.tasks %d %s", run, part)},
	}
}

// LetGo follows [TryAlone]: the server keeps the snapshot of the last query that was sent with parameters until the next
// statement comes, and CREATE INDEX CONCURRENTLY would wait for that one for ever.
var LetGo = Statement{Name: "let go", SQL: "SAVEPOINT pgbackfill"}

// Set makes settings for the rest of the session, for what cannot be in a transaction.
func Set(settings ...Setting) Statement { return setConfig(settings, false) }

// IndexBuild is what a CREATE INDEX CONCURRENTLY says: the index is in its table's schema.
type IndexBuild struct {
	// Index is the index's name; "" where the statement leaves it to the server.
	Index string
	// Table is the table as the statement names it, quoted.
	Table string
}

// Look asks for the index of that name on the table: its number, whether it is valid, and its qualified name. There
// is no row where there is none.
func (b IndexBuild) Look() Statement {
	return Statement{
		Name: "index",
		SQL: `SELECT c.oid, x.indisvalid AND x.indisready, pg_catalog.quote_ident(n.nspname) OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) pg_catalog.quote_ident(c.relname)
FROM pg_catalog.pg_index AS x
     JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) x.indexrelid
     JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE x.indrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid
  AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.name`,
		Args: [][]byte{Text(b.Table), Text(b.Index)},
	}
}

// DropIndex drops what an interrupted CREATE INDEX CONCURRENTLY left. quoted is its qualified name.
func DropIndex(quoted string) Statement {
	return Statement{Name: "drop invalid index", SQL: "DROP INDEX CONCURRENTLY IF EXISTS " + quoted}
}

// ConcurrentIndex reads a CREATE INDEX CONCURRENTLY; false is another statement.
func ConcurrentIndex(sql string) (IndexBuild, bool) {
	words := Leading(sql, 16)
	take := func(word string) bool {
		if len(words) > 0 && words[0] == word {
			words = words[1:]
			return true
		}
		return false
	}
	create := take("create")
	take("unique")
	if !create || !take("index") || !take("concurrently") {
		return IndexBuild{}, false
	}
	var b IndexBuild
	if take("if") {
		words = words[min(2, len(words)):]
	}
	if !take("on") && len(words) > 0 {
		b.Index, words = unquoted(words[0]), words[1:]
		take("on")
	}
	take("only")
	for i, word := range words { // a, ., b
		if i > 2 || i == 1 && word != "." {
			break
		}
		b.Table += word
	}
	return b, true
}

// unquoted is the name that a word stands for.
func unquoted(word string) string {
	if strings.HasPrefix(word, `"`) {
		return strings.ReplaceAll(strings.Trim(word, `"`), `""`, `"`)
	}
	return word
}

// Leading are the first words of a statement, at most n: names that are not quoted in lower case, each other
// character by itself, comments left out.
func Leading(sql string, n int) []string {
	var words []string
	for i := 0; i < len(sql) && len(words) < n; {
		end := skipToken(sql, i)
		token := sql[i:end]
		switch {
		case strings.TrimSpace(token) == "", strings.HasPrefix(token, "--"), strings.HasPrefix(token, "/*"):
		case isWord(token[0]):
			words = append(words, strings.ToLower(token))
		default:
			words = append(words, token)
		}
		i = end
	}
	return words
}

// OutsideOnly reports whether a statement cannot be in a transaction, as far as its first words say.
func OutsideOnly(sql string) bool {
	words := Leading(sql, 6)
	if len(words) == 0 {
		return false
	}
	switch words[0] {
	case "vacuum":
		return true
	case "create", "drop", "reindex":
		return slices.Contains(words, "concurrently")
	}
	return false
}

// EndsTransaction reports whether a statement begins or ends a transaction.
func EndsTransaction(sql string) bool {
	words := append(Leading(sql, 2), "", "")
	switch words[0] {
	case "begin", "start", "commit", "end", "abort":
		return true
	case "rollback":
		return words[1] != "to"
	case "prepare":
		return words[1] == "transaction"
	}
	return false
}
