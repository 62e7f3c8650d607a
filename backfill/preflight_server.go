package backfill

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

const (
	// lagTime and lagBytes are how far behind a standby may be before the run is begun without a word.
	lagTime  = 10 * time.Second
	lagBytes = 256 << 20
	// slotBytes is how much of the log a slot that nobody reads may keep.
	slotBytes = 1 << 30
	// archiveFiles is how many log files may wait to be archived.
	archiveFiles = 64
)

func (pl *planning) oldTransactions() *noticed {
	if len(pl.activity.Oldest) == 0 {
		return nil
	}
	var names []string
	for _, t := range pl.activity.Oldest {
		names = append(names, fmt.Sprintf("pid %d (%s, %s, %s) for %s", t.PID, t.Role, t.App, t.State, human.Duration(t.Age)))
	}
	return &noticed{
		"old transactions keep old row versions from being removed, and the closing sweep waits for those that wrote to the table",
		some(names),
		"end them, or wait for them",
	}
}

func (pl *planning) preparedTransactions() *noticed {
	if len(pl.activity.Prepared) == 0 {
		return nil
	}
	var names []string
	for _, t := range pl.activity.Prepared {
		names = append(names, fmt.Sprintf("%s of %s for %s", t.GID, t.Owner, human.Duration(t.Age)))
	}
	return &noticed{
		"prepared transactions hold their locks, and keep old row versions, until somebody ends them",
		some(names),
		"COMMIT PREPARED or ROLLBACK PREPARED those that are forgotten",
	}
}

func (pl *planning) replicas() *noticed {
	if len(pl.activity.Standbys) == 0 {
		return nil
	}
	var names []string
	for _, s := range pl.activity.Standbys {
		name := s.Name
		if s.State != "" {
			name += " (" + s.State + ", " + s.Sync + ")"
		}
		names = append(names, name)
	}
	return &noticed{
		"replicas replay every change",
		some(names),
		"watch their lag; lower rate: or workers: where they fall behind",
	}
}

func (pl *planning) replicaLag() *noticed {
	var names []string
	for _, s := range pl.activity.Standbys {
		if s.Lag > lagBytes || s.LagTime > lagTime {
			names = append(names, fmt.Sprintf("%s by %s, %s", s.Name, bytesText(max(s.Lag, 0)), human.Duration(max(s.LagTime, 0))))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &noticed{"replicas are behind before the run has begun", some(names), "let them catch up first"}
}

// standbyQueries is about what a walk in stripes does at once and others leave to a vacuum: old rows are removed as soon as nobody on the
// primary sees them, and a standby cannot replay that while a query there does.
func (pl *planning) standbyQueries() *noticed {
	if pl.plan.Heap == nil || pl.plan.Heap.Stripes == nil {
		return nil
	}
	var names []string
	for _, s := range pl.activity.Standbys {
		if s.Unheard {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &noticed{
		"a walk in stripes removes old rows at once: long queries on standbys that send no feedback are cancelled, or hold the replay up until then",
		some(names) + ": no hot_standby_feedback; each query there has max_standby_streaming_delay (30s unless it is set)",
		"SET hot_standby_feedback = on there (pages are then changed as a whole while old rows are still read), or run it when no long query does; or  walk: key, which leaves them to a vacuum",
	}
}

func (pl *planning) slotRetains() *noticed {
	var names []string
	for _, s := range pl.activity.Slots {
		if s.WALStatus == "lost" || !s.Active && s.Retained > slotBytes {
			names = append(names, fmt.Sprintf("%s (%s, %s) keeps %s", s.Name, s.Kind, s.WALStatus, bytesText(s.Retained)))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &noticed{
		"a replication slot that nobody reads keeps the write-ahead log from being removed: the run may fill the disk",
		some(names),
		"drop it (pg_drop_replication_slot), or bring its reader back",
	}
}

func (pl *planning) archiveBehind() *noticed {
	a := pl.activity
	if a.ArchiveFailing == "" && a.ArchiveBacklog <= archiveFiles {
		return nil
	}
	evidence := fmt.Sprintf("%d files wait", a.ArchiveBacklog)
	if a.ArchiveFailing != "" {
		evidence = "the last attempt failed: " + a.ArchiveFailing
	}
	return &noticed{
		"the write-ahead log is not archived as fast as it is made: the run may fill the disk",
		evidence,
		"mend archive_command first",
	}
}

func (pl *planning) readOnlyDefault() *noticed {
	if !pl.plan.Server.ReadOnly {
		return nil
	}
	return &noticed{
		"transactions are read-only unless they say otherwise, as pgbackfill's do",
		"default_transaction_read_only = on",
		"find out why: some services set it when the disk is nearly full",
	}
}

func (pl *planning) pooler() *noticed {
	if pl.plan.Server.BackendPID == pl.conn.PgConn().PID() {
		return nil
	}
	return &noticed{
		"something stands between pgbackfill and the server, such as a connection pooler",
		fmt.Sprintf("the connection was told of process %d and is answered by %d", pl.conn.PgConn().PID(), pl.plan.Server.BackendPID),
		"it works with a pool by session or by transaction; connect to the server itself if you can, for the pooler's own timeouts cut chunks short",
	}
}

func (pl *planning) noMonitor() *noticed {
	if pl.plan.Server.Monitor || pl.plan.Pace.Limits[limitUnmonitored] == limitAccept {
		return nil
	}
	return &noticed{
		"this role may not see other roles' transactions, nor how far the replicas are: the work would stop rather than guess",
		"role " + pl.plan.Server.Role + " is not a member of pg_monitor",
		"GRANT pg_monitor TO " + pl.plan.Server.Role + "; or say in writing that it goes on without: --set " + limitUnmonitored + "=" + limitAccept,
	}
}

// limitSessions is the limit of the signal that has no default, for no client can see how many cores the server has.
const limitSessions = "sessions.max"

func (pl *planning) sessionsUnlimited() *noticed {
	most := strings.TrimSpace(pl.plan.Pace.Limits[limitSessions])
	if most != "" && !slices.Contains([]string{"off", "none", "0"}, most) {
		return nil
	}
	return &noticed{
		"how many sessions of others are at work does not change the number of workers",
		limitSessions + " is off, as it is unless somebody sets it: no client can see how many cores the server has",
		"set it to about the number of its cores: --set " + limitSessions + "=16, or under throttle: in the job or the configuration",
	}
}

// The limit by which an operator says in writing that the work goes on although signals cannot be read.
const limitUnmonitored, limitAccept = "unmonitored", "accept"

func (pl *planning) unmonitored() *noticed {
	if pl.plan.Server.Monitor || pl.plan.Pace.Limits[limitUnmonitored] != limitAccept {
		return nil
	}
	return &noticed{
		"it goes on without what this role may not see, as said: other roles' transactions, and how far the replicas are",
		"role " + pl.plan.Server.Role + " is not a member of pg_monitor",
		"GRANT pg_monitor TO " + pl.plan.Server.Role,
	}
}
