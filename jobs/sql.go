package jobs

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgparse"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// sqlText is a fragment of SQL, white space trimmed from both ends.
type sqlText struct {
	value
	sql string
	// trimmed is how many bytes of the value stood before it.
	trimmed int
	// literal is set where it was a YAML number, true, false or null.
	literal bool
}

func (s *sqlText) read(r *reader, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!bool" {
		s.sql, s.literal = strings.ToLower(n.Value), true
		return
	}
	s.fragment(r, n, "leave the field out, or say what it is")
}

// queryText is SQL that YAML's true or false cannot stand for: what follows FROM, a query, a statement.
type queryText struct{ sqlText }

func (q *queryText) read(r *reader, n *yaml.Node) {
	q.fragment(r, n, "leave the field out, or say what it is")
}

// fragment reads text. remedy is what to do where there is none.
func (s *sqlText) fragment(r *reader, n *yaml.Node, remedy string) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		if n.Tag != "!!null" {
			remedy = notSQL(n)
		}
		r.refuse(placeOf(n), describe(n), "SQL", remedy)
		return
	}
	if n.Style == 0 && operatorCut.MatchString(n.LineComment) {
		r.refuse(placeOf(n), fmt.Sprintf("SQL of which YAML takes the rest for a comment: %s", n.LineComment), "the whole of it",
			"write the value in quotes, or after | on lines of its own; where it is a comment, put a space after the #")
		return
	}
	const space = " \t\r\n\f\v"
	s.sql = strings.Trim(n.Value, space)
	s.trimmed = len(n.Value) - len(strings.TrimLeft(n.Value, space))
	if s.sql == "" {
		r.refuse(placeOf(n), "nothing", "SQL", remedy)
	}
}

// operatorCut finds an operator of jsonb, #>, #>> or #-, where YAML sees the beginning of a comment: what stands before it is
// most often SQL too, and would be carried out.
var operatorCut = regexp.MustCompile(`^#(>>?|-)\s*['(:a-zA-Z$]`)

// notSQL says how to write as SQL what YAML took for something else. Quotes alone would
// make 2020-01-01 a subtraction.
func notSQL(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle != 0:
		return "YAML takes braces at the beginning of a value for a mapping: write the value in quotes"
	case n.Kind != yaml.ScalarNode:
		return ""
	case n.Tag == "!!timestamp":
		return fmt.Sprintf(`write an SQL literal: "'%s'"`, n.Value)
	case n.Tag == "!!float":
		return `write an SQL literal: "'Infinity'::float8" or "'NaN'::float8"`
	case leadingZero(n.Value):
		return fmt.Sprintf(`write the number in decimal, or the text as an SQL literal: "'%s'"`, n.Value)
	}
	return ""
}

// at is the place of an offset of the SQL in the file.
func (s sqlText) at(r *reader, offset int) place {
	if s.literal {
		return placeOf(s.node)
	}
	return r.source.within(s.node, s.trimmed+offset)
}

// upTo is the SQL up to an offset of what the parser was given, without the white space before it.
func (s sqlText) upTo(p *plain, end int) string {
	at, _ := p.offset(end)
	return strings.TrimRight(s.sql[:at], " \t\r\n\f\v")
}

// tableName is a table's name, as SQL writes it.
type tableName struct {
	value
	name backfill.TableName
	// helper is the template where a helper is walked; without a name it is none.
	helper pgsql.Directive
}

func (t *tableName) read(r *reader, n *yaml.Node) {
	sql, ok := r.text(n, "a table's name: name or schema.name")
	if !ok {
		return
	}
	if templated(sql) {
		t.template(r, n, strings.TrimSpace(sql))
		return
	}
	parts, err := pgparse.Name(sql)
	var e *pgparse.Error
	switch {
	case errors.As(err, &e):
		r.refuse(r.source.within(n, e.Offset), e.Found, e.Expected, e.Remedy)
	case len(parts) == 2:
		t.name = backfill.TableName{Schema: parts[0], Name: parts[1]}
	case len(parts) == 1:
		t.name = backfill.TableName{Name: parts[0]}
	}
}

// templated reports whether a directive, or what begins like one, stands outside of quoted names.
func templated(sql string) bool {
	found := false
	_, err := pgsql.Expand(sql, func(pgsql.Directive) (string, error) { found = true; return "", nil })
	return found || err != nil
}

// assignments are the columns to set, in the order they were written.
type assignments struct {
	value
	list []assignment
}

type assignment struct {
	key    *yaml.Node
	column string
	sql    sqlText
}

func (a *assignments) read(r *reader, n *yaml.Node) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		found := describe(n)
		if n.Kind == yaml.MappingNode {
			found = "an empty mapping"
		}
		r.refuse(placeOf(n), found, "a mapping of columns to SQL", missingRemedy["set"])
		return
	}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		name, ok := r.fieldName(key, seen, "update.set")
		if !ok || !r.columnName(key, name) {
			continue
		}
		one := assignment{key: key, column: name}
		one.sql.take(val)
		if sql, ok := literal(val); ok {
			one.sql.sql, one.sql.literal = sql, true
		} else {
			one.sql.fragment(r, val, "write null for SQL NULL")
		}
		a.list = append(a.list, one)
	}
}

// literal is the SQL literal of a YAML number, boolean or null. It is false for
// everything else, and for what has none or may be read in two ways.
func literal(n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode || leadingZero(n.Value) {
		return "", false
	}
	switch n.Tag {
	case "!!null":
		return "NULL", n.Value != ""
	case "!!bool":
		return strings.ToLower(n.Value), true
	case "!!int":
		v, ok := new(big.Int).SetString(n.Value, 0)
		if !ok {
			return "", false
		}
		return v.String(), true
	case "!!float":
		number := strings.TrimPrefix(strings.ReplaceAll(n.Value, "_", ""), "+")
		_, err := strconv.ParseFloat(number, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) || strings.ContainsAny(number, "nNxX") {
			return "", false
		}
		return number, true
	}
	return "", false
}
