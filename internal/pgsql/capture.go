package pgsql

import (
	"fmt"
	"strings"
)

// Capture is a table whose rows a run keeps as they were before it changed them: triggers on the table write
// them to one of the engine's own, in the transaction that changes them.
type Capture struct {
	// Run is the run's number, and No that of the table among those that it writes, from 1.
	Run int64  `json:"run"`
	No  int    `json:"no"`
	OID uint32 `json:"oid"`
	// Table is the name, quoted and qualified. Key is what its rows are found again by: unique and never NULL.
	Table string      `json:"table"`
	Key   []KeyColumn `json:"key"`
	// Kept are the other columns.
	Kept []KeptColumn `json:"kept"`
	// Inserts, Updates and Deletes say what the job may do to the table.
	Inserts bool `json:"inserts,omitempty"`
	Updates bool `json:"updates,omitempty"`
	Deletes bool `json:"deletes,omitempty"`
}

// KeptColumn is a column that is kept beside the key.
type KeptColumn struct {
	// Number is the column's, which a name may lose and another one get.
	Number int16  `json:"number"`
	Name   string `json:"name"`
	// Type is the full type, Bare what it is made of, without a length or a precision; see [SetColumn].
	Type      string `json:"type"`
	Bare      string `json:"bare"`
	Collation string `json:"collation,omitempty"`
	// Updated is set where updates may change it; else it is kept of rows that are deleted or inserted.
	Updated bool `json:"updated,omitempty"`
	// Generated is set where the table computes it: it is kept for {{before}} and never written.
	Generated bool `json:"generated,omitempty"`
	// Computed is the expression of a generated column that is not stored, which a trigger's rows do not have: "" is any other.
	Computed string `json:"computed,omitempty"`
	// Always is set for GENERATED ALWAYS AS IDENTITY, which no UPDATE can set.
	Always bool `json:"always,omitempty"`
}

// was is the column's value in a row that a trigger was given.
func (k KeptColumn) was(alias string) string {
	if k.Computed == "" {
		return alias + "." + Ident(k.Name)
	}
	return fmt.Sprintf("(SELECT %s\n   FROM (SELECT %s.*) AS pgbackfill_row)", k.Computed, alias)
}

// Store is the name of the table that keeps the rows, qualified and quoted.
func (c Capture) Store() string { return Ident("pgbackfill", fmt.Sprintf("undo_%d_%d", c.Run, c.No)) }

func (c Capture) sequence() string { return Ident("pgbackfill", fmt.Sprintf("undo_%d_id", c.Run)) }

func (c Capture) function(event string) string {
	return Ident("pgbackfill", fmt.Sprintf("undo_%d_%d_%s", c.Run, c.No, event))
}

func (c Capture) trigger(event string) string {
	return fmt.Sprintf("pgbackfill_undo_%d_%s", c.Run, event)
}

func (c Capture) key(i int) string { return fmt.Sprintf("k%d", i+1) }

func (k KeptColumn) before() string { return fmt.Sprintf("o%d", k.Number) }
func (k KeptColumn) after() string  { return fmt.Sprintf("n%d", k.Number) }

// events are what the table has triggers for.
func (c Capture) events() []string {
	var list []string
	for _, e := range []struct {
		name string
		may  bool
	}{{"insert", c.Inserts}, {"update", c.Updates}, {"delete", c.Deletes}} {
		if e.may {
			list = append(list, e.name)
		}
	}
	return list
}

// same is true where the rows under two aliases have the same key; of a key in the store the columns are k1, k2 ….
func (c Capture) same(left, right string, leftStored, rightStored bool) string {
	parts := make([]string, len(c.Key))
	column := func(alias string, stored bool, i int) string {
		if stored {
			return alias + "." + c.key(i)
		}
		return alias + "." + Ident(c.Key[i].Name)
	}
	for i, k := range c.Key {
		parts[i] = fmt.Sprintf("%s OPERATOR(%s) %s", column(left, leftStored, i), k.Equal, column(right, rightStored, i))
		if k.Collation != "" {
			parts[i] += " COLLATE " + k.Collation
		}
	}
	return strings.Join(parts, " AND ")
}

// keys are the columns of the key in the store.
func (c Capture) keys(alias string) string {
	names := make([]string, len(c.Key))
	for i := range c.Key {
		names[i] = alias + c.key(i)
	}
	return strings.Join(names, ", ")
}

// Install are the statements that make what keeps the rows of all of a run's tables. They are one transaction's worth.
func Install(tables []Capture) []Statement {
	if len(tables) == 0 {
		return nil
	}
	list := []Statement{{Name: "undo: numbers", SQL: "CREATE SEQUENCE " + tables[0].sequence()}}
	for _, c := range tables {
		list = append(list, Statement{Name: "undo: table", SQL: c.createStore()},
			Statement{Name: "undo: index", SQL: fmt.Sprintf("CREATE INDEX ON %s (%s, id)", c.Store(), c.keys(""))})
		for _, event := range c.events() {
			list = append(list, Statement{Name: "undo: function", SQL: c.createFunction(event)},
				// Else whoever may use the schema could have a table of his own write into the store, for an undo to believe.
				Statement{Name: "undo: function", SQL: fmt.Sprintf("REVOKE ALL ON FUNCTION %s() FROM PUBLIC", c.function(event))},
				Statement{Name: "undo: trigger", SQL: c.createTrigger(event)},
				// Else a session with session_replication_role = replica would go by it.
				Statement{Name: "undo: trigger", SQL: fmt.Sprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", c.Table, Ident(c.trigger(event)))})
		}
	}
	return list
}

// createStore has types without lengths, and of no domain, whose checks are not for what is only kept. The types are
// not the table's own row type: a column of that would stand in the way of ALTER TABLE.
func (c Capture) createStore() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (\n  id pg_catalog.int8 PRIMARY KEY DEFAULT pg_catalog.nextval(%s),\n  op pg_catalog.\"char\" NOT NULL",
		c.Store(), strings.TrimSpace(Literal(c.sequence())))
	column := func(name, typ, collation string) {
		fmt.Fprintf(&b, ",\n  %s %s", name, typ)
		if collation != "" {
			b.WriteString(" COLLATE " + collation)
		}
	}
	for i, k := range c.Key {
		column(c.key(i), k.Type, k.Collation)
	}
	for _, k := range c.Kept {
		column(k.before(), k.Bare, k.Collation)
		if !k.Generated {
			column(k.after(), k.Bare, k.Collation)
		}
	}
	b.WriteString("\n)")
	return b.String()
}

// createFunction makes what a trigger calls: with the rights of who installed it, for the job's role need not write
// to the store; and with no name left to the search_path.
func (c Capture) createFunction(event string) string {
	var into, from []string
	for i, k := range c.Key {
		alias := "o."
		if event == "insert" {
			alias = "n."
		}
		into, from = append(into, c.key(i)), append(from, alias+Ident(k.Name))
	}
	for _, k := range c.Kept {
		if event == "update" && !k.Updated {
			continue
		}
		if event != "insert" {
			into, from = append(into, k.before()), append(from, k.was("o"))
		}
		if event != "delete" && !k.Generated {
			into, from = append(into, k.after()), append(from, "n."+Ident(k.Name))
		}
	}
	source := map[string]string{
		"insert": "pgbackfill_new AS n",
		"delete": "pgbackfill_old AS o",
		"update": "pgbackfill_old AS o\n  JOIN pgbackfill_new AS n ON " + c.same("n", "o", false, false),
	}[event]
	insert := fmt.Sprintf("INSERT INTO %s (op, %s)\n  SELECT '%s', %s\n  FROM %s;", c.Store(), strings.Join(into, ", "), event[:1], strings.Join(from, ", "), source)
	body := "BEGIN\n  " + insert + "\n  RETURN NULL;\nEND"
	if event == "update" {
		body = fmt.Sprintf("DECLARE\n  kept pg_catalog.int8;\nBEGIN\n  %s\n  GET DIAGNOSTICS kept = ROW_COUNT;\n"+
			"  IF kept <> (SELECT pg_catalog.count(*) FROM pgbackfill_old) THEN\n"+
			"    RAISE EXCEPTION 'pgbackfill keeps what was there for undo, and cannot follow rows of %% whose key is changed', %s;\n"+
			"  END IF;\n  RETURN NULL;\nEND", insert, strings.TrimSpace(Literal(c.Table)))
	}
	return fmt.Sprintf("CREATE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %s",
		c.function(event), strings.TrimSpace(Literal(body)))
}

// createTrigger makes a trigger that asks two settings of whoever writes, once a statement, and acts in the run's
// transactions alone: one that has said the run's number and its own. A setting that a role, a database or a session has for good
// names no transaction: what such a session writes is not ours to take back.
func (c Capture) createTrigger(event string) string {
	rows := map[string]string{
		"insert": "NEW TABLE AS pgbackfill_new", "delete": "OLD TABLE AS pgbackfill_old",
		"update": "OLD TABLE AS pgbackfill_old NEW TABLE AS pgbackfill_new",
	}[event]
	return fmt.Sprintf("CREATE TRIGGER %s AFTER %s ON %s REFERENCING %s FOR EACH STATEMENT\n  WHEN (pg_catalog.current_setting('%s', true) OPERATOR(pg_catalog.=) '%d'\n    AND pg_catalog.current_setting('%s', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text)\n  EXECUTE FUNCTION %s()",
		Ident(c.trigger(event)), strings.ToUpper(event), c.Table, rows, RunSetting, c.Run, XIDSetting, c.function(event))
}

// Uninstall are the statements that remove the triggers. What they kept stays.
func Uninstall(tables []Capture) []Statement {
	var list []Statement
	for _, c := range tables {
		for _, event := range c.events() {
			list = append(list, Statement{Name: "undo: remove", SQL: fmt.Sprintf("DROP FUNCTION IF EXISTS %s() CASCADE", c.function(event))})
		}
	}
	return list
}

// Keeping counts the triggers that keep rows, for the end of a chunk: whoever removes or disables one waits until the
// chunk is committed, so that none was missing while it wrote where none is now. want is how many there are.
func Keeping(tables []Capture) (s Statement, want int64) {
	var tablesOf, names []string
	for _, c := range tables {
		for _, event := range c.events() {
			tablesOf, names = append(tablesOf, fmt.Sprint(c.OID)), append(names, c.trigger(event))
		}
	}
	return Statement{
		Name: "undo: triggers",
		SQL: `SELECT pg_catalog.count(*)
FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.text[])) AS w (relid, name)
JOIN pg_catalog.pg_trigger AS g ON g.tgrelid OPERATOR(pg_catalog.=) w.relid AND g.tgname OPERATOR(pg_catalog.=) w.name::pg_catalog.name
WHERE g.tgenabled OPERATOR(pg_catalog.=) 'A'::pg_catalog."char"`,
		Args: [][]byte{TextArray(tablesOf), TextArray(names)},
	}, int64(len(names))
}
