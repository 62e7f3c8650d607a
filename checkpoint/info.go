package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Walk is what a later process needs of the plan in order to go on as the first one planned.
type Walk struct {
	// Walk, Key, Index, Unique and SearchPath are those of [backfill.Plan].
	Walk       string             `json:"walk"`
	Key        []pgsql.KeyColumn  `json:"key"`
	Index      string             `json:"index,omitempty"`
	Unique     bool               `json:"unique"`
	Heap       *backfill.HeapWalk `json:"heap,omitempty"`
	SearchPath string             `json:"search_path"`
	// Origin is where the job was written.
	Origin string `json:"origin,omitempty"`
	// Segments is how many segments were planned for the walk; Nulls is set where one of them holds the rows with a NULL in the key.
	// Pending is set until the plan is made by what prepare and helpers left: there is nothing here before.
	Pending  bool `json:"pending,omitempty"`
	Segments int  `json:"segments"`
	Nulls    bool `json:"nulls,omitempty"`
}

func walkOf(plan *backfill.Plan) Walk {
	if plan.Pending {
		return Walk{Origin: plan.Job.Origin, SearchPath: plan.SearchPath, Pending: true}
	}
	w := Walk{
		Walk: plan.Walk, Key: plan.Key, Index: plan.Index, Unique: plan.Unique, Heap: plan.Heap, SearchPath: plan.SearchPath,
		Origin: plan.Job.Origin, Segments: len(plan.Segments),
	}
	for _, s := range plan.Segments {
		w.Nulls = w.Nulls || s.Nulls
	}
	return w
}

// RunInfo is a run as the database knows it.
type RunInfo struct {
	ID       backfill.RunID  `json:"id"`
	Job      string          `json:"job"`
	Spec     json.RawMessage `json:"spec"`
	SpecHash string          `json:"spec_hash"`
	// Params are the values of the job's parameters, by name; of a secret there is a fingerprint.
	Params   map[string]backfill.Constant `json:"params,omitempty"`
	TableOID uint32                       `json:"table_oid"`
	// Table is the table's name with its schema, unquoted, for people.
	Table string `json:"table"`
	Walk  Walk   `json:"walk"`
	// Fingerprint is what the table looked like when the run was planned.
	Fingerprint map[string]string `json:"fingerprint"`
	State       backfill.State    `json:"state"`
	// Reason is why it is in its state, DesiredReason who asked for what is desired and why.
	Reason        string           `json:"reason,omitempty"`
	Desired       backfill.Desired `json:"desired"`
	DesiredReason string           `json:"desired_reason,omitempty"`
	Pass          backfill.Pass    `json:"pass"`
	// Finishing is set where the job's finish has begun.
	Finishing     bool          `json:"finishing,omitempty"`
	Overrides     backfill.Pace `json:"overrides"`
	EstimatedRows int64         `json:"estimated_rows"`
	ToolVersion   string        `json:"tool_version"`
	CreatedAt     time.Time     `json:"created_at"`
	CreatedBy     string        `json:"created_by"`
	// StartedAt and FinishedAt are nil where that has not happened.
	StartedAt  *time.Time `json:"started_at,omitempty"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	// Summary is what a finished run came to.
	Summary   *backfill.Summary `json:"summary,omitempty"`
	Totals    Totals            `json:"totals"`
	Processes []Process         `json:"processes,omitempty"`
	// Undo is nil where nobody has begun to take the run back.
	Undo *UndoInfo `json:"undo,omitempty"`
}

// Totals are a run's sums, over all processes that ever worked on it.
type Totals struct {
	// Segments counts all that are planned so far, a split one as its parts; SegmentsDone those committed to their end.
	Segments     int64 `json:"segments"`
	SegmentsDone int64 `json:"segments_done"`
	Chunks       int64 `json:"chunks"`
	RowsSeen     int64 `json:"rows_seen"`
	RowsChanged  int64 `json:"rows_changed"`
	// SweepChanged is how many of RowsChanged the closing sweep changed.
	SweepChanged int64 `json:"sweep_changed"`
	Unmatched    int64 `json:"unmatched"`
	Multiple     int64 `json:"multiple"`
	// Quarantined counts the rows that could not be changed and are not done since; [Store.Quarantined] lists them.
	Quarantined int64 `json:"quarantined"`
	// Gone counts the rows that were quarantined and were there no more when they were tried again: nobody has changed them.
	Gone int64 `json:"gone"`
	// Busy is the time spent in committed chunks, added up over all workers: no wait, throttling or pause is in it.
	Busy time.Duration `json:"busy"`
	// PassSeen and PassExpected are the rows of the pass the run is in: walked, and in all as far as is known.
	// PassExpected counts what is done as it was and what is open as it was estimated, and is never less than PassSeen.
	PassSeen     int64 `json:"pass_seen"`
	PassExpected int64 `json:"pass_expected"`
}

// Process is one that works, or worked, on a run.
type Process struct {
	Process       string    `json:"process"`
	Host          string    `json:"host"`
	PID           int       `json:"pid"`
	User          string    `json:"user"`
	Version       string    `json:"version"`
	StartedAt     time.Time `json:"started_at"`
	HeartbeatAt   time.Time `json:"heartbeat_at"`
	Segments      []int     `json:"segments"`
	Workers       int       `json:"workers"`
	ChunkRows     int       `json:"chunk_rows"`
	RowsPerSecond float64   `json:"rows_per_second"`
	// Waiting is why it does not write; "" where it does.
	Waiting string `json:"waiting,omitempty"`
	// Live is set where it has been heard of in the last 10 seconds, by the server's clock.
	Live bool `json:"live"`
}

// Progress is the part of the current pass that is done, from 0 to 1; of a run that is being taken back from what it
// kept, the part of that. It is 1 only where all of it is.
func (i RunInfo) Progress() float64 {
	t := i.Totals
	switch {
	case i.byCapture():
		return backfill.Fraction(i.Undo.Passed(), i.Undo.Kept, false)
	case i.State == backfill.StateFinished || t.Segments > 0 && t.Segments == t.SegmentsDone:
		return 1
	case t.PassExpected == 0:
		return 0
	}
	return min(float64(t.PassSeen)/float64(t.PassExpected), 0.999)
}

// RowsPerSecond is the run's rate: what its live processes report and, where they write nothing at
// the moment, what their workers did in the time they were busy. Pauses are in neither.
func (i RunInfo) RowsPerSecond() float64 {
	var now float64
	workers := 0
	for _, p := range i.Processes {
		if p.Live {
			now += p.RowsPerSecond
			workers += p.Workers
		}
	}
	if now > 0 {
		return now
	}
	if i.Totals.Busy <= 0 || i.Undoing() { // how fast the run was says nothing of its undo
		return 0
	}
	return float64(i.Totals.RowsSeen) / i.Totals.Busy.Seconds() * float64(max(workers, 1))
}

// Remaining is how long the rest of the current pass takes at the rate of [RunInfo.RowsPerSecond];
// false where that cannot be said.
func (i RunInfo) Remaining() (time.Duration, bool) {
	rate := i.RowsPerSecond()
	if i.byCapture() {
		left := backfill.ETA(i.Undo.Passed(), i.Undo.Kept, rate)
		return left, left >= 0
	}
	if i.State.Over() || rate <= 0 || i.Totals.PassExpected == 0 {
		return 0, false
	}
	return time.Duration(float64(i.Totals.PassExpected-i.Totals.PassSeen) / rate * float64(time.Second)), true
}

// Planner plans for the run: with the values that its parameters have.
func (i RunInfo) Planner() backfill.Planner {
	p := backfill.Planner{Run: i.ID, Prepared: !i.Walk.Pending, Finishing: i.Finishing && !i.State.Over(), Walk: backfill.WalkKind(i.Walk.Walk), Heap: i.Walk.Heap}
	if i.Walk.Walk == string(backfill.WalkKey) {
		for _, k := range i.Walk.Key {
			p.Key = append(p.Key, k.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(i.Params)) {
		p.Constants = append(p.Constants, i.Params[name])
	}
	return p
}

// paramsOf are a plan's constants as they are stored.
func paramsOf(plan *backfill.Plan) map[string]backfill.Constant {
	params := map[string]backfill.Constant{}
	for _, c := range plan.Constants {
		params[c.Name] = c.Sealed()
	}
	return params
}

// Resume puts how the run walks its table into a plan that was made anew, so that work goes on
// exactly as it began. The segments are the run's own then: the plan keeps none.
//
// Where the run is still to be prepared, or the plan is one from before it was, nothing is put: it is planned again.
func (i RunInfo) Resume(plan *backfill.Plan) {
	if i.Walk.Pending || plan.Pending {
		return
	}
	plan.Walk, plan.Key, plan.Index, plan.Unique = i.Walk.Walk, i.Walk.Key, i.Walk.Index, i.Walk.Unique
	plan.Heap = i.Walk.Heap
	plan.SearchPath, plan.EstimatedRows, plan.Fingerprint = i.Walk.SearchPath, i.EstimatedRows, i.Fingerprint
	plan.Segments = nil
}

// Find returns the unfinished run of a job: there is at most one. The error is a
// [backfill.ErrNotFound] where there is none.
func (s *Store) Find(ctx context.Context, job string) (RunInfo, error) {
	return s.find(ctx, readUnfinished, job, "it has no unfinished run", "start one with: pgbackfill run")
}

// Newest returns the newest run of a job, in whatever state. The error is a
// [backfill.ErrNotFound] where there was never one.
func (s *Store) Newest(ctx context.Context, job string) (RunInfo, error) {
	return s.find(ctx, readNewest, job, "it has no run", "start one with: pgbackfill run; see all with: pgbackfill status")
}

// Steered returns the run of a job that can be paused, resumed and set: its unfinished one, or one that is being taken
// back from what it kept. The error is a [backfill.ErrNotFound] where there is none.
func (s *Store) Steered(ctx context.Context, job string) (RunInfo, error) {
	return s.find(ctx, readSteered, job, "it has no unfinished run, and none is being taken back", "start one with: pgbackfill run")
}

func (s *Store) find(ctx context.Context, sql, job, missing, remedy string) (RunInfo, error) {
	list, err := s.read(ctx, pgsql.Statement{Name: "run", SQL: sql, Args: [][]byte{pgsql.Text(job)}})
	if err != nil {
		return RunInfo{}, fmt.Errorf("reading the runs of %s: %w", job, translate(err))
	}
	if len(list) == 0 {
		return RunInfo{}, &backfill.Error{Place: "job " + job, Found: missing, Remedy: remedy, Kind: backfill.ErrNotFound}
	}
	return list[0], nil
}

// Runs returns all runs, the oldest first. It costs a few index descents a segment, whatever the length of the ledger.
func (s *Store) Runs(ctx context.Context) ([]RunInfo, error) {
	list, err := s.read(ctx, pgsql.Statement{Name: "runs", SQL: readRuns})
	if err != nil {
		return nil, fmt.Errorf("reading the runs: %w", translate(err))
	}
	return list, nil
}

// read reads runs and the processes, in one round trip.
func (s *Store) read(ctx context.Context, st pgsql.Statement) ([]RunInfo, error) {
	var list []RunInfo
	err := s.transact(ctx, settings, func(t *tx) error {
		list = nil
		byID := map[backfill.RunID]int{}
		return t.end(
			step{Statement: st, read: func(rows pgx.Rows) error {
				info, err := scanRun(rows)
				byID[info.ID] = len(list)
				list = append(list, info)
				return err
			}},
			step{
				Statement: pgsql.Statement{Name: "processes", SQL: readProcesses, Args: [][]byte{nil}},
				read: func(rows pgx.Rows) error {
					var id backfill.RunID
					var p Process
					err := rows.Scan(&id, &p.Process, &p.Host, &p.PID, &p.User, &p.Version, &p.StartedAt, &p.HeartbeatAt,
						&p.Segments, &p.Workers, &p.ChunkRows, &p.RowsPerSecond, &p.Waiting, &p.Live)
					if at, ok := byID[id]; ok {
						list[at].Processes = append(list[at].Processes, p)
					}
					return err
				},
			})
	})
	return list, err
}

func scanRun(rows pgx.Rows) (RunInfo, error) {
	var i RunInfo
	var spec, params, plan, fingerprint, overrides, summary []byte
	var busy float64
	var undo undoFields
	t := &i.Totals
	err := rows.Scan(&i.ID, &i.Job, &spec, &i.SpecHash, &params, &i.TableOID, &i.Table, &plan, &fingerprint,
		&i.State, &i.Reason, &i.Desired, &i.DesiredReason, &i.Pass, &overrides, &i.EstimatedRows, &i.ToolVersion,
		&i.CreatedAt, &i.CreatedBy, &i.StartedAt, &i.FinishedAt, &summary,
		&t.Segments, &t.SegmentsDone, &t.Chunks, &t.RowsSeen, &t.RowsChanged, &t.SweepChanged, &t.Unmatched, &t.Multiple,
		&busy, &t.PassSeen, &t.PassExpected, &t.Quarantined, &t.Gone, &i.Finishing,
		&undo.how, &undo.by, &undo.began, &undo.ended, &undo.kept, &undo.seq, &undo.low, &undo.restored, &undo.missed)
	if err != nil {
		return i, err
	}
	i.Spec, i.Undo = spec, undo.info()
	t.Busy = time.Duration(busy * float64(time.Second))
	for _, column := range []struct {
		name string
		text []byte
		dst  any
	}{{"params", params, &i.Params}, {"plan", plan, &i.Walk}, {"fingerprint", fingerprint, &i.Fingerprint}, {"overrides", overrides, &i.Overrides}, {"summary", summary, &i.Summary}} {
		if column.text == nil {
			continue
		}
		if err := json.Unmarshal(column.text, column.dst); err != nil {
			return i, unreadable(i.ID, column.name, err)
		}
	}
	return i, nil
}
