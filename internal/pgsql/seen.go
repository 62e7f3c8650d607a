package pgsql

import (
	"fmt"
	"strings"
)

// What a step saw tells a row that it left alone from one that somebody wrote behind it. It has to be taken inside of the
// step's own statement: under READ COMMITTED the statement before it, or after it, sees something else. An UPDATE has
// nowhere to return it, so it goes by a setting of the transaction, from which the ledger's row takes it.

// remember puts what the statement sees where [Seen] finds it; as a condition, remembers, it is evaluated once for the
// whole statement.
const (
	remember  = "pg_catalog.set_config('pgbackfill.snapshot', pg_catalog.pg_current_snapshot()::pg_catalog.text, true)"
	remembers = "(SELECT " + remember + ") IS NOT NULL"
)

// Seen is what the last step of the transaction saw that changed rows of the walked table; NULL where there was none.
const Seen = "CASE WHEN pg_catalog.current_setting('pgbackfill.snapshot', true) OPERATOR(pg_catalog.<>) '' THEN pg_catalog.current_setting('pgbackfill.snapshot', true)::pg_catalog.pg_snapshot END"

// fullXID is a transaction id, an expression of type xid, with the epoch that it has where it is no newer than the next
// one to be given out, an expression of type int8. A frozen row keeps the id that it had, which is taken for one of the
// last 2³² then. Ids below 3 are not those of transactions: such a row was always there.
func fullXID(xid, next string) string {
	x := xid + "::pg_catalog.text::pg_catalog.int8"
	return fmt.Sprintf(`(CASE WHEN %[1]s OPERATOR(pg_catalog.<) 3 THEN 3
            ELSE GREATEST(%[1]s OPERATOR(pg_catalog.+)
                 (((%[2]s OPERATOR(pg_catalog.>>) 32) OPERATOR(pg_catalog.-) CASE WHEN %[1]s OPERATOR(pg_catalog.>) (%[2]s OPERATOR(pg_catalog.&) 4294967295) THEN 1 ELSE 0 END)
                  OPERATOR(pg_catalog.*) 4294967296), 3) END)::pg_catalog.text::pg_catalog.xid8`, x, next)
}

// FullXID is a question for fullXID of a transaction id, given which one would be the next: for tests, which cannot wait
// for 2³² of them.
func FullXID(xid, next string) Statement {
	return Statement{Name: "full xid", SQL: "SELECT " + fullXID("$1::pg_catalog.xid", "$2::pg_catalog.int8"), Args: [][]byte{Text(xid), Text(next)}}
}

// nextXID is the next transaction id that will be given out, with its epoch, as the statement's snapshot has it.
const nextXID = "pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8"

// Traces is the question what became of rows, for telling why they are not as they should be.
type Traces struct {
	Walk
	// Run is the one whose ledger is looked at.
	Run int64
	// Keyed is set where the run walked by this very key. Else its chunks tell only which rows they wrote.
	Keyed bool
	// Set are the columns that are wrong in some of the rows; Capture is what the run kept of the table, nil is nothing.
	Set     []SetColumn
	Capture *Capture
}

// Statement asks for the rows with these keys, a column of values for each column of the key. Its answer has a line for each
// key that is there, by its place from 1 on: how many chunks of the run came to it, whether one of them wrote the row as it
// is, whether one saw that version, whether it is not known of one what it saw, the row's writer, whether the row is
// aside, whether it was and is not any more, whether the run's last chunk did not see that version, for each column of Set whether it is NULL, and then whether the run kept what it
// wrote to the row and whether the columns hold something else now; and who else wrote the row, as far as another run's ledger or the
// tripwire's record has its transaction.
func (t Traces) Statement(r Range, columns [][]*string) Statement {
	b := &Binder{}
	run := b.Bind("run", Int(t.Run)) + "::pg_catalog.int8"
	texts, names, wrong, match := t.named(b, columns, r.Nulls)
	nulls := make([]string, 0, len(t.Set)+2)
	for _, s := range t.Set {
		nulls = append(nulls, fmt.Sprintf("pg_catalog.bool_and(t.%s IS NULL)", Ident(s.Name)))
	}
	kept, join := t.kept()
	sql := fmt.Sprintf(`WITH wrong AS MATERIALIZED (
  SELECT m.n, ARRAY[%s]::pg_catalog.text[] AS key, %s
), came AS MATERIALIZED (
  %s
), last AS MATERIALIZED (
  SELECT c.snapshot FROM pgbackfill.chunks AS c
  WHERE c.run_id OPERATOR(pg_catalog.=) %[4]s AND c.snapshot IS NOT NULL ORDER BY c.committed_at DESC LIMIT 1
), others AS MATERIALIZED (
  SELECT c.xid, pg_catalog.format('a chunk of run %%s of job %%s', o.id, o.job) AS name
  FROM pgbackfill.runs AS r JOIN pgbackfill.runs AS o ON o.table_oid OPERATOR(pg_catalog.=) r.table_oid AND o.id OPERATOR(pg_catalog.<>) r.id
       JOIN pgbackfill.chunks AS c ON c.run_id OPERATOR(pg_catalog.=) o.id
  WHERE r.id OPERATOR(pg_catalog.=) %[4]s
)
SELECT wrong.n, pg_catalog.max(c.chunks), pg_catalog.bool_or(c.ours), pg_catalog.bool_or(c.seen), pg_catalog.bool_or(c.blind),
       pg_catalog.max(w.xid::pg_catalog.text::pg_catalog.int8),
       EXISTS (SELECT FROM pgbackfill.quarantine AS q WHERE q.run_id OPERATOR(pg_catalog.=) %[4]s AND q.key OPERATOR(pg_catalog.=) wrong.key AND q.resolved_at IS NULL),
       EXISTS (SELECT FROM pgbackfill.quarantine AS q WHERE q.run_id OPERATOR(pg_catalog.=) %[4]s AND q.key OPERATOR(pg_catalog.=) wrong.key AND q.resolved_at IS NOT NULL AND q.gone OPERATOR(pg_catalog.<) q.rows),
       COALESCE(pg_catalog.bool_and(NOT pg_catalog.pg_visible_in_snapshot(w.xid, (SELECT last.snapshot FROM last))), false),
       %[5]s,
       pg_catalog.max(COALESCE(others.name, (SELECT pg_catalog.concat(d.application, ' as ', d.role, ': ', pg_catalog."left"(d.query, 200)) FROM pgbackfill.drift AS d WHERE d.xid OPERATOR(pg_catalog.=) w.xid ORDER BY d.id LIMIT 1)))
FROM wrong
     JOIN %[6]s AS t ON %[7]s
     CROSS JOIN LATERAL (SELECT %[8]s AS xid) AS w
     LEFT JOIN others ON others.xid OPERATOR(pg_catalog.=) w.xid%[9]s
     CROSS JOIN LATERAL (
       SELECT pg_catalog.count(*) AS chunks, COALESCE(pg_catalog.bool_or(came.xid OPERATOR(pg_catalog.=) w.xid), false) AS ours,
              COALESCE(pg_catalog.bool_or(pg_catalog.pg_visible_in_snapshot(w.xid, came.snapshot)), false) AS seen,
              COALESCE(pg_catalog.bool_or(came.snapshot IS NULL), false) AS blind
       FROM came WHERE %[10]s) AS c
GROUP BY wrong.n, wrong.key`, texts, wrong, t.came(b, run, r),
		run, strings.Join(append(nulls, kept...), ", "), t.Table, match, fullXID("t.xmin", nextXID), join, t.covers(names))
	return Statement{Name: "traces", SQL: sql, Args: b.Args()}
}

// named are rows by their keys, a column of values for each column of the key: the keys as text, their columns' names, what to
// select of them, from where, by their place m.n, and the predicate by which they, as wrong, meet the walked table. With nulls
// a NULL meets a NULL; elsewhere that would keep the index from being used.
func (w Walk) named(b *Binder, columns [][]*string, nulls bool) (texts string, names []string, selected, match string) {
	n := len(w.Key)
	arrays, values, text, matches := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	names = make([]string, n)
	for i, k := range w.Key {
		names[i] = fmt.Sprintf("k%d", i+1)
		arrays[i] = "pg_catalog.unnest(" + b.Bind(fmt.Sprintf("key %d", i), NullableTextArray(columns[i])) + "::pg_catalog.text[])"
		text[i] = "m." + names[i]
		values[i] = fmt.Sprintf("CAST(m.%s AS %s)", names[i], typeName(k.Type))
		if k.Collation != "" {
			values[i] += " COLLATE " + k.Collation
		}
		values[i] += " AS " + names[i]
		matches[i] = fmt.Sprintf("t.%s OPERATOR(%s) wrong.%s", Ident(k.Name), k.Equal, names[i])
		if k.Nullable && nulls {
			matches[i] = fmt.Sprintf("(%s OR t.%s IS NULL AND wrong.%s IS NULL)", matches[i], Ident(k.Name), names[i])
		}
	}
	selected = fmt.Sprintf("%s\n  FROM ROWS FROM (%s) WITH ORDINALITY AS m (%s, n)", strings.Join(values, ", "), strings.Join(arrays, ", "), strings.Join(names, ", "))
	return strings.Join(text, ", "), names, selected, strings.Join(matches, " AND ")
}

// came are the chunks of the run that came to the range; where the run did not walk by this key, all of them.
func (t Traces) came(b *Binder, run string, r Range) string {
	if !t.Keyed {
		return fmt.Sprintf("SELECT c.xid, c.snapshot FROM pgbackfill.chunks AS c WHERE c.run_id OPERATOR(pg_catalog.=) %s AND c.fence IS NULL", run)
	}
	end := func(side string) (list []string) {
		for i, k := range t.Key {
			text := fmt.Sprintf("c.%s[%d]::%s", side, i+1, typeName(k.Type))
			if k.Collation != "" {
				text += " COLLATE " + k.Collation
			}
			list = append(list, text)
		}
		return list
	}
	columns := []string{"c.xid", "c.snapshot", "s.nulls", "c.after IS NULL AS first"}
	for i, side := range [][]string{end("after"), end("through")} {
		for j, text := range side {
			columns = append(columns, fmt.Sprintf("%s AS %c%d", text, "ab"[i], j+1))
		}
	}
	where := "true"
	if !r.Nulls && r.At == nil {
		// Those that end before the range, and begin after it, are left out.
		var parts []string
		if r.After != nil {
			parts = append(parts, "(s.nulls OR "+Range{After: r.After}.where(b, notNull(t.Key), end("through"))+")")
		}
		if r.Through != nil {
			parts = append(parts, "(c.after IS NULL OR "+Range{Through: r.Through}.where(b, notNull(t.Key), end("after"))+")")
		}
		if len(parts) > 0 {
			where = strings.Join(parts, "\n    AND ")
		}
	}
	return fmt.Sprintf(`SELECT %s
  FROM pgbackfill.chunks AS c
       JOIN pgbackfill.segments AS s ON s.run_id OPERATOR(pg_catalog.=) c.run_id AND s.no OPERATOR(pg_catalog.=) c.segment
  WHERE c.run_id OPERATOR(pg_catalog.=) %s AND c.fence IS NULL
    AND %s`, strings.Join(columns, ", "), run, where)
}

// notNull is a key none of whose columns is NULL.
func notNull(key []KeyColumn) []KeyColumn {
	list := make([]KeyColumn, len(key))
	for i, k := range key {
		k.Nullable = false
		list[i] = k
	}
	return list
}

// covers is true of the chunks among came that a wrong row's key is in.
func (t Traces) covers(names []string) string {
	if !t.Keyed {
		return "came.xid OPERATOR(pg_catalog.=) w.xid"
	}
	columns, nulls := make([]string, len(names)), make([]string, 0, len(names))
	for i, name := range names {
		columns[i] = "wrong." + name
		if t.Key[i].Nullable {
			nulls = append(nulls, columns[i]+" IS NULL")
		}
	}
	side := func(letter string) end {
		list := make([]string, len(names))
		for i := range names {
			list[i] = fmt.Sprintf("came.%s%d", letter, i+1)
		}
		return end{exprs: list}
	}
	key := notNull(t.Key)
	inside := fmt.Sprintf("NOT came.nulls AND (came.first OR %s) AND %s",
		compare(key, columns, side("a"), func(k KeyColumn) string { return k.Greater }, func(k KeyColumn) string { return k.Greater }, func(k KeyColumn) string { return k.GreaterEqual }),
		compare(key, columns, side("b"), func(k KeyColumn) string { return k.Less }, func(k KeyColumn) string { return k.LessEqual }, func(k KeyColumn) string { return k.LessEqual }))
	if len(nulls) == 0 {
		return inside
	}
	anyNull := "(" + strings.Join(nulls, " OR ") + ")"
	return fmt.Sprintf("CASE WHEN %s THEN came.nulls ELSE %s END", anyNull, inside)
}

// kept asks what the run kept of what it wrote.
func (t Traces) kept() (columns []string, join string) {
	c := t.Capture
	if c == nil || len(t.Set) == 0 {
		return []string{"false", "false"}, ""
	}
	h := History{Capture: *c}
	changed := make([]string, len(t.Set))
	for i, s := range t.Set {
		k, _ := h.kept(s.Name)
		changed[i] = s.Compare.differ("t."+Ident(s.Name), k.written("e"))
	}
	return []string{"pg_catalog.bool_or(e.op IS NOT NULL)", fmt.Sprintf("pg_catalog.bool_or(e.op IS NOT NULL AND (%s))", strings.Join(changed, " OR "))},
		fmt.Sprintf(`
     LEFT JOIN LATERAL (
       SELECT u.* FROM %s AS u
       WHERE u.op OPERATOR(pg_catalog.=) 'u' AND %s
       ORDER BY u.id DESC LIMIT 1) AS e ON true`, c.Store(), c.same("u", "t", true, false))
}
