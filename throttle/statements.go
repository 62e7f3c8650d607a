package throttle

import (
	"slices"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Statements are all that a throttle sends to the primary under these limits, as it is sent: the transaction that each of
// the others is in comes first. Which of them are sent depends on what there is to be seen. For standbys that are
// asked themselves see [StandbyStatements].
func Statements(l Limits) []pgsql.Statement {
	list := []pgsql.Statement{
		pgsql.BeginSignal, readingSettings(time.Second), pgsql.Commit,
		pgsql.Replicas(), pgsql.AuroraThere(), pgsql.AuroraReplicas(), pgsql.Position(), pgsql.SlotRetention(), pgsql.Archiver(), pgsql.ArchiveWaiting(),
		pgsql.Waiting("0.1"), pgsql.Blocked("0.1"), pgsql.OldestTransaction(), pgsql.WraparoundVacuum(0), pgsql.DeadRows(0), pgsql.ActiveSessions(),
	}
	for _, q := range l.Queries {
		list = append(list, pgsql.Statement{Name: q.Name, SQL: q.SQL})
	}
	return slices.Clip(list)
}

// StandbyStatements are what is sent to a standby that is asked itself, in the transaction that [Statements] says; heartbeat
// is its own query, "" is none.
func StandbyStatements(heartbeat string) []pgsql.Statement {
	if heartbeat != "" {
		return []pgsql.Statement{{Name: "heartbeat", SQL: heartbeat}}
	}
	return []pgsql.Statement{pgsql.StandbyPosition()}
}
