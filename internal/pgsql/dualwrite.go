package pgsql

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// DualWrite is the trigger that computes what an update of the walked table assigns, whenever the application writes a
// row: on INSERT, and on an UPDATE that changes what the values depend on.
//
// Two triggers of each table call one function. They are the last of the table's BEFORE triggers by name, so that the
// function sees what the others made of the row, and they are always enabled, so that session_replication_role does not
// pass them by. An UPDATE's is not limited by UPDATE OF, which looks at the statement and not at what another trigger
// changed: its WHEN compares the rows.
type DualWrite struct {
	Scope
	// Job names the triggers and the function.
	Job string
	Set []SetColumn
	// From and Join bring in other tables; "" is none.
	From, Join string
	// Columns are those of the row that the job's SQL may mention, in the table's order.
	Columns []RowColumn
	// WholeRow is set where t is spoken of as a whole: Columns are then all of the table's.
	WholeRow bool
	// Depends are the columns whose change makes the trigger compute again; the written ones are among them.
	Depends []string
	// ScopeReadsSet is set where the scope mentions a written column: a row leaves it by being filled.
	ScopeReadsSet bool
	// Children are tables that inherit from the walked one, quoted: a trigger of it is none of theirs.
	Children []string
	// Names are the columns that name a row where an error is recorded: the key's, or the primary key's.
	Names []string
	// Settings are those that the function runs under.
	Settings []Setting
}

// RowColumn is a column of the row that a trigger is about.
type RowColumn struct {
	Name, Type string
	// Default is what a row has in it where nobody wrote it, as SQL; "" is NULL.
	Default string
}

// DualWriteErrors bounds how many errors of a job's trigger are kept.
const DualWriteErrors = 1000

// named is prefix and the job's name as one identifier: what would be too long is cut, and told apart by a hash.
func named(prefix, job string) string {
	const most = 63
	name := prefix + job
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(job))
	suffix := "_" + hex.EncodeToString(sum[:4])
	return name[:most-len(suffix)] + suffix
}

// DualWriteFunction is the function of a job's trigger, quoted and qualified.
func DualWriteFunction(job string) string { return Ident("pgbackfill", named("dual_write_", job)) }

// DualWriteTriggers are the names of a job's triggers, unquoted. Triggers fire in the order of their names, byte by byte.
func DualWriteTriggers(job string) (insert, update string) {
	return named("zzzz_pgbackfill_insert_", job), named("zzzz_pgbackfill_update_", job)
}

// Tables are those that have triggers of their own, quoted.
func (d DualWrite) Tables() []string { return append([]string{d.Table}, d.Children...) }

// Install are the statements that make the trigger, or replace an older one, in one transaction. None of them waits for
// a lock after the first ones.
func (d DualWrite) Install() ([]Statement, error) {
	function, err := d.function()
	if err != nil {
		return nil, err
	}
	var list []Statement
	add := func(name, format string, args ...any) {
		list = append(list, Statement{Name: name, SQL: fmt.Sprintf(format, args...)})
	}
	for _, table := range d.Tables() {
		add("lock", "LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", table)
	}
	name := DualWriteFunction(d.Job)
	about := Literal("pgbackfill: the dual write of job " + d.Job + ". Remove it with: pgbackfill dual-write remove")
	add("function", "%s", function)
	add("function", "REVOKE ALL ON FUNCTION %s() FROM PUBLIC", name)
	add("function", "COMMENT ON FUNCTION %s() IS %s", name, about)
	insert, update := DualWriteTriggers(d.Job)
	// What another trigger writes on behalf of a chunk, the chunk does not write itself.
	ofOthers := byOthers(d.Job) + " OR pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 0"
	for _, table := range d.Tables() {
		add("trigger", "CREATE OR REPLACE TRIGGER %s BEFORE INSERT ON %s\nFOR EACH ROW WHEN (%s)\nEXECUTE FUNCTION %s()",
			Ident(insert), table, ofOthers, name)
		add("trigger", "CREATE OR REPLACE TRIGGER %s BEFORE UPDATE ON %s\nFOR EACH ROW WHEN ((%s)\n  AND %s)\nEXECUTE FUNCTION %s()",
			Ident(update), table, ofOthers, d.changed("OLD", "*<>", "NEW", d.Depends), name)
		for _, trigger := range []string{insert, update} {
			add("trigger", "ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", table, Ident(trigger))
			add("trigger", "COMMENT ON TRIGGER %s ON %s IS %s", Ident(trigger), table, about)
		}
	}
	return list, nil
}

// RemoveDualWrite are the statements that drop a job's triggers from tables, quoted, and its function.
func RemoveDualWrite(job string, tables []string) []Statement {
	var list []Statement
	insert, update := DualWriteTriggers(job)
	for _, table := range tables {
		list = append(list, Statement{Name: "lock", SQL: fmt.Sprintf("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", table)})
	}
	for _, table := range tables {
		for _, trigger := range []string{insert, update} {
			list = append(list, Statement{Name: "trigger", SQL: fmt.Sprintf("DROP TRIGGER IF EXISTS %s ON %s", Ident(trigger), table)})
		}
	}
	return append(list, Statement{Name: "function", SQL: fmt.Sprintf("DROP FUNCTION IF EXISTS %s()", DualWriteFunction(job))})
}

// byOthers is true of what is not written in the transaction of one of the job's own chunks, or of the undo of one. What another job
// writes in this table, whatever it walks, is as good as what an application does. After a transaction that set it, a setting of this kind
// is empty, and not unknown. The transaction has to name its own number too: what a role, a database or a session was given once and for
// all exempts nothing.
func byOthers(job string) string {
	return fmt.Sprintf("(pg_catalog.current_setting('%s', true) OPERATOR(pg_catalog.=) %s AND pg_catalog.current_setting('%s', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text) IS NOT TRUE",
		JobSetting, strings.TrimSpace(Literal(job)), XIDSetting)
}

// RunSetting is the setting in which the transaction of a chunk says which run it belongs to, and JobSetting the one in which it says
// of which job; that of an undo, the job that is taken back. XIDSetting is where it names itself: [SetLocal] gives it the number of the
// transaction after its value, which is empty, and nothing in a transaction that only reads, which is to take none.
const (
	RunSetting = "pgbackfill.run"
	JobSetting = "pgbackfill.job"
	XIDSetting = "pgbackfill.xid"
)

// ownXID appends a transaction's number to a text.
const ownXID = "::pg_catalog.text OPERATOR(pg_catalog.||) CASE WHEN pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'on' THEN '' ELSE pg_catalog.pg_current_xact_id()::pg_catalog.text END"

// changed compares the images of columns of two rows.
func (d DualWrite) changed(a, operator, b string, columns []string) string {
	row := func(of string) string {
		list := make([]string, len(columns))
		for i, c := range columns {
			list[i] = of + "." + Ident(c)
		}
		return "ROW(" + strings.Join(list, ", ") + ")::pg_catalog.record"
	}
	return fmt.Sprintf("%s OPERATOR(pg_catalog.%s) %s", row(a), operator, row(b))
}

// row is the row a as what the job's SQL calls t: not as the partition has it, but as the walked table does. Where
// unfilled is set, the written columns are as nobody has written them.
func (d DualWrite) row(a string, unfilled bool) string {
	list := make([]string, len(d.Columns))
	for i, c := range d.Columns {
		value := a + "." + Ident(c.Name)
		if unfilled && slices.ContainsFunc(d.Set, func(s SetColumn) bool { return s.Name == c.Name }) {
			value = "NULL"
			if c.Default != "" {
				value = "(" + c.Default + "\n)"
			}
			value = fmt.Sprintf("CAST(%s AS %s)", value, typeName(c.Type))
		}
		if list[i] = value; !d.WholeRow {
			list[i] += " AS " + Ident(c.Name)
		}
	}
	if d.WholeRow {
		return fmt.Sprintf("pg_catalog.unnest(ARRAY[ROW(%s)::%s]) AS t", strings.Join(list, ", "), d.Table)
	}
	return fmt.Sprintf("(SELECT %s) AS t", strings.Join(list, ", "))
}

// fillFor fills a fragment in for the row a: its {{range}} is the row's own key.
func (d DualWrite) fillFor(a, sql string) (string, error) {
	return ExpandAll(sql, func(at Directive) (string, error) {
		switch {
		case at.Name == "scope" && d.Where == "":
			return "(true)", nil
		case at.Name == "scope" && sql != d.Where:
			where, err := d.fillFor(a, d.Where)
			return "(" + where + "\n)", err
		case at.Name == "range":
			columns, err := rangeColumns(d.Key, at.Arg)
			if err != nil {
				return "", err
			}
			for i, k := range d.Key {
				columns[i] = fmt.Sprintf("%s OPERATOR(%s) %s.%s", columns[i], k.Equal, a, Ident(k.Name))
				if k.Collation != "" {
					columns[i] += " COLLATE " + k.Collation
				}
			}
			return "(" + strings.Join(columns, " AND ") + ")", nil
		}
		return "", fmt.Errorf("%s means nothing to a trigger, which is about one row", at)
	}, func(name string, _ int) (string, bool) {
		for _, p := range d.Params {
			if p.Name == name {
				return p.constant(), true
			}
		}
		return "", false
	})
}

// constant is the parameter written out.
func (p Param) constant() string {
	if p.Value == nil {
		return "CAST(NULL AS " + typeName(p.Type) + ")"
	}
	return "CAST(" + Literal(string(p.Value)) + " AS " + typeName(p.Type) + ")"
}

// values is the SELECT of the new values for the row a, with into after its list.
func (d DualWrite) values(a, into string) (string, error) {
	var b strings.Builder
	b.WriteString("SELECT ")
	for i, s := range d.Set {
		sql, err := d.fillFor(a, s.Expr)
		if err != nil {
			return "", err
		}
		if i > 0 {
			b.WriteString(",\n       ")
		}
		// The assignment that follows decides what fits the column; an explicit cast would cut it to size.
		fmt.Fprintf(&b, "CAST((%s\n) AS %s) AS pgbackfill_%d", sql, typeName(s.Bare), i+1)
	}
	b.WriteString(into + "\nFROM " + d.row(a, false))
	if d.From != "" {
		from, err := d.fillFor(a, d.From)
		if err != nil {
			return "", err
		}
		join, err := d.fillFor(a, d.Join)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, ",\n     %s\nWHERE (%s\n)", from, join)
	}
	return b.String(), nil
}

// scopeOf is the SELECT that tells whether the row a is in scope.
func (d DualWrite) scopeOf(a string, unfilled bool) (string, error) {
	where, err := d.fillFor(a, d.Where)
	return fmt.Sprintf("SELECT (%s\n)\nINTO pgbackfill_scope\nFROM %s", where, d.row(a, unfilled)), err
}

// Check is what the function computes, for preparing: where the server refuses it, it would refuse it within the
// function too, where nobody sees it.
func (d DualWrite) Check() (Statement, error) {
	const row = "pgbackfill_row"
	sql, err := d.values(row, "")
	if err != nil {
		return Statement{}, err
	}
	where := ""
	if d.Where != "" {
		if where, err = d.fillFor(row, d.Where); err != nil {
			return Statement{}, err
		}
		where = fmt.Sprintf(",\nLATERAL (SELECT (%s\n)\nFROM %s) AS pgbackfill_scope", where, d.row(row, false))
	}
	return Statement{Name: "check", SQL: fmt.Sprintf("SELECT FROM %s AS %s,\nLATERAL (%s) AS pgbackfill_values%s", d.Table, row, sql, where)}, nil
}
