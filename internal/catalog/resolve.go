package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// relation is a row of pg_class, as far as it says whether it is a table that can be walked.
type relation struct {
	OID          uint32
	Schema, Name string
	Kind         string
	Persistence  string
}

const relationSQL = `
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname = $1 AND n.nspname::text = ANY ($2)
ORDER BY array_position($2, n.nspname::text)
LIMIT 1`

// resolve pins the transaction and finds a table by name, in the schemas of the search path where no schema is given. Its errors about the
// name are *[Problem].
func resolve(ctx context.Context, conn *pgx.Conn, s Server, schema, name string) (relation, error) {
	schemas := []string{schema}
	if schema == "" {
		schemas = s.AllSchemas
	}
	var found []relation
	err := read(ctx, conn, pin, about("the table's name", relationSQL, func(rows []relation) { found = rows }, name, schemas))
	if err != nil {
		return relation{}, err
	}
	if len(found) == 0 {
		return relation{}, missing(ctx, conn, s, schema, name)
	}
	if problem := found[0].unfit(); problem != nil {
		return relation{}, problem
	}
	return found[0], nil
}

// kinds names the relations that cannot be walked, and says what to name instead.
var kinds = map[string][2]string{
	"v": {"a view", "name the table that the view reads; a view's rows have no key to walk by"},
	"m": {"a materialized view", "name a table it is made from, and refresh it afterwards"},
	"f": {"a foreign table", "run pgbackfill against the server that holds the rows"},
	"i": {"an index", "name the table that the index is on"},
	"I": {"an index", "name the table that the index is on"},
	"S": {"a sequence", "name a table"},
	"c": {"a composite type", "name a table"},
	"t": {"a TOAST table", "name the table that it belongs to"},
}

// unfit says why the relation cannot be walked, or returns nil.
func (r relation) unfit() error {
	name := r.Schema + "." + r.Name
	switch {
	case r.Schema == "pg_catalog" || r.Schema == "information_schema" || strings.HasPrefix(r.Schema, "pg_toast"):
		return &Problem{Found: name + " belongs to PostgreSQL itself", Expected: "a table of yours", Remedy: "name a table of your own"}
	case r.Persistence == "t":
		return &Problem{
			Found: name + " is a temporary table, which no other connection sees", Expected: "a table that every worker sees",
			Remedy: "put the rows into an ordinary or an unlogged table",
		}
	case r.Kind == "r" || r.Kind == "p":
		return nil
	}
	what, ok := kinds[r.Kind]
	if !ok {
		what = [2]string{"a relation of kind " + r.Kind, "name a table"}
	}
	return &Problem{Found: fmt.Sprintf("%s is %s", name, what[0]), Expected: "a table", Remedy: what[1]}
}

const tablesSQL = `
SELECT n.nspname::text, c.relname::text
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT starts_with(n.nspname::text, 'pg_') AND n.nspname <> 'information_schema'
ORDER BY n.nspname::text = ANY ($1) DESC, n.nspname, c.relname
LIMIT 20000`

// missing says that there is no such table, and which ones may have been meant.
func missing(ctx context.Context, conn *pgx.Conn, s Server, schema, name string) error {
	type row struct{ Schema, Name string }
	var all []row
	err := read(ctx, conn, about("the names of tables", tablesSQL, func(rows []row) { all = rows }, s.SearchPath))
	if err != nil {
		return err
	}
	var elsewhere, schemas, names []string
	for _, t := range all {
		qualified := t.Schema + "." + t.Name
		if t.Name == name {
			elsewhere = append(elsewhere, qualified)
		}
		if !slices.Contains(schemas, t.Schema) {
			schemas = append(schemas, t.Schema)
		}
		if t.Schema == schema || schema == "" {
			names = append(names, qualified)
		}
	}
	p := &Problem{
		Missing:  true,
		Found:    fmt.Sprintf("there is no table %s in database %s", name, s.Database),
		Expected: "a table on the search path (" + strings.Join(s.SearchPath, ", ") + ")",
	}
	if schema != "" {
		p.Found = fmt.Sprintf("there is no table %s.%s in database %s", schema, name, s.Database)
		p.Expected = ""
		if !slices.Contains(schemas, schema) {
			p.Found += " (nor a schema " + schema + " with tables in it)"
		}
	}
	similar := elsewhere
	if len(similar) == 0 {
		prefix := schema
		if prefix == "" && len(s.SearchPath) > 0 {
			prefix = s.SearchPath[0]
		}
		similar = Similar(prefix+"."+name, names)
		if len(similar) == 0 && !slices.Contains(schemas, schema) {
			similar = similarSchema(schema, name, schemas)
		}
	}
	p.Remedy = "check the name, and that the database is the right one"
	if len(similar) > 0 {
		p.Remedy = "did you mean " + orList(similar[:min(3, len(similar))]) + "?"
	}
	return p
}

// similarSchema suggests the same name in schemas that are nearly spelled as the one that is not there.
func similarSchema(schema, name string, schemas []string) []string {
	list := Similar(schema, schemas)
	for i := range list {
		list[i] += "." + name
	}
	return list
}
