package pgsql

import (
	"fmt"
	"strings"
)

// Bags are two queries with the same columns, the key's first, that must return the same rows, each as often.
//
// Rows are told apart by their images: GROUP BY takes its equality from the ORDER BY of the same expression, which
// is that of the images' operator class. DISTINCT, EXCEPT ALL or a join on the columns would call 1.0 and 1.00 the
// same, or what a collation does not tell apart.
type Bags struct {
	Scope
	Expected, Actual string
	// Casts are the types that the expected columns are cast to before they are compared, those of the actual ones
	// with their precision; "" leaves a column as it is. There is one for each column.
	Casts []string
}

// Proof compares. Its answer is one row: the rows expected, the rows that are there, and of the differences those
// that are missing, those that are extra, and those that are there under the same key with other values.
func (b Bags) Proof(p Part) (Statement, error) {
	f := b.filling(p)
	sql := b.keys(f) + `
SELECT COALESCE(pg_catalog.sum(keys.expected), 0)::pg_catalog.int8, COALESCE(pg_catalog.sum(keys.actual), 0)::pg_catalog.int8,
       COALESCE(pg_catalog.sum(keys.missing OPERATOR(pg_catalog.-) LEAST(keys.missing, keys.extra)), 0)::pg_catalog.int8,
       COALESCE(pg_catalog.sum(keys.extra OPERATOR(pg_catalog.-) LEAST(keys.missing, keys.extra)), 0)::pg_catalog.int8,
       COALESCE(pg_catalog.sum(LEAST(keys.missing, keys.extra)), 0)::pg_catalog.int8
FROM pgbackfill_keys AS keys`
	return Statement{Name: "proof", SQL: sql, Args: f.b.Args()}, f.err
}

// Wrong are up to most of the keys at which the bags differ: the key's columns as text, how many rows are missing and
// how many are extra, and with values the rows themselves, as PostgreSQL writes a row.
func (b Bags) Wrong(p Part, most int, values bool) (Statement, error) {
	f := b.filling(p)
	columns := make([]string, 0, len(b.Key)+4)
	for i := range b.Key {
		columns = append(columns, fmt.Sprintf("keys.text_%d", i+1))
	}
	columns = append(columns, "keys.missing", "keys.extra")
	if values {
		columns = append(columns, "keys.missing_rows", "keys.extra_rows")
	}
	sql := fmt.Sprintf("%s\nSELECT %s\nFROM pgbackfill_keys AS keys\nWHERE keys.missing OPERATOR(pg_catalog.+) keys.extra OPERATOR(pg_catalog.>) 0\nORDER BY keys.key USING OPERATOR(pg_catalog.*<)\nLIMIT %d",
		b.detailed(f, values), strings.Join(columns, ", "), most)
	return Statement{Name: "wrong rows", SQL: sql, Args: f.b.Args()}, f.err
}

// both are the rows of both queries, with where they are from. UNION finds the type that both have in common.
func (b Bags) both(f *filling) string {
	names, columns, casts := make([]string, len(b.Casts)), make([]string, len(b.Casts)), make([]string, len(b.Casts))
	for i, cast := range b.Casts {
		names[i] = fmt.Sprintf("pgbackfill_%d", i+1)
		columns[i] = "q." + names[i]
		casts[i] = columns[i]
		if cast != "" {
			casts[i] = stored(columns[i], cast)
		}
	}
	list := strings.Join(names, ", ")
	return fmt.Sprintf(`WITH pgbackfill_both (expected, %[1]s) AS (
  SELECT true, %[2]s FROM (
%[3]s
) AS q (%[1]s)
  UNION ALL
  SELECT false, %[4]s FROM (
%[5]s
) AS q (%[1]s)
)`, list, strings.Join(casts, ", "), f.fill(b.Expected), strings.Join(columns, ", "), f.fill(b.Actual))
}

// row is the first n columns as a row.
func (b Bags) row(n int) string {
	columns := make([]string, n)
	for i := range columns {
		columns[i] = fmt.Sprintf("u.pgbackfill_%d", i+1)
	}
	return "ROW(" + strings.Join(columns, ", ") + ")::pg_catalog.record"
}

// grouped are the distinct rows with how often each is in either bag; more is said of each row.
func (b Bags) grouped(more string) string {
	return fmt.Sprintf(`, pgbackfill_rows AS (
  SELECT %s AS key, %s AS whole,
         pg_catalog.count(*) FILTER (WHERE u.expected) AS expected, pg_catalog.count(*) FILTER (WHERE NOT u.expected) AS actual%s
  FROM pgbackfill_both AS u
  GROUP BY 1, 2 ORDER BY 1 USING OPERATOR(pg_catalog.*<), 2 USING OPERATOR(pg_catalog.*<)
)`, b.row(len(b.Key)), b.row(len(b.Casts)), more)
}

func (b Bags) keys(f *filling) string {
	return b.both(f) + b.grouped("") + `, pgbackfill_keys AS (
  SELECT r.key, pg_catalog.sum(r.expected) AS expected, pg_catalog.sum(r.actual) AS actual,
         pg_catalog.sum(GREATEST(r.expected OPERATOR(pg_catalog.-) r.actual, 0)) AS missing,
         pg_catalog.sum(GREATEST(r.actual OPERATOR(pg_catalog.-) r.expected, 0)) AS extra
  FROM pgbackfill_rows AS r
  GROUP BY 1 ORDER BY 1 USING OPERATOR(pg_catalog.*<)
)`
}

// detailed is keys with each key as text, and with values the rows of which there are too few or too many.
func (b Bags) detailed(f *filling, values bool) string {
	var texts, kept, rows strings.Builder
	for i := range b.Key {
		fmt.Fprintf(&texts, ",\n         pg_catalog.min(u.pgbackfill_%[1]d::pg_catalog.text COLLATE \"pg_catalog\".\"C\") AS text_%[1]d", i+1)
		fmt.Fprintf(&kept, ", pg_catalog.min(r.text_%[1]d) AS text_%[1]d", i+1)
	}
	if values {
		rows.WriteString(`,
         pg_catalog.string_agg(r.whole::pg_catalog.text, ' ') FILTER (WHERE r.expected OPERATOR(pg_catalog.>) r.actual) AS missing_rows,
         pg_catalog.string_agg(r.whole::pg_catalog.text, ' ') FILTER (WHERE r.actual OPERATOR(pg_catalog.>) r.expected) AS extra_rows`)
	}
	return b.both(f) + b.grouped(texts.String()) + fmt.Sprintf(`, pgbackfill_keys AS (
  SELECT r.key%s,
         pg_catalog.sum(GREATEST(r.expected OPERATOR(pg_catalog.-) r.actual, 0)) AS missing,
         pg_catalog.sum(GREATEST(r.actual OPERATOR(pg_catalog.-) r.expected, 0)) AS extra%s
  FROM pgbackfill_rows AS r
  GROUP BY 1 ORDER BY 1 USING OPERATOR(pg_catalog.*<)
)`, kept.String(), rows.String())
}

// TypeName asks what a type is called, as SQL writes it, with its length or precision.
func TypeName(oid uint32, modifier int32) Statement {
	return Statement{Name: "type", SQL: "SELECT pg_catalog.format_type($1::pg_catalog.oid, $2::pg_catalog.int4)", Args: [][]byte{Int(int64(oid)), Int(int64(modifier))}}
}
