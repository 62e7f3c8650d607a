package backfill

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
	// Table is the walked table.
	Table TableName `json:"table"`
	// Key holds the columns the table is walked by, in order. Empty lets the
	// planner choose: the primary key, else the narrowest unique index on NOT NULL columns.
	Key []string `json:"key,omitempty"`
	// Where is the scope: a predicate over alias t. Nil is every row.
	Where *Expr `json:"where,omitempty"`
	// Update says what happens to the rows in scope.
	Update Update `json:"update"`
	// Idempotent is false where running a chunk twice would be wrong.
	Idempotent bool `json:"idempotent"`
	// Settings are PostgreSQL settings for the job's own statements.
	Settings map[string]string `json:"settings,omitempty"`

	// Pace is how hard to work. It is never part of the job's identity.
	Pace Pace `json:"-"`
	// Origin is where the job was written, for error messages: "users.yaml", "users.yaml#2".
	Origin string `json:"-"`
}

// Hash identifies what the job does: SHA-256 of its JSON form, in hex.
func (j Job) Hash() string {
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
	// Line is the line in the job file where it starts; 0 is unknown.
	Line int `json:"-"`
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
	// ConnectTimeout bounds making a connection.
	ConnectTimeout time.Duration `json:"connect_timeout,omitempty"`
	// SynchronousCommit is the setting of that name for chunk transactions; "" is "off" where no
	// standby is waited for, and else the server's.
	SynchronousCommit string `json:"synchronous_commit,omitempty"`
}

// Off in Pace.Rate or Pace.ChunkRows says "none" aloud: it stands against what a place of
// lower precedence says, where zero would let it through. [Pace.Settled] turns it into zero
// when every place has been heard.
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
	p.ConnectTimeout = orTime(p.ConnectTimeout, base.ConnectTimeout)
	if p.SynchronousCommit == "" {
		p.SynchronousCommit = base.SynchronousCommit
	}
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
	ConnectTimeout:   10 * time.Second,
}
