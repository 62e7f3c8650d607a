package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/ledger"
	"github.com/pgbackfill/pgbackfill/internal/pgerr"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// List returns the segments of a pass, or of every pass where it is 0, with their marks, in the order of their numbers. It costs
// one index descent a segment, whatever the length of the ledger. Owner is another live process
// that says it holds the segment, never this one. The error is a [backfill.ErrNotFound] where the run is gone, or another has its
// number, and a [backfill.ErrChanged] where its table is not there any more under its name.
func (r *Run) List(ctx context.Context, pass backfill.Pass) ([]backfill.SegmentState, error) {
	var list []backfill.SegmentState
	var wrong error
	err := r.store.once(ctx, settings, r.identity(&wrong), r.listing(passParam(pass), &list))
	if err == nil {
		err = wrong
	}
	if err != nil {
		return nil, r.failed("listing the segments", err)
	}
	return list, nil
}

// passParam is a pass as a parameter; NULL is every one.
func passParam(pass backfill.Pass) []byte {
	if pass == 0 {
		return nil
	}
	return pgsql.Int(pass)
}

// listing reads the segments of a pass into list, those of all passes where pass is nil.
func (r *Run) listing(pass []byte, list *[]backfill.SegmentState) step {
	*list = nil
	return step{
		Statement: pgsql.Statement{Name: "segments", SQL: listSegments, Args: [][]byte{pgsql.Int(r.id), pass, pgsql.Text(r.store.process)}},
		read:      readSegment(list),
	}
}

func readSegment(list *[]backfill.SegmentState) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var s backfill.SegmentState
		fields := append([]any{
			&s.No, &s.Pass, &s.Parent, &s.Leaf, &s.Nulls,
			(*[]string)(&s.Range.After), (*[]string)(&s.Range.Through), &s.EstimatedRows,
		}, markFields(&s.Mark)...)
		if err := rows.Scan(append(fields, &s.Owner)...); err != nil {
			return err
		}
		*list = append(*list, s)
		return nil
	}
}

// Split closes s with a fence after its watermark and adds two children, (watermark, at] and
// (at, through]. It returns false, and changes nothing, where the segment has moved on from
// s.Mark, where a chunk of it is just being committed, and where at leaves one of the children
// empty. The caller keeps at between the watermark and the end: only PostgreSQL compares keys.
func (r *Run) Split(ctx context.Context, s backfill.SegmentState, at backfill.Key) (bool, error) {
	if s.Nulls || s.Closed() || at == nil || slices.Equal(at, ledger.Watermark(s)) || slices.Equal(at, s.Range.Through) {
		return false, nil
	}
	children := pgsql.Statement{Name: "children", SQL: insertChildren, Args: [][]byte{
		pgsql.Int(r.id), pgsql.Int(s.No), keyParam(ledger.Watermark(s)), keyParam(at), pgsql.Int(s.RowsSeen),
	}}
	detail, err := jsonParam(map[string]any{"segment": s.No, "at": at})
	if err != nil {
		return false, err
	}
	err = r.store.transact(ctx, hastySettings, func(t *tx) error {
		_, err := r.lock(t)
		if err == nil {
			steps := ledger.Split(step{Statement: r.fenceRow(s, fenceSplit)}, step{Statement: children, done: exactly(2)})
			err = t.send(append(steps, step{Statement: r.event("split", detail)})...)
		}
		if r.Refused(err) || pgerr.Code(err) == lockNotAvailable {
			return errMovedOn
		}
		return err
	})
	if errors.Is(err, errMovedOn) {
		return false, nil
	}
	if err != nil {
		return false, r.failed(fmt.Sprintf("splitting segment %d at %s", s.No, at), err)
	}
	return true, nil
}

// errMovedOn rolls a split back whose segment is not, or may in a moment not be, where it was seen.
var errMovedOn = errors.New("the segment has moved on")

// exactly is a check that a statement touched n rows.
func exactly(n int64) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() != n {
			return fmt.Errorf("%s, and %d rows were expected", tag, n)
		}
		return nil
	}
}

// Advance ends the pass from and adds the segments of the pass to. Their numbers follow those
// that are there; a segment's own No is 0 or that number. It returns false, and changes nothing,
// where the run is not in the pass from any more, and an error where a segment of it is open or
// the run is over.
func (r *Run) Advance(ctx context.Context, from, to backfill.Pass, segments []backfill.Segment) (bool, error) {
	advanced := false
	err := r.store.transact(ctx, settings, func(t *tx) error {
		advanced = false
		var open []backfill.SegmentState
		last := 0
		row, err := r.lockAnd(t, r.openIn(pgsql.Int(from), &open), step{
			Statement: pgsql.Statement{Name: "last segment", SQL: lastSegment, Args: [][]byte{pgsql.Int(r.id)}}, read: one(&last),
		})
		switch {
		case err != nil:
			return err
		case row.state.Over():
			return r.over(row)
		case row.pass != from:
			return nil
		case len(open) > 0:
			return r.notDone(from, open)
		}
		steps, err := r.newPass(from, to, last, segments)
		if err == nil {
			err = t.end(steps...)
		}
		advanced = err == nil
		return err
	})
	if err != nil {
		return false, r.failed(fmt.Sprintf("ending the %s", from), err)
	}
	return advanced, nil
}

// notDone is the error of a pass of which segments are not complete.
func (r *Run) notDone(pass backfill.Pass, open []backfill.SegmentState) error {
	return &backfill.Error{
		Place:    r.place(),
		Found:    fmt.Sprintf("segment %d of the %s is committed through %s only", open[0].No, pass, ledger.Watermark(open[0])),
		Expected: fmt.Sprintf("through %s; %d segments are open", open[0].Range.Through, len(open)),
		Remedy:   "run the job again: it goes on where it stopped",
	}
}

// openSegments are those of a pass that are neither done nor fenced, of all where pass is nil.
func (r *Run) openSegments(t *tx, pass []byte) ([]backfill.SegmentState, error) {
	var open []backfill.SegmentState
	err := t.send(r.openIn(pass, &open))
	return open, err
}

func (r *Run) openIn(pass []byte, open *[]backfill.SegmentState) step {
	return step{
		Statement: pgsql.Statement{Name: "open segments", SQL: openSegments, Args: [][]byte{pgsql.Int(r.id), pass}},
		read:      readSegment(open),
	}
}

// newPass are the steps that move the run to a pass, whose segments are numbered after last.
func (r *Run) newPass(from, to backfill.Pass, last int, segments []backfill.Segment) ([]step, error) {
	steps := []step{{Statement: pgsql.Statement{Name: "pass", SQL: updatePass, Args: [][]byte{pgsql.Int(r.id), pgsql.Int(to)}}}}
	for i, s := range segments {
		no := last + 1 + i
		if s.No != 0 && s.No != no {
			return nil, fmt.Errorf("segment %d of the %s is numbered %d: expected 0 or %d", i+1, to, s.No, no)
		}
		s.No = no
		steps = append(steps, step{Statement: r.newSegment(s, to)})
	}
	detail, err := jsonParam(map[string]any{"from": from.String(), "to": to.String(), "segments": len(segments)})
	if err != nil {
		return nil, err
	}
	return append(steps, step{Statement: r.event("pass", detail)}), nil
}

func (r *Run) newSegment(s backfill.Segment, pass backfill.Pass) pgsql.Statement {
	nulls := "false"
	if s.Nulls {
		nulls, s.Range = "true", backfill.KeyRange{}
	}
	return pgsql.Statement{Name: "segment", SQL: insertSegment, Args: [][]byte{
		pgsql.Int(r.id), pgsql.Int(s.No), pgsql.Int(pass), pgsql.Text(nulls),
		keyParam(s.Range.After), keyParam(s.Range.Through), pgsql.Int(s.EstimatedRows), pgsql.Int(int64(s.Leaf)),
	}}
}
