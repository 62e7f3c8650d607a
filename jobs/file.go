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
	// The table that is walked: an SQL name, name or schema.name, quoted where needed. A
	// partitioned parent is allowed.
	Table tableName `json:"table"`
	// The column or columns the table is walked by, in this order; plain names, not SQL.
	// Default: the primary key, else the narrowest unique index on NOT NULL columns.
	Key columns `json:"key,omitempty"`
	// How the table is walked. Default: auto.
	Walk walk `json:"walk,omitempty"`
	// The scope: an SQL predicate over the row t. Default: all rows.
	Where sqlText `json:"where,omitempty"`
	// What happens to the rows in scope: columns get new values.
	Update update `json:"update,omitempty"`
	// What happens to the rows in scope: they are deleted.
	Delete onlyTrue `json:"delete,omitempty"`
	// What happens to a chunk, in order, in its transaction.
	Steps steps `json:"steps,omitempty"`
	// False says that running a chunk twice would be wrong. Default: true.
	Idempotent boolean `json:"idempotent,omitempty"`
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
}

// notYet are the fields of the job file that this version does not understand.
var notYet = []string{
	"params", "helpers", "prepare", "finish", "transform",
	"verify", "undo", "dual_write", "contract", "throttle", "window",
}

// elsewhere says under which field another one belongs, for those who write it outside.
var elsewhere = map[string]string{
	"set": "update", "from": "update", "join": "update", "skip_unchanged": "update",
	"rows": "chunk", "target": "chunk", "max_rows": "chunk",
	"lock": "timeouts", "statement": "timeouts", "idle": "timeouts", "connect": "timeouts",
}
