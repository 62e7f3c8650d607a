package backfill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// savepoint and undone surround what is only tried: settings that hold for some statements alone, and statements that may fail.
var (
	savepoint = pgsql.Statement{Name: "savepoint", SQL: "SAVEPOINT pgbackfill"}
	undone    = pgsql.Statement{Name: "rollback", SQL: "ROLLBACK TO SAVEPOINT pgbackfill"}
)

// ask sends statements under settings that hold for them alone, in one round trip where none of them fails. With an error it returns the
// answers to those before the one that failed.
func (pl *planning) ask(ctx context.Context, settings pgsql.Statement, statements ...pgsql.Statement) ([]answer, error) {
	all := slices.Concat([]pgsql.Statement{savepoint, settings}, statements, []pgsql.Statement{undone})
	answers, err := exchange(ctx, pl.conn.PgConn(), all...)
	if err == nil {
		return answers[2 : len(answers)-1], nil
	}
	if !pl.conn.IsClosed() { // else there is nothing to go back to
		_, again := exchange(ctx, pl.conn.PgConn(), undone)
		err = errors.Join(err, again)
	}
	return answers[min(2, len(answers)):], err
}

// readServer reads the server, with the search_path that the job's statements will run under.
func (pl *planning) readServer(ctx context.Context) error {
	conn := pl.conn.PgConn()
	tried := len(pl.plan.Job.Settings) > 0
	if tried {
		if err := pl.trySettings(ctx); err != nil {
			return err
		}
	}
	s, err := catalog.ReadServer(ctx, pl.conn)
	if err != nil {
		return err
	}
	pl.plan.Server = s
	if s.InRecovery {
		return Inputf("database "+s.Database, "connect to the primary: name its host, or all hosts with target_session_attrs=read-write",
			"the server is a standby, which cannot be written to")
	}
	// What a crash takes of asynchronous commits, it takes with their ledger rows; finishing waits for the
	// disk. Where standbys are waited for, waiting also keeps us from getting far ahead of them.
	if p := &pl.plan.Pace; p.SynchronousCommit == "" && s.SynchronousStandbys == "" {
		p.SynchronousCommit = "off"
	}
	quoted := make([]string, len(s.SearchPath))
	for i, schema := range s.SearchPath {
		quoted[i] = pgsql.Ident(schema)
	}
	pl.plan.SearchPath = strings.Join(quoted, ", ")
	if tried {
		_, err = exchange(ctx, conn, undone)
	}
	return err
}

// trySettings makes the job's settings, behind a savepoint.
func (pl *planning) trySettings(ctx context.Context) error {
	list := []pgsql.Setting{}
	statements := []pgsql.Statement{savepoint}
	for _, name := range slices.Sorted(maps.Keys(pl.plan.Job.Settings)) {
		setting := pgsql.Setting{Name: name, Value: pl.plan.Job.Settings[name]}
		list, statements = append(list, setting), append(statements, pgsql.SetLocal(setting))
	}
	answers, err := exchange(ctx, pl.conn.PgConn(), statements...)
	if at := len(answers) - 1; err != nil && at >= 0 && at < len(list) {
		return pl.badSetting(list[at], err)
	}
	return err
}

func (pl *planning) badSetting(s pgsql.Setting, err error) error {
	remedy := "mend it under settings:"
	if pgerr.Code(err) == "42501" {
		remedy = "leave it out, or run as a role that may set it"
	}
	return &Error{
		Place: pl.plan.Job.Origin, Found: fmt.Sprintf("the setting %s: %q is refused", s.Name, s.Value), Err: describedError{err},
		Remedy: remedy, Kind: ErrInput,
	}
}
