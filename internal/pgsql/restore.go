package pgsql

import (
	"fmt"
	"strings"
)

// UndoPins are the settings of the transactions that take a run back, apart from limits. The rows that were kept are
// met in the table by its key: each look-up is cheap, and statistics of the store, which is new, say nothing yet.
func UndoPins(job string) []Setting {
	return []Setting{
		{"search_path", "pg_catalog, pg_temp"},
		{"TimeZone", "UTC"},
		{"DateStyle", "ISO, MDY"},
		{"IntervalStyle", "iso_8601"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"lc_monetary", "C"},
		{"row_security", "off"},
		{"enable_seqscan", "off"},
		{"enable_hashjoin", "off"},
		{"enable_mergejoin", "off"},
		{"jit", "off"},
		// Our own triggers leave alone what is put back, and keep nothing of it: it is no run's number.
		{RunSetting, "undo"},
		{JobSetting, job},
		{XIDSetting, ""},
	}
}

// Kept finds the next part to take back: of what was kept under numbers below the given one the last so many rows, in
// all tables, and of these only so far back that no row of a table comes twice, since its versions are taken back one
// after the other. It answers with one row: the least number of the part, NULL where there is none, how many rows it
// has at most, and the greatest number.
func Kept(tables []Capture, below int64, rows int) Statement {
	last, twice := make([]string, len(tables)), make([]string, len(tables))
	for i, c := range tables {
		last[i] = fmt.Sprintf("(SELECT u.id FROM %s AS u WHERE u.id < $1::int8 ORDER BY u.id DESC LIMIT $2::int8)", c.Store())
		twice[i] = fmt.Sprintf("(SELECT max(m.id) + 1 FROM (SELECT u.id, row_number() OVER (PARTITION BY %s ORDER BY u.id DESC) AS n FROM %s AS u WHERE u.id < $1::int8 AND u.id >= (SELECT least_id FROM part)) AS m WHERE m.n > 1)",
			c.keys("u."), c.Store())
	}
	return Statement{
		Name: "undo: part",
		SQL: fmt.Sprintf("WITH last AS (\n  SELECT l.id FROM (%s) AS l ORDER BY l.id DESC LIMIT $2::int8\n), part AS MATERIALIZED (\n  SELECT min(last.id) AS least_id, count(*) AS rows, max(last.id) AS greatest_id FROM last\n)\nSELECT CASE WHEN part.least_id IS NOT NULL THEN greatest(part.least_id,\n  %s) END, part.rows, part.greatest_id\nFROM part",
			strings.Join(last, "\n  UNION ALL "), strings.Join(twice, ",\n  ")),
		Args: [][]byte{Int(below), Int(rows)},
	}
}

// AnyKept asks whether anything was kept under a number below the given one.
func AnyKept(tables []Capture, below int64) Statement {
	parts := make([]string, len(tables))
	for i, c := range tables {
		parts[i] = fmt.Sprintf("EXISTS (SELECT FROM %s AS u WHERE u.id < $1::int8)", c.Store())
	}
	return Statement{Name: "undo: any kept", SQL: "SELECT " + strings.Join(parts, " OR "), Args: [][]byte{Int(below)}}
}

// GreatestKept asks for the greatest number under which anything was kept, 0 where nothing was.
func GreatestKept(tables []Capture) Statement {
	parts := make([]string, len(tables))
	for i, c := range tables {
		parts[i] = fmt.Sprintf("(SELECT max(u.id) FROM %s AS u)", c.Store())
	}
	return Statement{Name: "undo: all kept", SQL: "SELECT COALESCE(greatest(" + strings.Join(parts, ", ") + "), 0)"}
}

// Restore are the statements that put the rows of a table back that were kept under numbers from low on and below
// another. Each answers with one row: how many were put back, and how many were left and written down, since somebody
// has changed them.
func (c Capture) Restore(low, below int64) []Statement {
	args := [][]byte{Int(low), Int(below), Int(c.Run), Text(c.Table)}
	var list []Statement
	for _, r := range []struct {
		may  bool
		name string
		sql  func() string
	}{{c.Inserts, "undo: delete", c.unInsert}, {c.Updates, "undo: update", c.unUpdate}, {c.Deletes, "undo: insert", c.unDelete}} {
		if r.may {
			list = append(list, Statement{Name: r.name, SQL: r.sql(), Args: args})
		}
	}
	return list
}

// within is the part of the store that a statement is about.
func within(op string) string {
	return fmt.Sprintf("u.id >= $1::int8 AND u.id < $2::int8 AND u.op = '%s'", op)
}

// image is columns as one value that is compared byte for byte, and has no need of an = of their types.
func image(column, bare string) string { return fmt.Sprintf("ROW(%s::%s)::record", column, bare) }

// unUpdate gives rows their old values that still hold the new ones, column by column: what others have changed in
// other columns stays.
func (c Capture) unUpdate() string {
	var sets, held []string
	for _, k := range c.Kept {
		if !k.Updated || k.Generated || k.Always {
			continue
		}
		now, before, after := image("t."+Ident(k.Name), k.Bare), image("u."+k.before(), k.Bare), image("u."+k.after(), k.Bare)
		sets = append(sets, fmt.Sprintf("%[1]s = CASE WHEN %[2]s *= %[3]s THEN t.%[1]s ELSE u.%[4]s END", Ident(k.Name), before, after, k.before()))
		held = append(held, fmt.Sprintf("(%s *= %s OR %s *= %s)", now, after, before, after))
	}
	if len(sets) == 0 {
		sets, held = []string{Ident(c.Key[0].Name) + " = t." + Ident(c.Key[0].Name)}, []string{"false"}
	}
	done := fmt.Sprintf("UPDATE %s AS t SET\n    %s\n  FROM %s AS u\n  WHERE %s AND %s\n    AND %s\n  RETURNING u.id",
		c.Table, strings.Join(sets, ",\n    "), c.Store(), within("u"), c.same("t", "u", false, true), strings.Join(held, "\n    AND "))
	return c.answer(done, "u", fmt.Sprintf("CASE WHEN EXISTS (SELECT FROM %s AS t WHERE %s) THEN 'changed since' ELSE 'deleted since' END",
		c.Table, c.same("t", "u", false, true)), "")
}

// unInsert deletes rows that are as they were inserted. One that is gone is as it was before.
func (c Capture) unInsert() string {
	held := ""
	for _, k := range c.Kept {
		if !k.Generated {
			held += fmt.Sprintf("\n    AND %s *= %s", image("t."+Ident(k.Name), k.Bare), image("u."+k.after(), k.Bare))
		}
	}
	done := fmt.Sprintf("DELETE FROM %s AS t\n  USING %s AS u\n  WHERE %s AND %s%s\n  RETURNING u.id",
		c.Table, c.Store(), within("i"), c.same("t", "u", false, true), held)
	return c.answer(done, "i", "'changed since'", fmt.Sprintf("\n  WHERE EXISTS (SELECT FROM %s AS t WHERE %s)", c.Table, c.same("t", "u", false, true)))
}

// unDelete inserts rows again, with the values of identity columns that they had, where nothing stands in their way.
func (c Capture) unDelete() string {
	var into, from, back []string
	for i, k := range c.Key {
		into, from = append(into, Ident(k.Name)), append(from, "u."+c.key(i))
		back = append(back, "t."+Ident(k.Name))
	}
	for _, k := range c.Kept {
		if !k.Generated {
			into, from = append(into, Ident(k.Name)), append(from, "u."+k.before())
		}
	}
	inserted := fmt.Sprintf("WITH inserted AS (\n  INSERT INTO %s AS t (%s)\n  OVERRIDING SYSTEM VALUE\n  SELECT %s\n  FROM %s AS u\n  WHERE %s\n  ORDER BY u.id DESC\n  ON CONFLICT DO NOTHING\n  RETURNING %s\n)",
		c.Table, strings.Join(into, ", "), strings.Join(from, ", "), c.Store(), within("d"), strings.Join(back, ", "))
	missed := fmt.Sprintf("missed AS (\n  SELECT u.id FROM (SELECT %s FROM %s AS u WHERE %s EXCEPT SELECT * FROM inserted) AS m (%s)\n  JOIN %s AS u ON %s AND %s\n)",
		c.keys("u."), c.Store(), within("d"), c.keys(""), c.Store(), within("d"), c.same("u", "m", true, true))
	return fmt.Sprintf("%s, %s, written AS (\n  %s\n  RETURNING 1\n)\nSELECT (SELECT count(*) FROM inserted), (SELECT count(*) FROM written)",
		inserted, missed, c.writeDown("d", "'a row like it is there again'", ""))
}

// answer puts a change that returns the numbers of what it has done into a statement that writes down the rest.
func (c Capture) answer(done, op, why, where string) string {
	return fmt.Sprintf("WITH done AS (\n  %s\n), missed AS (\n  SELECT u.id FROM %s AS u WHERE %s\n  EXCEPT\n  SELECT done.id FROM done\n), written AS (\n  %s\n  RETURNING 1\n)\nSELECT (SELECT count(*) FROM done), (SELECT count(*) FROM written)",
		done, c.Store(), within(op), c.writeDown(op, why, where))
}

var undoing = map[string]string{"i": "insert", "u": "update", "d": "delete"}

// Another process may have done the same part, and committed it between two of our statements: then what it left is there
// already, and the ledger refuses ours.
const listedAlready = "ON CONFLICT ON CONSTRAINT undo_left_pkey DO NOTHING"

// writeDown lists the missed rows.
func (c Capture) writeDown(op, why, where string) string {
	return fmt.Sprintf("INSERT INTO pgbackfill.undo_left (run_id, no, id, table_name, key, what, why)\n  SELECT $3::int8, %d, u.id, $4::text, %s, '%s', %s\n  FROM missed JOIN %s AS u ON u.id = missed.id%s\n  %s",
		c.No, c.keyText(), undoing[op], why, c.Store(), where, listedAlready)
}

func (c Capture) keyText() string {
	parts := make([]string, len(c.Key))
	for i := range c.Key {
		parts[i] = "u." + c.key(i) + "::text"
	}
	return "ARRAY[" + strings.Join(parts, ", ") + "]"
}

// Leave writes down the one row that was kept under a number, if it is this table's, as one that cannot be put back.
func (c Capture) Leave(id int64, why string) Statement {
	return Statement{
		Name: "undo: leave",
		SQL: fmt.Sprintf("INSERT INTO pgbackfill.undo_left (run_id, no, id, table_name, key, what, why)\nSELECT $1::int8, %d, u.id, $2::text, %s, CASE u.op WHEN 'i' THEN 'insert' WHEN 'u' THEN 'update' ELSE 'delete' END, $4::text\nFROM %s AS u WHERE u.id = $3::int8\n%s",
			c.No, c.keyText(), c.Store(), listedAlready),
		Args: [][]byte{Int(c.Run), Text(c.Table), Int(id), Text(why)},
	}
}

// CheckNow makes constraints that wait for the commit speak at once.
var CheckNow = Statement{Name: "undo: constraints", SQL: "SET CONSTRAINTS ALL IMMEDIATE"}
