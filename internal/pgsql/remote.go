package pgsql

import (
	"fmt"
	"strings"
)

// Distant is a query that is asked in two databases. Rows are told apart by the text of all their columns, under settings
// that are the same in both; what is summed up is a hash of that which every version and machine makes alike. It is a sum:
// in an exclusive or two equal rows would be none.
type Distant struct {
	Query
	// Columns are the names of the query's columns, the first Keys of which say which row it is.
	Columns []string
	Keys    int
}

func (d Distant) key() string {
	names := make([]string, d.Keys)
	for i := range names {
		names[i] = "q." + Ident(d.Columns[i])
	}
	return "ROW(" + strings.Join(names, ", ") + ")::pg_catalog.text"
}

const (
	distantHash   = `('x' || pg_catalog.substr(pg_catalog.md5(ROW(q.*)::pg_catalog.text), 1, 16))::pg_catalog."bit"(64)::pg_catalog.int8`
	distantBucket = `pg_catalog.get_byte(pg_catalog.decode(pg_catalog.md5(%s), 'hex'), 0)`
)

// Sum counts the rows of a part and adds up their hashes.
func (d Distant) Sum(p Part) (Statement, error) {
	f := d.filling(p)
	sql := fmt.Sprintf("SELECT pg_catalog.count(*), COALESCE(pg_catalog.sum(%s), 0)\nFROM (\n%s\n) AS q", distantHash, f.fill(d.SQL))
	return Statement{Name: "sum", SQL: sql, Args: f.b.Args()}, f.err
}

// Sums is [Distant.Sum] for each of 256 parts by a hash of the key.
func (d Distant) Sums(p Part) (Statement, error) {
	f := d.filling(p)
	sql := fmt.Sprintf("SELECT "+distantBucket+", pg_catalog.count(*), COALESCE(pg_catalog.sum(%s), 0)\nFROM (\n%s\n) AS q\nGROUP BY 1", d.key(), distantHash, f.fill(d.SQL))
	return Statement{Name: "sums", SQL: sql, Args: f.b.Args()}, f.err
}

// In are the rows in some of these parts: their key as one text, the hash of the row, and the key's columns.
func (d Distant) In(p Part, buckets []string) (Statement, error) {
	return d.rows(p, "buckets", buckets, fmt.Sprintf(distantBucket, d.key())+" OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.int4[])")
}

// At are the rows with these keys, as [Distant.In] answers.
func (d Distant) At(p Part, keys []string) (Statement, error) {
	return d.rows(p, "keys", keys, d.key()+` COLLATE "pg_catalog"."C" OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.text[])`)
}

func (d Distant) rows(p Part, name string, list []string, where string) (Statement, error) {
	f := d.filling(p)
	query := f.fill(d.SQL)
	columns := []string{d.key(), "pg_catalog.md5(ROW(q.*)::pg_catalog.text)"}
	for i := range d.Keys {
		columns = append(columns, "q."+Ident(d.Columns[i])+"::pg_catalog.text")
	}
	sql := fmt.Sprintf("SELECT %s\nFROM (\n%s\n) AS q\nWHERE %s", strings.Join(columns, ", "), query, fmt.Sprintf(where, f.b.Bind(name, TextArray(append([]string{}, list...)))))
	return Statement{Name: "rows", SQL: sql, Args: f.b.Args()}, f.err
}

// DatabaseOrder is by what text is ordered in a database where nothing else is said. Where ICU orders it, which it may from PostgreSQL 15 on,
// datcollate says nothing of that, and is "C" as often as not; the locale is where it is from 17 on, or was before. PostgreSQL's own provider,
// from 17 on, knows but one order.
var DatabaseOrder = Statement{Name: "order", SQL: `SELECT CASE pg_catalog.to_jsonb(d) OPERATOR(pg_catalog.->>) 'datlocprovider'
         WHEN 'i' THEN pg_catalog.concat('icu ', COALESCE(pg_catalog.to_jsonb(d) OPERATOR(pg_catalog.->>) 'datlocale', pg_catalog.to_jsonb(d) OPERATOR(pg_catalog.->>) 'daticulocale'),
                                         ' ' OPERATOR(pg_catalog.||) (pg_catalog.to_jsonb(d) OPERATOR(pg_catalog.->>) 'daticurules'))
         WHEN 'b' THEN 'C' ELSE d.datcollate::pg_catalog.text END
  FROM pg_catalog.pg_database AS d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()`}

// WhichDatabase tells one database from another, whatever its address: the number of its cluster, and its own.
var WhichDatabase = Statement{Name: "which database", SQL: `SELECT c.system_identifier::pg_catalog.text OPERATOR(pg_catalog.||) '/' OPERATOR(pg_catalog.||) d.oid::pg_catalog.text
  FROM pg_catalog.pg_control_system() AS c, pg_catalog.pg_database AS d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()`}
