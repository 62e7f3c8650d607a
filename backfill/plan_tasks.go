package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// tasks reports whether something is done once before the first chunk.
func (j Job) tasks() bool { return j.Prepare != nil || len(j.Helpers) > 0 }

// tolerant reports whether what does not exist is no error yet, or no more.
func (pl *planning) tolerant() bool { return pl.plan.Pending || pl.plan.Finishing }

// unresolved notes what could not be looked at.
func (pl *planning) unresolved(format string, args ...any) {
	if line := fmt.Sprintf(format, args...); !slices.Contains(pl.plan.Unresolved, line) {
		pl.plan.Unresolved = append(pl.plan.Unresolved, line)
	}
}

// later reports whether the server refuses something for want of what prepare or a helper makes, and notes it: a
// relation of whatever name, and what else it misses where prepare speaks of it by name.
func (pl *planning) later(what string, err error) bool {
	var server *pgconn.PgError
	if !pl.tolerant() || !errors.As(err, &server) {
		return false
	}
	switch server.Code {
	case "42P01": // also a missing FROM-clause entry, which nothing makes
		if server.Routine != "parserOpenTable" && server.Routine != "RangeVarGetRelidExtended" {
			return false
		}
	case "42703", "42883", "42704", "3F000": // column, function, type, schema
		if !pl.plan.Finishing && !pl.prepares(missingName(server.Message)) {
			return false
		}
	default:
		return false
	}
	pl.unresolved("%s: %s", what, server.Message)
	return true
}

// missingName is the name that a message of the server's says does not exist, without its schema.
func missingName(message string) string {
	name := message
	if parts := strings.Split(message, `"`); len(parts) > 1 {
		name = parts[1]
	} else if words := strings.Fields(message); len(words) > 1 { // function f(integer) does not exist, column t.c does not exist
		name, _, _ = strings.Cut(words[1], "(")
	}
	return name[strings.LastIndexByte(name, '.')+1:]
}

// prepares reports whether the job's prepare speaks of a name.
func (pl *planning) prepares(name string) bool {
	if pl.plan.Job.Prepare == nil || name == "" {
		return false
	}
	return slices.ContainsFunc(pl.plan.Job.Prepare.Statements, func(e Expr) bool {
		return slices.ContainsFunc(pgsql.Leading(e.SQL, len(e.SQL)), func(word string) bool {
			return strings.Trim(word, `"`) == strings.ToLower(name) || word == pgsql.Ident(name)
		})
	})
}

// readTasks looks at what the job does once: whether it can be sent as it is said to be.
func (pl *planning) readTasks(ctx context.Context) error {
	p := pl.plan
	p.run = pl.known.Run
	p.Finishing = pl.known.Finishing
	p.Pending = p.Job.tasks() && !pl.known.Prepared && !p.Finishing
	var list []error
	for _, part := range []struct {
		name   TaskPart
		script *Script
	}{{PartPrepare, p.Job.Prepare}, {PartFinish, p.Job.Finish}} {
		if part.script != nil {
			list = append(list, pl.refuseScript(part.name, part.script)...)
		}
	}
	if len(list) > 0 {
		return errors.Join(list...)
	}
	if len(p.Job.Helpers) == 0 || !p.Pending {
		return nil
	}
	return pl.mayBuild(ctx)
}

// refuseScript refuses statements that would take the record of the script out of its transaction, or that could not
// be told from what others did.
func (pl *planning) refuseScript(part TaskPart, script *Script) []error {
	var list []error
	for _, e := range script.Statements {
		place := pl.at(e.Line)
		build, indexes := pgsql.ConcurrentIndex(e.SQL)
		switch {
		case pgsql.EndsTransaction(e.SQL):
			list = append(list, Inputf(place, "leave it out: all statements are one transaction, or each is its own with  transaction: false",
				"%s: it begins or ends a transaction by itself", part))
		case !script.Alone && pgsql.OutsideOnly(e.SQL):
			list = append(list, Inputf(place, "write  "+string(part)+": {sql: …, transaction: false}",
				"%s: %s cannot be in a transaction", part, strings.ToUpper(strings.Join(pgsql.Leading(e.SQL, 3), " "))))
		case script.Alone && indexes && build.Index == "":
			list = append(list, Inputf(place, "give the index a name",
				"%s: an interrupted build of an index without a name could not be found again", part))
		}
	}
	if script.Alone && pl.plan.Server.BackendPID != pl.conn.PgConn().PID() {
		list = append(list, Inputf(pl.place(), "connect to the server itself",
			"%s is sent outside of transactions, in a session of its own, and something stands between, such as a connection pooler", part))
	}
	return list
}

// mayBuild refuses helpers of a role that may not make tables in the schema pgbackfill.
func (pl *planning) mayBuild(ctx context.Context) error {
	answers, err := pl.ask(ctx, pl.paramSettings(), pgsql.Statement{
		Name: "may create",
		SQL:  "SELECT pg_catalog.has_schema_privilege(n.oid, 'CREATE') FROM pg_catalog.pg_namespace AS n WHERE n.nspname OPERATOR(pg_catalog.=) 'pgbackfill'",
	})
	if err != nil || len(answers[0].rows) == 0 || answers[0].rows[0][0] == "t" {
		return err
	}
	role := pl.plan.Server.Role
	return Inputf(pl.place(), "as the schema's owner: GRANT CREATE ON SCHEMA pgbackfill TO "+pgsql.Ident(role),
		"role %s may not create the tables of its helpers in the schema pgbackfill", role)
}

// prepareHelpers lets the server read the helpers' queries.
func (pl *planning) prepareHelpers(ctx context.Context) error {
	if !pl.plan.Pending {
		return nil
	}
	scope := pgsql.Scope{Params: pl.plan.withoutSecrets().Params()}
	for _, h := range pl.plan.Job.Helpers {
		st, err := scope.Once("helper "+h.Name, h.Query.SQL)
		if err != nil {
			return Inputf(pl.at(h.Query.Line), "write a SELECT without templates", "helper %s: %v", h.Name, err)
		}
		columns, err := pl.prepared(ctx, st.SQL)
		switch {
		case err == nil:
			for _, k := range h.Key {
				if !slices.Contains(columns, k) {
					return Inputf(pl.at(h.Query.Line), "name a column of its query: "+strings.Join(columns, ", "), "helper %s: its query has no column %s", h.Name, k)
				}
			}
		case pl.later("helper "+h.Name, err):
		case pgerr.Class(err) == pgerr.Retry:
			return err
		default:
			return &Error{Place: pl.at(h.Query.Line), Found: "helper " + h.Name, Err: describedError{err}, Kind: ErrInput, Remedy: "mend its query"}
		}
	}
	return nil
}

// prepared lets the server read a statement under the job's settings, and returns the names of its columns.
func (pl *planning) prepared(ctx context.Context, sql string) ([]string, error) {
	fields, err := pl.described(ctx, pl.paramSettings(), sql)
	var columns []string
	for _, f := range fields {
		columns = append(columns, f.Name)
	}
	return columns, err
}

// described lets the server read a statement under settings that hold for it alone, and returns its columns.
func (pl *planning) described(ctx context.Context, settings pgsql.Statement, sql string) ([]pgconn.FieldDescription, error) {
	answers, err := pl.ask(ctx, settings, pgsql.Statement{SQL: sql, Described: true})
	if at := (*statementError)(nil); errors.As(err, &at) && at.name == "" {
		err = at.err // who asks says which statement it is
	}
	if err != nil {
		return nil, err
	}
	return answers[0].fields, nil
}

// queries are what {{helper x}} stands for while there is no table yet.
func (pl *planning) queries() map[string]string {
	queries := map[string]string{}
	for _, h := range pl.plan.Job.Helpers {
		queries[h.Name] = "(" + h.Query.SQL + "\n)"
	}
	return queries
}

// walkedTable is the table that the job walks, and the key that it says.
func (pl *planning) walkedTable() (schema, name string, key []string) {
	job := pl.plan.Job
	if job.WalkHelper == "" {
		return job.Table.Schema, job.Table.Name, job.Key
	}
	key = job.Key
	if h := job.helper(job.WalkHelper); h != nil && len(key) == 0 {
		key = h.Key
	}
	return "pgbackfill", pl.plan.helperTable(job.WalkHelper), key
}

// tableLater reports whether err says that the walked table is not there, and notes it.
func (pl *planning) tableLater(err error) bool {
	var p *catalog.Problem
	if !errors.As(err, &p) || !pl.plan.Finishing && !p.Missing {
		return false
	}
	pl.unresolved("table: %s", p.Found)
	return true
}

// helperInTheWay reports whether a statement could not be read because a query stands in it for a helper's table,
// and notes it: it needs an alias there.
func (pl *planning) helperInTheWay(err error) bool {
	if !pl.plan.Pending || len(pl.plan.Job.Helpers) == 0 || pgerr.Code(err) != "42601" {
		return false
	}
	pl.unresolved("a statement that speaks of a helper: it is read when that is built")
	return true
}

// listStatements lists what is known of the statements where the walked table is not.
func (pl *planning) listStatements(context.Context) error {
	s, err := pl.plan.firstStatements()
	if err != nil {
		return err
	}
	add := pl.plan.adder()
	for _, part := range []TaskPart{PartPrepare, PartHelper} {
		if err := s.plannedTasks(pl.plan, part, add); err != nil {
			return err
		}
	}
	for _, part := range pl.plan.Job.parts() {
		add("each chunk, as it is written: what it becomes is known after prepare and helpers", pgsql.Statement{Name: part.name, SQL: part.SQL})
	}
	return s.plannedTasks(pl.plan, PartFinish, add)
}

// firstStatements are those that come before the first chunk, where what the chunks are about need not be there yet.
func (p *Plan) firstStatements() (statements, error) {
	s, err := statementsOf(&Plan{Job: Job{Name: p.Job.Name, Settings: p.Job.Settings}, SearchPath: p.SearchPath, Constants: p.Constants})
	s.scope.Helpers = p.helperTables()
	return s, err
}

// adder adds statements to the plan's list.
func (p *Plan) adder() func(string, ...pgsql.Statement) {
	return func(when string, statements ...pgsql.Statement) {
		for _, st := range statements {
			p.Statements = append(p.Statements, PlannedStatement{Name: st.Name, When: when, SQL: st.SQL})
		}
	}
}

// resolvedLater is the finding of a plan that will be made again.
func (pl *planning) resolvedLater() *noticed {
	if !pl.plan.Pending || len(pl.plan.Unresolved) == 0 {
		return nil
	}
	return &noticed{
		"part of the job is looked at only after prepare and helpers: it does not exist yet",
		strings.Join(pl.plan.Unresolved, "; "),
		"nothing, where prepare or a helper makes it; else mend the name",
	}
}
