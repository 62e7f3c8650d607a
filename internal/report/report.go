// Package report renders what is known of a job: as JSON, which is the source and has a published schema, and from that as
// HTML, Markdown and JUnit. It reads no database: who calls it has.
package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the schema
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Version is that of the JSON form: it grows when a field changes its meaning or goes.
const Version = 1

// Report is all that there is to say of a job at a moment.
type Report struct {
	Version int `json:"version" jsonschema:"description=Of this form. It grows when a field changes its meaning or goes."`
	// SHA256 is over the report without it, in its canonical form: hexadecimal.
	SHA256 string    `json:"sha256" jsonschema:"description=Over the canonical form of the report in which this field is empty. Hexadecimal."`
	Made   time.Time `json:"made_at"`
	Tool   string    `json:"tool_version"`

	Verdict Verdict `json:"verdict" jsonschema:"description=What it comes to. The first thing to read."`
	Job     Job     `json:"job"`
	Server  Server  `json:"server"`
	// Run is nil where the job was never run, Verification where none is recorded, Gate where it was never asked.
	Run          *Run          `json:"run,omitempty"`
	Verification *Verification `json:"verification,omitempty"`
	DualWrite    *DualWrite    `json:"dual_write,omitempty"`
	Gate         *Gate         `json:"gate,omitempty"`
	// Series is what was done over time; empty where nothing was.
	Series Series  `json:"series"`
	Waits  []Wait  `json:"waits" jsonschema:"description=When nothing was written and why."`
	Events []Event `json:"events"`
}

// Word is what a report comes to.
type Word string

// The words, the gravest first.
const (
	Mismatched Word = "mismatched"
	Refused    Word = "refused"
	Incomplete Word = "incomplete"
	Unproven   Word = "unproven"
	Proven     Word = "proven"
)

// Verdict is the answer.
type Verdict struct {
	Word Word `json:"word" jsonschema:"enum=mismatched,enum=refused,enum=incomplete,enum=unproven,enum=proven"`
	// Text is the answer in a sentence.
	Text string `json:"text"`
}

// Job is what was to be done.
type Job struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Table       string          `json:"table"`
	SpecHash    string          `json:"spec_sha256"`
	Spec        json.RawMessage `json:"spec,omitempty" jsonschema:"description=The job as the engine understood it. Values of secret parameters are not in it."`
}

// Server is where the report was made.
type Server struct {
	Address    string `json:"address"`
	Database   string `json:"database"`
	Version    string `json:"version"`
	Role       string `json:"role"`
	LSN        string `json:"lsn,omitempty"`
	InRecovery bool   `json:"in_recovery"`
}

// Run is the newest run of the job.
type Run struct {
	ID         int64      `json:"id"`
	State      string     `json:"state"`
	Reason     string     `json:"reason,omitempty"`
	TakenBack  bool       `json:"taken_back,omitempty" jsonschema:"description=Whether somebody has begun to take it back."`
	By         string     `json:"by"`
	Tool       string     `json:"tool_version"`
	Created    time.Time  `json:"created_at"`
	Started    *time.Time `json:"started_at,omitempty"`
	Finished   *time.Time `json:"finished_at,omitempty"`
	Walk       string     `json:"walk"`
	Estimated  int64      `json:"rows_estimated"`
	Segments   int64      `json:"segments"`
	Done       int64      `json:"segments_done"`
	Chunks     int64      `json:"chunks"`
	Seen       int64      `json:"rows_walked"`
	Changed    int64      `json:"rows_changed"`
	Swept      int64      `json:"rows_changed_by_sweep"`
	Unmatched  int64      `json:"rows_unmatched"`
	Multiple   int64      `json:"rows_matched_more_than_once"`
	Quarantine int64      `json:"rows_quarantined"`
	Busy       float64    `json:"busy_seconds" jsonschema:"description=Spent in committed chunks. Added up over all workers."`
}

// Verification is the newest one that has ended.
type Verification struct {
	ID         int64            `json:"id"`
	Verdict    string           `json:"verdict"`
	Started    time.Time        `json:"started_at"`
	Finished   *time.Time       `json:"finished_at,omitempty"`
	By         string           `json:"by"`
	Tool       string           `json:"tool_version"`
	Server     string           `json:"server"`
	Role       string           `json:"role"`
	InRecovery bool             `json:"in_recovery"`
	LSN        string           `json:"lsn,omitempty"`
	Ranges     int64            `json:"ranges"`
	Expected   int64            `json:"rows_expected"`
	Checked    int64            `json:"rows_checked"`
	Ledger     int64            `json:"ledger_rows" jsonschema:"description=How many rows the ledger had before the first row was read."`
	Skipped    []Skipped        `json:"skipped"`
	SkippedAll int64            `json:"ranges_skipped"`
	Sample     *float64         `json:"sample_fraction,omitempty"`
	Residual   []string         `json:"residual"`
	Incomplete []string         `json:"incomplete"`
	BlindedBy  []string         `json:"blinded_by"`
	Voided     *time.Time       `json:"voided_at,omitempty"`
	Checks     []Check          `json:"checks"`
	Mismatches int64            `json:"mismatches"`
	Classes    map[string]int64 `json:"classes"`
	// Samples are at most [SamplesPerClass] of each class.
	Samples []Mismatch `json:"samples"`
}

// SamplesPerClass bounds how many mismatches of a class a report names.
const SamplesPerClass = 100

// Skipped is a range that could not be checked.
type Skipped struct {
	Check  string `json:"check"`
	Range  string `json:"range"`
	Reason string `json:"reason"`
}

// Check is what one check came to.
type Check struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Ranges    int64  `json:"ranges"`
	Rows      int64  `json:"rows"`
	Missing   int64  `json:"missing"`
	Extra     int64  `json:"extra"`
	Different int64  `json:"different"`
}

// Mismatch is a row that is not as it should be.
type Mismatch struct {
	Check      string    `json:"check"`
	Kind       string    `json:"kind"`
	Class      string    `json:"class"`
	Confidence string    `json:"confidence"`
	Evidence   string    `json:"evidence"`
	Key        []*string `json:"key"`
	Columns    []string  `json:"columns,omitempty"`
	Hashed     bool      `json:"hashed" jsonschema:"description=Whether expected and actual are hashes: two that are equal were equal values."`
	Expected   []*string `json:"expected,omitempty"`
	Actual     []*string `json:"actual,omitempty"`
	SQL        string    `json:"sql,omitempty" jsonschema:"description=Fetches the row."`
}

// DualWrite is what keeps the application's writes right.
type DualWrite struct {
	By       string       `json:"by"`
	Triggers []Trigger    `json:"triggers"`
	Drift    []DriftEntry `json:"drift"`
	DriftAll int64        `json:"drift_rows"`
	Writes   int64        `json:"writes_seen"`
	Since    *time.Time   `json:"since,omitempty"`
}

// Trigger is one of the engine's.
type Trigger struct {
	Table string `json:"table"`
	Name  string `json:"name"`
	State string `json:"state"`
}

// DriftEntry is a commit that broke the relation, as the tripwire saw it.
type DriftEntry struct {
	At          time.Time `json:"at"`
	Key         string    `json:"key"`
	Application string    `json:"application"`
	User        string    `json:"user"`
	Query       string    `json:"query"`
}

// Gate is what it said when it was asked last.
type Gate struct {
	Verdict    string      `json:"verdict"`
	At         time.Time   `json:"at"`
	By         string      `json:"by"`
	Asserted   *time.Time  `json:"asserted_at,omitempty" jsonschema:"description=When a migration relied on it."`
	Conditions []Condition `json:"conditions"`
}

// Condition is one of the gate's.
type Condition struct {
	ID       string `json:"id"`
	Title    string `json:"title"`
	Status   string `json:"status" jsonschema:"enum=pass,enum=fail,enum=unknown,enum=waived"`
	Evidence string `json:"evidence"`
	SQL      string `json:"sql,omitempty"`
	Waiver   string `json:"waiver,omitempty"`
}

// Series is what the ledger says of the run over time, in steps of the same length.
type Series struct {
	Step   float64 `json:"step_seconds"`
	Points []Point `json:"points"`
}

// Point is one step.
type Point struct {
	At     time.Time `json:"at"`
	Chunks int64     `json:"chunks"`
	Rows   int64     `json:"rows"`
	// Median and Longest are of the chunks' times.
	Median  float64 `json:"chunk_seconds_median"`
	Longest float64 `json:"chunk_seconds_longest"`
	// Waited is how much of the step nothing was written, since something said so.
	Waited float64 `json:"waited_seconds"`
	// Lag is the worst of any replica that was seen; nil where none was.
	Lag *float64 `json:"lag_seconds,omitempty"`
}

// Wait is a time in which nothing was written.
type Wait struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

// Event is something that happened to the run.
type Event struct {
	At   time.Time `json:"at"`
	Who  string    `json:"who"`
	What string    `json:"what"`
	Text string    `json:"text,omitempty"`
}

// canonical is the form that is hashed: fields in their order, keys of maps sorted, no spaces.
func (r Report) canonical() ([]byte, error) {
	r.SHA256 = ""
	r = r.whole()
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Compact(&b, text)
	return b.Bytes(), err
}

// whole has no list that is null: readers need not tell null from empty.
func (r Report) whole() Report {
	r.Version = Version
	r.Waits, r.Events, r.Series.Points = list(r.Waits), list(r.Events), list(r.Series.Points)
	if r.Verification != nil {
		v := *r.Verification
		v.Skipped, v.Residual, v.Incomplete, v.BlindedBy = list(v.Skipped), list(v.Residual), list(v.Incomplete), list(v.BlindedBy)
		v.Checks, v.Samples = list(v.Checks), list(v.Samples)
		if v.Classes == nil {
			v.Classes = map[string]int64{}
		}
		r.Verification = &v
	}
	if r.DualWrite != nil {
		d := *r.DualWrite
		d.Triggers, d.Drift = list(d.Triggers), list(d.Drift)
		r.DualWrite = &d
	}
	if r.Gate != nil {
		g := *r.Gate
		g.Conditions = list(g.Conditions)
		r.Gate = &g
	}
	return r
}

func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// Sealed is the report with its hash.
func (r Report) Sealed() (Report, error) {
	text, err := r.canonical()
	if err != nil {
		return r, fmt.Errorf("the report cannot be written as JSON: %w", err)
	}
	sum := sha256.Sum256(text)
	r = r.whole()
	r.SHA256 = hex.EncodeToString(sum[:])
	return r, nil
}

// JSON is a sealed report as it is kept.
func (r Report) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

// Read takes a report from JSON. It is an error where it is of another version, or not what was sealed.
func Read(text []byte) (Report, error) {
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("it is no report: %w", err)
	}
	if r.Version != Version {
		return r, fmt.Errorf("it is a report of version %d; expected %d", r.Version, Version)
	}
	sealed, err := r.Sealed()
	if err != nil {
		return r, err
	}
	if sealed.SHA256 != r.SHA256 {
		return r, fmt.Errorf("it was changed after it was made: its hash is %s, and it says %q", sealed.SHA256, r.SHA256)
	}
	return r, nil
}

// Schema is the JSON Schema of the JSON form.
//
//go:embed schema.json
var Schema []byte
