package backfill

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// BackupAnswer is what is known of the last backup.
type BackupAnswer struct {
	// Said is set where somebody was asked, or said it; else nothing is known.
	Said bool
	// At is when it was made, for people; "" is that there is none. Age is how long ago that is, and MaxAge how long it may be.
	At          string
	Age, MaxAge time.Duration
	// Problem is why it could not be found out; "" is that it was.
	Problem string
	// SQL is what was asked; "" where somebody said it.
	SQL string
}

// clockSkew is how far ahead of the server's clock a time may be that was taken from another one.
const clockSkew = 5 * time.Minute

// Fresh reports whether there is a backup that is not too old.
func (b BackupAnswer) Fresh() bool {
	return b.Said && b.Problem == "" && b.At != "" && b.Age <= b.MaxAge && b.Age >= -clockSkew
}

// AttestedBackup is a backup of which somebody said when it was made.
func AttestedBackup(job Job, at time.Time) BackupAnswer {
	answer := BackupAnswer{Said: true, At: at.UTC().Format("2006-01-02 15:04:05 MST"), Age: time.Since(at), MaxAge: DefaultBackupMaxAge}
	if c := job.Contract; c != nil && c.Backup != nil {
		answer.MaxAge = c.Backup.MaxAge
	}
	return answer
}

// AskBackup asks the job's query for its last backup, within a transaction on conn under the settings of the job's statements.
// What the query itself does wrong is in the answer; an error is one of the connection's.
func AskBackup(ctx context.Context, conn *pgx.Conn, job Job, searchPath string) (BackupAnswer, error) {
	c := job.Contract
	if c == nil || c.Backup == nil {
		return BackupAnswer{MaxAge: DefaultBackupMaxAge}, nil
	}
	answer := BackupAnswer{Said: true, MaxAge: c.Backup.MaxAge, SQL: c.Backup.Query.SQL}
	asked, err := exchange(ctx, conn.PgConn(), pgsql.Statement{Name: "savepoint", SQL: "SAVEPOINT pgbackfill_backup"},
		pgsql.SetLocal(pgsql.JobPins(searchPath, job.Settings)...), pgsql.BackupAge(c.Backup.Query.SQL))
	var server *pgconn.PgError
	if err != nil && (conn.IsClosed() || !errors.As(err, &server) || pgerr.Class(err) == pgerr.Retry) {
		return answer, err
	}
	if _, undone := exchange(ctx, conn.PgConn(), pgsql.Statement{Name: "rollback", SQL: "ROLLBACK TO SAVEPOINT pgbackfill_backup"}); undone != nil {
		return answer, undone
	}
	switch {
	case err != nil:
		answer.Problem = fmt.Sprintf("the query of contract.backup fails: %s (SQLSTATE %s)", server.Message, server.Code)
	case len(asked[2].rows) > 1:
		answer.Problem = "the query of contract.backup returns more than one row; it is to return one time"
	case len(asked[2].rows) == 1 && asked[2].rows[0][0] != "":
		answer.At = asked[2].rows[0][0]
		seconds, err := strconv.ParseInt(asked[2].rows[0][1], 10, 64)
		if err != nil { // an infinite time of a server that can subtract it
			answer.Problem = "the query of contract.backup returns " + answer.At + ", which is no time"
		}
		answer.Age = time.Duration(seconds) * time.Second
	}
	return answer, nil
}

// readBackup finds out when the last backup was made.
func (pl *planning) readBackup(ctx context.Context) (err error) {
	if at := pl.known.BackupAt; !at.IsZero() {
		pl.backup = AttestedBackup(pl.plan.Job, at)
		return nil
	}
	pl.backup, err = AskBackup(ctx, pl.conn, pl.plan.Job, pl.plan.SearchPath)
	return err
}

// Evidence says in a line what is known.
func (b BackupAnswer) Evidence() string {
	switch {
	case !b.Said:
		return "the job has no contract.backup, and nobody said --backup-at"
	case b.Problem != "":
		return b.Problem
	case b.At == "":
		return "the query of contract.backup finds none"
	case b.Age < -clockSkew:
		return fmt.Sprintf("the last one is of %s, which is yet to come", b.At)
	case b.Age > b.MaxAge:
		return fmt.Sprintf("the last one is of %s, %s ago; it may be %s old", b.At, b.Age.Round(time.Second), b.MaxAge)
	}
	return fmt.Sprintf("the last one is of %s, %s ago", b.At, max(b.Age, 0).Round(time.Second))
}

func (pl *planning) backupNotAttested() *noticed {
	b := pl.backup
	if b.Fresh() {
		return nil
	}
	title := "nobody has told pgbackfill of a backup"
	if b.Said {
		title = "there is no backup that is known to be recent"
	}
	return &noticed{
		title, b.Evidence(),
		`make sure that there is one from before this run, and that it can be restored; then --backup-at TIME, or in the job: contract: {backup: {sql: "SELECT max(finished_at) FROM …"}}`,
	}
}
