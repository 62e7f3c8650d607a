package pgsql

import (
	"fmt"
	"slices"
	"strings"
)

// Tripwire is what records each commit that leaves a row without the values that an update of the walked table assigns.
//
// Two deferred constraint triggers of each table call one function, on INSERT, and on an UPDATE that changes what the
// relation is between: an update of something else in a row that is not filled yet is nobody's fault. At the commit the
// function looks for the row as the trigger saw it; where it was changed again in the same transaction, the trigger of that
// change looks at it. So a transaction may write the two columns in two statements. The triggers are always enabled, so that
// session_replication_role does not pass them by.
type Tripwire struct {
	// Values are what a row must hold: the update as a trigger computes it. Names in it are those by which the row is found.
	Values DualWrite
	// Watched are the columns whose change makes the function look: inputs, written ones, those of the scope, and the key's.
	Watched []string
	// Found are the columns of a unique key, none of which is NULL, by which a row is found again.
	Found []KeyColumn
}

// TripwireFunction is the function of a job's tripwire, quoted and qualified; TripwireSequence counts the writes that it
// looked at.
func TripwireFunction(job string) string { return Ident("pgbackfill", named("tripwire_", job)) }

// TripwireSequence is the sequence of a job's tripwire, quoted and qualified.
func TripwireSequence(job string) string { return Ident("pgbackfill", named("tripwire_writes_", job)) }

// TripwireUnwritten counts, as a sequence, what the function found and could not write down: quoted and qualified. Sequences go on
// whatever becomes of the attempt.
func TripwireUnwritten(job string) string {
	return Ident("pgbackfill", named("tripwire_unwritten_", job))
}

// TripwireTriggers are the names of a job's triggers, unquoted.
func TripwireTriggers(job string) (insert, update string) {
	return named("pgbackfill_tripwire_insert_", job), named("pgbackfill_tripwire_update_", job)
}

// noted is always true and keeps the application's statement for the end of its transaction, where only COMMIT would be left to be
// seen. It is a function, since the server reads a WHEN anew for each statement, so that it is kept short.
const noted = "pgbackfill.note_statement()"

// Install are the statements that make the tripwire, in one transaction; with again they replace an older one, which needs
// the stronger lock. None of them waits for a lock after the first ones.
func (w Tripwire) Install(again []string) ([]Statement, error) {
	job := w.Values.Job
	function, err := w.function()
	if err != nil {
		return nil, err
	}
	var list []Statement
	add := func(name, format string, args ...any) {
		list = append(list, Statement{Name: name, SQL: fmt.Sprintf(format, args...)})
	}
	for _, table := range w.Values.Tables() {
		mode := "SHARE ROW EXCLUSIVE"
		if slices.Contains(again, table) {
			mode = "ACCESS EXCLUSIVE"
		}
		add("lock", "LOCK TABLE %s IN %s MODE", table, mode)
	}
	name := TripwireFunction(job)
	about := Literal("pgbackfill: the tripwire of job " + job + ". Remove it with: pgbackfill tripwire remove")
	insert, update := TripwireTriggers(job)
	// What is written in a chunk's transaction is verified afterwards, whoever wrote it there.
	others := byOthers(job)
	for _, table := range again {
		for _, trigger := range []string{insert, update} {
			add("drop", "DROP TRIGGER IF EXISTS %s ON %s", Ident(trigger), table)
		}
	}
	for _, sequence := range []string{TripwireSequence(job), TripwireUnwritten(job)} {
		add("sequence", "CREATE SEQUENCE IF NOT EXISTS %s", sequence)
		add("sequence", "ALTER SEQUENCE %s RESTART", sequence)
		add("sequence", "GRANT SELECT ON SEQUENCE %s TO PUBLIC", sequence) // how many there were is no secret
	}
	add("function", "%s", function)
	add("function", "REVOKE ALL ON FUNCTION %s() FROM PUBLIC", name)
	add("function", "COMMENT ON FUNCTION %s() IS %s", name, about)
	for _, table := range w.Values.Tables() {
		const form = "CREATE CONSTRAINT TRIGGER %s AFTER %s ON %s DEFERRABLE INITIALLY DEFERRED\nFOR EACH ROW WHEN (%s\n  AND %s)\nEXECUTE FUNCTION %s()"
		add("trigger", form, Ident(insert), "INSERT", table, others, noted, name)
		add("trigger", form, Ident(update), "UPDATE", table, others+"\n  AND "+w.Values.changed("OLD", "*<>", "NEW", w.Watched), noted, name)
		for _, trigger := range []string{insert, update} {
			add("trigger", "ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", table, Ident(trigger))
			add("trigger", "COMMENT ON TRIGGER %s ON %s IS %s", Ident(trigger), table, about)
		}
	}
	return list, nil
}

// RemoveTripwire are the statements that drop a job's tripwire from tables, quoted.
func RemoveTripwire(job string, tables []string) []Statement {
	var list []Statement
	insert, update := TripwireTriggers(job)
	for _, table := range tables {
		list = append(list, Statement{Name: "lock", SQL: fmt.Sprintf("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", table)})
	}
	for _, table := range tables {
		for _, trigger := range []string{insert, update} {
			list = append(list, Statement{Name: "trigger", SQL: fmt.Sprintf("DROP TRIGGER IF EXISTS %s ON %s", Ident(trigger), table)})
		}
	}
	return append(list, Statement{Name: "function", SQL: fmt.Sprintf("DROP FUNCTION IF EXISTS %s()", TripwireFunction(job))},
		Statement{Name: "sequence", SQL: fmt.Sprintf("DROP SEQUENCE IF EXISTS %s, %s", TripwireSequence(job), TripwireUnwritten(job))})
}

// Check is what the function computes, for preparing.
func (w Tripwire) Check() (Statement, error) {
	broken, err := w.broken("pgbackfill_row", "")
	if err != nil {
		return Statement{}, err
	}
	where := ""
	if w.Values.Where != "" {
		if where, err = w.Values.fillFor("pgbackfill_row", w.Values.Where); err != nil {
			return Statement{}, err
		}
		where = fmt.Sprintf(",\nLATERAL (SELECT (%s\n)\nFROM %s) AS pgbackfill_scope", where, w.Values.row("pgbackfill_row", false))
	}
	return Statement{Name: "check", SQL: fmt.Sprintf("SELECT FROM %s AS pgbackfill_row,\nLATERAL (%s) AS pgbackfill_broken%s", w.Values.Table, broken, where)}, nil
}

// function is the statement that makes the function. It belongs to whoever installs it and runs with that role's rights, as
// that of a [DualWrite] does, and for the same reasons no error of it fails the application's transaction.
func (w Tripwire) function() (string, error) {
	body, err := w.body()
	if err != nil {
		return "", err
	}
	return w.Values.define(TripwireFunction(w.Values.Job), body), nil
}

func (w Tripwire) body() (string, error) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	broken, err := w.broken("NEW", "\nINTO pgbackfill_broken")
	if err != nil {
		return "", err
	}
	line("\n#variable_conflict use_column")
	line("DECLARE\n  pgbackfill_broken pg_catalog.bool := false;\n  pgbackfill_writes pg_catalog.int8;\n  pgbackfill_state pg_catalog.text;\n  pgbackfill_message pg_catalog.text;")
	if w.Values.Where != "" {
		line("  pgbackfill_scope pg_catalog.bool;")
	}
	line("BEGIN")
	// One that became read only after it had written could count nothing, which is no matter where the row is right.
	line("IF pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off' THEN\n  pgbackfill_writes := pg_catalog.nextval(%s::pg_catalog.regclass);\nEND IF;", strings.TrimSpace(Literal(TripwireSequence(w.Values.Job))))
	line("%s;", w.standing())
	line("IF NOT FOUND THEN\n  RETURN NULL;\nEND IF;")
	if w.Values.Where != "" {
		scope, err := w.Values.scopeOf("NEW", false)
		if err != nil {
			return "", err
		}
		line("%s;\nIF pgbackfill_scope IS NOT TRUE THEN\n  RETURN NULL;\nEND IF;", scope)
	}
	line("%s;", broken)
	line("IF pgbackfill_broken IS NOT TRUE THEN\n  RETURN NULL;\nEND IF;")
	w.record(line)
	line("RETURN NULL;")
	line("EXCEPTION\nWHEN transaction_rollback THEN\n  RAISE;\nWHEN OTHERS THEN\n  pgbackfill_state := SQLSTATE;\n  pgbackfill_message := SQLERRM;")
	line("BEGIN")
	w.record(line)
	line("EXCEPTION\nWHEN transaction_rollback THEN\n  RAISE;\nWHEN OTHERS THEN")
	w.unwritten(line)
	line("END;\nRETURN NULL;\nEND")
	return b.String(), nil
}

// unwritten says that something was found that could not be written down. The count is all that may fail no transaction and is there
// for the gate to see. In a transaction that has become read only not even that can be had: one that left a row without its values
// fails, and is the only one that does. Where it could not be told whether it has, nobody is to blame but the expression: it passes,
// with a warning in the server's log, which is all the trace that it can leave. It names no value, which the writer may not be meant to see.
func (w Tripwire) unwritten(line func(string, ...any)) {
	said := func(text string) string { return strings.TrimSpace(Literal("pgbackfill: " + text)) }
	line("  IF pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'on' THEN\n    IF pgbackfill_broken THEN")
	line("      RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction', MESSAGE = %s,\n        HINT = 'Leave it READ WRITE until it is committed, or write what the job computes.';",
		said("this transaction wrote a row without the values of job "+w.Values.Job+", and is READ ONLY since, so that this cannot be recorded"))
	line("    END IF;\n    RAISE WARNING USING MESSAGE = %s OPERATOR(pg_catalog.||) pgbackfill_state OPERATOR(pg_catalog.||) ')';\n    RETURN NULL;\n  END IF;",
		said("this transaction wrote a row of which the tripwire of job "+w.Values.Job+" could not tell whether it holds its values, and is READ ONLY since, so that this cannot be recorded (SQLSTATE "))
	line("  BEGIN\n    PERFORM pg_catalog.nextval(%s::pg_catalog.regclass);\n  EXCEPTION\n  WHEN OTHERS THEN\n    NULL;\n  END;", strings.TrimSpace(Literal(TripwireUnwritten(w.Values.Job))))
}

// standing looks for the row as the trigger saw it, as far as the relation goes.
func (w Tripwire) standing() string {
	list := make([]string, len(w.Found), len(w.Found)+1)
	for i, k := range w.Found {
		list[i] = fmt.Sprintf("pgbackfill_row.%s OPERATOR(%s) NEW.%[1]s", Ident(k.Name), k.Equal)
		if k.Collation != "" {
			list[i] += " COLLATE " + k.Collation
		}
	}
	list = append(list, w.Values.changed("pgbackfill_row", "*=", "NEW", w.Watched))
	return fmt.Sprintf("PERFORM FROM %s AS pgbackfill_row\nWHERE %s", w.Values.Table, strings.Join(list, "\n  AND "))
}

// broken is the SELECT that tells whether the row a holds none of the values that were met for it.
func (w Tripwire) broken(a, into string) (string, error) {
	values, err := w.Values.values(a, "")
	if err != nil {
		return "", err
	}
	differ := make([]string, len(w.Values.Set))
	for i, s := range w.Values.Set {
		differ[i] = s.difference(a+"."+Ident(s.Name), func() string { return fmt.Sprintf("pgbackfill_new.pgbackfill_%d", i+1) })
	}
	return fmt.Sprintf("SELECT pg_catalog.bool_and(%s)%s\nFROM (%s) AS pgbackfill_new", strings.Join(differ, "\n        OR "), into, values), nil
}

// record writes down what was found. Rows are only added, so that no application waits for another here.
func (w Tripwire) record(line func(string, ...any)) {
	keys := make([]string, len(w.Found))
	for i, k := range w.Found {
		keys[i] = "NEW." + Ident(k.Name) + "::pg_catalog.text"
	}
	line("PERFORM pgbackfill.record_drift(%s, TG_RELID, TG_OP, ARRAY[%s]::pg_catalog.text[], pgbackfill_state, pgbackfill_message, pgbackfill_writes);",
		strings.TrimSpace(Literal(w.Values.Job)), strings.Join(keys, ", "))
}
