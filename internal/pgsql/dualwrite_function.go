package pgsql

import (
	"fmt"
	"slices"
	"strings"
)

// function is the statement that makes the trigger's function.
//
// It belongs to whoever installs it and runs with that role's rights (SECURITY DEFINER): an application need not be able
// to read the other tables of an expression, nor pgbackfill's own. No error of the job's SQL fails the application's
// statement: the row stays as it was written, and the error is recorded. What the application is to try again (class 40)
// it hears of.
func (d DualWrite) function() (string, error) {
	body, err := d.body()
	if err != nil {
		return "", err
	}
	return d.define(DualWriteFunction(d.Job), body), nil
}

// define is the statement that makes a trigger's function with a body, under the job's settings.
func (d DualWrite) define(name, body string) string {
	tag := "$pgbackfill$"
	for i := 1; strings.Contains(body, tag); i++ {
		tag = fmt.Sprintf("$pgbackfill_%d$", i)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE OR REPLACE FUNCTION %s() RETURNS pg_catalog.trigger\nLANGUAGE plpgsql SECURITY DEFINER\n", name)
	for _, s := range d.Settings {
		value := Literal(s.Value)
		if s.Name == "search_path" { // a list of names, and not one name
			value = s.Value
		}
		fmt.Fprintf(&b, "SET %s TO %s\n", Ident(s.Name), strings.TrimSpace(value))
	}
	b.WriteString("AS " + tag + body + tag)
	return b.String()
}

// body is the function's own text. Names of ours begin with pgbackfill_, and where one of the job's columns is called as a
// variable is, the column is meant.
func (d DualWrite) body() (string, error) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	values, err := d.values("NEW", "\nINTO pgbackfill_value")
	if err != nil {
		return "", err
	}
	line("\n#variable_conflict use_column")
	line("DECLARE")
	line("  pgbackfill_value record;")
	if d.Where != "" {
		line("  pgbackfill_scope pg_catalog.bool;")
	}
	if d.Where != "" && d.ScopeReadsSet {
		line("  pgbackfill_old record;")
	}
	if len(d.Set) > 1 {
		line("  pgbackfill_written record := NEW;")
	}
	line("BEGIN")
	if err := d.writeScope(line); err != nil {
		return "", err
	}
	line("%s;", values)
	line("IF FOUND THEN")
	for i, s := range d.Set {
		line("  NEW.%s := pgbackfill_value.pgbackfill_%d;", Ident(s.Name), i+1)
	}
	line("END IF;")
	line("RETURN NEW;")
	d.writeHandler(line)
	line("END")
	return b.String(), nil
}

// writeScope leaves a row outside of the scope alone. Where rows leave the scope by being filled, an UPDATE of what a
// value depends on finds the row outside: it is ours to compute again where the statement leaves the written columns as
// they were, and they hold what the job gives for the row as it was. Else the application wrote them, and keeps them.
func (d DualWrite) writeScope(line func(string, ...any)) error {
	if d.Where == "" {
		return nil
	}
	scope, err := d.scopeOf("NEW", false)
	if err != nil {
		return err
	}
	line("%s;", scope)
	if d.ScopeReadsSet {
		var set []string
		for _, s := range d.Set {
			set = append(set, s.Name)
		}
		unfilled, err := d.scopeOf("NEW", true)
		if err != nil {
			return err
		}
		values, err := d.values("OLD", "\nINTO pgbackfill_value")
		if err != nil {
			return err
		}
		line("IF pgbackfill_scope IS NOT TRUE AND TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN")
		line("IF %s THEN", d.changed("OLD", "*=", "NEW", set))
		line("%s;", unfilled)
		line("IF pgbackfill_scope THEN")
		line("%s;", values)
		line("pgbackfill_scope := FOUND;")
		line("IF FOUND THEN")
		line("  pgbackfill_old := OLD;")
		for i, s := range d.Set {
			line("  pgbackfill_old.%s := pgbackfill_value.pgbackfill_%d;", Ident(s.Name), i+1)
		}
		line("  pgbackfill_scope := %s;", d.changed("pgbackfill_old", "*=", "OLD", set))
		line("END IF;\nEND IF;\nEND IF;\nEND IF;")
	}
	line("IF pgbackfill_scope IS NOT TRUE THEN")
	line("  RETURN NEW;")
	line("END IF;")
	return nil
}

// writeHandler records an error. Rows are only added, so that no application waits for another here, and their number
// is bounded; an error of the recording itself is nobody's.
func (d DualWrite) writeHandler(line func(string, ...any)) {
	keys := make([]string, len(d.Names))
	for i, name := range d.Names {
		keys[i] = "NEW." + Ident(name) + "::pg_catalog.text"
	}
	job := strings.TrimSpace(Literal(d.Job))
	line("EXCEPTION")
	line("WHEN transaction_rollback THEN\n  RAISE;")
	line("WHEN OTHERS THEN")
	if len(d.Set) > 1 { // one may have been assigned before another one failed
		line("  NEW := pgbackfill_written;")
	}
	line("  BEGIN")
	line("    INSERT INTO pgbackfill.dual_write_errors (job, table_oid, operation, key, sqlstate, message, application, role)")
	line("    SELECT %s, TG_RELID, TG_OP, ARRAY[%s]::pg_catalog.text[], SQLSTATE, SQLERRM, pg_catalog.current_setting('application_name'), SESSION_USER", job, strings.Join(keys, ", "))
	line("    WHERE (SELECT pg_catalog.count(*) FROM (SELECT FROM pgbackfill.dual_write_errors AS e WHERE e.job OPERATOR(pg_catalog.=) %s LIMIT %d) AS kept) OPERATOR(pg_catalog.<) %[2]d;", job, DualWriteErrors)
	line("  EXCEPTION")
	line("  WHEN transaction_rollback THEN\n    RAISE;")
	line("  WHEN OTHERS THEN\n    NULL;")
	line("  END;")
	line("  RETURN NEW;")
}

// dualWriteAlone are settings that say how hard to work or how long to wait: the application's own hold.
var dualWriteAlone = []string{
	"application_name", "default_transaction_deferrable", "default_transaction_isolation", "default_transaction_read_only",
	"idle_in_transaction_session_timeout", "idle_session_timeout", "lock_timeout", "role", "session_authorization",
	"session_replication_role", "statement_timeout", "synchronous_commit", "temp_tablespaces", "transaction_deferrable",
	"transaction_isolation", "transaction_read_only", "transaction_timeout",
}

// DualWriteSettings are the settings of a trigger's function: those that the job's statements run under, as far as
// they say what its SQL means. searchPath is a list of quoted names. Temporary tables come last: else whoever writes the
// table could put one of theirs in the place of a table that the function reads with its owner's rights. Its statements
// are planned once and not for each row's values: a plan made for a value evaluates what can be, also what is outside of the scope.
func DualWriteSettings(searchPath string, job map[string]string) []Setting {
	if searchPath != "" {
		searchPath += ", "
	}
	pins := JobPins("", job)
	pins = slices.DeleteFunc(pins, func(s Setting) bool {
		return slices.ContainsFunc(dualWriteAlone, func(name string) bool { return strings.EqualFold(name, s.Name) }) || strings.EqualFold(s.Name, "search_path")
	})
	return slices.Concat([]Setting{{"search_path", searchPath + `"pg_temp"`}}, pins, []Setting{{"plan_cache_mode", "force_generic_plan"}})
}
