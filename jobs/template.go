package jobs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/pgparse"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// around is what a fragment's templates and parameters depend on.
type around struct {
	// in says where the fragment stands, for people.
	in string
	// allowed are the templates that mean something there.
	allowed []string
	// key is the job's, where it was written.
	key []string
	// params and helpers are those that the job declares.
	params, helpers []string
	// later are the names among them that are declared below the fragment.
	later []string
	// transform and capture say that the job has one, and that it keeps what was there before.
	transform, capture bool
}

// at is a for a fragment in another place.
func (a around) at(in string, allowed ...string) around {
	a.in, a.allowed = in, allowed
	return a
}

// templates are all that there are, as they are written.
var templates = map[string]string{
	"range": "{{range}}", "scope": "{{scope}}", "chunk": "{{chunk}}", "before": "{{before}}", "out": "{{out}}", "helper": "{{helper x}}",
}

// meaning is what people may write in a's place.
func (a around) meaning() string {
	var list []string
	for _, name := range a.allowed {
		if name != "out" || a.transform {
			list = append(list, templates[name])
		}
	}
	if len(list) == 0 {
		return "SQL without templates"
	}
	return orList(list)
}

// standIn is what the parser is given for a template, and what kind of thing that is.
func standIn(d pgsql.Directive) (text, kind string) {
	switch d.Name {
	case "range", "scope":
		return "(true)", "a condition"
	case "helper":
		return pgsql.Ident(d.String()), "a table's name"
	}
	return "(SELECT)", "a subquery"
}

// directive checks one template.
func (r *reader) directive(at place, d pgsql.Directive, a around) {
	switch {
	case templates[d.Name] == "":
		remedy := ""
		if near := catalog.Similar(d.Name, a.allowed); len(near) > 0 {
			remedy = "did you mean " + templates[near[0]] + "?"
		}
		r.refuse(at, "the unknown template "+d.String(), a.meaning(), remedy)
	case d.Name == "out" && !a.transform:
		r.refuse(at, "{{out}} without `transform`", a.meaning(), "it is what `transform` returned for the chunk")
	case !slices.Contains(a.allowed, d.Name):
		r.refuse(at, d.String()+" in "+a.in, a.meaning(), misplaced[d.Name])
	case d.Name == "range":
		r.rangeColumns(at, d, a.key)
	case d.Name == "chunk" && d.Arg == "nolock":
	case d.Name == "helper":
		r.helperName(at, d, a)
	case d.Arg != "":
		r.refuse(at, d.String(), templates[d.Name]+" alone", chunkRemedy(d))
	case d.Name == "before" && !a.capture:
		r.refuse(at, "{{before}} without `undo: capture`", a.meaning(), "say `undo: capture`, which keeps the rows as they were before the run")
	}
}

// misplaced says of each template where it means something.
var misplaced = map[string]string{
	"range":  "only what is done once for each chunk has a range",
	"scope":  "it is the job's `where`",
	"chunk":  "it is for `steps` and `verify`; in an `update`, t is the chunk's row",
	"before": "it is for `verify`",
	"out":    "it is what `transform` returned for the chunk, for `update` and `steps`",
	"helper": "it is there only when the run has built it",
}

func chunkRemedy(d pgsql.Directive) string {
	if d.Name == "chunk" {
		return "{{chunk nolock}} reads the rows without locking them"
	}
	return ""
}

// helperName checks which helper a template speaks of.
func (r *reader) helperName(at place, d pgsql.Directive, a around) {
	if slices.Contains(a.helpers, d.Arg) {
		return
	}
	if slices.Contains(a.later, d.Arg) {
		r.refuse(at, d.String()+", which is built later", "a helper above this one", "helpers are built in the order in which they are written")
		return
	}
	remedy := "say what it holds, as in `helpers: {dupes: {sql: SELECT …}}`"
	if near := catalog.Similar(d.Arg, a.helpers); len(near) > 0 {
		remedy = "did you mean {{helper " + near[0] + "}}?"
	}
	r.refuse(at, d.String()+", which `helpers` does not have", "a helper of the job", remedy)
}

// rangeColumns checks what follows {{range: nothing, an alias, or a column for each of the key's.
func (r *reader) rangeColumns(at place, d pgsql.Directive, key []string) {
	if d.Arg == "" {
		return
	}
	const expected = "{{range}}, {{range u}} or {{range u.column, …}} with a column for each of the key's"
	names, err := pgparse.Columns(d.Arg)
	var e *pgparse.Error
	if errors.As(err, &e) {
		r.refuse(at, d.String()+": "+e.Found, expected, e.Remedy)
		return
	}
	if len(names) == 1 && len(names[0]) == 1 {
		return
	}
	for _, name := range names {
		if len(name) != 2 || strings.ContainsAny(name[0]+name[1], ".,") {
			r.refuse(at, d.String(), expected, "write each column with the alias of its table, as in u.id")
			return
		}
	}
	if len(key) > 0 && len(names) != len(key) {
		r.refuse(at, fmt.Sprintf("%s with %s", d, human.Plural(int64(len(names)), "column")), fmt.Sprintf("%d, one for each column of the key", len(key)), "")
	}
}
