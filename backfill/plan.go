package backfill

import (
	"slices"
	"time"

	"github.com/pgbackfill/pgbackfill/internal/catalog"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Plan is a job resolved against a live database: which rows are walked in which order,
// with which statements, and what preflight noticed. It is made without a write.
type Plan struct {
	Job    Job            `json:"job"`
	Server catalog.Server `json:"server"`
	Table  catalog.Table  `json:"table"`
	// Walk is how the table is walked and WalkReason why.
	Walk       string `json:"walk"`
	WalkReason string `json:"walk_reason"`
	// Key describes the walked columns for the statements that compare them; Index is the index that serves it.
	Key   []pgsql.KeyColumn `json:"key"`
	Index string            `json:"index,omitempty"`
	// Unique is set where no two rows share a key.
	Unique bool `json:"unique"`
	// Heap describes the pages of a walk in physical order; nil is a walk by key.
	Heap *HeapWalk `json:"heap,omitempty"`
	// Stirring is set where a walk in physical order fires triggers of others that are not before each row: what these write is written by the chunk's
	// own transaction, and may have moved.
	Stirring bool `json:"stirring,omitempty"`
	// Overriding are the triggers and rules of others that may change what a walk in physical order writes, or keep it back, where its look
	// at the end therefore compares the rows too that the walk has seen; none is where nothing may, or the values cannot be told again.
	Overriding []string `json:"overriding,omitempty"`
	// LockFirst is set where the change reads more than the row itself: its rows are locked by
	// a statement of their own first.
	LockFirst bool `json:"lock_first"`
	// unrepeatable are the built-in functions of the job that may give another value each time.
	unrepeatable []string
	// Constants are the values of the job's parameters.
	Constants []Constant `json:"params,omitempty"`
	// Transform is what the job's transform is sent and must return; nil is none.
	Transform *PlannedTransform `json:"transform,omitempty"`
	// DualWrite is the trigger that the job asks for; nil where it asks for none.
	DualWrite *pgsql.DualWrite `json:"-"`
	// Tripwire is the one that the job asks for; nil where it asks for none, or there can be none.
	Tripwire *pgsql.Tripwire `json:"-"`
	// Pending is set where prepare and helpers are still to be done: the plan is then made again, by what is there
	// after them, and that one is run. Unresolved says what could not be looked at yet.
	Pending    bool     `json:"pending,omitempty"`
	Unresolved []string `json:"unresolved,omitempty"`
	// Finishing is set where the run's finish has begun: nothing is left to walk, and what the job speaks of may be gone.
	Finishing bool `json:"finishing,omitempty"`
	// SearchPath is the search_path the job's statements run under, pinned for the run.
	SearchPath string `json:"search_path"`
	// Segments are those of PassWalk. The last one's Through is the greatest key at planning;
	// there are none where the table is empty.
	Segments []Segment `json:"segments"`
	// Pace is what the run will use: the job's over the configuration's. FirstRows is how many rows chunks begin with, where they are not fixed.
	Pace      Pace `json:"pace"`
	FirstRows int  `json:"first_rows,omitempty"`
	// Choices are what was decided about the pace, and why; WalkReason is why of the walk. RoundTrip is how long the server took to answer, at
	// best.
	Choices   []Choice      `json:"choices,omitempty"`
	RoundTrip time.Duration `json:"round_trip"`
	// Estimates, from statistics.
	EstimatedRows   int64         `json:"estimated_rows"`
	EstimatedChunks int64         `json:"estimated_chunks"`
	EstimatedTime   time.Duration `json:"estimated_time"`
	EstimatedWAL    int64         `json:"estimated_wal_bytes"`
	// EstimatedUndo is how many bytes undo: capture keeps, with its indexes.
	EstimatedUndo int64 `json:"estimated_undo_bytes,omitempty"`
	// Captures are the tables whose rows undo: capture keeps; their Run is 0.
	Captures []pgsql.Capture `json:"captures,omitempty"`
	// Statements is every statement a run sends, in the order of a chunk's life.
	Statements []PlannedStatement `json:"statements"`
	Findings   []Finding          `json:"findings"`
	// Fingerprint is what the table must still look like on resume: a line each, by name.
	Fingerprint map[string]string `json:"fingerprint"`

	// helpers are what {{helper x}} stands for; nil is the helpers' tables.
	helpers map[string]string
	// run is the run that the plan is for; 0 is one that is still to be made.
	run RunID
	// accepted are the ids of findings that somebody accepted, and acceptedBy who that was.
	accepted   []string
	acceptedBy string

	// nulls are the assignments of which it is known when they make a NULL.
	nulls map[assigned]*pgsql.Nulls
}

// PlannedStatement is a statement that a run will send, with placeholders for its values.
type PlannedStatement struct {
	Name string `json:"name"`
	// When says in a few words when it is sent: "each chunk", "once a segment".
	When string `json:"when"`
	SQL  string `json:"sql"`
	// Explain is the server's plan for it, where it was asked.
	Explain string `json:"explain,omitempty"`
}

// Severity says what a finding does to a run.
type Severity string

// Severities: an error stops the run unless accepted where it can be, a warning is asked about,
// and a note is only shown.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
	SeverityNote    Severity = "note"
)

// Finding is one thing that preflight noticed.
type Finding struct {
	// ID is a word that --accept takes: "trigger-fires".
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	// Title is one line, Evidence what was read where, Remedy what to do.
	Title    string `json:"title"`
	Evidence string `json:"evidence"`
	Remedy   string `json:"remedy"`
	// Accepted is who accepted it, where somebody did.
	Accepted string `json:"accepted,omitempty"`
}

// Accept marks the findings that somebody accepted in writing, by their ids.
func (p *Plan) Accept(ids []string, who string) {
	p.accepted, p.acceptedBy = ids, who
	for i := range p.Findings {
		if slices.Contains(ids, p.Findings[i].ID) {
			p.Findings[i].Accepted = who
		}
	}
}

// Blocking are the findings that keep the plan from being run: errors that nobody accepted.
func (p *Plan) Blocking() []Finding {
	var list []Finding
	for _, f := range p.Findings {
		if f.Severity == SeverityError && f.Accepted == "" {
			list = append(list, f)
		}
	}
	return list
}

// Unrepeatable are the functions in the job's expressions of which PostgreSQL itself says that they give another value each
// time, as gen_random_uuid() and clock_timestamp(): what was written cannot be computed again. Functions that somebody
// has made are not among them, since volatile is what they are called where nobody says anything.
func (p *Plan) Unrepeatable() []string { return p.unrepeatable }

func unrepeatable(functions []catalog.Function) []string {
	var names []string
	for _, f := range functions {
		if f.BuiltIn && f.Volatility == "volatile" {
			names = append(names, f.Name)
		}
	}
	return names
}
