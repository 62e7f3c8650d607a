package verify

import (
	"errors"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
)

// Result is what a verification came to, in one word.
type Result string

// The results, the gravest first: of several the first one that holds is given.
const (
	// Mismatched says that a row is not as it should be.
	Mismatched Result = "mismatched"
	// Incomplete says that something could not be checked, or that what was checked is not all there is to it.
	Incomplete Result = "incomplete"
	// Proven says that every row was read and is as it should be.
	Proven Result = "proven"
)

// What a verdict is as an error, for exit codes. The verdict itself says what was found.
var (
	ErrMismatched = errors.New("rows are not as they should be")
	ErrIncomplete = errors.New("not everything could be verified")
	// ErrUnresolved is where all could be read, and what differs did not stand still for as long as it was waited for.
	ErrUnresolved = errors.New("some rows did not stand still long enough to be judged")
)

// Verdict is the answer of a verification.
type Verdict struct {
	// ID is the number under which the verification is kept; where it is 0, NotRecorded says why it is not.
	ID          int64  `json:"verification,omitempty"`
	NotRecorded string `json:"not_recorded,omitempty"`

	Job   string `json:"job"`
	Table string `json:"table"`
	// Result is what it came to; with Residual, "proven" is only said of what is left.
	Result Result `json:"verdict"`
	// Residual says why a proof is one of what is left to do and not of what was done; a line each, none is a full proof.
	Residual []string `json:"residual,omitempty"`
	// Incomplete says what is missing from a full answer, a line each.
	Incomplete []string `json:"incomplete,omitempty"`
	// Unresolved is set where it is incomplete for no other reason than that rows did not stand still until they were given up.
	Unresolved bool `json:"unresolved,omitempty"`
	// Blinded says what the role may not see: columns, tables, or rows that a policy hides. The verdict is incomplete then.
	Blinded []string `json:"blinded,omitempty"`
	// Sample is what a sample of the rows says of all of them; nil is where all were read.
	Sample *Sampled `json:"sample,omitempty"`
	// Run is the newest run of the job; nil where none is known.
	Run *Run `json:"run,omitempty"`
	// Notes are worth knowing, and change nothing.
	Notes  []string      `json:"notes,omitempty"`
	Checks []CheckResult `json:"checks"`
	// From is where it was read.
	From Standpoint `json:"read_from"`
	// RowsExpected is how many rows the table was estimated to have.
	RowsExpected int64 `json:"rows_expected"`
	// Ranges counts the ranges that were read, over all checks.
	Ranges int64 `json:"ranges"`
	// Unverifiable are ranges that could not be read, at most 100 of them; UnverifiableRanges counts them all.
	Unverifiable       []Unverifiable `json:"unverifiable,omitempty"`
	UnverifiableRanges int64          `json:"unverifiable_ranges"`
	Started            time.Time      `json:"started"`
	Elapsed            time.Duration  `json:"elapsed_ns"`
}

// Run is what a verification needs to know of the newest run of a job.
type Run struct {
	ID    backfill.RunID `json:"id"`
	State backfill.State `json:"state"`
	// Undoing is set where the run is being taken back and that is not done: rows are as before it, or as after it.
	Undoing bool `json:"undoing,omitempty"`
	// Interrupted is set where the run is unfinished and nobody is at work on it.
	Interrupted bool `json:"interrupted,omitempty"`
	// Same is set where the run was of the very job that is verified.
	Same bool `json:"same_job"`
	// Earlier counts the runs of the job before it that changed rows and were not taken back.
	Earlier int `json:"earlier_runs,omitempty"`
	// Walked are the columns of the key that the run walked by; nil is in physical order, or not known.
	Walked []string `json:"-"`
	// Quarantined counts the rows that the run could not change and kept aside.
	Quarantined int64 `json:"quarantined"`
}

// CheckResult is what one check came to.
type CheckResult struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Ranges counts the ranges that were read, Rows the rows of the walked table in them: for a check of the rows
	// themselves those in scope.
	Ranges int64 `json:"ranges"`
	Rows   int64 `json:"rows"`
	// Expected and Actual count the rows of the two queries, where the check is of two queries.
	Expected int64 `json:"expected,omitempty"`
	Actual   int64 `json:"actual,omitempty"`
	// Missing, Extra and Different count the mismatches, all of them.
	Missing   int64 `json:"missing"`
	Extra     int64 `json:"extra"`
	Different int64 `json:"different"`
	// Classes counts them by what is likely to have happened.
	Classes map[Class]int64 `json:"classes,omitempty"`
	// Unmatched and Multiple count the rows in scope that the join met not at all, and so leaves as they are, or more
	// than once.
	Unmatched int64 `json:"unmatched,omitempty"`
	Multiple  int64 `json:"multiple,omitempty"`
	// Since counts those among Different whose columns others have changed since the run wrote them, and Unjudged the rows that
	// the run wrote and that are not in its scope any more by what others changed. Both are known where the run kept what was
	// there (undo: capture) and the proof is over that.
	Since    int64 `json:"changed_since,omitempty"`
	Unjudged int64 `json:"unjudged,omitempty"`
	// Hot counts rows that differ from another database's and did not stand still when they were looked at again: they are not judged.
	Hot int64 `json:"hot,omitempty"`
	// Scope is what of the table the job is about, where it is not all; it is with one check, the first that could be read.
	Scope *ScopeCounts `json:"scope,omitempty"`
	// Samples are some of the mismatches: the first ones of the first ranges.
	Samples []Mismatch `json:"samples,omitempty"`
}

// ScopeCounts are how much of the walked table a job with a where is about, and whether the rest can do without what will be dropped.
type ScopeCounts struct {
	// Rows is how many rows the table has, Inside how many of them are in scope.
	Rows   int64 `json:"rows"`
	Inside int64 `json:"inside"`
	// Dropped are the columns of the walked table that contract.drops names, Replaced those that are computed from them.
	Dropped  []string `json:"dropped"`
	Replaced []string `json:"replaced"`
	// Alone counts the rows outside of the scope that have a value in a dropped column and none in those that replace it: it
	// is the only copy. Beside counts those that have a value in both, which nobody has compared; those that have left the scope
	// by being filled are not among them.
	Alone  int64 `json:"alone"`
	Beside int64 `json:"beside"`
	// Only counts for each of Dropped the rows outside of the scope that have the only copy in it: a row that keeps several is in several.
	Only []int64 `json:"only,omitempty"`
}

// Mismatches counts them all.
func (c CheckResult) Mismatches() int64 { return c.Missing + c.Extra + c.Different }

// MismatchKind says what is wrong with a row.
type MismatchKind string

// What can be wrong with a row.
const (
	// Missing is a row that should be there.
	Missing MismatchKind = "missing"
	// Extra is a row that should not be there, or not that often.
	Extra MismatchKind = "extra"
	// Different is a row that holds other values than it should.
	Different MismatchKind = "different"
)

// Mismatch is a row that is not as expected.
type Mismatch struct {
	Kind MismatchKind `json:"kind"`
	// Check is the one that found it, where it is not given with the check.
	Check string `json:"check,omitempty"`
	// Class is what is likely to have happened, with how sure that is and what says so.
	Class      Class      `json:"class"`
	Confidence Confidence `json:"confidence"`
	Evidence   string     `json:"evidence"`
	// Key names the row; nil is NULL.
	Key []*string `json:"key"`
	// Columns are those that hold other values, where that is known.
	Columns []string `json:"columns,omitempty"`
	// Since is set where others are known to have changed the row since the run wrote it.
	Since bool `json:"changed_since,omitempty"`
	// Version tells the row as it was found from what it is once somebody writes it again; "" is where that is not known.
	Version string `json:"version,omitempty"`
	// Rows is how many rows of this key are concerned.
	Rows int64 `json:"rows"`
	// Expected and Actual are what should be there and what is, where values were asked for; nil is NULL, or no row.
	Expected []*string `json:"expected,omitempty"`
	Actual   []*string `json:"actual,omitempty"`
}

// Unverifiable is a range that could not be read.
type Unverifiable struct {
	Check string            `json:"check"`
	Range backfill.KeyRange `json:"range"`
	// Nulls is set where it is that of the rows with a NULL in the key.
	Nulls  bool   `json:"nulls,omitempty"`
	Reason string `json:"reason"`
}

// unverifiableKept is how many ranges that could not be read are named.
const unverifiableKept = 100

// Err is the verdict as an error: [ErrMismatched], [ErrIncomplete], [ErrUnresolved], or nil where it is proven.
func (v Verdict) Err() error {
	switch v.Result {
	case Proven:
		return nil
	case Mismatched:
		return ErrMismatched
	}
	if v.Unresolved {
		return ErrUnresolved
	}
	return ErrIncomplete
}

// Mismatches counts them, over all checks.
func (v Verdict) Mismatches() int64 {
	var n int64
	for _, c := range v.Checks {
		n += c.Mismatches()
	}
	return n
}

// Classes counts the mismatches by class, over all checks.
func (v Verdict) Classes() map[Class]int64 {
	list := map[Class]int64{}
	for _, c := range v.Checks {
		for class, n := range c.Classes {
			list[class] += n
		}
	}
	return list
}

// Scope is what of the table the job is about; nil is all of it, or not known.
func (v Verdict) Scope() *ScopeCounts {
	for _, c := range v.Checks {
		if c.Scope != nil {
			return c.Scope
		}
	}
	return nil
}

// Rows is how many rows were checked, by the check that saw the most of them.
func (v Verdict) Rows() int64 {
	var n int64
	for _, c := range v.Checks {
		n = max(n, c.Rows)
	}
	return n
}
