package contract

import (
	"context"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

var readOnly = pgx.TxOptions{AccessMode: pgx.ReadOnly}

// patterns are the names of the columns and their tables as regular expressions.
func (g *gate) patterns() (columns, tables []string) {
	for _, d := range g.terms.Drops {
		columns, tables = append(columns, regexp.QuoteMeta(d.Column)), append(tables, regexp.QuoteMeta(d.Table.Name))
	}
	return columns, tables
}

// triggers looks at the engine's own triggers.
func (g *gate) triggers(ctx context.Context) (answer, error) {
	if g.Triggers == nil {
		return answer{status: Unknown, evidence: []string{"nobody has looked"}}, nil
	}
	t, err := g.Triggers(ctx)
	found := answer{status: Pass, evidence: t.Evidence}
	if err != nil {
		return found, err
	}
	g.watched = t.Installed
	switch bad := slices.Concat(t.Complaints, t.Interrupted); {
	case len(bad) > 0:
		found.status, found.evidence = Fail, t.Complaints
		for _, i := range t.Interrupted {
			found.evidence = append(found.evidence, "switched off or made anew since it was installed: "+i)
		}
	case !t.Installed && t.Possible:
		found.status, found.evidence = Unknown, []string{"no tripwire is installed: what was written after the verification nobody has watched"}
	case !t.Installed:
		found.status, found.evidence = Unknown, []string{"no tripwire can watch this job: what was written after the verification nobody has watched"}
	}
	return found, nil
}

// wayBack looks for what takes the run back, and for a backup.
func (g *gate) wayBack(ctx context.Context) (answer, error) {
	found := answer{status: Pass}
	var judged [][]string
	say := func(s Status, text string) { judged = append(judged, []string{string(s), text}) }
	switch u := g.Job.Undo; {
	case u == nil:
		say(Fail, "the job does not say how it is taken back")
	case u.None != "":
		say(Fail, "the job cannot be taken back: "+u.None)
	case u.Capture:
		s := pgsql.GateUndo(g.about)
		found.sql = append(found.sql, s.Shown())
		kept, err := g.ask(ctx, s)
		if err != nil {
			return found, err
		}
		if len(kept) == 0 {
			say(Fail, "the run has kept nothing that it could be taken back with")
		}
		for _, row := range kept {
			if row[1] == "t" {
				say(Pass, "what was in "+row[0]+" before the run is kept")
			} else {
				say(Fail, "what was kept of "+row[0]+" is gone")
			}
		}
	default:
		say(Pass, "the job says how it is taken back, by assignments")
	}
	backup, err := g.backup(ctx)
	if err != nil {
		return found, err
	}
	if backup.SQL != "" {
		found.sql = append(found.sql, backup.SQL)
	}
	switch {
	case backup.Fresh():
		say(Pass, "backup: "+backup.Evidence())
	case !backup.Said || backup.Problem != "":
		say(Unknown, "backup: "+backup.Evidence())
	default:
		say(Fail, "backup: "+backup.Evidence())
	}
	found.judge(judged)
	return found, nil
}

// backup is what is known of the last one.
func (g *gate) backup(ctx context.Context) (backfill.BackupAnswer, error) {
	if !g.BackupAt.IsZero() {
		return backfill.AttestedBackup(g.Job, g.BackupAt), nil
	}
	tx, err := g.Conn.BeginTx(ctx, readOnly)
	if err != nil {
		return backfill.BackupAnswer{}, err
	}
	answer, err := backfill.AskBackup(ctx, g.Conn, g.Job, g.searchPath)
	if undone := tx.Rollback(context.WithoutCancel(ctx)); err == nil {
		err = undone
	}
	return answer, err
}
