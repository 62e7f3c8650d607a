package pgsql

import (
	"fmt"
	"slices"
	"strconv"
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
	last := make([]string, len(tables))
	for i, c := range tables {
		last[i] = fmt.Sprintf("(SELECT u.id FROM %s AS u WHERE u.id < $1::int8 ORDER BY u.id DESC LIMIT $2::int8)", c.Store())
	}
	return Statement{
		Name: "undo: part",
		SQL: fmt.Sprintf("WITH last AS (\n  SELECT l.id FROM (%s) AS l ORDER BY l.id DESC LIMIT $2::int8\n), part AS MATERIALIZED (\n  SELECT min(last.id) AS least_id, count(*) AS rows, max(last.id) AS greatest_id FROM last\n)\nSELECT CASE WHEN part.least_id IS NOT NULL THEN greatest(part.least_id,\n  %s) END, part.rows, part.greatest_id\nFROM part",
			strings.Join(last, "\n  UNION ALL "), onceOnly(tables, "$1")),
		Args: [][]byte{Int(below), Int(rows)},
	}
}

// onceOnly are, for each table, the least number from which on, and below another, each row comes once.
func onceOnly(tables []Capture, below string) string {
	twice := make([]string, len(tables))
	for i, c := range tables {
		twice[i] = fmt.Sprintf("(SELECT max(m.id) + 1 FROM (SELECT u.id, row_number() OVER (PARTITION BY %s ORDER BY u.id DESC) AS n FROM %s AS u WHERE u.id < %s::int8 AND u.id >= (SELECT least_id FROM part)) AS m WHERE m.n > 1)",
			c.keys("u."), c.Store(), below)
	}
	return strings.Join(twice, ",\n  ")
}

// Whole makes a part larger, down to where the transactions began that kept what is in it: what one statement did, a
// deletion and those that followed from it, goes back only together. It looks no further back than so many numbers. It answers with one
// row: the least number of the larger part, which is that of the part where it cannot be larger, and how many rows it has at most.
func Whole(tables []Capture, low, below, back int64) Statement {
	inside, before, rows := make([]string, len(tables)), make([]string, len(tables)), make([]string, len(tables))
	for i, c := range tables {
		inside[i] = fmt.Sprintf("SELECT u.xmin::text AS xid FROM %s AS u WHERE u.id >= $1::int8 AND u.id < $2::int8", c.Store())
		before[i] = fmt.Sprintf("(SELECT min(u.id) FROM %s AS u WHERE u.id >= $1::int8 - $3::int8 AND u.id < $1::int8 AND u.xmin::text IN (SELECT DISTINCT i.xid FROM inside AS i))", c.Store())
		rows[i] = fmt.Sprintf("(SELECT count(*) FROM %s AS u WHERE u.id >= l.least_id AND u.id < $2::int8)", c.Store())
	}
	return Statement{
		Name: "undo: whole",
		SQL: fmt.Sprintf("WITH inside AS MATERIALIZED (\n  %s\n), part AS MATERIALIZED (\n  SELECT least($1::int8, %s) AS least_id\n), l AS MATERIALIZED (\n  SELECT greatest(part.least_id,\n  %s) AS least_id FROM part\n)\nSELECT l.least_id, %s FROM l",
			strings.Join(inside, "\n  UNION ALL "), strings.Join(before, ",\n    "), onceOnly(tables, "$2"), strings.Join(rows, " + ")),
		Args: [][]byte{Int(low), Int(below), Int(back)},
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

// Restore is the statement that puts everything back that was kept under numbers from low on and below another; with picked,
// which is not nil, only what was kept under these. It answers with one row: how many rows were put back, and how many were left and written
// down, since somebody has changed them. It is one statement for all tables, since foreign keys are looked at when a statement is over: of
// a parent and its children, of rows that refer to each other, and of what followed from a deletion, none has to come first. What was
// inserted goes first all the same, then what was updated, and what was deleted comes last: unique values are free then.
func Restore(tables []Capture, low, below int64, picked []int64) Statement {
	args, among := [][]byte{Int(low), Int(below), Int(tables[0].Run)}, ""
	if picked != nil {
		args, among = append(args, numbers(picked)), " AND u.id = ANY ($4::int8[])"
	}
	var parts, done, left []string
	for _, kind := range []struct {
		op  string
		may func(Capture) bool
		sql func(Capture, string) []string
	}{
		{"i", func(c Capture) bool { return c.Inserts }, Capture.unInsert},
		{"u", func(c Capture) bool { return c.Updates }, Capture.unUpdate},
		{"d", func(c Capture) bool { return c.Deletes }, Capture.unDelete},
	} {
		for _, c := range slices.Backward(tables) {
			if !kind.may(c) {
				continue
			}
			parts = append(parts, kind.sql(c, fmt.Sprintf("u.id >= $1::int8 AND u.id < $2::int8 AND u.op = '%s'%s", kind.op, among))...)
			done = append(done, fmt.Sprintf("(SELECT count(*) FROM %s)", c.part("done", kind.op)))
			left = append(left, fmt.Sprintf("(SELECT count(*) FROM %s)", c.part("written", kind.op)))
		}
	}
	return Statement{
		Name: "undo: restore", Args: args,
		SQL: "WITH " + strings.Join(parts, ", ") + "\nSELECT " + strings.Join(done, "\n     + ") + ",\n       " + strings.Join(left, "\n     + "),
	}
}

// part names a part of [Restore].
func (c Capture) part(what, op string) string { return fmt.Sprintf("%s_%d%s", what, c.No, op) }

func numbers(list []int64) []byte {
	text := make([]string, len(list))
	for i, n := range list {
		text[i] = strconv.FormatInt(n, 10)
	}
	return Text("{" + strings.Join(text, ",") + "}")
}

// image is columns as one value that is compared byte for byte, and has no need of an = of their types.
func image(column, bare string) string { return fmt.Sprintf("ROW(%s::%s)::record", column, bare) }

// unUpdate gives rows their old values that still hold the new ones, column by column: what others have changed in
// other columns stays. One that is as it was before in all of them is right as it is: a foreign key has put it back.
func (c Capture) unUpdate(within string) []string {
	var sets, held, back []string
	for _, k := range c.Kept {
		if !k.Updated || k.Generated || k.Always {
			continue
		}
		now, before, after := image("t."+Ident(k.Name), k.Bare), image("u."+k.before(), k.Bare), image("u."+k.after(), k.Bare)
		sets = append(sets, fmt.Sprintf("%[1]s = CASE WHEN %[2]s *= %[3]s THEN t.%[1]s ELSE u.%[4]s END", Ident(k.Name), before, after, k.before()))
		held = append(held, fmt.Sprintf("(%s *= %s OR %s *= %s)", now, after, before, after))
		back = append(back, fmt.Sprintf("(%s *= %s OR %s *= %s)", now, before, before, after))
	}
	if len(sets) == 0 {
		sets, held, back = []string{Ident(c.Key[0].Name) + " = t." + Ident(c.Key[0].Name)}, []string{"false"}, []string{"false"}
	}
	done := fmt.Sprintf("UPDATE %s AS t SET\n    %s\n  FROM %s AS u\n  WHERE %s AND %s\n    AND (%s\n      OR %s)\n  RETURNING u.id",
		c.Table, strings.Join(sets, ",\n    "), c.Store(), within, c.same("t", "u", false, true), strings.Join(held, "\n      AND "), strings.Join(back, "\n      AND "))
	return c.answer(done, "u", within, fmt.Sprintf("CASE WHEN EXISTS (SELECT FROM %s AS t WHERE %s) THEN 'changed since' ELSE 'deleted since' END",
		c.Table, c.same("t", "u", false, true)), "")
}

// unInsert deletes rows that are as they were inserted. One that is gone is as it was before.
func (c Capture) unInsert(within string) []string {
	held := ""
	for _, k := range c.Kept {
		if !k.Generated {
			held += fmt.Sprintf("\n    AND %s *= %s", image("t."+Ident(k.Name), k.Bare), image("u."+k.after(), k.Bare))
		}
	}
	done := fmt.Sprintf("DELETE FROM %s AS t\n  USING %s AS u\n  WHERE %s AND %s%s\n  RETURNING u.id",
		c.Table, c.Store(), within, c.same("t", "u", false, true), held)
	return c.answer(done, "i", within, "'changed since'", fmt.Sprintf("\n  WHERE EXISTS (SELECT FROM %s AS t WHERE %s)", c.Table, c.same("t", "u", false, true)))
}

// unDelete inserts rows again, with the values of identity columns that they had, where nothing stands in their way.
func (c Capture) unDelete(within string) []string {
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
	done, missed := c.part("done", "d"), c.part("missed", "d")
	return []string{
		fmt.Sprintf("%s AS (\n  INSERT INTO %s AS t (%s)\n  OVERRIDING SYSTEM VALUE\n  SELECT %s\n  FROM %s AS u\n  WHERE %s\n  ORDER BY u.id DESC\n  ON CONFLICT DO NOTHING\n  RETURNING %s\n)",
			done, c.Table, strings.Join(into, ", "), strings.Join(from, ", "), c.Store(), within, strings.Join(back, ", ")),
		fmt.Sprintf("%s AS (\n  SELECT u.id FROM (SELECT %s FROM %s AS u WHERE %s EXCEPT SELECT * FROM %s) AS m (%s)\n  JOIN %s AS u ON %s AND %s\n)",
			missed, c.keys("u."), c.Store(), within, done, c.keys(""), c.Store(), within, c.same("u", "m", true, true)),
		c.writeDown("d", "'a row like it is there again'", ""),
	}
}

// answer puts a change that returns the numbers of what it has done beside what writes down the rest.
func (c Capture) answer(done, op, within, why, where string) []string {
	return []string{
		fmt.Sprintf("%s AS (\n  %s\n)", c.part("done", op), done),
		fmt.Sprintf("%s AS (\n  SELECT u.id FROM %s AS u WHERE %s\n  EXCEPT\n  SELECT d.id FROM %s AS d\n)", c.part("missed", op), c.Store(), within, c.part("done", op)),
		c.writeDown(op, why, where),
	}
}

var undoing = map[string]string{"i": "insert", "u": "update", "d": "delete"}

// Another process may have done the same part, and committed it between two of our statements: then what it left is there
// already, and the ledger refuses ours.
const listedAlready = "ON CONFLICT ON CONSTRAINT undo_left_pkey DO NOTHING"

// writeDown lists the missed rows. Where what the run did to a row later is left for a constraint, that is why it is not as the run left it here,
// and nobody else's doing.
func (c Capture) writeDown(op, why, where string) string {
	return fmt.Sprintf(`%[1]s AS (
  INSERT INTO pgbackfill.undo_left (run_id, no, id, table_name, key, what, why, cause)
  SELECT $3::int8, %[2]d, u.id, %[3]s, %[4]s, '%[5]s', CASE WHEN l.cause = 'constraint' THEN 'what the run did to it later is not taken back' ELSE %[6]s END, COALESCE(l.cause, 'others')
  FROM %[7]s AS m JOIN %[8]s AS u ON u.id = m.id
  LEFT JOIN LATERAL (
    SELECT l.cause FROM pgbackfill.undo_left AS l
    WHERE l.run_id = $3::int8 AND l.no = %[2]d AND %[9]s AND l.id > u.id
    ORDER BY l.id LIMIT 1
  ) AS l ON true%[10]s
  %[11]s
  RETURNING 1
)`, c.part("written", op), c.No, strings.TrimSpace(Literal(c.Table)), c.keyText(), undoing[op], why, c.part("missed", op), c.Store(),
		sameText("l.key", c.keyText()), where, listedAlready)
}

// sameText compares keys as they are listed, by the index on them.
func sameText(left, right string) string {
	const hash = `hash_array_extended(%s COLLATE "C", 0)`
	return fmt.Sprintf(hash+" = "+hash+` AND %[1]s = (%[2]s COLLATE "C")`, left, right)
}

func (c Capture) keyText() string {
	parts := make([]string, len(c.Key))
	for i := range c.Key {
		parts[i] = "u." + c.key(i) + "::text"
	}
	return "ARRAY[" + strings.Join(parts, ", ") + "]"
}

// Leave writes down the one row that was kept under a number, if it is this table's, as one that a constraint does not let go back.
func (c Capture) Leave(id int64, why string) Statement {
	return Statement{
		Name: "undo: leave",
		SQL: fmt.Sprintf("INSERT INTO pgbackfill.undo_left (run_id, no, id, table_name, key, what, why, cause)\nSELECT $1::int8, %d, u.id, $2::text, %s, CASE u.op WHEN 'i' THEN 'insert' WHEN 'u' THEN 'update' ELSE 'delete' END, $4::text, 'constraint'\nFROM %s AS u WHERE u.id = $3::int8\n%s",
			c.No, c.keyText(), c.Store(), listedAlready),
		Args: [][]byte{Int(c.Run), Text(c.Table), Int(id), Text(why)},
	}
}

// LeftAgain finds rows that a constraint did not let go back, and that it may let go now that others are back: under numbers above the given one,
// the least first. Of a row's versions it is the last one: the others follow. It finds none where the undo has ended.
func LeftAgain(run, above int64, rows int) Statement {
	return Statement{
		Name: "undo: left",
		SQL: `SELECT l.id FROM pgbackfill.undo_left AS l JOIN pgbackfill.undos AS b ON b.run_id = l.run_id AND b.ended_at IS NULL
WHERE l.run_id = $1::int8 AND l.cause = 'constraint' AND l.id > $2::int8
  AND NOT EXISTS (SELECT FROM pgbackfill.undo_left AS o WHERE o.run_id = $1::int8 AND o.no = l.no AND ` + sameText("o.key", "l.key") + ` AND o.id > l.id)
ORDER BY l.id LIMIT $3::int8`,
		Args: [][]byte{Int(run), Int(above), Int(rows)},
	}
}

// Unlist takes rows from the list of those that are left, for them to be tried again. Listed counts those of them that
// are on it again for a constraint.
func Unlist(run int64, ids []int64) Statement {
	return Statement{
		Name: "undo: unlist", SQL: "DELETE FROM pgbackfill.undo_left AS l WHERE l.run_id = $1::int8 AND l.id = ANY ($2::int8[])",
		Args: [][]byte{Int(run), numbers(ids)},
	}
}

// Listed is described at [Unlist].
func Listed(run int64, ids []int64) Statement {
	return Statement{
		Name: "undo: listed", SQL: "SELECT count(*) FROM pgbackfill.undo_left AS l WHERE l.run_id = $1::int8 AND l.cause = 'constraint' AND l.id = ANY ($2::int8[])",
		Args: [][]byte{Int(run), numbers(ids)},
	}
}

// CheckNow makes constraints that wait for the commit speak at once.
var CheckNow = Statement{Name: "undo: constraints", SQL: "SET CONSTRAINTS ALL IMMEDIATE"}
