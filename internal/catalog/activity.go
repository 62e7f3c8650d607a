package catalog

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Activity is what goes on on the server now: what a long series of updates would meet.
type Activity struct {
	// Oldest are the oldest transactions of others that this role may see, those that hold back cleaning first.
	Oldest []Transaction
	// Prepared are the prepared transactions of two-phase commit.
	Prepared []Prepared
	Standbys []Standby
	Slots    []Slot
	// ArchiveFailing is the last failure to archive, where none has succeeded since; "" is none.
	ArchiveFailing string
	// ArchiveBacklog counts the log files that wait to be archived; -1 where the role may not see it.
	ArchiveBacklog int64
	// Schema is set where the engine's own schema is there, and AllTables names the publications that would
	// publish its tables.
	Schema    bool
	AllTables []string
	// MayMake is set where the role may make tables in the engine's schema.
	MayMake bool
}

// Transaction is one open transaction.
type Transaction struct {
	PID              int32
	Role, App, State string
	Age              time.Duration
	// Held is the age of the oldest snapshot it holds, in transactions.
	Held int64
}

// Prepared is one prepared transaction.
type Prepared struct {
	GID, Owner string
	Age        time.Duration
}

// Standby is one replica, seen from the primary.
type Standby struct {
	Name, State, Sync string
	// Lag is by how much of the log it is behind in replay, in bytes, and LagTime the same in time; -1 where unknown.
	Lag     int64
	LagTime time.Duration
	// Unheard is set where it replays by the log itself and does not say which old rows its queries still read (hot_standby_feedback).
	Unheard bool
}

// Slot is one replication slot.
type Slot struct {
	Name, Kind string
	Active     bool
	// Retained is how much of the log it keeps from being removed, in bytes.
	Retained int64
	// WALStatus is "reserved", "extended", "unreserved" or "lost".
	WALStatus string
}

const oldestSQL = `
SELECT a.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.state, ''),
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8, coalesce(greatest(age(a.backend_xmin), age(a.backend_xid)), 0)::int8
FROM pg_catalog.pg_stat_activity AS a
WHERE a.xact_start < clock_timestamp() - make_interval(secs => $1) AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
  AND a.datname = current_database()
ORDER BY a.xact_start
LIMIT 5`

const preparedSQL = `
SELECT gid, owner::text, extract(epoch FROM clock_timestamp() - prepared)::float8
FROM pg_catalog.pg_prepared_xacts WHERE database = current_database() ORDER BY prepared LIMIT 5`

// A standby that goes by a slot says to the slot what its queries read. What is received by logical decoding cancels no query.
const standbysSQL = `
SELECT coalesce(r.application_name, ''), coalesce(r.state, ''), coalesce(r.sync_state, ''),
       CASE WHEN pg_is_in_recovery() THEN -1 ELSE coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn), -1) END::int8,
       coalesce(extract(epoch FROM r.replay_lag), -1)::float8,
       coalesce(r.state IN ('streaming', 'catchup'), false) AND r.backend_xmin IS NULL
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots AS s WHERE s.active_pid = r.pid AND (s.slot_type = 'logical' OR s.xmin IS NOT NULL))
FROM pg_catalog.pg_stat_replication AS r ORDER BY r.pid`

const slotsSQL = `
SELECT slot_name::text, slot_type, active,
       CASE WHEN pg_is_in_recovery() THEN 0 ELSE coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0) END::int8,
       coalesce(wal_status, '')
FROM pg_catalog.pg_replication_slots ORDER BY slot_name`

const archiverSQL = `
SELECT coalesce(CASE WHEN last_failed_time > coalesce(last_archived_time, '-infinity') THEN last_failed_wal || ' at ' || last_failed_time END, '')
FROM pg_catalog.pg_stat_archiver`

const backlogSQL = `SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'`

const schemaSQL = `
SELECT to_regnamespace('pgbackfill') IS NOT NULL,
       ARRAY(SELECT pubname::text FROM pg_catalog.pg_publication WHERE puballtables ORDER BY pubname),
       coalesce(has_schema_privilege(to_regnamespace('pgbackfill'), 'CREATE'), false)`

// ReadActivity reads what goes on. Transactions younger than old are left out. What the role may not see is missing:
// [Server].Monitor says whether that can be.
func ReadActivity(ctx context.Context, conn *pgx.Conn, s Server, old time.Duration) (Activity, error) {
	a := Activity{ArchiveBacklog: -1}
	err := read(ctx, conn, append([]question{pin}, a.questions(s, old)...)...)
	return a, err
}

func (a *Activity) questions(s Server, old time.Duration) []question {
	type openRow struct {
		PID              int32
		Role, App, State string
		Seconds          float64
		Held             int64
	}
	type preparedRow struct {
		GID, Owner string
		Seconds    float64
	}
	type standbyRow struct {
		Name, State, Sync string
		Lag               int64
		Seconds           float64
		Unheard           bool
	}
	type schemaRow struct {
		Schema    bool
		AllTables []string
		MayMake   bool
	}
	list := []question{
		about("the open transactions", oldestSQL, func(rows []openRow) {
			for _, r := range rows {
				a.Oldest = append(a.Oldest, Transaction{r.PID, r.Role, r.App, r.State, seconds(r.Seconds), r.Held})
			}
		}, old.Seconds()),
		about("the prepared transactions", preparedSQL, func(rows []preparedRow) {
			for _, r := range rows {
				a.Prepared = append(a.Prepared, Prepared{r.GID, r.Owner, seconds(r.Seconds)})
			}
		}),
		about("the standbys", standbysSQL, func(rows []standbyRow) {
			for _, r := range rows {
				a.Standbys = append(a.Standbys, Standby{r.Name, r.State, r.Sync, r.Lag, seconds(r.Seconds), r.Unheard})
			}
		}),
		about("the replication slots", slotsSQL, func(rows []Slot) { a.Slots = rows }),
		aboutOne("the engine's schema", schemaSQL, func(r schemaRow) { a.Schema, a.AllTables, a.MayMake = r.Schema, r.AllTables, r.MayMake }),
	}
	if s.Archiving {
		list = append(list, aboutOne("the archiver", archiverSQL, func(r struct{ Failing string }) { a.ArchiveFailing = r.Failing }))
	}
	if s.Archiving && s.Monitor {
		list = append(list, aboutOne("the archive's backlog", backlogSQL, func(r struct{ Waiting int64 }) { a.ArchiveBacklog = r.Waiting }))
	}
	return list
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
