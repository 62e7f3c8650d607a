package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Server is what was read of the server and of the role that reads it.
type Server struct {
	// Version is server_version_num, as 150018.
	Version  int    `json:"version"`
	Database string `json:"database"`
	Role     string `json:"role"`
	// Superuser and BypassRLS are the role's attributes; Monitor is set where it has pg_monitor.
	Superuser bool `json:"superuser"`
	BypassRLS bool `json:"bypass_rls"`
	Monitor   bool `json:"monitor"`
	// InRecovery is set on a standby.
	InRecovery bool `json:"in_recovery"`
	// ReadOnly is set where transactions are read-only by default.
	ReadOnly bool `json:"read_only"`
	// SearchPath holds the schemas that are there and searched, in order, without the implicit ones.
	SearchPath []string `json:"search_path"`
	// AllSchemas is SearchPath with the implicit ones: the temporary schema, where there is one, and pg_catalog.
	AllSchemas        []string `json:"-"`
	Encoding          string   `json:"encoding"`
	SynchronousCommit string   `json:"synchronous_commit"`
	// SynchronousStandbys is synchronous_standby_names: whom commits wait for; "" is nobody.
	SynchronousStandbys string `json:"synchronous_standbys"`
	WALLevel            string `json:"wal_level"`
	// SharedBuffers is the server's own cache, in bytes.
	SharedBuffers  int64 `json:"shared_buffers"`
	FullPageWrites bool  `json:"full_page_writes"`
	// Archiving is set where the write-ahead log is archived.
	Archiving bool `json:"archiving"`
	// BlockSize is in bytes.
	BlockSize int64 `json:"block_size"`
	// FreezeMaxAge is autovacuum_freeze_max_age, in transactions; Autovacuum whether it is on at all.
	FreezeMaxAge int64 `json:"freeze_max_age"`
	Autovacuum   bool  `json:"autovacuum"`
	// MayCreate is set where the role may create a schema in the database.
	MayCreate bool `json:"may_create"`
	// ParallelWorkers is max_parallel_workers, and ParallelWorkersSet whether that is another number than PostgreSQL
	// comes with, which some services write down as well.
	ParallelWorkers    int  `json:"max_parallel_workers"`
	ParallelWorkersSet bool `json:"max_parallel_workers_set"`
	// BackendPID is the server process that answered. Where it is not the one that the connection was
	// told of at its start, something stands between.
	BackendPID uint32 `json:"-"`
}

// VersionText is the version as people say it, such as 15.18.
func (s Server) VersionText() string { return fmt.Sprintf("%d.%d", s.Version/10000, s.Version%10000) }

const serverSQL = `
SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
       pg_catalog.current_database()::pg_catalog.text,
       r.rolname::pg_catalog.text,
       r.rolsuper,
       r.rolbypassrls OR r.rolsuper,
       pg_catalog.pg_has_role(r.oid, 'pg_monitor', 'USAGE'),
       pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('default_transaction_read_only')::pg_catalog.bool,
       pg_catalog.current_schemas(false)::pg_catalog.text[],
       pg_catalog.current_schemas(true)::pg_catalog.text[],
       pg_catalog.current_setting('server_encoding'),
       pg_catalog.current_setting('synchronous_commit'),
       pg_catalog.current_setting('synchronous_standby_names'),
       pg_catalog.current_setting('wal_level'),
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers')),
       pg_catalog.current_setting('full_page_writes')::pg_catalog.bool,
       pg_catalog.current_setting('archive_mode') OPERATOR(pg_catalog.<>) 'off',
       pg_catalog.current_setting('block_size')::pg_catalog.int8,
       pg_catalog.current_setting('autovacuum_freeze_max_age')::pg_catalog.int8,
       pg_catalog.current_setting('autovacuum')::pg_catalog.bool,
       pg_catalog.has_database_privilege(d.oid, 'CREATE'),
       (SELECT s.setting::pg_catalog.int4 FROM pg_catalog.pg_settings AS s WHERE s.name OPERATOR(pg_catalog.=) 'max_parallel_workers'),
       (SELECT s.setting OPERATOR(pg_catalog.<>) s.boot_val FROM pg_catalog.pg_settings AS s WHERE s.name OPERATOR(pg_catalog.=) 'max_parallel_workers'),
       pg_catalog.pg_backend_pid()::pg_catalog.int8
FROM pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d
WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER
  AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()`

// ReadServer reads the server as this connection sees it. It pins nothing: search_path is one of the things it reads.
func ReadServer(ctx context.Context, conn *pgx.Conn) (s Server, err error) {
	err = read(ctx, conn, aboutOne("the server's settings", serverSQL, func(r Server) { s = r }))
	return s, err
}
