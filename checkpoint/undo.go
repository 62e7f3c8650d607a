package checkpoint

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// UndoInfo says that a run is taken back, or was.
type UndoInfo struct {
	// How is "set" or "capture".
	How     string    `json:"how"`
	BeganAt time.Time `json:"began_at"`
	BeganBy string    `json:"began_by"`
	// EndedAt is nil where it is not done.
	EndedAt *time.Time `json:"ended_at,omitempty"`
	// How far a run is taken back from what it kept; zero where it is taken back by assignments.
	backfill.UndoMark
}

// Undoing reports whether the run is being taken back, by whichever way.
func (i RunInfo) Undoing() bool {
	return i.Undo != nil && i.Undo.EndedAt == nil && i.State != backfill.StateUndone
}

// byCapture reports whether it is being taken back from what it kept: by processes that are this run's own.
func (i RunInfo) byCapture() bool { return i.Undoing() && i.Undo.How == "capture" }

const insertUndo = `INSERT INTO pgbackfill.undos (run_id, how, began_by, kept) VALUES ($1::bigint, $2::text, $3::text, $4::bigint)
    ON CONFLICT (run_id) DO NOTHING`

const endUndo = `UPDATE pgbackfill.undos SET ended_at = clock_timestamp() WHERE run_id = $1::bigint`

const updateUndone = `UPDATE pgbackfill.runs
   SET state = 'undone', reason = $2::text, desired = 'cancelled', finished_at = COALESCE(finished_at, clock_timestamp())
 WHERE id = $1::bigint`

// BeginUndo closes every open segment with a fence, so that no worker, asleep or not, commits a chunk
// afterwards, ends the run where it is unfinished, and records that it is taken back: all in one
// transaction. Beginning what has begun is no error. It waits for workers as [Run.Cancel] does.
func (r *Run) BeginUndo(ctx context.Context, how string) error {
	return r.closing(ctx, func(t *tx) error { return r.beginUndo(t, how) })
}

func (r *Run) beginUndo(t *tx, how string) error {
	row, err := r.lock(t)
	if err != nil {
		return held(err)
	}
	if row.state == backfill.StateUndone {
		return r.over(row)
	}
	if err := r.fenceEverySegment(t, fenceUndone); err != nil {
		return err
	}
	if how == "capture" {
		replaced := ""
		if err := t.send(r.replaced(&replaced)); err != nil {
			return err
		}
		if err := r.anotherTable(replaced); err != nil {
			return err
		}
	}
	detail, err := jsonParam(map[string]any{"from": row.state, "how": how})
	if err != nil {
		return err
	}
	kept, err := r.greatestKept(t)
	if err != nil {
		return err
	}
	steps := []step{{Statement: pgsql.Statement{Name: "undo", SQL: insertUndo, Args: [][]byte{pgsql.Int(r.id), pgsql.Text(how), pgsql.Text(r.store.who), pgsql.Int(kept)}}}}
	if !row.state.Over() {
		steps = append(steps, step{Statement: pgsql.Statement{
			Name: "cancelled", SQL: updateCancelled, Args: [][]byte{pgsql.Int(r.id), pgsql.Text("being taken back by " + r.store.who)},
		}})
	}
	if how == "capture" && row.undoing == "" { // from here on it is the undo that is paused and resumed
		steps = append(steps, step{Statement: r.desire(backfill.DesiredRunning, "")})
	}
	return t.send(append(steps, step{Statement: r.event("undo begun", detail)})...)
}

// greatestKept is the greatest number under which the run has kept something, 0 where there is none.
func (r *Run) greatestKept(t *tx) (kept int64, err error) {
	tables, _, err := r.captures(t)
	if err != nil || len(tables) == 0 {
		return 0, err
	}
	return kept, t.send(step{Statement: pgsql.GreatestKept(tables), read: one(&kept)})
}

// FinishUndo ends the run as undone, in a commit that waits for the disk and so for every chunk's before it.
// Where the run was taken back from what was kept, it is an error while some of that was not come to.
// Finishing what is finished is no error.
func (r *Run) FinishUndo(ctx context.Context, reason string) error {
	detail, err := jsonParam(map[string]any{"process": r.store.process, "reason": reason})
	if err != nil {
		return err
	}
	err = r.store.transact(ctx, durableSettings, func(t *tx) error {
		row, err := r.lock(t)
		if err != nil || row.state == backfill.StateUndone {
			return err
		}
		if err := r.takenBack(t); err != nil {
			return err
		}
		return t.send(
			step{Statement: pgsql.Statement{Name: "undone", SQL: updateUndone, Args: [][]byte{pgsql.Int(r.id), pgsql.Text(reason)}}},
			step{Statement: pgsql.Statement{Name: "undo ended", SQL: endUndo, Args: [][]byte{pgsql.Int(r.id)}}},
			step{Statement: r.event("undone", detail)})
	})
	if err != nil {
		return r.failed("ending the undo", err)
	}
	return nil
}

// takenBack is an error where the run keeps what was not come to yet.
func (r *Run) takenBack(t *tx) error {
	var how string
	low := int64(backfill.UndoAll)
	err := t.send(
		step{Statement: pgsql.Statement{Name: "undo", SQL: readUndo, Args: [][]byte{pgsql.Int(r.id)}}, read: one(&how)},
		step{Statement: pgsql.Statement{Name: "undo mark", SQL: readUndoLow, Args: [][]byte{pgsql.Int(r.id)}}, read: one(&low)})
	if err != nil || how != "capture" {
		return err
	}
	tables, _, err := r.captures(t)
	if err != nil || len(tables) == 0 {
		return err
	}
	var more bool
	if err := t.send(step{Statement: pgsql.AnyKept(tables, low), read: one(&more)}); err != nil {
		return err
	}
	if more {
		return &backfill.Error{
			Place: r.place(), Found: fmt.Sprintf("not all that was kept is taken back: there is more below number %d", low),
			Remedy: "undo it again: it goes on there",
		}
	}
	return nil
}

const readUndo = `SELECT how FROM pgbackfill.undos WHERE run_id = $1::bigint`

const readUndoLow = `SELECT low FROM pgbackfill.undo_chunks WHERE run_id = $1::bigint ORDER BY seq DESC LIMIT 1`

// coveredRanges reads what is committed of each segment, and whether it is one of a sweep.
const coveredRanges = `SELECT s.pass >= 3, s.nulls, s.after, m.through
  FROM pgbackfill.segments AS s` + lastRow + `
 WHERE s.run_id = $1::bigint AND m.seq IS NOT NULL
   AND (s.nulls AND m.fence IS NULL OR NOT s.nulls AND m.through IS DISTINCT FROM s.after)
 ORDER BY s.no`

// Covered are the ranges of keys that chunks of the run were committed for, neighbours put together: those of the walk
// and the tail, and what the closing sweep came to above them. The segments must be closed: what is open still grows.
func (r *Run) Covered(ctx context.Context) ([]pgsql.Range, error) {
	var walked, swept []pgsql.Range
	err := r.store.once(ctx, settings, step{
		Statement: pgsql.Statement{Name: "covered", SQL: coveredRanges, Args: [][]byte{pgsql.Int(r.id)}},
		read: func(rows pgx.Rows) error {
			var one pgsql.Range
			var sweep bool
			err := rows.Scan(&sweep, &one.Nulls, &one.After, &one.Through)
			if sweep {
				swept = append(swept, one)
			} else {
				walked = append(walked, one)
			}
			return err
		},
	})
	if err != nil {
		return nil, r.failed("reading what it covers", err)
	}
	return covered(joined(walked), swept), nil
}

// covered adds to what was walked what a sweep came to behind its end. A sweep goes over all that was walked, and begins
// only when that is one range; where nothing was walked, all that it came to is behind.
func covered(walked, swept []pgsql.Range) []pgsql.Range {
	end := slices.IndexFunc(walked, func(r pgsql.Range) bool { return !r.Nulls })
	if end < 0 {
		return append(walked, joined(slices.DeleteFunc(swept, func(r pgsql.Range) bool { return r.Nulls }))...)
	}
	for {
		next := slices.IndexFunc(swept, func(r pgsql.Range) bool {
			return !r.Nulls && r.After != nil && slices.Equal(r.After, walked[end].Through)
		})
		if next < 0 {
			return walked
		}
		walked[end].Through = swept[next].Through
		swept = slices.Delete(swept, next, next+1)
	}
}

// joined puts ranges together that end where another begins, by following them: only PostgreSQL compares keys.
func joined(list []pgsql.Range) []pgsql.Range {
	for i := 0; i < len(list); i++ {
		for {
			next := slices.IndexFunc(list, func(r pgsql.Range) bool {
				return !r.Nulls && !list[i].Nulls && r.After != nil && slices.Equal(r.After, list[i].Through)
			})
			if next < 0 || next == i {
				break
			}
			list[i].Through = list[next].Through
			list = slices.Delete(list, next, next+1)
			if next < i {
				i--
			}
		}
	}
	return list
}

// undoFields are where the columns of a run's undo go, which are NULL where there is none.
type undoFields struct {
	how, by                     *string
	began, ended                *time.Time
	seq                         *int
	kept, low, restored, missed *int64
}

func (f undoFields) info() *UndoInfo {
	if f.how == nil {
		return nil
	}
	info := &UndoInfo{How: *f.how, BeganAt: *f.began, BeganBy: *f.by, EndedAt: f.ended}
	info.Kept, info.Low = *f.kept, backfill.UndoAll
	if f.seq != nil {
		info.Seq, info.Low, info.Restored, info.Missed = *f.seq, *f.low, *f.restored, *f.missed
	}
	return info
}

// UndoBegun is the error of a run that is being taken back; nil where it is not.
func (i RunInfo) UndoBegun(file string) error {
	if i.Undo == nil || i.State == backfill.StateUndone {
		return nil
	}
	return &backfill.Error{
		Place:  fmt.Sprintf("run %d of %s", i.ID, i.Job),
		Found:  fmt.Sprintf("it is being taken back, since %s, by %s", i.Undo.BeganAt.UTC().Format(time.RFC3339), i.Undo.BeganBy),
		Remedy: "take all of it back first: pgbackfill undo " + file, Kind: backfill.ErrInput,
	}
}
