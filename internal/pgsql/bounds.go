package pgsql

import (
	"fmt"
	"strings"
)

// Source is where candidates for the inner bounds of a walk come from: one query whose columns are
// the key's, or a single value to look the greatest key up for that is not above it.
type Source struct {
	// sql gives the candidates, its parameters from $2 on; probe says that they are values and not keys
	// of the table.
	sql   string
	args  [][]byte
	probe bool
}

// Sampled takes keys from whole pages chosen at random, the same ones every time: percent of
// all pages.
func (w Walk) Sampled(percent float64) Source {
	sql := fmt.Sprintf("SELECT %s\n  FROM %s AS t", strings.Join(keyColumns(w.Key, "t"), ", "), w.Table)
	if percent < 100 {
		sql += fmt.Sprintf(" TABLESAMPLE SYSTEM (%g) REPEATABLE (0)", percent)
	}
	return Source{sql: sql + "\n  WHERE " + Range{}.Where(w.Key, keyColumns(w.Key, "t"))}
}

// Histogram takes the bounds that ANALYZE found for a key of one column. It counts over the
// tables below a partitioned one.
func (w Walk) Histogram(schema, table string) Source {
	return Source{
		probe: true,
		sql: fmt.Sprintf(`SELECT unnest(s.histogram_bounds::text::%s[]) AS %s
  FROM pg_catalog.pg_stats AS s
  WHERE s.schemaname = $2::text AND s.tablename = $3::text AND s.attname = $4::text AND s.inherited = %t`,
			w.Key[0].Type, Ident(w.Key[0].Name), w.Partitioned),
		args: [][]byte{Text(schema), Text(table), Text(w.Key[0].Name)},
	}
}

// Spread takes values at even distances between the least and the greatest key, for an integer key
// of one column.
func (w Walk) Spread(n int) Source {
	column := keyColumns(w.Key, "t")[0]
	end := func(descending bool) string {
		return fmt.Sprintf("(SELECT %s::pg_catalog.numeric FROM %s AS t WHERE %s ORDER BY %s LIMIT 1)",
			column, w.Table, Range{}.Where(w.Key, []string{column}), OrderBy(w.Key, "t", descending))
	}
	return Source{probe: true, sql: fmt.Sprintf(`SELECT pg_catalog.floor(e.least + (e.greatest - e.least) * i / %d)::%s AS %s
  FROM (SELECT %s AS least, %s AS greatest) AS e, pg_catalog.generate_series(1, %d) AS i`,
		n, w.Key[0].Type, Ident(w.Key[0].Name), end(false), end(true), n)}
}

// Bounds picks up to n-1 of the candidates, at even distances in the key's order, and adds the
// greatest key there is. It gives keys of the table, strictly ascending by the key's own
// operators: the key's columns, then which part of the candidates is not above, then how many
// candidates there were. The last row is the greatest key; there is no row where there is no key.
// It is for the engine's key pins: its operators are unqualified.
func (w Walk) Bounds(from Source, n int) Statement {
	names := make([]string, len(w.Key))
	for i, k := range w.Key {
		names[i] = Ident(k.Name)
	}
	columns, open := strings.Join(names, ", "), Range{}.Where(w.Key, keyColumns(w.Key, "t"))
	greatest := fmt.Sprintf("SELECT %s FROM %s AS t WHERE %s ORDER BY %s LIMIT 1",
		strings.Join(keyColumns(w.Key, "t"), ", "), w.Table, open, OrderBy(w.Key, "t", true))
	probed := "picked"
	if from.probe {
		collate := ""
		if c := w.Key[0].Collation; c != "" {
			collate = " COLLATE " + c
		}
		probed = fmt.Sprintf(`(
    SELECT k.%[1]s, p.pgbackfill_place, p.pgbackfill_count
    FROM picked AS p CROSS JOIN LATERAL (
      SELECT t.%[1]s FROM %[2]s AS t WHERE t.%[1]s OPERATOR(%[3]s) p.%[1]s%[4]s AND %[5]s ORDER BY %[6]s LIMIT 1) AS k) AS probed`,
			names[0], w.Table, w.Key[0].LessEqual, collate, open, OrderBy(w.Key, "t", true))
	}
	return Statement{
		Name: "bounds",
		SQL: fmt.Sprintf(`WITH source AS (
  %[1]s
), ranked AS (
  SELECT s.*, row_number() OVER (ORDER BY %[2]s) AS pgbackfill_place, count(*) OVER () AS pgbackfill_count FROM source AS s
), picked AS (
  SELECT * FROM ranked
  WHERE pgbackfill_place * $1::int8 / pgbackfill_count <> (pgbackfill_place - 1) * $1::int8 / pgbackfill_count
    AND pgbackfill_place < pgbackfill_count
), bounds AS (
  SELECT %[3]s, pgbackfill_place, pgbackfill_count FROM %[4]s
  UNION ALL
  SELECT greatest.*, pgbackfill_total, pgbackfill_total FROM (%[5]s) AS greatest, (SELECT count(*) AS pgbackfill_total FROM ranked) AS total
), numbered AS (
  SELECT b.*, dense_rank() OVER (ORDER BY %[6]s) AS pgbackfill_number FROM bounds AS b
)
SELECT DISTINCT ON (pgbackfill_number) %[3]s, pgbackfill_place, pgbackfill_count
FROM numbered
ORDER BY pgbackfill_number, pgbackfill_place DESC`,
			from.sql, OrderBy(w.Key, "s", false), columns, probed, greatest, OrderBy(w.Key, "b", false)),
		Args: append([][]byte{Int(n)}, from.args...),
	}
}
