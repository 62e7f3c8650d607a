package throttle

import (
	"slices"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Statements are all that a throttle sends to the primary under these limits, as it is sent: the transaction that each of
// the others is in comes first. Which of them are sent depends on what there is to be seen. Standbys that are asked
// themselves are sent what [pgsql.StandbyPosition] says.
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
