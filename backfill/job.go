package backfill

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"
)

// Job is one change driven by one table: validated and immutable. Package jobs
// makes it from a job file; a program that embeds the engine may build it itself.
//
// What its JSON form holds is the job's identity: it is stored with the run and
// hashed (see [Job.Hash]), so pace, prose and the place in a file are left out.
type Job struct {
	// Name identifies the job in the database: [a-z0-9][a-z0-9_-]{0,62}.
	Name string `json:"name"`
	// Description is a paragraph for people.
	Description string `json:"-"`
	// Table is the walked table; the zero value where WalkHelper says what is walked.
	Table TableName `json:"table"`
	// WalkHelper names the helper that is walked instead of a table; "" is none.
	WalkHelper string `json:"walk_helper,omitempty"`
	// Key holds the columns the table is walked by, in order. Empty lets the
	// planner choose: the primary key, else the narrowest unique index on NOT NULL columns.
	Key []string `json:"key,omitempty"`
	// Walk is how the table is walked; "" is [WalkAuto].
	Walk WalkKind `json:"walk,omitempty"`
	// Where is the scope: a predicate over alias t. Nil is every row.
	Where *Expr `json:"where,omitempty"`
	// Params are the named constants that the job's SQL speaks of as :name.
	Params []Param `json:"params,omitempty"`
	// Helpers are tables that are built once before the first chunk.
	Helpers []Helper `json:"helpers,omitempty"`
	// Prepare and Finish are run once, before the first and after the last chunk. Nil is nothing.
	Prepare *Script `json:"prepare,omitempty"`
	Finish  *Script `json:"finish,omitempty"`
	// Transform computes values outside of the database, before the steps. Nil is none.
	Transform *Transform `json:"transform,omitempty"`
	// Steps are what happens to a chunk, in order, in its transaction: at least one, but where
	// Transform.Write says it all.
	Steps []Step `json:"steps,omitempty"`
	// Idempotent is false where running a chunk twice would be wrong.
	Idempotent bool `json:"idempotent"`
	// Settings are PostgreSQL settings for the job's own statements.
	Settings map[string]string `json:"settings,omitempty"`
	// Undo says how the run is taken back. Nil says nothing.
	Undo *Undo `json:"undo,omitempty"`
	// Verify are the proofs that the job asks for; none is the one derived from its steps. It may change
	// without being another job.
	Verify []Check `json:"-"`
	// DualWrite says who keeps new rows right while the run goes on and after. Nil says nothing.
	DualWrite *DualWrite `json:"-"`

	// Contract says what is removed afterwards, and what must be proven before. Nil says nothing.
	Contract *Contract `json:"-"`

	// Undoes is the job whose run it takes back: see [Job.UndoJob]. "" is none.
	Undoes string `json:"-"`

	// Pace is how hard to work. It is never part of the job's identity.
	Pace Pace `json:"-"`
	// Origin is where the job was written, for error messages: "users.yaml", "users.yaml#2".
	Origin string `json:"-"`
}

// Hash identifies what the job does: SHA-256 of its JSON form, in hex. How a run is taken back is a part of it only where a run
// does something for that (undo: capture); the rest may be said after the run.
func (j Job) Hash() string {
	if j.Undo != nil && !j.Undo.Capture {
		j.Undo = nil
	}
	b, err := json.Marshal(j)
	if err != nil { // strings, booleans and maps of strings always marshal
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TableName is a table's name as SQL names it, unquoted. An empty Schema is
// resolved by the connection's search_path at planning.
type TableName struct {
	Schema string `json:"schema,omitempty"`
	Name   string `json:"name"`
}

// WalkKind is how a table is walked.
type WalkKind string

// Ways of walking.
const (
	WalkAuto WalkKind = "auto"
	WalkKey  WalkKind = "key"
	WalkHeap WalkKind = "heap"
)

// Param is a named constant. Exactly one of Value, SQL and Env says what it is.
type Param struct {
	Name string `json:"name"`
	// Type is its SQL type; "" is found out: for SQL by the server, else text, bigint, numeric, boolean or
	// timestamptz by what was written.
	Type string `json:"type,omitempty"`
	// Value is the constant in PostgreSQL's text form; nil with neither SQL nor Env is NULL.
	Value *string `json:"value,omitempty"`
	// SQL is evaluated once, when the run is created.
	SQL *Expr `json:"sql,omitempty"`
	// Env names a variable of the environment. Its value is a secret: it is never stored or printed.
	Env string `json:"env,omitempty"`
	// Line is the line in the job file; 0 is unknown.
	Line int `json:"-"`
}

// Helper is a table that is built once, before the first chunk, and kept until the run is discarded.
type Helper struct {
	Name string `json:"name"`
	// Query is a SELECT: what the table holds.
	Query Expr `json:"query"`
	// Key are the columns of its unique key; none is no key.
	Key []string `json:"key,omitempty"`
}

// helper is the helper of a name; nil where there is none.
func (j Job) helper(name string) *Helper {
	at := slices.IndexFunc(j.Helpers, func(h Helper) bool { return h.Name == name })
	if at < 0 {
		return nil
	}
	return &j.Helpers[at]
}

// Script is SQL that is run once.
type Script struct {
	// Statements are one SQL statement each, in order.
	Statements []Expr `json:"statements"`
	// Alone is set where each statement is sent outside of a transaction, as CREATE INDEX CONCURRENTLY must be;
	// else all of them are one transaction, with the record that they were done.
	Alone bool `json:"alone,omitempty"`
}

// Step is one thing that is done to a chunk's rows: exactly one of SQL, Update and Delete is set.
type Step struct {
	// Name is for people and counts: "update", "create".
	Name   string   `json:"name"`
	SQL    *Command `json:"sql,omitempty"`
	Update *Update  `json:"update,omitempty"`
	// Delete deletes the rows in scope.
	Delete bool `json:"delete,omitempty"`
}

// Command is one INSERT, UPDATE, DELETE or MERGE with templates in it.
type Command struct {
	Expr
	// Kind is "insert", "update", "delete" or "merge".
	Kind string `json:"-"`
	// Target is the table that it writes.
	Target TableName `json:"-"`
	// Written are the columns of Target that it assigns or inserts, where it names them.
	Written []string `json:"-"`
	// Assigned are those of them that rows get a value of which are there already, by UPDATE, ON CONFLICT DO UPDATE or MERGE.
	Assigned []string `json:"-"`
	// Rereads are the columns that it assigns and that the assigned values are computed from: done twice, they may
	// change twice. Calls are the functions that these values call.
	Rereads []string `json:"-"`
	Calls   []string `json:"-"`
}

// Transform computes columns of the walked table outside of the database: exactly one of Command and Go is set.
type Transform struct {
	// Read are what is read of each row, as the select list of a query over t says it: the key comes by itself.
	Read []Expr `json:"read"`
	// Command is a program with its arguments: one JSON object a line in, one a line out. Dir is the folder it
	// runs in: the job file's.
	Command []string `json:"command,omitempty"`
	Dir     string   `json:"-"`
	// Go is the name under which an embedding program registered a function.
	Go string `json:"go,omitempty"`
	// Returns are the names and types of what comes back; none is the written columns with their types.
	Returns []Returned `json:"returns,omitempty"`
	// Write are the columns of the walked table that get what came back under their names.
	Write []string `json:"write,omitempty"`
	// Quarantine says that a row the program fails on is kept aside, and does not stop the run.
	Quarantine bool `json:"quarantine,omitempty"`
	Line       int  `json:"-"`
}

// Returned is a value that a transform returns.
type Returned struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Check is one proof of what a run did: Expect, Expected with Actual, None or Recompute.
type Check struct {
	Name string `json:"name,omitempty"`
	// Expect are the values that columns of the walked table must have in every row in scope.
	Expect []Assignment `json:"expect,omitempty"`
	// Expected and Actual are queries with the same columns, the key's first, compared as bags within a range. In
	// names the database, a connection of the configuration, in which Expected is asked; "" is this one.
	Expected *Expr  `json:"expected,omitempty"`
	In       string `json:"in,omitempty"`
	Actual   *Expr  `json:"actual,omitempty"`
	// None is a query that must return no row; its first columns say which row is wrong.
	None *Expr `json:"none,omitempty"`
	// Recompute runs the transform again and compares.
	Recompute bool `json:"recompute,omitempty"`
	Line      int  `json:"-"`
}

// Undo says how a run is taken back: exactly one of its fields is set.
type Undo struct {
	// Set are assignments that put the rows back.
	Set []Assignment `json:"set,omitempty"`
	// Where says which of the rows that the run walked Set is for: a predicate over t. Nil is the job's own scope,
	// where that still means the same rows.
	Where *Expr `json:"where,omitempty"`
	// Capture keeps what was there before in the chunk's transaction.
	Capture bool `json:"capture,omitempty"`
	// None says why it cannot be taken back.
	None string `json:"none,omitempty"`
}

// DualWrite says who writes both the old and the new while the migration lasts.
type DualWrite struct {
	// Trigger is set where the engine's own trigger does, else the application does.
	Trigger bool `json:"trigger"`
	// Tripwire watches commits that break the relation; nil is the default: where there is an update.
	Tripwire *bool `json:"tripwire,omitempty"`
	Line     int   `json:"-"`
}

// Update assigns columns of the walked table.
type Update struct {
	// Set holds the assignments, in the order they were written.
	Set []Assignment `json:"set"`
	// From is what follows FROM: tables, subqueries, LATERAL over t. Nil is none.
	From *Expr `json:"from,omitempty"`
	// Join is the predicate by which From meets t. Nil where From is nil.
	Join *Expr `json:"join,omitempty"`
	// SkipUnchanged leaves rows alone that already hold the new values.
	SkipUnchanged bool `json:"skip_unchanged"`
}

// Assignment gives a column the value of an SQL expression.
type Assignment struct {
	Column string `json:"column"`
	Value  Expr   `json:"value"`
}

// Expr is a fragment of SQL that PostgreSQL's parser has accepted as exactly what
// belongs in its place, with what the parser saw in it.
type Expr struct {
	// SQL is the fragment, comments removed from neither end nor middle.
	SQL string `json:"sql"`
	// Subquery is set where the fragment reads tables: it holds a SELECT.
	Subquery bool `json:"-"`
	// Functions are the names of the functions it calls, without schema, each once.
	Functions []string `json:"-"`
	// Columns are the column references it makes, as written ("t.full_name", "id"), each once.
	Columns []string `json:"-"`
	// Templates are the names of the templates in it, each once: "range", "chunk", "helper dupes".
	Templates []string `json:"-"`
	// Params are the parameters it speaks of, each once.
	Params []string `json:"-"`
	// Line is the line in the job file where it starts; 0 is unknown.
	Line int `json:"-"`
}

// UpdateStep is the job whose one step is an update, as most are; nil for another one.
func (j Job) UpdateStep() *Update {
	if len(j.Steps) == 1 && j.Transform == nil {
		return j.Steps[0].Update
	}
	return nil
}

// Pace is how hard a run works. A zero field means "not said here": configuration,
// environment and built-in defaults fill it (see [Pace.Over]).
type Pace struct {
	// Workers is how many chunks are worked at the same time.
	Workers int `json:"workers,omitempty"`
	// ChunkRows fixes the rows of a chunk; 0 lets the servo find them, and so does [Off], said aloud.
	ChunkRows int `json:"chunk_rows,omitempty"`
	// ChunkTarget is how long a chunk should take.
	ChunkTarget time.Duration `json:"chunk_target,omitempty"`
	// ChunkMaxRows bounds what the servo may choose.
	ChunkMaxRows int `json:"chunk_max_rows,omitempty"`
	// Rate bounds the rows walked a second, over all workers of a process; 0 is no limit,
	// and so is [Off], said aloud.
	Rate float64 `json:"rate,omitempty"`
	// LockTimeout bounds each wait for a lock.
	LockTimeout time.Duration `json:"lock_timeout,omitempty"`
	// StatementTimeout bounds each statement.
	StatementTimeout time.Duration `json:"statement_timeout,omitempty"`
	// IdleTimeout is how long the server keeps a chunk's transaction whose client says nothing.
	IdleTimeout time.Duration `json:"idle_timeout,omitempty"`
	// TransformTimeout bounds how long a transform may go without answering; while rows are locked, all of it.
	TransformTimeout time.Duration `json:"transform_timeout,omitempty"`
	// ConnectTimeout bounds making a connection.
	ConnectTimeout time.Duration `json:"connect_timeout,omitempty"`
	// SynchronousCommit is the setting of that name for chunk transactions; "" is "off" where no
	// standby is waited for, and else the server's.
	SynchronousCommit string `json:"synchronous_commit,omitempty"`
	// MaxQuarantined is how many rows of a run may be set aside because they cannot be changed; with
	// one more the run pauses itself. [Off] is none: the first one stops the run.
	MaxQuarantined int `json:"max_quarantined,omitempty"`
	// Limits are what the throttle's signals are held against; what is not in it has its default.
	Limits Limits `json:"limits,omitempty"`
}

// Off in Pace.Rate, Pace.ChunkRows or Pace.MaxQuarantined says "none" aloud: it stands against
// what a place of lower precedence says, where zero would let it through. [Pace.Settled] turns
// the first two into zero when every place has been heard; MaxQuarantined has a default of its
// own, and stays.
const Off = -1

// Settled returns p, after the last [Pace.Over], with [Off] turned into the zero that the
// engine works by.
func (p Pace) Settled() Pace {
	p.Rate = max(p.Rate, 0)
	p.ChunkRows = max(p.ChunkRows, 0)
	return p
}

// Over returns p with every field it leaves at zero taken from base.
func (p Pace) Over(base Pace) Pace {
	or := func(a, b int) int {
		if a != 0 {
			return a
		}
		return b
	}
	orTime := func(a, b time.Duration) time.Duration {
		if a != 0 {
			return a
		}
		return b
	}
	p.Workers = or(p.Workers, base.Workers)
	p.ChunkRows = or(p.ChunkRows, base.ChunkRows)
	p.ChunkTarget = orTime(p.ChunkTarget, base.ChunkTarget)
	p.ChunkMaxRows = or(p.ChunkMaxRows, base.ChunkMaxRows)
	if p.Rate == 0 {
		p.Rate = base.Rate
	}
	p.LockTimeout = orTime(p.LockTimeout, base.LockTimeout)
	p.StatementTimeout = orTime(p.StatementTimeout, base.StatementTimeout)
	p.IdleTimeout = orTime(p.IdleTimeout, base.IdleTimeout)
	p.TransformTimeout = orTime(p.TransformTimeout, base.TransformTimeout)
	p.ConnectTimeout = orTime(p.ConnectTimeout, base.ConnectTimeout)
	if p.SynchronousCommit == "" {
		p.SynchronousCommit = base.SynchronousCommit
	}
	p.MaxQuarantined = or(p.MaxQuarantined, base.MaxQuarantined)
	p.Limits = p.Limits.Over(base.Limits)
	return p
}

// DefaultPace is what holds where nobody said otherwise.
var DefaultPace = Pace{
	Workers:          2,
	ChunkTarget:      100 * time.Millisecond,
	ChunkMaxRows:     50_000,
	LockTimeout:      time.Second,
	StatementTimeout: 30 * time.Second,
	IdleTimeout:      10 * time.Second,
	TransformTimeout: 30 * time.Second,
	ConnectTimeout:   10 * time.Second,
	MaxQuarantined:   100,
}
