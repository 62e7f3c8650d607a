package jobs

// The types of this file mirror the job file: they are what it is decoded into and what
// schema.json is made from, comments included. A field without omitempty must be there.

// file is one job as it is written.
type file struct {
	value

	// Identifies the job in the database: lower-case letters, digits, _ and -.
	Name jobName `json:"name"`
	// A paragraph for people, shown in status and reports.
	Description text `json:"description,omitempty"`
	// The table that is walked: an SQL name, name or schema.name, quoted where needed; or {{helper x}}. A
	// partitioned parent is allowed.
	Table tableName `json:"table"`
	// The column or columns the table is walked by, in this order; plain names, not SQL.
	// Default: the primary key, else the narrowest unique index on NOT NULL columns.
	Key columns `json:"key,omitempty"`
	// How the table is walked. Default: auto.
	Walk walk `json:"walk,omitempty"`
	// The scope: an SQL predicate over the row t. Default: all rows.
	Where sqlText `json:"where,omitempty"`
	// Named constants, fixed when the run is created, which SQL speaks of as :name: a scalar, or one with its type, or
	// one that is evaluated once or read from the environment.
	Params params `json:"params,omitempty"`
	// Tables that are built once, before the first chunk, and kept until the run is discarded: {{helper x}}.
	Helpers helperTables `json:"helpers,omitempty"`
	// SQL that is run once, before the first chunk: one transaction, unless transaction is false.
	Prepare script `json:"prepare,omitempty"`
	// SQL that is run once, after the last chunk.
	Finish script `json:"finish,omitempty"`
	// Values are computed outside of the database, by a program or a Go function.
	Transform transform `json:"transform,omitempty"`
	// What happens to the rows in scope: columns get new values.
	Update update `json:"update,omitempty"`
	// What happens to the rows in scope: they are deleted.
	Delete onlyTrue `json:"delete,omitempty"`
	// What happens to a chunk, in order, in its transaction.
	Steps steps `json:"steps,omitempty"`
	// False says that running a chunk twice would be wrong. Default: true.
	Idempotent boolean `json:"idempotent,omitempty"`
	// What proves that the run did what it should: one check or a list of them. Default: derived from update and delete.
	Verify checks `json:"verify,omitempty"`
	// How the run is taken back: capture keeps the old rows; or assignments; or why it cannot be.
	Undo undo `json:"undo,omitempty"`
	// Who writes both the old and the new while the migration lasts.
	DualWrite dualWrite `json:"dual_write,omitempty"`
	// What the contract migration will remove, and what must be proven before it may.
	Contract contract `json:"contract,omitempty"`
	// PostgreSQL settings for the job's own statements, such as work_mem.
	Settings settings `json:"settings,omitempty"`
	// How many chunks are worked at the same time.
	Workers count `json:"workers,omitempty"`
	// How large a chunk is.
	Chunk chunk `json:"chunk,omitempty"`
	// How many rows are walked a second at most: 5000, or "5000/s".
	Rate rate `json:"rate,omitempty"`
	// How long things may take.
	Timeouts timeouts `json:"timeouts,omitempty"`
	// What stops or slows the work, for the replicas' and the application's sake. The operator's ceilings hold.
	Throttle throttling `json:"throttle,omitempty"`
	// When to work: "Mon-Fri 22:00-06:00 Europe/Berlin", or a list of such. Default: at any time.
	Window limit `json:"window,omitempty"`
	// What to do at the end of a window: wait for the next, or exit, resumable. Default: wait.
	WindowEnd limit `json:"window_end,omitempty"`
}

// throttling is what the throttle's signals are held against; off is no limit.
type throttling struct {
	value

	// How far behind standbys may be.
	Lag lagLimits `json:"lag,omitempty"`
	// What replication slots may keep.
	Slots slotLimits `json:"slots,omitempty"`
	// What may wait to be archived.
	Archive archiveLimits `json:"archive,omitempty"`
	// How long somebody else may wait for a lock of a chunk; then the chunk gives way. Default: 200ms.
	YieldAfter limit `json:"yield_after,omitempty"`
	// How old what others see may be.
	Snapshots snapshotLimits `json:"snapshots,omitempty"`
	// What vacuum of the table may be behind.
	Vacuum vacuumLimits `json:"vacuum,omitempty"`
	// How many others may be at work.
	Sessions sessionLimits `json:"sessions,omitempty"`
	// How slow commits may become.
	Commits commitLimits `json:"commits,omitempty"`
	// What the server may write to its write-ahead log.
	WAL walLimits `json:"wal,omitempty"`
	// Signals of one's own: a list of {name, sql, max, gradual}, each a query that returns one number.
	Queries limit `json:"queries,omitempty"`
	// Addresses that must answer a GET with 2xx.
	HTTP limit `json:"http,omitempty"`
	// Paths at which a file stops the work.
	FlagFile limit `json:"flag_file,omitempty"`
	// Whether the work goes on where this role may not see what signals need: refuse or accept. Default: refuse.
	Unmonitored limit `json:"unmonitored,omitempty"`
}

type lagLimits struct {
	// In time. Default: 10s.
	Max limit `json:"max,omitempty"`
	// In bytes of the write-ahead log. Default: 256MiB.
	MaxBytes limit `json:"max_bytes,omitempty"`
	// How long a standby that is gone keeps the work stopped. Default: 1m.
	Grace limit `json:"grace,omitempty"`
	// Standbys that do not count, by application_name or address.
	Ignore limit `json:"ignore,omitempty"`
	// Standbys without which nothing is written.
	Require limit `json:"require,omitempty"`
}

type slotLimits struct {
	// The most that the worst one may keep of the write-ahead log. Default: 4GiB.
	MaxBytes limit `json:"max_bytes,omitempty"`
	// Slots that do not count.
	Ignore limit `json:"ignore,omitempty"`
}

type archiveLimits struct {
	// Segments of the write-ahead log. Default: 64.
	MaxSegments limit `json:"max_segments,omitempty"`
}

type snapshotLimits struct {
	// The oldest transaction that keeps old row versions. Default: 1h.
	MaxAge limit `json:"max_age,omitempty"`
}

type vacuumLimits struct {
	// Dead rows for each live one; above it fewer workers write. Default: 1.
	MaxDead limit `json:"max_dead,omitempty"`
	// What to do while a vacuum against wraparound is at the table: wait or ignore. Default: wait.
	Wraparound limit `json:"wraparound,omitempty"`
}

type sessionLimits struct {
	// Active sessions of others; above it fewer workers write. Default: off.
	Max limit `json:"max,omitempty"`
}

type commitLimits struct {
	// How many times slower than usual; above it fewer workers write. Default: 3.
	MaxRatio limit `json:"max_ratio,omitempty"`
}

type walLimits struct {
	// Bytes a second of the whole server; above it fewer workers write. Default: off.
	MaxRate limit `json:"max_rate,omitempty"`
}

// update assigns columns of the walked table.
type update struct {
	value

	// The new value of each column, as SQL over the row t; a number, true, false and null
	// mean their SQL literals. Column names are plain names, not SQL.
	Set assignments `json:"set"`
	// What follows FROM: tables, subqueries, LATERAL over t.
	From queryText `json:"from,omitempty"`
	// How `from` meets t: an SQL predicate.
	Join sqlText `json:"join,omitempty"`
	// Rows that already hold the new values are not written. Default: true.
	SkipUnchanged boolean `json:"skip_unchanged,omitempty"`
}

// step is one thing that is done to a chunk: exactly one of sql, update and delete.
type step struct {
	value

	// What the step is called in counts and errors. Default: step and its number.
	Name text `json:"name,omitempty"`
	// One INSERT, UPDATE, DELETE or MERGE, with {{range}}, {{scope}}, {{chunk}} and other templates.
	SQL queryText `json:"sql,omitempty"`
	// Columns of the rows in scope get new values.
	Update update `json:"update,omitempty"`
	// The rows in scope are deleted.
	Delete onlyTrue `json:"delete,omitempty"`
}

// paramParts are those of a parameter that is more than a scalar: exactly one of value, sql and env.
type paramParts struct {
	value

	// The value, with a type that says what it means.
	Value constant `json:"value,omitempty"`
	// Its SQL type. Default: text, bigint, numeric, boolean or timestamptz by what was written; that of the expression.
	Type typeName `json:"type,omitempty"`
	// An SQL expression that is evaluated once, when the run is created. It may speak of the parameters before it.
	SQL sqlText `json:"sql,omitempty"`
	// The name of an environment variable. Its value is a secret: it is never stored or printed.
	Env text `json:"env,omitempty"`
}

// helperParts are those of a helper.
type helperParts struct {
	// One SELECT: what the table holds.
	SQL queryText `json:"sql"`
	// The columns of its unique key. Default: none.
	Key columns `json:"key,omitempty"`
}

// scriptParts are those of SQL that is run once.
type scriptParts struct {
	// Statements, with a ; between them.
	SQL queryText `json:"sql"`
	// False sends each statement by itself, outside of a transaction, as CREATE INDEX CONCURRENTLY needs. Default: true.
	Transaction boolean `json:"transaction,omitempty"`
}

// transform computes values outside of the database: exactly one of command and go.
type transform struct {
	value

	// What is read of each row: plain names of columns, or SQL over the row t AS a name. The key is always there.
	Read readItems `json:"read,omitempty"`
	// A program and its arguments, run in the folder of the job file: one JSON object a line in, one a line out.
	Command words `json:"command,omitempty"`
	// The name under which an embedding program registered a function.
	Go text `json:"go,omitempty"`
	// The names and SQL types of what comes back. Default: the written columns with their types.
	Returns typed `json:"returns,omitempty"`
	// The columns of the walked table that get what came back under their names.
	Write columns `json:"write,omitempty"`
	// What happens to a row on which it fails: quarantine or fail. Default: quarantine.
	OnError onError `json:"on_error,omitempty"`
}

// check is one proof: exactly one of expect, expected with actual, none and recompute.
type check struct {
	value

	// What the check is called.
	Name text `json:"name,omitempty"`
	// The values that columns of the walked table must have in every row in scope, as SQL over the row t.
	Expect assignments `json:"expect,omitempty"`
	// A query that says what should be there: the key's columns first. Compared with actual, range by range.
	Expected expectedQuery `json:"expected,omitempty"`
	// The connection of the configuration in which expected is asked. Default: the job's own database.
	In text `json:"in,omitempty"`
	// A query that says what is there, with the same columns.
	Actual queryText `json:"actual,omitempty"`
	// A query that must return no row; its first columns say which row is wrong.
	None queryText `json:"none,omitempty"`
	// Runs the transform again and compares.
	Recompute onlyTrue `json:"recompute,omitempty"`
}

// expectedParts are those of a query of another database.
type expectedParts struct {
	// A query that says what should be there.
	SQL queryText `json:"sql"`
	// The connection of the configuration in which it is asked.
	In text `json:"in,omitempty"`
}

// undoParts are those of an undo that captures nothing.
type undoParts struct {
	// Assignments that put the rows back, as in update.
	Set assignments `json:"set,omitempty"`
	// Which of the rows that the run walked are put back by set: an SQL predicate over the row t. Default: those in the
	// job's own scope, where that still means the same rows.
	Where sqlText `json:"where,omitempty"`
	// Why it cannot be taken back.
	None text `json:"none,omitempty"`
}

// dualWrite is who writes both the old and the new.
type dualWrite struct {
	value

	// The application, or a trigger of the engine's that computes what update sets: application or trigger.
	By writer `json:"by"`
	// Whether each commit that breaks the relation is recorded, by a deferred trigger. Default: true where the job is an update
	// of which a trigger can tell.
	Tripwire boolean `json:"tripwire,omitempty"`
}

// contract is what is asked of the data before the old may go.
type contract struct {
	value

	// The columns that the contract migration will remove, with their tables, as SQL names them: users.full_name.
	Drops droppedColumns `json:"drops"`
	// How long dual writes must have been seen to be right. Default: 24h.
	Soak span `json:"soak,omitempty"`
	// On how many writes at least. Default: 1000.
	MinWrites fewest `json:"min_writes,omitempty"`
	// How old the verification may be when the migration runs. Default: 1h.
	ReportMaxAge span `json:"report_max_age,omitempty"`
	// Where the time of the last backup is found.
	Backup backup `json:"backup,omitempty"`
}

// backup is where the time of the last backup is found.
type backup struct {
	value

	// One SELECT that returns one timestamptz: when the last good backup was finished.
	SQL queryText `json:"sql"`
	// How old it may be. Default: 24h.
	MaxAge span `json:"max_age,omitempty"`
}

// chunk is how large a chunk is.
type chunk struct {
	// A fixed number of rows. Default: found by measuring.
	Rows count `json:"rows,omitempty"`
	// How long a chunk should take, such as 100ms.
	Target duration `json:"target,omitempty"`
	// The most rows that measuring may arrive at.
	MaxRows count `json:"max_rows,omitempty"`
}

// timeouts is how long things may take.
type timeouts struct {
	// Each wait for a lock.
	Lock duration `json:"lock,omitempty"`
	// Each statement.
	Statement duration `json:"statement,omitempty"`
	// A transaction whose client says nothing.
	Idle duration `json:"idle,omitempty"`
	// Making a connection.
	Connect duration `json:"connect,omitempty"`
	// A transform that does not answer; while rows are locked, all of its answers.
	Transform duration `json:"transform,omitempty"`
}

// notYet are the fields of the job file that this version does not carry out: none now. Those that file has would be read
// and checked all the same; the others come later altogether.
var notYet = []string{}

// elsewhere says under which field another one belongs, for those who write it outside.
var elsewhere = map[string]string{
	"set": "update", "from": "update", "join": "update", "skip_unchanged": "update",
	"read": "transform", "command": "transform", "returns": "transform", "write": "transform", "on_error": "transform",
	"expect": "verify", "expected": "verify", "actual": "verify", "none": "verify", "recompute": "verify",
	"by": "dual_write", "tripwire": "dual_write",
	"drops": "contract", "soak": "contract", "min_writes": "contract", "report_max_age": "contract", "backup": "contract",
	"rows": "chunk", "target": "chunk", "max_rows": "chunk",
	"lock": "timeouts", "statement": "timeouts", "idle": "timeouts", "connect": "timeouts",
}
