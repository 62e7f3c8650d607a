package backfill

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// prepare lets the server read the job's own SQL, in the plainest statement that holds it, so that a wrong column
// or type is found before anything is written, and its place in the job file.
func (pl *planning) prepare(ctx context.Context) error {
	var err error
	shown := pl.plan.withoutSecrets()
	if pl.plan.Pending {
		shown.helpers = pl.queries()
	}
	if pl.sql, err = statementsOf(shown); err != nil {
		return err
	}
	for i, step := range pl.sql.steps {
		check, err := step.Check(pgsql.Part{Out: pl.sql.out})
		if err != nil {
			return &Error{Place: pl.place(), Found: err.Error(), Remedy: "see the templates in the manual", Kind: ErrInput}
		}
		if _, err := pl.prepared(ctx, check.SQL); err != nil && !pl.later("step "+pl.plan.Job.Steps[i].Name, err) && !pl.helperInTheWay(err) {
			return pl.refused(check.SQL, err)
		}
	}
	return nil
}

// refused explains why the server does not accept the job's SQL, at the place in the job file.
func (pl *planning) refused(sql string, err error) error {
	var server *pgconn.PgError
	if !errors.As(err, &server) || pgerr.Class(err) == pgerr.Retry {
		return err
	}
	e := &Error{Place: pl.place(), Found: "PostgreSQL refuses the job's SQL", Err: describedError{err}, Kind: ErrInput, Remedy: pl.remedy(server)}
	f, ok := pl.fragmentAt(sql, int(server.Position))
	if !ok {
		return e
	}
	e.Place, e.Found = pl.at(f.line), "in "+f.name
	e.Remedy = fmt.Sprintf("%s\n  %s\n  %s^", e.Remedy, f.text, strings.Repeat(" ", f.column))
	return e
}

// fragment is a place within one of the job's fragments.
type fragment struct {
	// name says which: "set: display_name", "where".
	name string
	// line is the place in the job file, 0 where that is not known; text is that line of the fragment, and column
	// the place in it, in characters from 0.
	line   int
	text   string
	column int
}

// fragmentAt finds the fragment that holds a position in the statement of Change.Check, counted in characters from 1.
func (pl *planning) fragmentAt(sql string, position int) (fragment, bool) {
	if position < 1 {
		return fragment{}, false
	}
	offset := byteOffset(sql, position-1)
	from := 0
	for _, part := range pl.plan.Job.parts() {
		at := strings.Index(sql[from:], part.SQL)
		if at < 0 { // a template was filled in
			continue
		}
		start := from + at
		from = start + len(part.SQL)
		if offset < start || offset > from {
			continue
		}
		before := part.SQL[:min(offset-start, len(part.SQL))]
		f := fragment{name: part.name, line: part.Line}
		if f.line > 0 {
			f.line += strings.Count(before, "\n")
		}
		lineStart := strings.LastIndexByte(before, '\n') + 1
		f.text, _, _ = strings.Cut(part.SQL[lineStart:], "\n")
		f.text = strings.ReplaceAll(f.text, "\t", " ")
		f.column = utf8.RuneCountInString(before[lineStart:])
		return f, true
	}
	return fragment{}, false
}

func byteOffset(s string, characters int) int {
	for i := range s {
		if characters == 0 {
			return i
		}
		characters--
	}
	return len(s)
}

// remedy says what to do about the commonest refusals.
func (pl *planning) remedy(e *pgconn.PgError) string {
	switch e.Code {
	case "42P01": // "missing FROM-clause entry" for an alias
		if strings.HasPrefix(e.Message, "invalid reference to FROM-clause entry") { // "There is an entry …, but it cannot be referenced from this part of the query"
			return "what `from` says of t goes into `join`, or into a subquery that may see it: LATERAL (SELECT … WHERE … = t.…) x"
		}
		return pl.similarName(e.Message)
	case "42703":
		return pl.similarName(e.Message)
	case "42804":
		if m := columnType.FindStringSubmatch(e.Message); m != nil {
			return "cast the value to the column's type: (…)::" + m[1]
		}
		if strings.Contains(e.Message, "must be type boolean") {
			return "write a condition: a comparison, IS NULL, EXISTS (…)"
		}
		return "cast the value to the type that is wanted, as in (…)::text"
	case "42883":
		return "check the function's name and the types of its arguments, and that its schema is on the search_path (" + pl.plan.SearchPath + ")"
	case "42501":
		return "grant what is missing to role " + pl.plan.Server.Role
	case "42702":
		return "say which table is meant: t. is the walked table"
	case "42601":
		return "mend the expression; or is it newer than the server, which is PostgreSQL " + pl.plan.Server.VersionText() + "?"
	case "42803":
		return "put the aggregate into a subquery: (SELECT … FROM … WHERE … = t.…)"
	}
	return "mend the expression"
}

// columnType finds the type in: column "age" is of type integer but expression is of type text.
var columnType = regexp.MustCompile(`is of type (.+) but expression is of type`)

// similarName suggests columns for the name that a message of the server's quotes.
func (pl *planning) similarName(message string) string {
	name := message
	if parts := strings.Split(message, `"`); len(parts) > 1 {
		name = parts[1]
	} else if words := strings.Fields(message); len(words) > 1 { // column t.nmae does not exist
		name = words[1]
	}
	name = name[strings.LastIndexByte(name, '.')+1:]
	columns := pl.plan.Table.ColumnNames()
	if pl.other != nil {
		columns = slices.Concat(columns, pl.other.ColumnNames())
	}
	if similar := catalog.Similar(name, columns); len(similar) > 0 {
		return "did you mean " + strings.Join(slices.Compact(similar), " or ") + "?"
	}
	return "the walked table is t; its columns are " + strings.Join(pl.plan.Table.ColumnNames(), ", ")
}
