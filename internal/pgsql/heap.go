package pgsql

import (
	"fmt"
	"strings"
)

// The statements around one snapshot that several connections read.
var (
	BeginSnapshot  = Statement{Name: "begin", SQL: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}
	ExportSnapshot = Statement{Name: "snapshot", SQL: "SELECT pg_catalog.pg_export_snapshot()"}
	// StillKept says nothing, so that the server does not take whoever exported a snapshot for dead, and fails where it is lost.
	StillKept = Statement{Name: "kept", SQL: "SELECT"}
)

// SetSnapshot makes a transaction that has just begun see what the one sees that exported the snapshot.
func SetSnapshot(id string) Statement {
	return Statement{Name: "snapshot", SQL: "SET TRANSACTION SNAPSHOT " + Literal(id)}
}

// Now is where transactions are: those that have written nothing yet come at or after it.
var Now = Statement{Name: "now", SQL: "SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())"}

// Pages says how many pages a table has, which file they are in, and the oldest transaction that was open when the
// snapshot was taken that the statement looks with.
func Pages(table uint32) Statement {
	return Statement{
		Name: "pages",
		SQL: `SELECT pg_catalog.pg_relation_size($1::pg_catalog.oid::pg_catalog.regclass) OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::pg_catalog.int8,
       pg_catalog.pg_relation_filenode($1::pg_catalog.oid::pg_catalog.regclass),
       pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())`,
		Args: [][]byte{Int(int64(table))},
	}
}

// Checkable is a step that can tell the rows it would still have to change.
type Checkable interface {
	// Missed counts those of the part: those that a sweep is to change; those that were written since [Part.Since]; and, with [Part.All],
	// those that a sweep passes by, since the walk has seen them as they are.
	Missed(p Part) (Statement, error)
	// MissedKeys names them by the given columns, as text: those that were written since Part.Since, or, where that is "", those that a sweep
	// is to change.
	MissedKeys(p Part, columns []string) (Statement, error)
}

// missedCounts is the select list of [Checkable.Missed].
const missedCounts = `SELECT pg_catalog.count(*) FILTER (WHERE pgbackfill_written AND NOT pgbackfill_since),
       pg_catalog.count(*) FILTER (WHERE pgbackfill_written AND pgbackfill_since),
       pg_catalog.count(*) FILTER (WHERE NOT pgbackfill_written)`

// told are the columns that tell the rows apart that [Checkable] counts.
func (f *filling) told() string {
	since, written := "false", "true"
	if f.part.Since != "" {
		since = fmt.Sprintf("pg_catalog.age(t.xmin) OPERATOR(pg_catalog.<=) pg_catalog.age(%s::pg_catalog.xid8::pg_catalog.xid)", f.b.Bind("since", Text(f.part.Since)))
	}
	if f.part.All && f.part.Sweep != 0 {
		written = f.written()
	}
	return fmt.Sprintf("%s AS pgbackfill_since,\n         %s AS pgbackfill_written", since, written)
}

// missedKeys are the select list of [Checkable.MissedKeys], and its condition.
func missedKeys(p Part, columns []string) (list, which string) {
	which = "pgbackfill_written"
	if p.Since != "" {
		which += " AND pgbackfill_since"
	}
	return "SELECT " + strings.Join(texts(columns), ", "), which
}

// scopedApart is [filling.scoped] without the rows that the run has set aside: nothing of the job's is evaluated on these, for they may
// have been set aside because it fails.
func (f *filling) scopedApart() string {
	if f.part.Apart == nil {
		return f.scoped()
	}
	rng, written := f.rng(), ""
	if f.part.Sweep != 0 && !f.part.All {
		written = f.written() + "\n    AND "
	}
	key := fmt.Sprintf(`ARRAY[%s]::pg_catalog.text[] COLLATE "pg_catalog"."C"`, strings.Join(texts(f.part.Apart.Columns), ", "))
	kept := fmt.Sprintf(`NOT EXISTS (
           SELECT FROM pgbackfill.quarantine AS q
           WHERE q.run_id OPERATOR(pg_catalog.=) %s::pg_catalog.int8 AND q.resolved_at IS NULL
             AND pg_catalog.hash_array_extended(q.key, 0) OPERATOR(pg_catalog.=) pg_catalog.hash_array_extended(%s, 0)
             AND q.key OPERATOR(pg_catalog.=) %s)`, f.b.Bind("apart", Int(f.part.Apart.Run)), key, key)
	where := f.where()
	if where == "" {
		where = "true"
	}
	return fmt.Sprintf("%s\n    AND CASE WHEN %s%s\n             THEN %s ELSE false END", rng, written, kept, where)
}

// texts are columns of t as text.
func texts(columns []string) []string {
	list := make([]string, len(columns))
	for i, name := range columns {
		list[i] = "t." + Ident(name) + "::pg_catalog.text"
	}
	return list
}

// Missed counts the rows in scope that do not hold their new values.
func (c Change) Missed(p Part) (Statement, error) { return c.missed(p, "missed", missedCounts, "") }

// MissedKeys names them.
func (c Change) MissedKeys(p Part, columns []string) (Statement, error) {
	list, which := missedKeys(p, columns)
	return c.missed(p, "missed keys", list, which+" AND ")
}

func (c Change) missed(p Part, name, list, which string) (Statement, error) {
	f := c.filling(p)
	var b strings.Builder
	told := f.told()
	fmt.Fprintf(&b, "WITH pgbackfill_scoped AS MATERIALIZED (\n  SELECT t.*,\n         %s\n  FROM %s AS t\n  WHERE %s\n)\n%s\nFROM ", told, c.Table, f.scopedApart(), list)
	if c.WholeRow != nil {
		b.WriteString(c.wholeRow("pgbackfill_scoped"))
	} else {
		b.WriteString("pgbackfill_scoped AS t")
	}
	where := which
	if c.From != "" {
		fmt.Fprintf(&b, ",\n       %s", f.fill(c.From))
		where += fmt.Sprintf("(%s\n) AND ", f.fill(c.Join))
	}
	fmt.Fprintf(&b, "\nWHERE %s(%s)", where, c.differs(func(i int) string { return "(" + f.fill(c.Set[i].Expr) + "\n)" }))
	return Statement{Name: name, SQL: b.String(), Args: f.b.Args()}, f.err
}

// Missed counts the rows that are left in scope.
func (d Delete) Missed(p Part) (Statement, error) { return d.missed(p, "missed", missedCounts, "true") }

// MissedKeys names them.
func (d Delete) MissedKeys(p Part, columns []string) (Statement, error) {
	list, which := missedKeys(p, columns)
	return d.missed(p, "missed keys", list, which)
}

func (d Delete) missed(p Part, name, list, which string) (Statement, error) {
	f := d.filling(p)
	told := f.told()
	sql := fmt.Sprintf("%s\nFROM (\n  SELECT t.*,\n         %s\n  FROM %s AS t\n  WHERE %s) AS t\nWHERE %s", list, told, d.Table, f.scopedApart(), which)
	return Statement{Name: name, SQL: sql, Args: f.b.Args()}, f.err
}

// Keep takes the lock that every reader has, to the end of the transaction: nobody rewrites the table meanwhile.
func (w Walk) Keep() Statement {
	return Statement{Name: "keep", SQL: "SELECT FROM " + w.Table + " LIMIT 0"}
}

// The statements around one row of several that are changed in a transaction: what cannot be changed is as it was.
var (
	SaveRow = Statement{Name: "savepoint", SQL: "SAVEPOINT pgbackfill_row"}
	UndoRow = Statement{Name: "rollback", SQL: "ROLLBACK TO SAVEPOINT pgbackfill_row"}
	DoneRow = Statement{Name: "release", SQL: "RELEASE SAVEPOINT pgbackfill_row"}
)
