package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

const (
	// rowsFirst and rowsMost are how many rows a part has at first and at most. A part is read in one statement, and
	// holds back cleaning for as long as that takes, so it should be over soon: see [Options].Target.
	rowsFirst = 20_000
	rowsMost  = 500_000
	// narrowing is by how much a part that failed is made smaller.
	narrowing = 10
	// tries is how often a part is tried that fails for what passes: a lock, a connection.
	tries = 6
	// givenUp is how many parts of a segment may be unverifiable before the rest of it is left alone.
	givenUp = 20
)

// errStandstill is a key that is written one way and read another: the pass would not end.
var errStandstill = errors.New("the next range would end at the key where it begins")

// worker reads pieces, one at a time, over a connection of its own.
type worker struct {
	*verification
	id      int
	session *session
	// owed are the rows of the part before, which are paid for before the next one is read: how many there are in the last
	// part of a piece is only known then.
	owed int
	// check is what was read last, and rows how many rows a part of it had come to have: the next piece of it begins with as many.
	check *checking
	rows  int
}

// place is where a worker is in a piece.
type place struct {
	after backfill.Key
	// rows is how many rows the next part is to have, and left about how many the piece still has; 0 is not known.
	rows int
	left int64
	// seq numbers the parts, try the tries at one, and unverifiable counts the parts that could not be read.
	seq, try, unverifiable int
}

// part is one range to be read in one statement.
type part struct {
	rng pgsql.Range
	// last is set where the piece ends with it.
	last bool
}

// segment reads a piece to its end, part by part.
func (w *worker) segment(ctx context.Context, p piece) error {
	w.Observer(backfill.SegmentStarted{Worker: w.id, Segment: p.segment})
	defer w.Observer(backfill.SegmentEnded{Worker: w.id, Segment: p.segment})
	if w.check != p.checking {
		w.check, w.rows = p.checking, p.fitting(w.first(), true)
	}
	at := &place{after: p.segment.Range.After, rows: w.rows, left: p.segment.EstimatedRows, try: 1}
	defer func() { w.rows = at.rows }()
	if p.tally.done {
		return nil
	}
	if p.tally.watermark != nil {
		at.after = p.tally.watermark
	}
	for {
		begun := time.Now()
		now, err := w.next(ctx, p, at)
		if err == nil && w.Throttle != nil {
			err = w.Throttle.Wait(ctx, max(w.owed, 1))
			begun = time.Now()
		}
		var c counts
		if err == nil {
			c, err = w.read(ctx, p, now, at.rows > 1 && !p.segment.Nulls)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			over, err := w.failed(ctx, p, at, now, err)
			if over || err != nil {
				return err
			}
			continue
		}
		if w.owed = at.rows; now.last {
			w.owed = int(c.rows)
		}
		w.went(p, at, now, c, time.Since(begun))
		if now.last {
			return nil
		}
	}
}

// fitting bounds how many rows a part of a check may have.
func (p piece) fitting(rows int, first bool) int {
	if again, ok := p.proof.(*recomputeProof); ok {
		return again.fitting(rows, first)
	}
	return rows
}

// first is how many rows a part has at first: what was asked for, or what is likely to be quick.
func (w *worker) first() int {
	if n := w.Plan.Pace.ChunkRows; n > 0 {
		return n
	}
	return rowsFirst
}

// most is how many rows a part may have: under a rate no more than a second's.
func (w *worker) most() int {
	most := rowsMost
	if n := w.Plan.Pace.ChunkRows; n > 0 {
		most = n
	}
	if rate := w.Plan.Pace.Rate; rate > 0 {
		most = min(most, max(int(rate), 1))
	}
	return most
}

// next finds the part after the ones that were read.
func (w *worker) next(ctx context.Context, p piece, at *place) (part, error) {
	if p.segment.Nulls {
		return part{rng: pgsql.Range{Nulls: true}, last: true}, nil
	}
	at.rows = p.fitting(min(at.rows, w.most()), false)
	if heap := w.Plan.Heap; heap != nil {
		through, last := heap.Next(at.after, p.segment.Range.Through, at.rows)
		return part{rng: pgsql.Range{After: at.after, Through: through}, last: last}, nil
	}
	now := part{rng: pgsql.Range{After: at.after, Through: p.segment.Range.Through}, last: true}
	if at.left > 0 && at.left <= int64(at.rows) && now.rng.Through != nil { // an open end may have grown since it was estimated
		return now, nil
	}
	walk := pgsql.Walk{Table: w.Plan.Table.Quoted, Key: w.Plan.Key}
	err := w.session.keys(ctx, func(r *reading) error {
		rows, err := r.ask(ctx, walk.Boundary(now.rng, at.rows))
		if err != nil || len(rows) == 0 {
			return err
		}
		through := make(backfill.Key, len(rows[0]))
		for i, text := range rows[0] {
			if text == nil {
				return errStandstill
			}
			through[i] = *text
		}
		if slices.Equal(through, at.after) {
			return errStandstill
		}
		now = part{rng: pgsql.Range{After: at.after, Through: through}}
		return nil
	})
	return now, err
}

// read asks the check over one part: first how many rows are wrong, then which, as of the same moment.
func (w *worker) read(ctx context.Context, p piece, now part, divisible bool) (counts, error) {
	rng := now.rng
	var c counts
	var samples []Mismatch
	err := w.session.job(ctx, p.finding(), func(r *reading) error {
		in := pgsql.Part{Range: rng, Reading: true, Sample: w.sample}
		r.divisible = divisible
		var err error
		c, err = p.count(ctx, r, in)
		if err == nil && w.asks(p) {
			err = w.outside.count(ctx, r, in, &c)
		}
		if err != nil || c.mismatches() == 0 {
			return err
		}
		if most := w.wanted(p); most > 0 {
			samples, err = p.wrong(ctx, r, in, most, w.ShowValues || w.Record != nil)
		}
		if err == nil {
			err = w.versions(ctx, r, p, samples)
		}
		if err == nil {
			err = w.classify(ctx, r, p, rng, samples)
		}
		return err
	})
	if err == nil {
		w.counted(p, now, c, samples)
	}
	return c, err
}

// went moves on after a part, and makes the next one larger or smaller by how long it took.
func (w *worker) went(p piece, at *place, now part, c counts, took time.Duration) {
	at.seq++
	at.try = 1
	at.after = now.rng.Through
	seen := int64(at.rows)
	if now.last {
		seen = min(seen, c.rows)
	}
	at.left = max(at.left-seen, 0)
	switch {
	case w.Plan.Pace.ChunkRows > 0:
		at.rows = min(at.rows*narrowing, w.Plan.Pace.ChunkRows)
	case took < w.Target/2:
		at.rows *= 2
	case took > 2*w.Target:
		at.rows = max(at.rows/2, 1)
	}
	at.rows = min(at.rows, w.most())
	w.Observer(backfill.ChunkCommitted{
		Worker: w.id, Pass: backfill.PassWalk, NextRows: at.rows,
		Chunk: backfill.Chunk{Segment: p.segment.No, Seq: at.seq, RowsSeen: seen, Duration: took, Range: backfill.KeyRange{After: now.rng.After, Through: now.rng.Through}},
	})
}

// failed decides what follows a part that could not be read: the same again, less at a time, or the next one, with
// what could not be read on record. It reports whether the piece is over, and an error where there is no point in
// going on at all.
func (w *worker) failed(ctx context.Context, p piece, at *place, now part, err error) (over bool, _ error) {
	err = w.Plan.Hide(err)
	class, fewer := pgerr.Class(err), at.rows/narrowing
	if again, ok := p.proof.(*recomputeProof); ok {
		switch trouble, fit := again.recompute.TroubleOf(err, at.try); trouble {
		case backfill.TroubleAgain:
			class = pgerr.Retry
		case backfill.TroubleFewer:
			if class = pgerr.Shrink; fit > 0 {
				fewer = min(fit, at.rows/2)
			}
		case backfill.TroubleFatal:
			return false, &backfill.Error{
				Place: whereIn(w.Plan.Job, p.line), Found: "check " + p.Name, Err: err, Kind: backfill.ErrInput,
				Remedy: "mend the transform: a line in is an object; a line out repeats its key and has what returns: says, and nothing else",
			}
		}
	}
	if pgerr.Code(err) == notAllowed { // nothing else of the piece may be seen either
		w.blind(p.Check, err)
		w.missed(p, Unverifiable{
			Check: p.Name, Nulls: p.segment.Nulls, Reason: pgerr.Describe(err),
			Range: backfill.KeyRange{After: at.after, Through: p.segment.Range.Through},
		})
		return true, nil
	}
	switch class {
	case pgerr.Retry, pgerr.Resource:
		if at.try < tries {
			w.Observer(backfill.ChunkFailed{Worker: w.id, Err: err, Retry: true, Chunk: backfill.Chunk{Segment: p.segment.No, Attempt: at.try}})
			at.try++
			return false, pause(ctx, time.Duration(1<<at.try)*25*time.Millisecond)
		}
		if w.session.conn == nil || w.session.conn.IsClosed() {
			return false, &backfill.Error{Place: "job " + w.Plan.Job.Name, Found: "the connection is lost", Err: described{err}, Remedy: "verify again when the database answers"}
		}
	case pgerr.Shrink, pgerr.Data:
		if at.rows > 1 && !p.segment.Nulls {
			at.rows = max(fewer, 1)
			at.try = 1
			return false, nil
		}
	default:
		if pgerr.Code(err) == "" {
			return false, fmt.Errorf("check %s: %w", p.Name, err)
		}
		return false, w.refused(p.Check, err)
	}
	at.unverifiable++
	if at.unverifiable >= givenUp {
		now = part{rng: pgsql.Range{After: at.after, Through: p.segment.Range.Through}, last: true}
	}
	w.missed(p, Unverifiable{
		Check: p.Name, Nulls: now.rng.Nulls, Reason: pgerr.Describe(err),
		Range: backfill.KeyRange{After: now.rng.After, Through: now.rng.Through},
	})
	at.after, at.try = now.rng.Through, 1
	return now.last, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
